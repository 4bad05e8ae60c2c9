"""The scores of a batch against the limits, as shapes that the template draws."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from skrd4ad.format import format_number
from skrd4ad.services.reports.collect import OUTCOMES, BatchReport, Outcome
from skrd4ad.services.reports.text import LOOKS, Point

WIDTH, HEIGHT = 500.0, 158.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 30.0, 492.0, 34.0, 104.0
_STRIP_TOP, _STRIP_BOTTOM = 132.0, 142.0
BINS = 44
LABEL_SIZE = 7.5
Tone = Outcome | Literal["text", "quiet", "grid"]


@dataclass(frozen=True, kw_only=True)
class Polygon:
    """A filled shape."""

    points: tuple[Point, ...]
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class ChartLine:
    """A straight line."""

    start: Point
    end: Point
    tone: Tone
    width: float = 0.6
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text on its base line."""

    at: Point
    text: str
    tone: Tone = "quiet"
    anchor: Literal["start", "middle", "end"] = "start"


Shape = Polygon | ChartLine | Label


def score_chart(report: BatchReport) -> tuple[Shape, ...]:
    """Histogram of the batch's scores with the limits, above the scores of the held-out good images.

    Shapes in a box of :data:`WIDTH` by :data:`HEIGHT` points, y downwards; none when no part has a score.
    """
    scored = [(part.outcome, part.score) for part in report.parts if part.score is not None]
    if not scored:
        return ()
    limits = _limits(report)
    held_out = () if report.calibration is None else report.calibration.scores
    low, high = _span([score for _, score in scored] + [limit for limit, _ in limits] + list(held_out))
    shapes: list[Shape] = [*_bars(scored, low, high), *_axis(low, high)]
    for row, (limit, text) in enumerate(limits):
        shapes += _limit(limit, text, row=row, low=low, high=high)
    shapes += _legend(scored)
    if held_out:
        for score in held_out:
            x = _x(score, low, high)
            shapes.append(ChartLine(start=(x, _STRIP_TOP), end=(x, _STRIP_BOTTOM), tone="OK", width=0.8))
        text = f"Held-out good images of the calibration ({len(held_out)})"
        shapes.append(Label(at=(_LEFT, _STRIP_BOTTOM + 10), text=text))
    return tuple(shapes)


def chart_text(report: BatchReport) -> str:
    """The chart in one sentence, for those who cannot see it."""
    scores = [part.score for part in report.parts if part.score is not None]
    if not scores:
        return "No part has a score."
    limits = "".join(f", {text}" for _, text in _limits(report))
    return f"Scores from {format_number(min(scores))} to {format_number(max(scores))}{limits}."


def _limits(report: BatchReport) -> list[tuple[float, str]]:
    review = {part.review_limit for part in report.parts if part.review_limit is not None}
    reject = {part.limit for part in report.parts if part.limit is not None}
    found = [(limit, f"review above {format_number(limit)}") for limit in sorted(review)]
    return found + [(limit, f"NG above {format_number(limit)}") for limit in sorted(reject)]


def _span(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def _x(score: float, low: float, high: float) -> float:
    return _LEFT + (score - low) / (high - low) * (_RIGHT - _LEFT)


def _bars(scored: list[tuple[Outcome, float]], low: float, high: float) -> list[Shape]:
    edges = np.linspace(low, high, BINS + 1)
    counts = {
        outcome: np.histogram([score for found, score in scored if found == outcome], edges)[0]
        for outcome in reversed(OUTCOMES)
    }
    tallest = int(np.sum(list(counts.values()), axis=0).max())
    unit = (_BOTTOM - _TOP) / tallest
    floor = np.zeros(BINS)
    width = (_RIGHT - _LEFT) / BINS
    shapes: list[Shape] = [
        ChartLine(start=(_LEFT, _TOP), end=(_RIGHT, _TOP), tone="grid"),
        Label(at=(_LEFT - 4, _TOP + 3), text=str(tallest), anchor="end"),
        Label(at=(_LEFT - 4, _BOTTOM), text="0", anchor="end"),
        Label(at=(_LEFT - 4, (_TOP + _BOTTOM) / 2 + 3), text="parts", anchor="end"),
    ]
    for outcome, count in counts.items():
        for index in np.flatnonzero(count):
            x0, x1 = _LEFT + index * width + 0.4, _LEFT + (index + 1) * width - 0.4
            y0 = _BOTTOM - floor[index] * unit
            y1 = y0 - count[index] * unit
            corners = tuple((float(x), float(y)) for x, y in ((x0, y0), (x0, y1), (x1, y1), (x1, y0)))
            shapes.append(Polygon(points=corners, tone=outcome))
        floor += count
    return shapes


def _axis(low: float, high: float) -> list[Shape]:
    shapes: list[Shape] = [ChartLine(start=(_LEFT, _BOTTOM), end=(_RIGHT, _BOTTOM), tone="quiet")]
    step = _round_step((high - low) / 8)
    for tick in range(math.ceil(low / step), math.floor(high / step) + 1):
        x = _x(tick * step, low, high)
        shapes.append(ChartLine(start=(x, _BOTTOM), end=(x, _BOTTOM + 3), tone="quiet"))
        shapes.append(Label(at=(x, _BOTTOM + 12), text=f"{tick * step:.6g}", anchor="middle"))
    shapes.append(Label(at=(_RIGHT, _BOTTOM + 22), text="image score", anchor="end"))
    return shapes


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough)


def _limit(limit: float, text: str, *, row: int, low: float, high: float) -> list[Shape]:
    x = _x(limit, low, high)
    review = text.startswith("review")
    # each limit has a row of its own, and its words stay inside the chart
    y = _TOP - 10 + 8.5 * (row % 2)
    right = x < (_LEFT + _RIGHT) / 2 if not review else x < _LEFT + 80
    return [
        ChartLine(
            start=(x, y - 6), end=(x, _STRIP_BOTTOM), tone="REVIEW" if review else "NG", width=1.1, dashed=review
        ),
        Label(at=(x + 3 if right else x - 3, y), text=text, tone="text", anchor="start" if right else "end"),
    ]


def _legend(scored: list[tuple[Outcome, float]]) -> list[Shape]:
    shapes: list[Shape] = []
    x = _LEFT
    for outcome in OUTCOMES:
        count = sum(1 for found, _ in scored if found == outcome)
        if not count:
            continue
        points = tuple((x + 7 * px, 3 + 7 * py) for px, py in LOOKS[outcome].shape)
        text = f"{outcome} {count}"
        shapes += [Polygon(points=points, tone=outcome), Label(at=(x + 10, 9.5), text=text, tone="text")]
        x += 22 + 4.6 * len(text)
    return shapes
