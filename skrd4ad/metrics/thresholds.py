"""Split-conformal thresholds: a guaranteed false-reject rate, from good images held out from training."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.ranking import finite_scores


@dataclass(frozen=True)
class ConformalThreshold:
    """A threshold and what it guarantees: a part is rejected when its score is above it, not when it is equal."""

    threshold: float
    n: int
    rank: int
    """Its rank among their scores in ascending order, from 1."""
    target: float
    certified_rate: float
    """False-reject rate that holds for new good parts, averaged over draws of the held-out images: the target, or
    1 / (n + 1) where n images cannot certify less."""
    method: str = "split-conformal"


def conformal_threshold(scores: ArrayLike, *, false_reject_rate: float) -> ConformalThreshold:
    """Split-conformal quantile: the ceil((n + 1)(1 - rate))-th smallest score of held-out good images. ``scores``: (n,)
    image scores of good images that were kept from training. Their maximum is used when n is too small for the rate.
    The guarantee supposes that new good parts come from the same process as the held-out ones."""
    if not 0 < false_reject_rate < 1:
        raise ConfigError(f"The false-reject rate is {false_reject_rate!r}; allowed: above 0, below 1 (0.01 is 1 %).")
    held_out = np.sort(finite_scores(scores))
    n = held_out.size
    if n == 0:
        raise DataError(
            "There are 0 held-out good images; a threshold needs at least one. "
            "Train with a hold-out share above 0 (for example 0.1), or give good images the model has not seen."
        )
    # a Fraction of the decimal as written: 100 * 0.29 is 28.999… in floats, and would move the rank by one
    allowed_above = math.floor((n + 1) * Fraction(str(float(false_reject_rate))))
    rank = min(n + 1 - allowed_above, n)
    return ConformalThreshold(
        threshold=float(held_out[rank - 1]),
        n=n,
        rank=rank,
        target=float(false_reject_rate),
        certified_rate=max(float(false_reject_rate), smallest_certifiable(n)),
    )


def smallest_certifiable(n: int) -> float:
    """Smallest false-reject rate that n held-out good images can certify: 1 / (n + 1)."""
    return 1 / (n + 1)


def false_reject_interval(n: int, rank: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Where the true false-reject rate lies of one threshold, the ``rank``-th smallest of n held-out good scores.

    The certified rate is an average over all draws of n images; one draw may be lucky or not. Exact for scores without
    ties, whatever their distribution: the rate follows Beta(n + 1 - rank, rank). With ties it is no larger.
    """
    if not 1 <= rank <= n:
        raise ConfigError(f"The rank is {rank!r} of {n} scores; allowed: 1 to {n}.")
    if not 0 < confidence < 1:
        raise ConfigError(f"The confidence is {confidence!r}; allowed: above 0, below 1.")
    from scipy.special import betaincinv  # what only inspects does without scipy: 110 MB

    tail = (1 - confidence) / 2

    low, high = (float(betaincinv(n + 1 - rank, rank, share)) for share in (tail, 1 - tail))
    return low, high
