"""From a file or its bytes to its stored pixels: the shared reader, with names in messages and one kind of error."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.data.images import read_pixels as reader
from skrd4ad.data.images.read_pixels import RefusedError, StoredPixels
from skrd4ad.errors import ImageError
from skrd4ad.paths import open_regular

ALLOWED = "PNG, JPEG, BMP, TIFF, WebP or DICOM, see docs/images.md"

Pixels = NDArray[Any]
"""(H, W) or (H, W, 3), upright: uint8, uint16, int32 or float, as stored."""

# What Pillow, OpenCV, tifffile with imagecodecs, and pydicom are known to raise on damaged files. Warning is here for
# programs that turn warnings into errors: Pillow warns of damaged tags before it gives up.
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, MemoryError, Warning),
    *(RuntimeError, AttributeError, AssertionError),
    *(struct.error, zlib.error, cv2.error, Image.DecompressionBombError),
)


@dataclass(frozen=True)
class Header:
    """What a file says of its image before any pixel is decoded; the size is that of the upright image."""

    width: int
    height: int
    mode: str
    """Pillow's name of the mode, with ``;16`` for 16 bit a channel, ``;12`` for 12 and so on."""
    deep: bool = False
    """Whether a channel has more than 8 bit, so that a black and a white level apply."""


def name_of(source: Path | bytes, name: str | None, *, kind: str = "image") -> str:
    """How messages call a file: the name that was given, its path, or what kind it is."""
    if name is not None:
        return name
    return kind if isinstance(source, bytes) else str(source)


def refusal(name: str, reason: str) -> ImageError:
    """The one form of message for a file that is no usable image."""
    return ImageError(f"{name}: {reason}. Allowed: {ALLOWED}.")


def image_header(source: Path | bytes, *, name: str | None = None) -> Header:
    """Upright size and mode of an image, from its header alone. ``name``: for messages, by default the path.

    Raises:
        ImageError: not an image, damaged, or over ``MAX_PIXELS``.
    """
    name = name_of(source, name)
    with _stream(source, name) as stream, translated(name):
        return _header_of(stream)


def stored_pixels(source: Path | bytes, name: str) -> StoredPixels:
    """Stored pixels, upright; transparent pixels are laid over black."""
    with _stream(source, name) as stream, translated(name):
        return reader.stored_pixels(stream)


def read_pixels(source: Path | bytes, name: str) -> Pixels:
    """Stored values of an image, upright, by their type alone: 10, 12 and 14 bit are brought to the range of 16."""
    stored = stored_pixels(source, name)
    values: Pixels = stored.values
    if values.dtype.kind != "u" or stored.full in (255, 65535):
        return values
    return ((values.astype(np.uint32) * 65535 + stored.full // 2) // stored.full).astype(np.uint16)


@contextmanager
def _stream(source: Path | bytes, name: str) -> Iterator[BinaryIO]:
    try:
        stream = io.BytesIO(source) if isinstance(source, bytes) else open_regular(source)
    except OSError as error:
        raise refusal(name, f"the file cannot be opened ({error.strerror or error})") from error
    with stream:
        yield stream


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise what a decoder raises as the error for a file that is no usable image."""
    try:
        yield
    except RefusedError as error:
        raise refusal(name, str(error)) from error
    except _DECODER_ERRORS as error:
        reason = str(error) or type(error).__name__
        if "not identified by this driver" in reason:
            reason = "its header is incomplete or gives a size of zero"
        raise refusal(name, f"the image is damaged or incomplete ({reason})") from error


def _header_of(stream: BinaryIO) -> Header:
    """Upright size and mode of an image, from its header alone."""
    kind, image = reader.open_image(stream)
    if kind == "tiff":
        with reader.tiff_file(stream) as tiff:
            page = reader.only_page(tiff)
            return Header(
                *_turned((page.imagewidth, page.imagelength), reader.tiff_orientation(page)), *_tiff_mode(page)
            )
    if kind == "dicom":
        data = reader.dicom_data(stream, pixels=False)
        mode, bits = str(data.PhotometricInterpretation), int(data.BitsStored)
        return Header(int(data.Columns), int(data.Rows), f"{mode};{bits}" if bits > 8 else mode, bits > 8)
    raw = reader.raw_mode(image)
    deep = image.mode.startswith("I") or image.mode == "F" or reader.is_deep(raw)
    mode = raw[: raw.index(";16") + 3] if reader.is_deep(raw) else image.mode
    # the EXIF of a PNG may stand behind its pixels, which are not read here
    return Header(*_turned(image.size, reader.orientation_of(image) if "exif" in image.info else 1), mode, deep)


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return size[::-1] if orientation >= 5 else size


def _tiff_mode(page: Any) -> tuple[str, bool]:
    """Mode, and whether a channel has more than 8 bit."""
    colours = {0: "L", 1: "L", 2: "RGB", 3: "P", 5: "CMYK", 6: "YCbCr", 8: "LAB"}.get(int(page.photometric), "TIFF")
    alpha = "A" if colours in ("L", "RGB") and page.samplesperpixel in (2, 4) else ""
    bits = page.bitspersample
    if bits <= 8:
        return ("1" if bits == 1 and colours == "L" else colours + alpha), False
    if colours == "L" and not alpha:
        return ("F" if page.sampleformat == 3 else "I" if bits == 32 else f"I;{bits}"), True
    return f"{colours}{alpha};{'F' if page.sampleformat == 3 else bits}", True
