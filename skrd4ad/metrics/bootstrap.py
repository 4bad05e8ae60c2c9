"""95 % intervals by resampling the images of a test set, and paired differences of two models on the same images.

An image is drawn with all of its pixels, because the pixels of one image are not independent. The draws are stratified:
every replicate has as many good and as many defective images as the test set, drawn with replacement among its own
kind. An interval is that of the percentiles 2.5 and 97.5 over the replicates. It says how far a figure would move with
other test images of the same kinds; it knows nothing of another training, another line, or defects never seen.

Image metrics, and AUPRO by the paper's protocol, are exact in every replicate; the other pixel metrics are counted in
bins (:mod:`skrd4ad.metrics.replicates`), and ``bin_errors`` bound what that can shift. Point estimates never are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.evaluation import Metrics, require_consistent
from skrd4ad.metrics.replicates import (
    IMAGE_NAMES,
    PIXEL_NAMES,
    PixelTables,
    count_pixels,
    draw_image_figures,
    draw_pixel_figures,
)
from skrd4ad.task import QUIET, Task
from skrd4ad.types import EvaluationSet

REPLICATES = 1000
SEED = 111
CONFIDENCE = 0.95
_CELLS = 1 << 18
"""Numbers in a temporary array: replicates are made in parts, so that memory stays small."""

METRIC_NAMES = (*IMAGE_NAMES, *PIXEL_NAMES)
"""Figures of :class:`skrd4ad.metrics.evaluation.Metrics` that have intervals."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Intervals of every figure of one model on one test set."""

    intervals: dict[str, Interval | None]
    """By the names of ``METRIC_NAMES``; None where the figure is undefined, where there are fewer than two images of a
    kind to draw from, or where it is undefined in more than one of twenty replicates."""
    by_type: dict[str, dict[str, Interval | None]]
    """The same for each type of defect against all good images, both drawn among themselves."""
    replicates: int
    seed: int
    bin_errors: dict[str, float]
    """By name: in 19 of 20 replicates a figure is off by no more than this because pixels are counted between
    thresholds. An upper bound; 0 for figures that are exact or undefined."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """One figure of two models on the same images."""

    a: float | None
    b: float | None
    difference: float | None
    """``b`` less ``a``, exact: above 0 the second model is better. None when either is undefined."""
    interval: Interval | None
    """Of the difference, both models measured on the same images in every replicate."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high


def resamples(labels: NDArray[np.int64], *, replicates: int = REPLICATES, seed: int = SEED) -> NDArray[np.int64]:
    """How often every image is drawn in every replicate: (replicates, N); good and defective images each among
    themselves, so the sums over each kind are always its number of images."""
    if replicates < 1:
        raise ConfigError(f"{replicates} replicates were asked for; allowed: 1 or more (1000 is usual).")
    rng = np.random.default_rng(seed)
    draws = np.zeros((replicates, len(labels)), np.int64)
    for label in (0, 1):
        indices = np.flatnonzero(labels == label)
        if n := indices.size:
            draws[:, indices] = rng.multinomial(n, np.full(n, 1 / n), size=replicates)
    return draws


def bootstrap(data: EvaluationSet, *, replicates: int = REPLICATES, seed: int = SEED, task: Task = QUIET) -> Bootstrap:
    """95 % intervals of every figure of a test set; the same seed gives the same intervals."""
    require_consistent(data)
    types = {
        name: (data.labels == 0) | (np.array(data.defect_types) == name)
        for name in sorted({t for t, label in zip(data.defect_types, data.labels, strict=True) if label == 1})
    }
    advance = _counter(task, replicates * (1 + len(types)))
    draws = resamples(data.labels, replicates=replicates, seed=seed)
    advance(0)
    tables = task.beside(lambda: count_pixels(data))
    advance(0)
    found = _replicate(data, tables, draws, advance=advance)
    by_type = {}
    for name, chosen in types.items():
        if chosen.all():  # there is one type: what was drawn are all its images
            by_type[name] = found.intervals
            advance(replicates)
            continue
        draws = np.zeros_like(draws)
        draws[:, chosen] = resamples(data.labels[chosen], replicates=replicates, seed=seed)
        by_type[name] = _replicate(data, tables, draws, advance=advance).intervals
    return Bootstrap(
        intervals=found.intervals,
        by_type=by_type,
        replicates=replicates,
        seed=seed,
        bin_errors={
            name: float(np.nanquantile(found.bounds[:, column], CONFIDENCE)) if name in found.enough else 0.0
            for column, name in enumerate(METRIC_NAMES)
        },
    )


