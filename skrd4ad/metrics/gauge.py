"""Is a score fit to tell parts apart: repeatability, reproducibility and %GRR, by analysis of variance.

The model is that of the AIAG's Measurement Systems Analysis (4th edition, chapter III): a measurement is the part, plus
the setting (an operator, a camera), plus how that setting meets that part, plus what changes between two measurements
of one part in one setting. With one setting there is no reproducibility. Negative estimates of a variance count as 0,
and the interaction joins repeatability when its F test says no more than chance (p above :data:`POOLED_ABOVE`), as is
usual.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import DataError
from skrd4ad.metrics.bootstrap import CONFIDENCE, Interval

POOLED_ABOVE = 0.25
FIT_BELOW, UNFIT_ABOVE = 0.10, 0.30
"""The AIAG's rule for %GRR: fit below the first, unfit above the second, between them by what is at stake."""
FEWEST_CATEGORIES = 5

Scores = Mapping[str, Mapping[str, Sequence[float]]]
"""Part → setting → scores of one part in one setting, as often as it was measured."""


@dataclass(frozen=True, kw_only=True)
class GaugeStudy:
    """Standard deviations of scores by where they come from, in the unit of the scores."""

    parts: int
    settings: int
    repeats: int
    """Measurements of a part in a setting; the fewest where they differ."""
    repeatability: float
    """EV: between two measurements of one part in one setting."""
    repeatability_interval: Interval
    """95 %, by the chi-squared distribution."""
    degrees: int
    """Of freedom of the repeatability."""
    setting: float | None
    """Between settings; None with one."""
    interaction: float | None
    """Between settings, differently for each part; 0 when pooled, None with one setting."""
    interaction_p: float | None
    """Of the F test of the interaction."""
    part: float
    """PV: between parts."""

    @property
    def reproducibility(self) -> float | None:
        """AV: of the setting and its interaction with the part."""
        if self.setting is None or self.interaction is None:
            return None
        return math.hypot(self.setting, self.interaction)

    @property
    def gauge(self) -> float:
        """GRR: all that is not the part."""
        return math.hypot(self.repeatability, self.reproducibility or 0.0)

    @property
    def total(self) -> float:
        """TV: the gauge and the parts."""
        return math.hypot(self.gauge, self.part)

    @property
    def share(self) -> float:
        """%GRR, 0 to 1: of the total standard deviation."""
        return self.gauge / self.total if self.total else math.nan

    @property
    def categories(self) -> int | None:
        """ndc: how many groups of parts the score tells apart; None where it never changed."""
        return max(1, int(math.sqrt(2) * self.part / self.gauge)) if self.gauge else None


def gauge_study(scores: Scores) -> GaugeStudy:
    """Analyse a study. Every part is measured in every setting; with several settings equally often.

    Raises:
        DataError: fewer than two parts, no part measured twice in a setting, or a measurement is missing.
    """
    settings = _settings(scores)
    if len(settings) == 1:
        return _one_setting({part: np.array(of[settings[0]], float) for part, of in scores.items()})
    counts = {len(of[setting]) for of in scores.values() for setting in settings}
    if len(counts) > 1:
        part, setting, count = min(
            ((part, setting, len(of[setting])) for part, of in scores.items() for setting in settings),
            key=lambda each: each[2],
        )
        raise DataError(
            f"Part {part} has {count} scores in the setting {setting}, and others have {max(counts)}; with several "
            "settings every part is measured equally often in each. Add the missing images, or leave the part out."
        )
    return _crossed(np.array([[of[setting] for setting in settings] for of in scores.values()], float))


def _settings(scores: Scores) -> tuple[str, ...]:
    settings = tuple(dict.fromkeys(setting for of in scores.values() for setting in of))
    if len(scores) < 2:
        raise DataError(f"The study has {len(scores)} parts; at least 2 are needed, and 10 are usual.")
    if all(len(values) < 2 for of in scores.values() for values in of.values()):
        raise DataError(
            "No part was measured twice in one setting, so nothing is known of repeatability: give at least two images "
            "of each part, taken anew each time."
        )
    for part, of in scores.items():
        if missing := [setting for setting in settings if not of.get(setting)]:
            raise DataError(
                f"Part {part} has no score in the setting {missing[0]}; every part is measured in every setting. Add "
                "its images, or leave the part out."
            )
    return settings


def _one_setting(parts: Mapping[str, NDArray[np.float64]]) -> GaugeStudy:
    """One-way analysis with random parts; the number of measurements may differ."""
    counts = np.array([len(values) for values in parts.values()])
    means = np.array([values.mean() for values in parts.values()])
    n, degrees = int(counts.sum()), int(counts.sum() - len(counts))
    within = sum(float(((values - values.mean()) ** 2).sum()) for values in parts.values()) / degrees
    between = float((counts * (means - (counts * means).sum() / n) ** 2).sum()) / (len(counts) - 1)
    effective = (n - float((counts**2).sum()) / n) / (len(counts) - 1)
    return GaugeStudy(
        parts=len(counts),
        settings=1,
        repeats=int(counts.min()),
        repeatability=math.sqrt(within),
        repeatability_interval=deviation_interval(math.sqrt(within), degrees),
        degrees=degrees,
        setting=None,
        interaction=None,
        interaction_p=None,
        part=_root((between - within) / effective),
    )


