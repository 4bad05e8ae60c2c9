"""Images as Python programs hold them, brought to what the loop over images takes."""

import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from skrd4ad.errors import ConfigError
from skrd4ad.inference.predictions import Source
from skrd4ad.services.inspection.input_files import expand_inputs


class Tensor(Protocol):
    """A torch tensor, named by what is asked of it, so that this does not import torch."""

    def detach(self) -> Any:
        """The values without their history."""

    def cpu(self) -> Any:
        """The values in ordinary memory."""


Picture: TypeAlias = NDArray[np.uint8] | Image.Image | Tensor
"""An image in memory: an array (H, W, 3) RGB or (H, W) grey of uint8; a PIL image of any mode; a torch tensor (3, H, W)
RGB or (H, W) grey of uint8, wherever it lies."""
ALLOWED = "uint8, and the shape (H, W, 3) in the order red, green, blue, or (H, W) grey; a torch tensor (3, H, W)"
_IN_PNG = ("1", "LA", "P", "PA", "RGBA", "I", "I;16")
"""Modes of PIL that a PNG file keeps as they are, besides those that are arrays of uint8."""


def is_one_image(given: object) -> bool:
    """Whether one image is meant: anything but a folder or an iterable of images."""
    if isinstance(given, str | Path):
        return not Path(given).is_dir()
    return isinstance(given, np.ndarray | Image.Image) or _is_tensor(given)


def sources_of(given: str | Path | Picture | Iterable[str | Path | Picture]) -> Iterator[Source]:
    """Images by name, read when it is their turn; a folder stands for the images in it and below, in natural order.

    What has no file is called ``image-1`` and so on, by its place.

    Raises:
        ConfigError: a picture of another type or shape.
    """
    several: Any = [given] if is_one_image(given) or isinstance(given, str | Path) else given
    for number, each in enumerate(several, start=1):
        if isinstance(each, str | Path):
            yield from ((str(path), path) for path in expand_inputs([Path(each)]))
        else:
            yield f"image-{number}", _file_of(each)


def _file_of(picture: object) -> bytes:
    """The picture as a file without loss, so that it takes the same way as one on disk."""
    if isinstance(picture, Image.Image):
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in _IN_PNG:
            stream = io.BytesIO()
            upright.save(stream, "PNG", compress_level=0)
            return stream.getvalue()
        return _bitmap(np.asarray(upright if upright.mode in ("L", "RGB", "F") else upright.convert("RGB")))
    if _is_tensor(picture):
        tensor: Any = picture
        array = tensor.detach().cpu().numpy()
        return _bitmap(array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array)
    return _bitmap(picture)


def _bitmap(array: object) -> bytes:
    if not isinstance(array, np.ndarray):
        raise ConfigError(f"An image is a {type(array).__name__}; allowed: a path, an array, a PIL image or a tensor.")
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not is_picture or not array.size:
        raise ConfigError(
            f"The image is an array of {array.dtype} with the shape {array.shape}; allowed: {ALLOWED}. Several images "
            "go in a list."
        )
    _, file = cv2.imencode(".bmp", np.ascontiguousarray(array[..., ::-1] if array.ndim == 3 else array))
    return file.tobytes()


def _is_tensor(given: object) -> bool:
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    return torch is not None and isinstance(given, torch.Tensor)
