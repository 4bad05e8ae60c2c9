"""What the training images look like, as ranges in which a new image can be judged: ``reference.json``.

The ranges come from good images of the training alone, never from test images. All sides of all ranges are given equal
parts of ``refusal_rate``, so that together they refuse no more of the good images than that.

Each side of a range is to leave out a small share of all good images. A few hundred do not show so rare a value, so
the range ends where an exponential tail, fitted to the most extreme tenth (five images at least), reaches that share;
never inside what was seen; the fewer images, the wider. A tolerance that does no harm to a map is added, so that a
series of nearly equal images refuses no harmless difference.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from skrd4ad import documents
from skrd4ad.data.dataset import decoding_pool
from skrd4ad.data.images.read import read_image
from skrd4ad.data.images.statistics import ImageStatistics, image_statistics
from skrd4ad.documents import Positive
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.files import write_json
from skrd4ad.inference.feature_cache import FeatureCache
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Sample

REFERENCE = "reference.json"
FORMAT = 1
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


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Ranges of the training images' figures."""

    n: Positive
    """Good images they come from."""
    refusal_rate: float
    """Share of good images that may be refused, all ranges together."""
    image_size: Positive
    """Side in pixels at which the figures are measured."""
    width: Positive
    """Median width in pixels of the training images' files."""
    height: Positive
    """Median height."""
    bands: dict[str, Band]
    """By the names of :class:`ImageStatistics`, and ``aspect``, ``shorter_side`` and ``distance``."""
    embedding: tuple[float, ...]
    """Mean of the training images' embeddings: coarsest teacher features, each of length 1."""

    def distance(self, embedding: NDArray[np.floating]) -> float:
        """Cosine distance, 0..2, of an image's embedding (C,) from that of the training images."""
        return _cosine_distance(embedding.astype(np.float64), np.asarray(self.embedding))


def make_reference(
    statistics: Sequence[ImageStatistics],
    embeddings: NDArray[np.floating],
    *,
    image_size: int,
    refusal_rate: float = DEFAULT_REFUSAL_RATE,
) -> Reference:
    """Reference from the figures of good images.

    ``embeddings``: (n, C), as :func:`pooled` gives them.
    """
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
    """Range of a figure of :class:`skrd4ad.data.images.statistics.ImageStatistics`.

    ``values``: (n,), of good images. ``share``: of good images that may lie outside, at each side that the figure has.
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


def pooled(features: torch.Tensor) -> NDArray[np.float32]:
    """Embeddings (B, C) of images from the teacher's coarsest features (B, C, h, w): their mean over the image."""
    return features.float().mean(dim=(2, 3)).cpu().numpy()


def cached_embeddings(caches: Iterable[FeatureCache | None]) -> NDArray[np.float32]:
    """Embeddings (n, C) of all images whose features are cached, in their order."""
    return np.concatenate(
        [
            pooled(cache.batch(places)[-1])
            for cache in caches
            if cache is not None
            for places in torch.arange(len(cache)).split(BATCH)
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


def save_reference(folder: Path, reference: Reference) -> None:
    """Write ``reference.json`` into a model folder."""
    rounded = replace(reference, embedding=tuple(round(value, 6) for value in reference.embedding))
    write_json(folder / REFERENCE, rounded, format=FORMAT)


def read_reference(folder: Path) -> Reference | None:
    """The reference of a model folder; None where there is none (imported and older models)."""
    path = folder / REFERENCE
    if not path.is_file():
        return None
    remedy = "Delete it or build the reference anew."
    found = documents.read(path, Reference, format=FORMAT, remedy=remedy)
    if missing := sorted({*FIGURES, "aspect", "shorter_side", "distance"} - set(found.bands)):
        raise documents.damaged(str(path), f"of the bands, {', '.join(missing)} are missing", remedy=remedy)
    return found


def _directions(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = embeddings.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def _distances_from_others(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each image from the mean of the others: from a mean that holds the image it would look too near."""
    if len(directions) < 2:
        return np.zeros(len(directions))
    others = (directions.sum(axis=0) - directions) / (len(directions) - 1)
    return np.array([_cosine_distance(own, rest) for own, rest in zip(directions, others, strict=True)])


def _cosine_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(1 - a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))
