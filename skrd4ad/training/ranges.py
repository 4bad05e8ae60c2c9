"""Ranges that leave out a small share of good images, from figures of few of them.

A few hundred images do not show so rare a value, so a range ends where an exponential tail, fitted to the most extreme
tenth (five images at least), reaches that share; never inside what was seen; the fewer images, the wider.
"""

import math

import numpy as np
from numpy.typing import NDArray

from skrd4ad.inference.bands import Band


def upper_limit(values: NDArray[np.floating], share: float) -> float:
    """Value that ``share`` of further values exceed, on average, if the tail falls off exponentially or faster.

    Where the values are enough to tell, it is their conformal quantile. Otherwise it is at least the largest of them,
    and the tail is extended; one that is known from k values is taken 1 + 2/sqrt(k) times as long, because k values
    tell it only that well (simulated: with 30 values or more, at most 1.4 times the share of an exponential lies
    above, and a quarter of it of a normal distribution).
    """
    ordered = np.sort(values)
    n = ordered.size
    seen = ordered[min(math.ceil((n + 1) * (1 - share)), n) - 1]
    if (n + 1) * share >= 1:
        return float(seen)
    k = min(max(5, math.ceil(n / 10)), n - 1)
    if k < 1:
        return float(seen)
    start = ordered[n - k - 1]
    length = (ordered[n - k :].mean() - start) * (1 + 2 / math.sqrt(k))
    return float(max(seen, start + length * max(math.log(k / n / share), 0.0)))


def seen_band(values: NDArray[np.float64], *, low: float | None = None, high: float | None = None) -> Band:
    """Range with limits that are known, and what was seen of values (n,)."""
    return Band(
        seen_low=float(values.min()),
        median=float(np.median(values)),
        seen_high=float(values.max()),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
    )
