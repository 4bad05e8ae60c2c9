"""Ranges of figures in which good images lie, from a few hundred of them.

Each side of a range is to leave out a small share of all good images. A few hundred do not show so rare a value, so
the range ends where an exponential tail, fitted to the most extreme tenth (five images at least), reaches that share;
never inside what was seen; the fewer images, the wider. A tolerance that does no harm to a map is added, so that a
series of nearly equal images refuses no harmless difference.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXPOSURE = ("shadows", "brightness", "lights")
"""Figures that a change of exposure moves all together; a defect moves one or two of them."""
FIGURES = {
    **dict.fromkeys(EXPOSURE, 4.0),
    # a burnt or a bright defect is black or white by itself
    "dark": 0.05,
    "bright": 0.05,
    "contrast": 0.1,
    "sharpness": 0.1,
    "noise": 1.0,
    "green_red": 3.0,
    "blue_yellow": 3.0,
}
"""Figures of an image that have a range, and the tolerance at each side that has a limit."""
_RATIOS = ("contrast", "sharpness")
"""Figures that are compared as ratios; their tolerance is a share."""
_LOWER = (*EXPOSURE, "contrast", "sharpness", "green_red", "blue_yellow")
_UPPER = (*EXPOSURE, "dark", "bright", "noise", "green_red", "blue_yellow")


@dataclass(frozen=True, kw_only=True)
class Band:
    """Range of one figure."""

    seen_low: float
    """Smallest value of a training image."""
    median: float
    seen_high: float
    """Largest value of a training image."""
    low: float | None = None
    """Values below cannot be judged; None: no value is too low."""
    high: float | None = None
    """Values above cannot be judged; None: no value is too high."""

    def side(self, value: float) -> int:
        """-1 below the range, 0 inside, 1 above."""
        if self.low is not None and value < self.low:
            return -1
        return int(self.high is not None and value > self.high)


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


def figure_band(name: str, values: NDArray[np.float64], share: float) -> Band:
    """Range of a figure of :class:`skrd4ad.data.images.statistics.ImageStatistics`.

    Args:
        name: of the figure.
        values: (n,), of good images.
        share: of good images that may lie outside, at each side that the figure has.
    """
    tolerance = FIGURES[name]
    if name in _RATIOS:
        # an even grey image has neither contrast nor edges
        values = np.log(np.maximum(values, 1e-6))
        tolerance = math.log1p(tolerance)
    low = -upper_limit(-values, share) - tolerance if name in _LOWER else None
    high = upper_limit(values, share) + tolerance if name in _UPPER else None
    if name in _RATIOS:
        values = np.exp(values)
        low = None if low is None else math.exp(low)
    return seen_band(values, low=low, high=high)


def seen_band(values: NDArray[np.float64], *, low: float | None = None, high: float | None = None) -> Band:
    """Range with limits that are known, and what was seen of values (n,)."""
    return Band(
        seen_low=float(values.min()),
        median=float(np.median(values)),
        seen_high=float(values.max()),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
    )
