"""From an image file to its pixels. This file stands alone: every export carries a copy of it, so that what runs there
without this program reads the same pixels.

It needs numpy and Pillow, and besides only what a format asks for: tifffile and imagecodecs for TIFF, OpenCV for PNG
with 16 bit a colour, pydicom for DICOM. The format is known by the first bytes of the file, and its size is judged
before any pixel is decoded. ``docs/images.md`` says what is done with which format.
"""

import io
import logging
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

MAX_PIXELS = 100_000_000
"""Larger images are refused from their header alone: a small file may claim to unpack to any size."""

_PILLOW: dict[bytes, Any] = {b"\x89PNG\r\n\x1a\n": PngImageFile, b"\xff\xd8\xff": JpegImageFile, b"BM": BmpImageFile}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 274
_PILLOW_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946})
"""None, fax, LZW, JPEG, deflate, PackBits: what Pillow's TIFF reader has everywhere."""
_INVERTED, _RAW = 0, (32803, 34892)
_SUBFILES_ASIDE = 1 | 4
"""Pages that say of themselves that they are a smaller copy, or a mask."""


class RefusedError(ValueError):
    """A file that is no usable image; the message is the reason, and what to do."""


@dataclass(frozen=True, eq=False)
class StoredPixels:
    """Pixels as the file holds them, upright; transparent ones are laid over black."""

    values: Any
    """(H, W) or (H, W, 3)."""
    full: int = 65535
    """Highest value that the file can mean by integers above 8 bit: 4095 for 12 bit."""

    def eight_bit(self, levels: tuple[float, float] | None = None) -> Any:
        """uint8 of the same shape. ``levels``: the values that become 0 and 255, in the unit of the file; those beyond
        are cut off. None: the full range, 0 to 1 for floating point, else 0 to ``full``. 8 bit stays as it is."""
        values = self.values
        if values.dtype == np.uint8:
            return values
        low, high = values.min().item(), values.max().item()
        if levels is None and values.dtype.kind == "f":
            if not (low >= 0 and high <= 1):  # also refuses NaN
                raise RefusedError(f"floating-point values from {low:g} to {high:g}, {_ONLY} 0 to 1 are taken")
            return np.rint(values * 255).astype(np.uint8)
        if levels is None:
            if low < 0 or high > self.full:
                raise RefusedError(f"integer values from {low} to {high}, {_ONLY} 0 to {self.full} are taken")
            wide = values.astype(np.uint32)
            if self.full != 65535:
                wide = (wide * 65535 + self.full // 2) // self.full
            return ((wide + 128) // 257).astype(np.uint8)
        if not math.isfinite(low + high):
            raise RefusedError("values that are no numbers (NaN or infinity); replace them")
        black, white = levels
        shades = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
        shades -= black
        shades *= 255 / (white - black)
        np.clip(shades, 0, 255, out=shades)
        return np.rint(shades, out=shades).astype(np.uint8)


_ONLY = "of which without a black and a white level only"


def read_pixels(path: str | Path, levels: tuple[float, float] | None = None) -> Any:
    """(H, W, 3) uint8 RGB pixels of a file, upright. ``levels``: see :meth:`StoredPixels.eight_bit`; the manifest of an
    export names those of its model.

    Raises:
        RefusedError: not an image, in a form that is not read, or over ``MAX_PIXELS``.
    """
    with Path(path).open("rb") as stream:
        pixels = stored_pixels(stream).eight_bit(levels)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def stored_pixels(stream: BinaryIO) -> StoredPixels:
    """Pixels of a file as they are stored; of an animation the first frame."""
    kind, image = open_image(stream)
    if kind == "tiff":
        return _tiff_pixels(stream)
    if kind == "dicom":
        return _dicom_pixels(stream)
    raw = raw_mode(image)
    image.load()
    pixels = _opencv_pixels(stream) if is_deep(raw) else _pillow_pixels(image)
    # asked for after the load: a PNG's EXIF may stand behind its pixels
    return StoredPixels(_upright(pixels, orientation_of(image)))


def open_image(stream: BinaryIO) -> tuple[str, Any]:
    """Kind of file, and for those that Pillow reads the image with its header read."""
    stream.seek(0)
    head = stream.read(132)
    stream.seek(0)
    if not head:
        raise RefusedError("the file is empty (0 bytes)")
    if head.startswith(_TIFF):
        return "tiff", None
    if head[128:] == b"DICM":
        return "dicom", None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        _check_size(*_webp_size(head))  # the plugin makes room for all pixels when it opens
        return "pillow", WebPImageFile(stream)
    for signature, plugin in _PILLOW.items():
        if head.startswith(signature):
            image = plugin(stream)
            _check_size(*image.size)
            return "pillow", image
    raise RefusedError("not an image, or in a format that is not supported")


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise RefusedError(f"the image has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise RefusedError(
            f"the image has {width} x {height} = {width * height} pixels; allowed: up to {MAX_PIXELS}. "
            "Crop it or make it smaller"
        )


def _webp_size(head: bytes) -> tuple[int, int]:
    kind, body = head[12:16], head[20:32].ljust(12, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", body[6:10])
    return width & 0x3FFF, height & 0x3FFF


def raw_mode(image: ImageFile) -> str:
    """How the first tile is stored, such as ``RGB;16B``; known only before the load."""
    if not image.tile:
        return image.mode
    args: Any = image.tile[0][3]
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else image.mode


def is_deep(raw: str) -> bool:
    """Whether colours have 16 bit, which Pillow cuts to 8 without rounding."""
    return raw.startswith(("RGB;16", "RGBA;16", "LA;16"))


def orientation_of(image: ImageFile) -> int:
    """EXIF's number for how an image is turned; 1 for not at all."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, LookupError, struct.error, Warning):
        return 1  # a damaged EXIF block says nothing; the pixels are fine
    return value if isinstance(value, int) else 1


def _upright(pixels: Any, orientation: int) -> Any:
    """Undo what EXIF's orientation says: 1 to 8 are the flips of rows, columns and diagonal."""
    if 5 <= orientation <= 8:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _pillow_pixels(image: ImageFile) -> Any:
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        return np.array(image)
    if image.has_transparency_data:
        return _over_black(np.array(image.convert("RGBA")), 255)
    return np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _opencv_pixels(stream: BinaryIO) -> Any:
    """Of a PNG with 16 bit a channel."""
    try:
        import cv2
    except ImportError as error:
        raise RefusedError("PNG with 16 bit a colour is read by OpenCV: pip install opencv-python-headless") from error
    stream.seek(0)
    pixels: Any = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.dtype != np.uint16:
        raise RefusedError("the image is damaged or incomplete")
    return _over_black(pixels[..., [2, 1, 0, 3]], 65535) if pixels.shape[2] == 4 else pixels[..., ::-1]


def _over_black(pixels: Any, full: int) -> Any:
    """Colours times the last channel, of which ``full`` is opaque; (H, W) for grey with alpha."""
    colours, alpha = pixels[..., :-1], pixels[..., -1:]
    if pixels.dtype.kind == "f":
        laid = colours * alpha
    else:
        laid = ((colours * alpha.astype(np.uint32) + full // 2) // full).astype(pixels.dtype)
    return laid[..., 0] if laid.shape[-1] == 1 else laid


def tiff_file(stream: BinaryIO) -> Any:
    """A TIFF file with the tags of its first page read."""
    try:
        import tifffile
    except ImportError as error:
        raise RefusedError("TIFF is read by tifffile: pip install tifffile imagecodecs") from error
    # what it logs of damaged files is raised here, or of no concern
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    logging.getLogger("tifffile").propagate = False
    stream.seek(0)
    return tifffile.TiffFile(stream, name="image")  # opened by a descriptor it has no name


def only_page(tiff: Any) -> Any:
    """The page with the image. Smaller copies and masks may follow it, other frames of its size may not."""
    page = tiff.pages.first
    width, height = page.imagewidth, page.imagelength
    _check_size(width, height)
    frames = 1
    for number in range(1, len(tiff.pages)):
        other = tiff.pages[number]
        frames += other.shape[:2] == page.shape[:2] and not int(other.subfiletype) & _SUBFILES_ASIDE
    if tiff.is_imagej or tiff.is_shaped:  # these may tell of frames that have no page of their own
        frames = max(frames, math.prod(tiff.series[0].shape) // max(1, math.prod(page.shape)))
    if frames > 1 or page.imagedepth > 1:
        raise RefusedError(
            f"the TIFF holds {max(frames, page.imagedepth)} frames of {width} x {height}; one image a file is read. "
            "Save each frame as a file of its own"
        )
    return page


def tiff_orientation(page: Any) -> int:
    """As :func:`orientation_of`."""
    tag = page.tags.get(_ORIENTATION)
    return tag.value if tag is not None and isinstance(tag.value, int) else 1


def _tiff_pixels(stream: BinaryIO) -> StoredPixels:
    import tifffile

    with tiff_file(stream) as tiff:
        page = only_page(tiff)
        photometric, samples, bits = int(page.photometric), page.samplesperpixel, page.bitspersample
        extra = tuple(map(int, page.extrasamples))
        # a missing tag means transparency for Pillow, and to everybody who forgets it
        transparency = (extra or (2,))[0] if samples in (2, 4) else None
        if photometric in _RAW:
            raise RefusedError("the TIFF holds raw values of a colour sensor (Bayer); develop them to RGB first")
        plain = bits <= 8 and page.planarconfig == 1 and page.sampleformat == 1
        if plain and transparency != 1 and page.compression in _PILLOW_COMPRESSIONS:
            # as these were always read: JPEG, fax, palettes, CMYK and the like are Pillow's
            stream.seek(0)
            image = TiffImageFile(stream)
            image.load()  # turns it upright
            return StoredPixels(np.ascontiguousarray(_pillow_pixels(image)))
        base = {0: 1, 1: 1, 2: 3}.get(photometric, 3 if page.compression == 7 else 0)
        name = getattr(page.photometric, "name", photometric)
        kind = page.dtype.kind if page.dtype is not None else "none"
        if not base or samples - base not in (0, 1) or kind not in "bufi" or (kind == "i" and bits <= 8):
            what = f"{samples} channels of {bits} bit as {name} ({page.dtype})"
            raise RefusedError(f"the TIFF holds {what}; convert it to grey or RGB of unsigned integers or floats")
        if photometric == _INVERTED and kind not in "bu":
            raise RefusedError(f"the TIFF holds {page.dtype} values, the lowest white; store them with black lowest")
        try:
            tifffile.TIFF.DECOMPRESSORS[page.compression]
        except KeyError as error:
            compression = getattr(page.compression, "name", page.compression)
            remedy = "pip install imagecodecs, or store it uncompressed, or as LZW or deflate"
            raise RefusedError(f"the TIFF is compressed as {compression}, which is not read here; {remedy}") from error
        end = stream.seek(0, io.SEEK_END)
        pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if len(pieces) < math.prod(page.chunked) or any(at + count > end or not count for at, count in pieces):
            raise RefusedError("the image is damaged or incomplete")
        values = page.asarray(maxworkers=1)
        orientation, shape = tiff_orientation(page), (page.imagelength, page.imagewidth)
    if base + (transparency is not None) > 1 and page.planarconfig == 2:
        values = np.moveaxis(values, 0, -1)
    values = values.astype(np.float32 if values.dtype == np.float16 else values.dtype.newbyteorder("="))
    full = 2**bits - 1 if kind in "bu" and bits < 32 else 65535
    if bits < 8:
        values, full = (values.astype(np.uint16) * 255 // full).astype(np.uint8), 255
    if photometric == _INVERTED:
        values = (np.iinfo(values.dtype).max if bits == 32 else full) - values
    if transparency is not None:
        # associated colours are those over black already; a channel without a meaning is none
        values = _over_black(values, full) if transparency == 2 else values[..., :base]
        values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if values.shape != (shape if base == 1 else (*shape, 3)):
        raise RefusedError("the image is damaged or incomplete")
    return StoredPixels(_upright(values, orientation), full)


def dicom_data(stream: BinaryIO, *, pixels: bool) -> Any:
    """A DICOM data set with one grey or RGB image."""
    try:
        import pydicom
    except ImportError as error:
        raise RefusedError("DICOM is read by pydicom: pip install pydicom") from error
    stream.seek(0)
    data = pydicom.dcmread(stream, stop_before_pixels=not pixels)
    if "Rows" not in data or "Columns" not in data or "PhotometricInterpretation" not in data:
        raise RefusedError("the DICOM file holds no image")
    _check_size(int(data.Columns), int(data.Rows))
    if (frames := int(data.get("NumberOfFrames") or 1)) > 1:
        raise RefusedError(f"the DICOM file holds {frames} frames; one image a file is read. Save each as a file")
    if str(data.PhotometricInterpretation) not in ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422"):
        raise RefusedError(f"the DICOM file is {data.PhotometricInterpretation}; convert it to MONOCHROME2 or RGB")
    return data


def _dicom_pixels(stream: BinaryIO) -> StoredPixels:
    """Stored values with the rescale slope and intercept of the file; windows for display are passed over."""
    data = dicom_data(stream, pixels=True)
    from pydicom.pixels import apply_rescale, pixel_array

    syntax = data.file_meta.TransferSyntaxUID
    try:
        values = pixel_array(data)  # YBR becomes RGB
    except (NotImplementedError, RuntimeError) as error:
        if not syntax.is_compressed:
            raise
        remedy = "pip install pylibjpeg[all], or store it uncompressed"
        raise RefusedError(f"the DICOM file is compressed as {syntax.name}, not read here; {remedy}") from error
    bits, signed = int(data.BitsStored), bool(data.PixelRepresentation)
    full = 2**bits - 1
    if data.PhotometricInterpretation == "MONOCHROME1":  # the lowest value is white
        values = (-1 if signed else full) - values
    if (float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))) != (1, 0):
        values = apply_rescale(values, data)
    elif bits <= 8 and not signed:
        values, full = (values.astype(np.uint16) * 255 // full).astype(np.uint8), 255
    return StoredPixels(np.ascontiguousarray(values), full if bits <= 16 else 65535)
