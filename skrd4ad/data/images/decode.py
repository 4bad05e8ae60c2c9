"""From the bytes of a file to its stored pixels: format, size check, transparency, rotation.

The plugin of a format is chosen by the first bytes of the file and called directly. That way the size can be judged
by this project's own limit before any pixel is decoded, without touching Pillow's global settings, and a file whose
suffix lies still opens.
"""

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
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from skrd4ad.errors import ImageError
from skrd4ad.paths import open_regular

MAX_PIXELS = 100_000_000
"""Larger images are refused from their header alone: a small file may claim to unpack to any size."""

ALLOWED = "PNG, JPEG, BMP, TIFF or WebP, 8 or 16 bit a channel"

Pixels = NDArray[Any]
"""(H, W) or (H, W, 3), upright: uint8, uint16, int32 or float, as stored."""

_SIGNATURES: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),
    (b"MM\0+", TiffImageFile),
)
_ORIENTATION = 274
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257

# What Pillow and OpenCV are known to raise on damaged files. Warning is here for programs that turn warnings into
# errors: Pillow warns of damaged tags before it gives up.
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, MemoryError, Warning),
    *(struct.error, zlib.error, cv2.error, Image.DecompressionBombError),
)


@dataclass(frozen=True)
class Header:
    """What a file says of its image before any pixel is decoded; the size is that of the upright image."""

    width: int
    height: int
    mode: str
    """Pillow's name of the mode, with ``;16`` for 16 bit a channel."""


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
    with _stream(source, name) as stream, _translated(name):
        image = _open(stream, name)
        if image is None:
            width, height = _tiff_size(stream, name)
            return Header(width, height, "TIFF")
        width, height = image.size
        # a TIFF's size is upright already; the EXIF of a PNG may stand behind its pixels, which are not read here
        has_exif = not isinstance(image, TiffImageFile) and "exif" in image.info
        if has_exif and _orientation(image) >= 5:
            width, height = height, width
        raw = _raw_mode(image)
        return Header(width, height, raw[: raw.index(";16") + 3] if _is_deep(raw) else image.mode)


def read_pixels(source: Path | bytes, name: str) -> Pixels:
    """Stored pixels of the first frame, upright; transparent pixels are laid over black."""
    with _stream(source, name) as stream, _translated(name):
        image = _open(stream, name)
        if image is None:
            _tiff_size(stream, name)
            pixels = _opencv_pixels(stream)
            if pixels is None:
                raise refusal(name, "the TIFF stores its pixels in a way that is not supported")
            return np.ascontiguousarray(pixels)
        raw = _raw_mode(image)
        image.load()
        pixels = _opencv_pixels(stream) if _is_deep(raw) else None
        # asked for after the load: a PNG's EXIF may stand behind its pixels, and Pillow has turned a TIFF by now
        orientation = _orientation(image)
        if pixels is None or pixels.dtype != np.uint16 or pixels[..., 0].size != image.width * image.height:
            pixels = _pillow_pixels(image, raw)
        return _upright(pixels, orientation)


@contextmanager
def _stream(source: Path | bytes, name: str) -> Iterator[BinaryIO]:
    try:
        stream = io.BytesIO(source) if isinstance(source, bytes) else open_regular(source)
    except OSError as error:
        raise refusal(name, f"the file cannot be opened ({error.strerror or error})") from error
    with stream:
        yield stream


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except _DECODER_ERRORS as error:
        reason = str(error) or type(error).__name__
        if "not identified by this driver" in reason:
            reason = "its header is incomplete or gives a size of zero"
        raise refusal(name, f"the image is damaged or incomplete ({reason})") from error


def _open(stream: BinaryIO, name: str) -> ImageFile | None:
    """Image with its header read; None for a TIFF whose pixel format Pillow does not know."""
    head = stream.read(32)
    if not head:
        raise refusal(name, "the file is empty (0 bytes)")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        _check_size(_webp_size(head), name)  # the plugin makes room for all pixels when it opens
        plugin: type[ImageFile] = WebPImageFile
    else:
        known = [plugin for signature, plugin in _SIGNATURES if head.startswith(signature)]
        if not known:
            raise refusal(name, "not an image, or in a format that is not supported")
        plugin = known[0]
    stream.seek(0)
    try:
        image = plugin(stream)
    except SyntaxError as error:
        if plugin is TiffImageFile and "unknown pixel mode" in str(error):
            return None
        raise
    _check_size(image.size, name)
    return image


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise refusal(name, f"the image has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: the image has {width} x {height} = {width * height} pixels; allowed: up to {MAX_PIXELS}. "
            "Crop it or make it smaller."
        )


def _webp_size(head: bytes) -> tuple[int, int]:
    kind, body = head[12:16], head[20:].ljust(12, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", body[6:10])
    return width & 0x3FFF, height & 0x3FFF


def _tiff_size(stream: BinaryIO, name: str) -> tuple[int, int]:
    stream.seek(0)
    head = stream.read(8)
    if head[2] == 43 or head[3] == 43:
        head += stream.read(8)  # BigTIFF
    directory = ImageFileDirectory_v2(head)
    stream.seek(directory.next)
    directory.load(stream)
    size = (int(directory[_TIFF_WIDTH]), int(directory[_TIFF_HEIGHT]))
    _check_size(size, name)
    return size if directory.get(_ORIENTATION, 1) < 5 else (size[1], size[0])


def _raw_mode(image: ImageFile) -> str:
    """How the first tile is stored, such as ``RGB;16B``; known only before the load."""
    if not image.tile:
        return image.mode
    args: Any = image.tile[0][3]
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else image.mode


def _is_deep(raw: str) -> bool:
    """Whether colours have 16 bit, which Pillow cuts to 8 without rounding."""
    return raw.startswith(("RGB;16", "RGBA;16", "LA;16"))


def _orientation(image: ImageFile) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, LookupError, struct.error, Warning):
        return 1  # a damaged EXIF block says nothing; the pixels are fine
    return value if isinstance(value, int) else 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo what EXIF's orientation says: 1 to 8 are the flips of rows, columns and diagonal."""
    if 5 <= orientation <= 8:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _pillow_pixels(image: ImageFile, raw: str) -> Pixels:
    if image.mode.startswith("I;16"):
        pixels = np.array(image).astype(np.uint16)
        if raw == "I;12":
            return ((pixels.astype(np.uint32) * 65535 + 2047) // 4095).astype(np.uint16)
        return pixels
    if image.mode in ("I", "F"):
        return np.array(image)
    if image.has_transparency_data:
        return _over_black(np.array(image.convert("RGBA")))
    return np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _opencv_pixels(stream: BinaryIO) -> Pixels | None:
    stream.seek(0)
    pixels = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4 and pixels.dtype in (np.uint8, np.uint16):
        return _over_black(pixels[..., [2, 1, 0, 3]])
    return pixels[..., ::-1] if pixels.shape[2] == 3 else None


def _over_black(rgba: Pixels) -> Pixels:
    white = np.iinfo(rgba.dtype).max
    alpha = rgba[..., 3:].astype(np.uint32)
    return ((rgba[..., :3] * alpha + white // 2) // white).astype(rgba.dtype)
