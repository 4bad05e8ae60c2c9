"""What good images look like to camera and teacher (``reference.json``), and whether another image is like them.

Figures of light, focus, noise, colour and size are measured at the size the model sees, so that a larger photograph of
the same part gives the same ones. They are medians and quantiles: a defect of a tenth of the image moves them little,
the camera and the lamps change all of it. A refusal stands beside the verdict and does not change it; how the ranges
are set, and what they promise, is in :mod:`skrd4ad.training.reference`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad import documents
from skrd4ad.data.images.find_part import AlignedImage
from skrd4ad.data.images.read import resize_image
from skrd4ad.documents import Positive, StoredSize
from skrd4ad.files import write_json
from skrd4ad.inference.bands import Band
from skrd4ad.inference.placement import Placement, thumbnail_of
from skrd4ad.model_folder.info import REFERENCE
from skrd4ad.types import ImageSize, height_width

FORMAT = 1

CLIPPED = 2
"""Grey levels from either end of the range that count as clipped."""
FINE, COARSE = 1.0, 2.0
"""Sigmas, in pixels, of the two scales that sharpness compares. The finer one already takes most of the sensor's noise
away, which would otherwise make an unsharp image look sharp."""
_GRAIN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Difference of two Laplacians: flat areas, slopes and straight edges give nearly 0, noise of sigma s gives 6 s."""
_LOWER_HALF = 0.3247
"""Mean of the lower half of the absolute values of a standard normal distribution."""

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
_CAUSES: dict[tuple[str, int], tuple[str, str]] = {
    ("dark", 1): ("under-exposed", "black pixels"),
    ("bright", 1): ("over-exposed", "white pixels"),
    ("contrast", -1): ("too little contrast", "contrast"),
    ("sharpness", -1): ("out of focus", "sharpness"),
    ("noise", 1): ("too noisy", "noise"),
    ("green_red", -1): ("wrong colour, too green", "green to red"),
    ("green_red", 1): ("wrong colour, too red", "green to red"),
    ("blue_yellow", -1): ("wrong colour, too blue", "blue to yellow"),
    ("blue_yellow", 1): ("wrong colour, too yellow", "blue to yellow"),
    ("aspect", -1): ("wrong shape", "width over height"),
    ("aspect", 1): ("wrong shape", "width over height"),
    ("shorter_side", -1): ("too small", "shorter side"),
}
"""Why a figure lies below (-1) or above (1) its range, and the title of the figure."""


@dataclass(frozen=True)
class ImageStatistics:
    """Figures of one image."""

    width: int
    height: int
    shadows: float
    """Grey level below which a tenth of the pixels lie, 0..255."""
    brightness: float
    lights: float
    """Grey level above which a tenth of the pixels lie."""
    dark: float
    """Share of pixels that are black, 0..1."""
    bright: float
    """Share of pixels that are white, 0..1."""
    contrast: float
    sharpness: float
    """Strength of the edges at a fine scale in percent of that at twice the scale. Blur takes the fine scale first,
    whatever the contrast and however many edges there are."""
    noise: float
    """Standard deviation of the finest grain in grey levels, from the evener half of the image."""
    green_red: float
    """Median a of CIELAB: below 0 green, above 0 red."""
    blue_yellow: float
    """Median b of CIELAB: below 0 blue, above 0 yellow."""

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Ranges of the training images' figures."""

    n: Positive
    """Good images they come from."""
    refusal_rate: float
    """Share of good images that may be refused, all ranges together."""
    image_size: StoredSize
    """Pixels at which the figures are measured."""
    width: Positive
    """Median width in pixels of the training images' files."""
    height: Positive
    bands: dict[str, Band]
    """By the names of :class:`ImageStatistics`, and ``aspect``, ``shorter_side`` and ``distance``."""
    embedding: tuple[float, ...]
    """Mean of the training images' embeddings: coarsest teacher features, each of length 1."""
    placement: Placement | None = None
    """How the part lies in the training images; None in models of before it was measured."""

    def distance(self, embedding: NDArray[np.floating]) -> float:
        """Cosine distance, 0..2, of an image's embedding (C,) from that of the training images."""
        return cosine_distance(embedding.astype(np.float64), np.asarray(self.embedding))


