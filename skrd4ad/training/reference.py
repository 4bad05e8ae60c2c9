"""Ranges in which a new image can be judged, from good images of the training alone, never from test images.

All sides of all ranges are given equal parts of ``refusal_rate``, so that together they refuse no more of the good
images than that. Each side leaves out a small share of all good images. A few hundred do not show so rare a value, so
the range ends where an exponential tail, fitted to the most extreme tenth (five images at least), reaches that share;
never inside what was seen; the fewer images, the wider. A tolerance that does no harm to a map is added, so that a
series of nearly equal images refuses no harmless difference.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from skrd4ad.data.dataset import decoding_pool
from skrd4ad.data.images.read import read_image
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.inference.feature_cache import FeatureCache
from skrd4ad.inference.reference import (
    EXPOSURE,
    FIGURES,
    Band,
    ImageStatistics,
    Reference,
    cosine_distance,
    image_statistics,
    pooled,
)
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Sample

DEFAULT_REFUSAL_RATE = 0.005
BATCH = 16

_SIDES = 12
"""Ends of ranges that can refuse an image by themselves: exposure counts as one figure; the likeness is one more."""
UNLIKE = 8.0
"""An image is unlike the training images beyond this many times their usual distance: a defect moves the pooled
features too, and must not be refused. On four real classes the farthest defect was at 7.1, other parts from 9.2 on."""
UNLIKE_AT_LEAST = 0.25
"""Cosine distance below which nothing is unlike: parts that all look the same lie too close for the rule above."""
ASPECT_TOLERANCE = 0.1
SMALLEST_SIDE = 0.5
"""Images with a shorter side of less than this share of the smallest training image lack what the model looks at."""
_RATIOS = ("contrast", "sharpness")
"""Figures that are compared as ratios; their tolerance is a share."""
_LOWER = (*EXPOSURE, "contrast", "sharpness", "green_red", "blue_yellow")
_UPPER = (*EXPOSURE, "dark", "bright", "noise", "green_red", "blue_yellow")


def make_reference(
    statistics: Sequence[ImageStatistics],
    embeddings: NDArray[np.floating],
    *,
    image_size: int,
    refusal_rate: float = DEFAULT_REFUSAL_RATE,
) -> Reference:
    """Reference from the figures of good images. ``embeddings``: (n, C), as :func:`pooled` gives them."""
    if not 0 < refusal_rate < 1:
        raise ConfigError(f"The refusal rate is {refusal_rate!r}; allowed: above 0, below 1 (0.005 is 0.5 %).")
    if not statistics or len(statistics) != len(embeddings):
        raise DataError(
            f"There are {len(statistics)} images and {len(embeddings)} embeddings; a reference needs at least one "
            "image, and one embedding each."
        )
    share = refusal_rate / _SIDES
    columns = {name: np.array([getattr(each, name) for each in statistics], float) for name in FIGURES}
    bands = {name: figure_band(name, values, share) for name, values in columns.items()}
    aspects = np.array([each.aspect for each in statistics])
    sides = np.array([min(each.width, each.height) for each in statistics], float)
    bands["aspect"] = seen_band(
        aspects, low=aspects.min() / (1 + ASPECT_TOLERANCE), high=aspects.max() * (1 + ASPECT_TOLERANCE)
    )
    bands["shorter_side"] = seen_band(sides, low=SMALLEST_SIDE * sides.min())
    directions = _directions(embeddings)
    distances = _distances_from_others(directions)
    bands["distance"] = seen_band(
        distances, high=max(upper_limit(distances, share), UNLIKE * float(np.median(distances)), UNLIKE_AT_LEAST)
    )
    return Reference(
        n=len(statistics),
        refusal_rate=refusal_rate,
        image_size=image_size,
        width=round(float(np.median([each.width for each in statistics]))),
        height=round(float(np.median([each.height for each in statistics]))),
        bands=bands,
        embedding=tuple(float(value) for value in directions.mean(axis=0)),
    )


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
    """Range of a figure of :class:`ImageStatistics`. ``values``: (n,), of good images.
    ``share``: of good images that may lie outside, at each side that the figure has."""
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


def cached_embeddings(caches: Iterable[FeatureCache | None]) -> NDArray[np.float32]:
    """Embeddings (n, C) of all images whose features are cached, in their order."""
    return np.concatenate(
        [
            pooled(cache.batch(indices)[-1])
            for cache in caches
            if cache is not None
            for indices in torch.arange(len(cache)).split(BATCH)
        ]
    )


def measure(samples: Sequence[Sample], *, image_size: int, task: Task = QUIET) -> list[ImageStatistics]:
    """Statistics of the images of samples, in their order."""
    found: list[ImageStatistics] = []
    with decoding_pool() as pool:
        for each in pool.map(lambda sample: image_statistics(read_image(sample.path), size=image_size), samples):
            found.append(each)
            task.check()
    return found


def _directions(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = embeddings.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def _distances_from_others(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each image from the mean of the others: from a mean that holds the image it would look too near."""
    if len(directions) < 2:
        return np.zeros(len(directions))
    others = (directions.sum(axis=0) - directions) / (len(directions) - 1)
    return np.array([cosine_distance(own, rest) for own, rest in zip(directions, others, strict=True)])
