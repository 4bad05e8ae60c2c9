"""Intervals of this package against the naive way, on the same draws and maps made here. From the project's folder::

    python -m benchmarks.bootstrap                                speed and agreement, 30 maps of 128x128
    python -m benchmarks.bootstrap --images 100 --side 256 --replicates 1000 --naive 2

The naive way puts the drawn images together and measures them with the exact metrics, replicate by replicate. It makes
only ``--naive`` replicates; the ratio is of seconds for each replicate. Counting the pixels once, which this package
does before the first replicate, is part of its time. Both ways take turns for ``--rounds`` rounds; the median counts.
"""

import argparse
import statistics
import time

import numpy as np

from benchmarks.aupro import make_test_set
from skrd4ad.metrics.bootstrap import METRIC_NAMES, resamples
from skrd4ad.metrics.evaluation import evaluate
from skrd4ad.metrics.replicates import IMAGE_NAMES, count_pixels, draw_image_figures, draw_pixel_figures
from skrd4ad.types import EvaluationSet

PART = 64
"""Replicates that are made at once."""


def test_set(images: int, side: int) -> EvaluationSet:
    """Maps with masks; an image is a defect when its mask has pixels."""
    maps, masks = make_test_set(images, side)
    labels = masks.any(axis=(1, 2)).astype(np.int64)
    return EvaluationSet(
        labels=labels,
        scores=maps.max(axis=(1, 2)),
        defect_types=tuple("defect" if label else "good" for label in labels),
        maps=maps,
        masks=masks,
        has_mask=np.ones(images, bool),
    )


def counted(data: EvaluationSet, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """This package: figures of the replicates, and how far each may be off."""
    tables = count_pixels(data)
    assert tables is not None
    figures, bounds = [], []
    for start in range(0, len(draws), PART):
        part = draws[start : start + PART]
        pixel_figures, pixel_bounds = draw_pixel_figures(tables, part)
        figures.append(np.hstack([draw_image_figures(data.labels, data.scores, part), pixel_figures]))
        bounds.append(np.hstack([np.zeros((len(part), len(IMAGE_NAMES))), pixel_bounds]))
    return np.vstack(figures), np.vstack(bounds)


def pooled_again(data: EvaluationSet, draws: np.ndarray) -> np.ndarray:
    """The naive way: every replicate is a test set of its own, with all its pixels put in order."""
    assert data.maps is not None and data.masks is not None
    figures = []
    for times in draws:
        places = np.repeat(np.arange(len(times)), times)
        metrics = evaluate(
            EvaluationSet(
                labels=data.labels[places],
                scores=data.scores[places],
                defect_types=tuple(data.defect_types[place] for place in places),
                maps=data.maps[places],
                masks=data.masks[places],
                has_mask=data.has_mask[places],
            )
        )
        figures.append([getattr(metrics, name) for name in METRIC_NAMES])
    return np.array(figures, np.float64)


def measure(images: int, side: int, replicates: int, naive: int, rounds: int) -> None:
    data = test_set(images, side)
    draws = resamples(data.labels, replicates=replicates)
    ours, theirs = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        fast, bounds = counted(data, draws)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        exact = pooled_again(data, draws[:naive])
        theirs.append(time.perf_counter() - start)
    fast_seconds, naive_seconds = statistics.median(ours), statistics.median(theirs)
    off, bound = np.abs(fast[:naive] - exact).max(axis=0), bounds.max(axis=0)
    print(f"{images} maps of {side}x{side}, median of {rounds} rounds")
    print(f"  this package   {replicates:5d} replicates {fast_seconds:9.3f} s")
    print(f"  naive          {naive:5d} replicates {naive_seconds:9.3f} s")
    print(f"  naive / this package, for each replicate {(naive_seconds / naive) / (fast_seconds / replicates):8.1f}")
    print(f"  {'':16}{'largest difference':>20}{'stated bound':>16}   on the same {naive} draws")
    for name, difference, most in zip(METRIC_NAMES, off, bound, strict=True):
        print(f"  {name:16}{difference:20.2e}{most:16.2e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--naive", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    measure(given.images, given.side, given.replicates, given.naive, given.rounds)


if __name__ == "__main__":
    main()
