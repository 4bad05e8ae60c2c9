"""Reading images and masks: the one decoder that everything in this package uses.

Every image comes out as 8-bit RGB, the same for the same file everywhere. Images above 8 bit are brought there by the
black and white level of their class, or else by the full range of their kind, never by the range of the single image,
so that a dark part stays dark. Transparent pixels are laid over black. The rotation that EXIF asks for is applied.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.data.images.decode import image_header as image_header
from skrd4ad.data.images.decode import name_of, read_pixels, stored_pixels, translated
from skrd4ad.data.images.mask_values import MaskReading, read_values
from skrd4ad.data.images.read_pixels import MAX_PIXELS as MAX_PIXELS
from skrd4ad.data.images.read_pixels import StoredPixels
from skrd4ad.errors import DataError
from skrd4ad.types import ImageSize, Levels, height_width

LOSSY_SUFFIXES = (".jpg", ".jpeg")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom")


def is_image(path: Path) -> bool:
    """Whether the name is that of an image file; the file is not looked into."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path)


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is the system's own: hidden files, and what macOS adds to archives (``._x.png``)."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sort key by which ``2.png`` comes before ``10.png``."""
    # split on a group: text stands at even indices and digits at odd ones, so like is compared with like
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name


def list_images(folder: Path) -> list[Path]:
    """Image files directly in a folder, in natural order."""
    try:
        return sorted((p for p in folder.iterdir() if is_image(p) and p.exists() and not p.is_dir()), key=natural_key)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror}). Check that it exists.") from error


def image_size(source: Path | bytes) -> tuple[int, int]:
    """Width and height in pixels of the upright image, from its header alone."""
    header = image_header(source)
    return header.width, header.height


def read_image(source: Path | bytes, *, name: str | None = None, levels: Levels | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) RGB pixels of a file or of its bytes, upright; see the module for how other modes are brought here.

    ``levels``: of the class or the model, for images above 8 bit; None for their full range.

    Raises:
        ImageError: not an image, damaged, over ``MAX_PIXELS``, or without levels with values outside of 0..1 (float) or
            0..65535.
    """
    name = name_of(source, name)
    return eight_bit_rgb(stored_pixels(source, name), name, levels)


def eight_bit_rgb(stored: StoredPixels, name: str, levels: Levels | None) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of stored pixels; see :func:`read_image`."""
    with translated(name):
        pixels = stored.eight_bit(None if levels is None else (levels.black, levels.white))
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def read_mask(source: Path | bytes, *, name: str | None = None) -> NDArray[np.bool_]:
    """(H, W) mask of a defect, true where the defect is; see :mod:`skrd4ad.data.images.mask_values` for the rule."""
    return read_mask_values(source, name=name).defect


def read_mask_values(source: Path | bytes, given: str = "", *, name: str | None = None) -> MaskReading:
    """What a mask says of its pixels. ``given``: what a user says of its values."""
    name = name_of(source, name)
    lossy = Path(name).suffix.lower() in LOSSY_SUFFIXES
    return read_values(read_pixels(source, name), given, lossy=lossy)


def resize_image(image: NDArray[np.uint8], size: ImageSize) -> NDArray[np.uint8]:
    """(height, width, 3) of the size: bilinear with antialiasing, the aspect ratio given up, as published. Every image
    that a model sees goes through here."""
    height, width = height_width(size)
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def resize_mask(mask: NDArray[np.bool_], size: ImageSize) -> NDArray[np.bool_]:
    """(height, width) of the size: bilinear with antialiasing, then above one half, as published."""
    grey, (height, width) = Image.fromarray(mask.astype(np.uint8) * 255), height_width(size)
    return np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR)) > 127
