"""Ranges in which a new image can be judged, from good images of the training alone, never from test images.

All sides of all ranges are given equal parts of ``refusal_rate``, so that together they refuse no more of the good
images than that; :mod:`skrd4ad.training.ranges` says where they end. A tolerance that does no harm to a map is added,
so that a series of nearly equal images refuses no harmless difference.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from skrd4ad.data.dataset import decoding_pool
from skrd4ad.data.images.model_input import model_input
from skrd4ad.data.images.read import read_image
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.inference.bands import Band
from skrd4ad.inference.feature_cache import FeatureCache
from skrd4ad.inference.network import pooled
from skrd4ad.inference.placement import RGB, SIDE, Place, place_of_part, thumbnail_of
from skrd4ad.inference.reference import (
    EXPOSURE,
    FIGURES,
    ImageStatistics,
    Reference,
    cosine_distance,
    image_statistics,
)
from skrd4ad.task import QUIET, Task
from skrd4ad.training.placement import SIDES, fit_part_placement, fit_placement
from skrd4ad.training.ranges import seen_band, upper_limit
from skrd4ad.types import Alignment, ImageSize, Levels, Sample

DEFAULT_REFUSAL_RATE = 0.005
BATCH = 16

_SIDES = 12
"""Ends of ranges that can refuse an image by themselves: exposure counts as one figure; the likeness is one more. Those
of the placement come on top where it is measured."""
MOST_PLACED = 2000
"""Training images, evenly spread, that say how the part lies: more say no more, and each is kept in memory."""
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
    image_size: ImageSize,
    thumbnails: NDArray[np.uint8] | None = None,
    places: Sequence[Place] = (),
    refusal_rate: float = DEFAULT_REFUSAL_RATE,
) -> Reference:
    """Reference from the figures of good images. ``embeddings``: (n, C), as :func:`pooled` gives them. ``thumbnails``:
    (m, 64, 64, 3) RGB of the images or some of them; without them nothing is said of how the part lies. ``places``: of
    the parts that the images were aligned to, in their place."""
    if not 0 < refusal_rate < 1:
        raise ConfigError(f"The refusal rate is {refusal_rate!r}; allowed: above 0, below 1 (0.005 is 0.5 %).")
    if not statistics or len(statistics) != len(embeddings):
        raise DataError(
            f"There are {len(statistics)} images and {len(embeddings)} embeddings; a reference needs at least one "
            "image, and one embedding each."
        )

    def each(sides: int) -> float:
        return refusal_rate / (_SIDES + sides)

    placement = None
    if places:
        placement = fit_part_placement(places, share=each)
    elif thumbnails is not None:
        placement = fit_placement(thumbnails, share=each)
    share = refusal_rate / (_SIDES + (0 if placement is None else SIDES[placement.kind]))
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
        placement=placement,
    )


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


def measure(
    samples: Sequence[Sample],
    *,
    image_size: ImageSize,
    levels: Levels | None = None,
    alignment: Alignment | None = None,
    task: Task = QUIET,
) -> tuple[list[ImageStatistics], NDArray[np.uint8], list[Place]]:
    """Statistics of the images of samples, in their order, thumbnails (m, 64, 64, 3) of up to ``MOST_PLACED`` of them,
    and the places of the parts that they were aligned to."""
    placed = set(np.linspace(0, len(samples) - 1, min(len(samples), MOST_PLACED)).astype(int).tolist())

    def measured(index: int, sample: Sample) -> tuple[ImageStatistics, RGB | None, Place | None]:
        image = read_image(sample.path, levels=levels)
        seen, aligned = model_input(image, image_size, alignment)
        statistics = image_statistics(image, size=image_size, resized=seen)
        place = None if aligned is None else place_of_part(aligned)
        return statistics, thumbnail_of(seen) if index in placed else None, place

    found: list[ImageStatistics] = []
    thumbnails: list[RGB] = []
    places: list[Place] = []
    with decoding_pool() as pool:
        for statistics, thumbnail, place in pool.map(measured, range(len(samples)), samples):
            found.append(statistics)
            if thumbnail is not None:
                thumbnails.append(thumbnail)
            if place is not None:
                places.append(place)
            task.check()
    return found, np.array(thumbnails, np.uint8).reshape(-1, SIDE, SIDE, 3), places


def _directions(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = embeddings.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def _distances_from_others(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each image from the mean of the others: from a mean that holds the image it would look too near."""
    if len(directions) < 2:
        return np.zeros(len(directions))
    others = (directions.sum(axis=0) - directions) / (len(directions) - 1)
    return np.array([cosine_distance(own, rest) for own, rest in zip(directions, others, strict=True)])
