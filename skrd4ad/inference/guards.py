"""Whether an image is one the model can judge: like the training images in focus, light, colour, size and subject.

The answer stands beside the verdict and does not change it. Limits are those of the model's reference, which come from
good training images alone; see :mod:`skrd4ad.inference.reference` for how they are set and what they promise.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.statistics import ImageStatistics, image_statistics
from skrd4ad.inference.reference import EXPOSURE, FIGURES, Band, Reference

_WORDS: dict[tuple[str, int], tuple[str, str]] = {
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
"""What it means that a figure lies below (-1) or above (1) its range, and the figure in words."""


def refusal_of(
    image: NDArray[np.uint8],
    embedding: NDArray[np.floating] | None,
    reference: Reference,
    *,
    resized: NDArray[np.uint8] | None = None,
) -> str | None:
    """Why an image that the model sees as a whole cannot be judged, in one line such as "cannot judge: out of focus
    (sharpness 12, training images 80–210)"; None when it can.

    ``image``: (H, W, 3) RGB. ``embedding``: (C,), of :class:`skrd4ad.inference.predict.Maps`; None leaves out whether
    it shows the right part. ``resized``: the image at the model's size, when it is at hand.
    """
    figures = image_statistics(image, size=reference.image_size, resized=resized)
    sizes = {"aspect": figures.aspect, "shorter_side": float(min(figures.width, figures.height))}
    reasons = [
        f"{_WORDS[name, side][0]} ({figures.width} x {figures.height} pixels, training images {reference.width} x "
        f"{reference.height})"
        for name, value in sizes.items()
        if (side := reference.bands[name].side(value))
    ]
    distance = None if embedding is None else reference.distance(embedding)
    return _refusal(figures, reasons, distance, reference)


def refusal_of_tiles(
    tiles: Sequence[NDArray[np.uint8]], embeddings: NDArray[np.floating] | None, reference: Reference
) -> str | None:
    """As :func:`refusal_of`, of an image that the model sees in tiles: the median tile must be like training images.

    Size and aspect are those of the tiles, and always right. One tile may show a defect or the edge of the part, so
    that medians over the tiles count.

    ``tiles``: each (S, S, 3) RGB at the model's size; at least one. ``embeddings``: (N, C), of the same or other tiles.
    """
    each = [image_statistics(tile, size=reference.image_size) for tile in tiles]
    usual = replace(each[0], **{name: median(getattr(figures, name) for figures in each) for name in FIGURES})
    distance = None if embeddings is None else median(reference.distance(embedding) for embedding in embeddings)
    return _refusal(usual, [], distance, reference)


def _refusal(
    figures: ImageStatistics, size_reasons: list[str], distance: float | None, reference: Reference
) -> str | None:
    reasons = []
    sides = {reference.bands[name].side(getattr(figures, name)) for name in EXPOSURE}
    # a defect makes shadows or lights of its own; less light makes all of them darker
    if sides in ({-1}, {1}):
        words = "under-exposed" if sides == {-1} else "over-exposed"
        reasons.append(_reason(words, "brightness", figures.brightness, reference.bands["brightness"]))
    for name in FIGURES:
        value, band = getattr(figures, name), reference.bands[name]
        if (name, band.side(value)) in _WORDS:
            reasons.append(_reason(*_WORDS[name, band.side(value)], value, band))
    reasons += size_reasons
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