def _crossed(values: NDArray[np.float64]) -> GaugeStudy:
    """Two-way analysis with random parts and settings: (P, S, R)."""
    from scipy.special import fdtrc  # as in thresholds

    parts, settings, repeats = values.shape
    cells = values.mean(axis=2)
    by_part, by_setting, mean = cells.mean(axis=1), cells.mean(axis=0), cells.mean()
    of_parts = settings * repeats * float(((by_part - mean) ** 2).sum())
    of_settings = parts * repeats * float(((by_setting - mean) ** 2).sum())
    crossing = repeats * float(((cells - by_part[:, None] - by_setting[None] + mean) ** 2).sum())
    within = float(((values - cells[..., None]) ** 2).sum())
    crossing_degrees, degrees = (parts - 1) * (settings - 1), parts * settings * (repeats - 1)
    crossed, error = crossing / crossing_degrees, within / degrees
    p = float(fdtrc(crossing_degrees, degrees, crossed / error)) if error else float(crossed == 0)
    interaction = 0.0
    if p > POOLED_ABOVE:
        degrees += crossing_degrees
        error = crossed = (within + crossing) / degrees
    else:
        interaction = _root((crossed - error) / repeats)
    return GaugeStudy(
        parts=parts,
        settings=settings,
        repeats=repeats,
        repeatability=math.sqrt(error),
        repeatability_interval=deviation_interval(math.sqrt(error), degrees),
        degrees=degrees,
        setting=_root((of_settings / (settings - 1) - crossed) / (parts * repeats)),
        interaction=interaction,
        interaction_p=p,
        part=_root((of_parts / (parts - 1) - crossed) / (settings * repeats)),
    )


def deviation_interval(deviation: float, degrees: int) -> Interval:
    """95 % interval of a standard deviation that was estimated with so many degrees of freedom."""
    from scipy.special import chdtri  # of the upper tail

    tail = (1 - CONFIDENCE) / 2
    return Interval(
        deviation * math.sqrt(degrees / float(chdtri(degrees, tail))),
        deviation * math.sqrt(degrees / float(chdtri(degrees, 1 - tail))),
    )


def degrees_needed(precision: float) -> int:
    """Degrees of freedom with which the upper end of :func:`deviation_interval` is at most ``1 + precision`` times the
    standard deviation. 10 parts measured 3 times in one setting have 20."""
    if not 0.01 <= precision <= 10:
        raise DataError(f"The precision is {precision}; allowed: 0.01 (1 %) to 10.")
    low, high = 1, 1
    while deviation_interval(1.0, high).high > 1 + precision:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if deviation_interval(1.0, middle).high > 1 + precision:
            low = middle + 1
        else:
            high = middle
    return low


def _root(variance: float) -> float:
    return math.sqrt(max(variance, 0.0))


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Whether scores of the same parts moved from round to round (shift to shift, day to day)."""

    shifts: tuple[float, ...]
    """Of each round: mean of its scores less that of all rounds."""
    limit: float
    """A round is out of control when its shift is beyond this, up or down: three standard errors of a shift."""
    p: float
    """Of the F test that rounds differ by no more than chance."""

    @property
    def out(self) -> tuple[int, ...]:
        """Indices of the rounds that are out of control."""
        return tuple(index for index, shift in enumerate(self.shifts) if abs(shift) > self.limit)


@dataclass(frozen=True, kw_only=True)
class Bias:
    """Scores less reference scores, one difference a part."""

    parts: int
    mean: float
    interval: Interval
    """95 %, by Student's t. There is a bias where it does not hold 0."""


def stability(values: NDArray[np.float64]) -> Stability:
    """Analyse the mean score of each part in each round, (P, R), two or more of both: parts and rounds add up, and what
    is left is chance."""
    from scipy.special import fdtrc

    parts, rounds = values.shape
    if parts < 2 or rounds < 2:
        raise DataError(f"There are {parts} parts in {rounds} rounds; stability needs at least 2 of both.")
    shifts = values.mean(axis=0) - values.mean()
    rest = values - values.mean(axis=1, keepdims=True) - shifts
    degrees = (parts - 1) * (rounds - 1)
    error = float((rest**2).sum()) / degrees
    between = parts * float((shifts**2).sum()) / (rounds - 1)
    return Stability(
        shifts=tuple(shifts.tolist()),
        limit=3 * math.sqrt(error * (1 - 1 / rounds) / parts),
        p=float(fdtrc(rounds - 1, degrees, between / error)) if error else float(between == 0),
    )


def bias(differences: Sequence[float]) -> Bias:
    """Mean difference to the reference and its interval; ``differences``: one a part, two or more."""
    from scipy.special import stdtrit

    if len(differences) < 2:
        raise DataError(f"{len(differences)} parts have a reference score; a bias needs at least 2.")
    values = np.array(differences, float)
    half = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    mean = float(values.mean())
    return Bias(parts=len(values), mean=mean, interval=Interval(mean - half, mean + half))
