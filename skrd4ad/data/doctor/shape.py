"""The size of a model's input by the shape of its images, and what the input makes of a defect."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from skrd4ad.config import MIN_SIDE, SIDE_STEP, ModelConfig
from skrd4ad.data.alignment import frame_shape
from skrd4ad.data.dataset import decoding_pool
from skrd4ad.data.images.read import image_size
from skrd4ad.errors import ImageError
from skrd4ad.types import (
    MAX_SIDE,
    Align,
    ImageSize,
    Levels,
    Remark,
    Sample,
    height_width,
    image_size_of,
    size_option,
    size_text,
)

SQUARE: ImageSize = ModelConfig.image_size
"""The published size."""
SQUARE_UP_TO = 1.5
"""Longer over shorter side up to which images go into the square: that of most cameras, and of all images of MVTec AD
and VisA, whose published figures are of squares."""
ONE_SHAPE = 1.5
"""The 95 % quantile of the aspect ratios over the 5 % quantile, above which images have no shape in common."""
_SHARE = 0.25
"""By so much may an input have more or fewer pixels than the square."""
SQUEEZED = 2.0
"""Reduction along one side over that along the other, above which the doctor warns."""
_DEFECT = 10
"""Side in pixels of the defect whose size in the input is named."""
Shape = tuple[int, int]
"""Width and height of an image."""


def input_size(samples: Sequence[Sample], align: Align = "off", *, levels: Levels | None = None) -> ImageSize:
    """The input size that :func:`size_for` chooses, from the headers of images, or from the frame of the parts where
    images are cropped to them; unreadable files do not count."""
    if (frame := frame_shape(samples, align, levels=levels)) is not None:
        return size_for([frame])
    with decoding_pool() as pool:
        return size_for([shape for shape in pool.map(_shape, samples) if shape is not None])


def size_for(shapes: Sequence[Shape]) -> ImageSize:
    """The square of 256 pixels while the median aspect ratio of images is at most ``SQUARE_UP_TO``, or they have no
    shape in common; otherwise, of the inputs with about as many pixels, the one nearest to their aspect ratio."""
    aspect = _aspect(shapes)
    if aspect is None or max(aspect, 1 / aspect) <= SQUARE_UP_TO:
        return SQUARE
    pixels = math.prod(height_width(SQUARE))
    sides = range(MIN_SIDE, MAX_SIDE + 1, SIDE_STEP)
    fitting = ((h, w) for h in sides for w in sides if abs(h * w / pixels - 1) <= _SHARE)
    return image_size_of(*min(fitting, key=lambda s: (abs(math.log(s[1] / s[0] / aspect)), abs(s[0] * s[1] - pixels))))


def check_shape(shapes: Sequence[Shape], size: ImageSize) -> Iterator[Remark]:
    """What training images of these shapes become in an input."""
    if not shapes:
        return
    aspects = sorted(width / height for width, height in shapes)
    aspect, (height, width) = _aspect(shapes), height_width(size)
    if aspect is None:
        yield Remark(
            "warning",
            "mixed-shapes",
            f"images from {aspects[0]:.3g}:1 to {aspects[-1]:.3g}:1 (width over height) have no shape in common, and "
            f"all are resized to {size_text(size)} (height x width), some squeezed. Make a class of each shape, or cut "
            "the images alike.",
        )
        return
    x, y = (float(np.median([shape[axis] for shape in shapes])) for axis in (0, 1))
    across, down = x / width, y / height
    squeeze = max(across / down, down / across)
    if height == width and squeeze <= SQUEEZED and max(aspect, 1 / aspect) <= SQUEEZED:
        return
    better, piece = size_for(shapes), round(min(x, y))
    kept = (
        f" An image size of {size_option(better)} (--image-size) keeps their shape."
        if squeeze > SQUEEZED and better != size
        else ""
    )
    yield Remark(
        "warning" if squeeze > SQUEEZED else "note",
        "squeezed" if squeeze > SQUEEZED else "shape",
        f"images of {x:.0f} x {y:.0f} pixels (width x height) are resized to {size_text(size)} (height x width): one "
        f"pixel there covers {across:.3g} pixels in x and {down:.3g} in y, so that a defect of {_DEFECT} x {_DEFECT} "
        f"pixels becomes {_DEFECT / across:.2g} x {_DEFECT / down:.2g}.{kept} To keep small defects, cut the images "
        f"into pieces of about {piece} x {piece} pixels to learn from; whole ones are then seen in tiles by predict "
        "--tiled on.",
    )


def _shape(sample: Sample) -> Shape | None:
    try:
        return image_size(sample.path)
    except ImageError:
        return None


def _aspect(shapes: Sequence[Shape]) -> float | None:
    """Median width over height; None without images, or where they have no shape in common."""
    if not shapes:
        return None
    logs = np.log([width / height for width, height in shapes])
    low, middle, high = np.quantile(logs, [0.05, 0.5, 0.95])
    return float(np.exp(middle)) if high - low <= math.log(ONE_SHAPE) else None