def paired_differences(
    a: EvaluationSet,
    b: EvaluationSet,
    *,
    metrics_a: Metrics,
    metrics_b: Metrics,
    replicates: int = REPLICATES,
    seed: int = SEED,
    task: Task = QUIET,
) -> dict[str, PairedDifference]:
    """Differences of two models on the same images, with 95 % intervals, by the names of ``METRIC_NAMES``. ``a`` and
    ``b`` hold the same images in the same order; their maps may differ in size. The differences are those of the exact
    ``metrics_a`` and ``metrics_b``."""
    for data in (a, b):
        require_consistent(data)
    if not np.array_equal(a.labels, b.labels):
        raise DataError(
            f"The labels of the two test sets differ ({len(a.labels)} and {len(b.labels)} images); paired differences "
            "need the same images in the same order."
        )
    draws = resamples(a.labels, replicates=replicates, seed=seed)
    advance = _counter(task, 2 * replicates)
    advance(0)
    first, second = (
        _replicate(data, task.beside(partial(count_pixels, data)), draws, advance=advance) for data in (a, b)
    )
    shift = second.figures - first.figures
    enough = first.enough & second.enough
    found = {}
    for column, name in enumerate(METRIC_NAMES):
        value_a, value_b = getattr(metrics_a, name), getattr(metrics_b, name)
        known = value_a is not None and value_b is not None
        found[name] = PairedDifference(
            a=value_a,
            b=value_b,
            difference=value_b - value_a if known else None,
            interval=_interval(shift[:, column]) if known and name in enough else None,
        )
    return found


def _counter(task: Task, total: int) -> Callable[[int], None]:
    """Adds to the replicates that are done, reports them, and asks whether to stop."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        task.report(done, total)

    return advance


@dataclass(frozen=True, eq=False)
class _Replicates:
    figures: NDArray[np.float64]
    """(R, 9), as ``METRIC_NAMES``; NaN where undefined."""
    bounds: NDArray[np.float64]
    """(R, 9): how far each may be off because of the bins."""
    enough: frozenset[str]
    """Figures with at least two images of a kind to draw from."""

    @property
    def intervals(self) -> dict[str, Interval | None]:
        """By the names of ``METRIC_NAMES``."""
        return {
            name: _interval(self.figures[:, column]) if name in self.enough else None
            for column, name in enumerate(METRIC_NAMES)
        }


def _replicate(
    data: EvaluationSet, tables: PixelTables | None, draws: NDArray[np.int64], *, advance: Callable[[int], None]
) -> _Replicates:
    """Figures of each row of draws; an image that no row draws is not there."""
    figures = np.full((len(draws), len(METRIC_NAMES)), np.nan)
    bounds = np.zeros_like(figures)
    n_columns = max(len(data.labels), 0 if tables is None else tables.free.shape[1], 1)
    at_once = max(_CELLS // n_columns, 1)
    first_pixel = len(METRIC_NAMES) - len(PIXEL_NAMES)
    for start in range(0, len(draws), at_once):
        part = slice(start, start + at_once)
        figures[part, :first_pixel] = draw_image_figures(data.labels, data.scores, draws[part])
        if tables is not None:
            figures[part, first_pixel:], bounds[part, first_pixel:] = draw_pixel_figures(tables, draws[part])
        advance(len(draws[part]))
    there = draws.sum(axis=0) > 0
    n_good, n_defect = (int(np.sum((data.labels == label) & there)) for label in (0, 1))
    enough = set(IMAGE_NAMES) if min(n_good, n_defect) >= 2 else set()
    if tables is not None:
        masked = there[tables.masked]
        if masked.sum() >= 2 and n_good != 1:
            enough |= set(PIXEL_NAMES) - {"aupro_paper"}
        if np.count_nonzero(masked & ~np.isnan(tables.paper)) >= 2:
            enough.add("aupro_paper")
    return _Replicates(figures, bounds, frozenset(enough))


def _interval(values: NDArray[np.float64]) -> Interval | None:
    defined = values[~np.isnan(values)]
    if defined.size < CONFIDENCE * values.size:
        return None
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))
