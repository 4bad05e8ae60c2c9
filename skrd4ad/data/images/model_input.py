"""From a photograph to what a model looks at: the one way that training, inspection and exports go."""

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.find_part import AlignedImage, Matrix, aligned, chained, inverse, scaling
from skrd4ad.data.images.read import resize_image
from skrd4ad.types import Alignment, ImageSize, height_width


def model_input(
    image: NDArray[np.uint8], size: ImageSize, alignment: Alignment | None
) -> tuple[NDArray[np.uint8], AlignedImage | None]:
    """(h, w, 3) of the size of a photograph (H, W, 3) RGB, and how its part was found. It is seen whole, and the second
    is None, without an ``alignment`` of the model and where no part is found."""
    found = None if alignment is None else aligned(image, height_width(size), alignment)
    return (resize_image(image, size), None) if found is None else (found.pixels, found)


def seen_at_full_size(image: NDArray[np.uint8], size: ImageSize, alignment: Alignment | None) -> NDArray[np.uint8]:
    """What a model of a size sees of a photograph (H, W, 3) RGB, at the photograph's own scale: all of it, or the part,
    turned and cropped."""
    seen = model_input(image, size, alignment)[1]
    if seen is None or alignment is None:
        return image
    height, width = (round(side / seen.scale) for side in height_width(size))
    return model_input(image, (height, width), alignment)[0]


def placed_mask(
    mask: NDArray[np.bool_], frame: Matrix, photograph: tuple[int, ...], size: tuple[int, ...]
) -> NDArray[np.bool_]:
    """A mask of any size that was drawn on what the network sees, on a map of the photograph of a size, height and
    width. ``frame``: see :class:`AlignedImage`."""
    to_mask = chained(frame, scaling(mask.shape[1], mask.shape[0]))
    matrix = chained(inverse(to_mask), scaling(size[1] / photograph[1], size[0] / photograph[0]))
    drawn = cv2.warpAffine(mask.astype(np.float32), matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)
    return np.asarray(drawn > 0, bool)


CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
"""Of what the network sees, for :func:`on_image`."""


def on_image(places: NDArray[np.float64], frame: Matrix) -> NDArray[np.float64]:
    """(n, 2) x and y in pixels of the photograph, from shares of what the network sees; see :class:`AlignedImage`."""
    back = inverse(frame)
    return places @ back[:, :2].T + back[:, 2]