def image_statistics(
    image: NDArray[np.uint8], *, size: ImageSize, resized: NDArray[np.uint8] | None = None
) -> ImageStatistics:
    """Statistics of an image (H, W, 3) RGB; ``resized`` is what the model sees of it, of ``size``, if it is at hand."""
    seen = seen_by_model(image, size, resized)
    colours = seen.astype(np.float32) / 255
    grey = np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY) * 255, np.float32)
    shadows, brightness, lights = (float(level) for level in np.quantile(grey, (0.1, 0.5, 0.9)))
    grain = np.abs(cv2.filter2D(grey, cv2.CV_32F, _GRAIN)[1:-1, 1:-1]).ravel()
    fine, coarse = (
        float(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), sigma), cv2.CV_32F).std()) for sigma in (FINE, COARSE)
    )
    lab = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)
    return ImageStatistics(
        width=image.shape[1],
        height=image.shape[0],
        shadows=shadows,
        brightness=brightness,
        lights=lights,
        dark=float((grey <= CLIPPED).mean()),
        bright=float((grey >= 255 - CLIPPED).mean()),
        contrast=float(grey.std()),
        # an even surface has no edges to judge by; what is left there is rounding
        sharpness=100 * fine / coarse if coarse > 1e-3 else 0.0,
        noise=float(np.partition(grain, grain.size // 2)[: grain.size // 2].mean()) / (6 * _LOWER_HALF),
        green_red=float(np.median(lab[..., 1])),
        blue_yellow=float(np.median(lab[..., 2])),
    )


def seen_by_model(
    image: NDArray[np.uint8], size: ImageSize, resized: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """The image (H, W, 3) at a size; ``resized`` where it is that already."""
    if resized is not None and resized.shape[:2] == height_width(size):
        return resized
    return image if image.shape[:2] == height_width(size) else resize_image(image, size)


def refusal_of(
    image: NDArray[np.uint8],
    embedding: NDArray[np.floating] | None,
    reference: Reference,
    *,
    resized: NDArray[np.uint8] | None = None,
    aligned: AlignedImage | None = None,
) -> str | None:
    """Why an image (H, W, 3) RGB cannot be judged, in one line such as "cannot judge: out of focus (sharpness 12,
    training images 80–210)"; None when it can. Without an ``embedding`` (C,) it is not asked whether it shows the right
    part. ``aligned``: how the part was found, where the model looks at it alone."""
    seen = seen_by_model(image, reference.image_size, resized)
    figures = image_statistics(image, size=reference.image_size, resized=seen)
    sizes = {"aspect": figures.aspect, "shorter_side": float(min(figures.width, figures.height))}
    reasons = [
        f"{_CAUSES[name, side][0]} ({figures.width} x {figures.height} pixels, training images {reference.width} x "
        f"{reference.height})"
        for name, value in sizes.items()
        if (side := reference.bands[name].side(value))
    ]
    if reference.placement is not None:
        reasons += reference.placement.reasons(
            thumbnail_of(seen), width=figures.width, height=figures.height, aligned=aligned
        )
    distance = None if embedding is None else reference.distance(embedding)
    return _refusal(figures, reasons, distance, reference)


def refusal_of_tiles(
    tiles: Sequence[NDArray[np.uint8]], embeddings: NDArray[np.floating] | None, reference: Reference
) -> str | None:
    """As :func:`refusal_of`, of an image seen in tiles, each (H, W, 3) RGB: their median must be like training images.

    Size and aspect are those of the tiles, and always right; how the part lies in them says nothing. One tile may show
    a defect or the edge of the part.
    """
    each = [image_statistics(tile, size=reference.image_size) for tile in tiles]
    usual = replace(each[0], **{name: median(getattr(figures, name) for figures in each) for name in FIGURES})
    distance = None if embeddings is None else median(reference.distance(embedding) for embedding in embeddings)
    return _refusal(usual, [], distance, reference)


def _refusal(
    figures: ImageStatistics, reasons_of_view: list[str], distance: float | None, reference: Reference
) -> str | None:
    reasons = []
    sides = {reference.bands[name].side(getattr(figures, name)) for name in EXPOSURE}
    # a defect makes shadows or lights of its own; less light makes all of them darker
    if sides in ({-1}, {1}):
        words = "under-exposed" if sides == {-1} else "over-exposed"
        reasons.append(_reason(words, "brightness", figures.brightness, reference.bands["brightness"]))
    for name in FIGURES:
        value, band = getattr(figures, name), reference.bands[name]
        if (name, band.side(value)) in _CAUSES:
            reasons.append(_reason(*_CAUSES[name, band.side(value)], value, band))
    reasons += reasons_of_view
    if distance is not None and reference.bands["distance"].side(distance):
        reasons.append(
            f"does not look like the training images, wrong part? (distance {_number(distance)}, training images up to "
            f"{_number(reference.bands['distance'].seen_high)})"
        )
    return f"cannot judge: {'; '.join(reasons)}" if reasons else None


def _reason(words: str, figure: str, value: float, band: Band) -> str:
    if figure.endswith("pixels"):
        return f"{words} ({figure} {100 * value:.1f} %, training images up to {100 * band.seen_high:.1f} %)"
    low, high = _number(band.seen_low), _number(band.seen_high)
    return f"{words} ({figure} {_number(value)}, training images {low}–{high})"


def _number(value: float) -> str:
    """Three figures are enough to compare, and whole numbers stay whole."""
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.2g}"


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
    if found.placement is not None and found.placement.problem:
        raise documents.damaged(str(path), found.placement.problem, remedy=remedy)
    return found


def cosine_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """1 − cos of two vectors (C,): 0..2."""
    return float(1 - a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))
