"""Scores in the order of the parts: a control chart whose limits come from the calibration, and an alarm for drift.

Scores are skewed, so nothing here is a mean with three standard deviations. The centre line and the usual range are
quantiles of the held-out good scores. For drift, every accepted part is placed among the held-out good scores: its
rank, as a normal score, enters an exponentially weighted moving average (EWMA). Ranks do not depend on how scores are
distributed, so one simulation of ranks gives the limit of that average for every model, and it counts in that few
held-out images describe good parts only roughly. The alarm is one-sided: scores that fall reject no good part.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from skrd4ad.errors import DataError
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.types import Verdict

WEIGHT = 0.1
"""Of the newest part in the moving average."""
FALSE_ALARM_RATE = 0.05
"""Share of runs of :data:`HORIZON` good parts in which the drift alarm sounds although nothing has changed."""
HORIZON = 1000
USUAL = (0.05, 0.95)
"""Quantiles of the held-out good scores between which nine of ten good parts lie."""
FEWEST = 10
"""Held-out good scores below which no drift can be told from chance."""
REJECTS_IN_A_ROW = 12
"""Rejected parts in a row that are an alarm of their own: while every tenth part is rejected, chance gives that once in
10^12 parts, and while every third is, once in 800 000."""
_SIMULATED = 4000

AlarmKind = Literal["drift", "rejects"]


@dataclass(frozen=True, kw_only=True)
class ControlPoint:
    """One part in the order of time."""

    index: int
    """Place in the order, from 0; parts without a score keep theirs."""
    name: str
    score: float
    verdict: Verdict
    average: float | None
    """Score at which the moving average of the accepted parts stands after this part, on the scale of the held-out good
    scores; None before the first accepted part, and where drift is not watched."""


@dataclass(frozen=True)
class Alarm:
    """A stretch of parts that does not look like the calibration."""

    kind: AlarmKind
    start: int
    """Index of the part from which on the scores are high."""
    raised: int
    end: int
    ongoing: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class ControlChart:
    """A control chart of single parts."""

    points: tuple[ControlPoint, ...]
    image_threshold: float
    review_threshold: float | None
    centre: float | None
    """Median of the held-out good scores; None without them."""
    usual: tuple[float, float] | None
    drift_limit: float | None
    """The moving average is an alarm above this; None when drift is not watched."""
    alarms: tuple[Alarm, ...]
    note: str
    """How to read it: what the limits are, and the false-alarm rate or why drift is not watched."""


def trend(scores: Sequence[float | None], calibration: Calibration, *, names: Sequence[str] = ()) -> ControlChart:
    """Control chart of the parts of one calibration.

    ``scores`` are those that verdicts are made with, oldest first; None where a part has none, or was refused.
    ``names`` is empty, or as long.
    """
    if names and len(names) != len(scores):
        raise DataError(f"There are {len(names)} names for {len(scores)} scores; give one for each, or none.")
    seen = [(index, float(score)) for index, score in enumerate(scores) if score is not None]
    if wrong := [index for index, score in seen if not math.isfinite(score)]:
        raise DataError(f"The scores at the places {wrong[:5]} are not finite numbers; leave such parts out as None.")
    verdicts = [calibration.verdict(score) for _, score in seen]
    held_out = np.sort(np.asarray(calibration.scores, np.float64))
    watched = held_out.size >= FEWEST
    levels = _levels([score for _, score in seen], verdicts, held_out) if watched else [None] * len(seen)
    top = int(np.searchsorted(held_out, calibration.image_threshold))
    limit = drift_limit(held_out.size, top=top) if watched else None
    averages = _as_scores([0.0 if level is None else level for level in levels], held_out) if watched else []
    points = tuple(
        ControlPoint(
            index=index,
            name=names[index] if names else f"part {index + 1}",
            score=score,
            verdict=verdict,
            average=None if levels[number] is None else averages[number],
        )
        for number, ((index, score), verdict) in enumerate(zip(seen, verdicts, strict=True))
    )
    low, high = np.quantile(held_out, USUAL) if held_out.size else (math.nan, math.nan)
    alarms = [*([] if limit is None else _drifts(points, levels, limit)), *_rejects(points)]
    return ControlChart(
        points=points,
        image_threshold=calibration.image_threshold,
        review_threshold=calibration.review_threshold,
        centre=float(np.median(held_out)) if held_out.size else None,
        usual=(float(low), float(high)) if held_out.size else None,
        drift_limit=None if limit is None else _as_scores([limit], held_out)[0],
        alarms=tuple(sorted(alarms, key=lambda alarm: alarm.raised)),
        note=_note(held_out.size),
    )


@lru_cache(maxsize=64)
def drift_limit(n: int, *, top: int) -> float:
    """Limit of the moving average of normal scores, for ``n`` held-out good scores of which ``top`` are not rejected.

    The highest average that :data:`HORIZON` good parts reach stays below it in all but :data:`FALSE_ALARM_RATE` of
    simulated runs, each with held-out scores of its own. Rejected parts do not enter the average.
    """
    random = np.random.default_rng([n, top])
    average, highest = np.zeros(_SIMULATED), np.full(_SIMULATED, -np.inf)
    # where good parts fall among n held-out ones: the spacings of n uniform numbers, whatever the scores look like
    held_out = np.sort(random.random((_SIMULATED, n)), axis=1)
    stream = random.random((_SIMULATED, HORIZON))
    below = np.stack([np.searchsorted(row, parts) for row, parts in zip(held_out, stream, strict=True)])
    normal = ndtri((np.arange(n + 1) + 0.5) / (n + 1))
    for step in range(HORIZON):
        rank = below[:, step]
        average += np.where(rank <= top, WEIGHT * (normal[rank] - average), 0.0)
        np.maximum(highest, average, out=highest)
    return float(np.quantile(highest, 1 - FALSE_ALARM_RATE))


def _levels(scores: Sequence[float], verdicts: Sequence[Verdict], held_out: NDArray[np.float64]) -> list[float | None]:
    """The moving average of normal scores after each part; rejected parts leave it as it is."""
    low, high = np.searchsorted(held_out, scores, side="left"), np.searchsorted(held_out, scores, side="right")
    # a score equal to held-out ones lies in the middle of them
    normal = ndtri(((low + high) / 2 + 0.5) / (held_out.size + 1))
    found: list[float | None] = []
    average: float | None = None
    for value, verdict in zip(normal, verdicts, strict=True):
        if verdict != "NG":
            before = average or 0.0
            average = before + WEIGHT * (float(value) - before)
        found.append(average)
    return found


def _as_scores(levels: Sequence[float], held_out: NDArray[np.float64]) -> list[float]:
    """Normal scores as the scores at the same quantiles of the held-out ones."""
    return [float(score) for score in np.quantile(held_out, ndtr(levels))]


def _drifts(points: Sequence[ControlPoint], levels: Sequence[float | None], limit: float) -> Iterator[Alarm]:
    for first, last in _runs([level is not None and level > limit for level in levels]):
        # the drift is older than its alarm: it began when the average was last where good parts have it
        start = first
        while start > 0 and (levels[start - 1] or 0.0) > 0:
            start -= 1
        accepted = sum(point.verdict != "NG" for point in points[start : last + 1])
        if last == len(points) - 1:
            text = f"The last {accepted} good parts score"
        else:
            numbers = f"{points[start].index + 1} to {points[last].index + 1}"
            text = f"{accepted} good parts, from number {numbers}, scored"
        text += " higher than the calibration's: light, focus or dirt may have changed."
        yield _alarm("drift", points, start, first, last, text)


def _rejects(points: Sequence[ControlPoint]) -> Iterator[Alarm]:
    for first, last in _runs([point.verdict == "NG" for point in points]):
        if (count := last - first + 1) < REJECTS_IN_A_ROW:
            continue
        parts = f"{count} parts in a row, from number {points[first].index + 1},"
        if last == len(points) - 1:
            parts = f"The last {count} parts"
        text = f"{parts} were all rejected: look at the camera, the light and the part type before the parts."
        yield _alarm("rejects", points, first, first + REJECTS_IN_A_ROW - 1, last, text)


def _alarm(kind: AlarmKind, points: Sequence[ControlPoint], start: int, raised: int, last: int, text: str) -> Alarm:
    begin, sounded, end = (points[each].index for each in (start, raised, last))
    return Alarm(kind, begin, sounded, end, ongoing=last == len(points) - 1, text=text)


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last index of every stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, np.int8), [0]])))
    return [(int(first), int(last) - 1) for first, last in edges.reshape(-1, 2)]


def _note(n: int) -> str:
    if n == 0:
        return "This calibration holds no scores of good images, so there is no centre line and drift is not watched."
    lines = (
        f"Centre: median of {n} held-out good images. Usual range: their {USUAL[0]:.0%} and {USUAL[1]:.0%} quantiles."
    )
    if n < FEWEST:
        return f"{lines} Drift is not watched: that takes at least {FEWEST} held-out good images."
    return (
        f"{lines} Drift: moving average of accepted parts, weight {WEIGHT:g}; "
        f"a false alarm in {FALSE_ALARM_RATE:.0%} of runs of {HORIZON} good parts."
    )
