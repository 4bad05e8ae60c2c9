"""What docs/images.md promises of each format, on files that several libraries wrote: read right, or refused by name.

The expected pixels are the array that was written, never what a reader says of it.
"""

import hashlib
import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from skrd4ad.data.images import read_pixels as reader
from skrd4ad.data.images.decode import image_header, stored_pixels
from skrd4ad.data.images.levels import given_levels, levels_of
from skrd4ad.data.images.read import read_image
from skrd4ad.errors import ConfigError, ImageError
from skrd4ad.types import Levels

RNG = np.random.default_rng(20)
HEIGHT, WIDTH = 40, 48
GREY8 = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
RGB8 = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY16 = RNG.integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
RGB16 = RNG.integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
CAMERA12 = RNG.integers(300, 1200, (HEIGHT, WIDTH), np.uint16)
UNIT = RNG.random((HEIGHT, WIDTH), np.float32)
THERMAL = UNIT * 40 - 10
ALPHA16 = RNG.integers(0, 65536, (HEIGHT, WIDTH, 1), np.uint16)
OF_CAMERA = Levels(300, 1199)


def tiff(array: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def pillow(array: np.ndarray, kind: str, mode: str | None = None, **options) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(stream, kind, **options)
    return stream.getvalue()


def opencv(array: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, array[..., ::-1] if array.ndim == 3 else array)[1].tobytes()


def dicom(values: np.ndarray, *, bits: int, photometric: str = "MONOCHROME2", frames: int = 1, **tags) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = values.shape[frames > 1 :][:2]
    data.SamplesPerPixel = 3 if values.ndim == 3 and frames == 1 else 1
    data.PhotometricInterpretation, data.PixelRepresentation = photometric, int(values.dtype.kind == "i")
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * values.dtype.itemsize, bits, bits - 1
    if data.SamplesPerPixel == 3:
        data.PlanarConfiguration = 0
    if frames > 1:
        data.NumberOfFrames = frames
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = values.tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def recompressed(content: bytes, syntax: str) -> bytes:
    data = pydicom.dcmread(io.BytesIO(content))
    if syntax == RLELossless:
        data.compress(syntax)
    else:
        encode = imagecodecs.jpegls_encode if syntax == JPEGLSLossless else imagecodecs.jpeg2k_encode
        data.PixelData = pydicom.encaps.encapsulate([encode(data.pixel_array)])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    data.save_as(stream)
    return stream.getvalue()


def full(values: np.ndarray, white: float) -> np.ndarray:
    return values / white * 255


def between(values: np.ndarray, levels: Levels) -> np.ndarray:
    return np.clip((values - levels.black) / (levels.white - levels.black) * 255, 0, 255)


RGBA8 = np.concatenate([RGB8, GREY8[..., None]], axis=2)
RGBA16 = np.concatenate([RGB16, ALPHA16], axis=2)
ASSOCIATED8 = np.concatenate([np.minimum(RGB8, GREY8[..., None]), GREY8[..., None]], axis=2)
ASSOCIATED16 = np.concatenate([np.minimum(RGB16, ALPHA16), ALPHA16], axis=2)
LAID8 = RGB8 * (GREY8[..., None] / 255)
LAID16 = full(RGB16 * (ALPHA16 / 65535), 65535)
TWELVE = tiff(CAMERA12 * 3, bitspersample=12)
DEFLATED = {"compression": "zlib"}
Wanted = tuple[bytes, np.ndarray, Levels | None]

READ: dict[str, Wanted] = {
    "png grey pillow": (pillow(GREY8, "PNG"), GREY8, None),
    "png grey opencv": (opencv(GREY8, ".png"), GREY8, None),
    "png grey imagecodecs": (imagecodecs.png_encode(GREY8), GREY8, None),
    "png rgb pillow": (pillow(RGB8, "PNG"), RGB8, None),
    "png rgba pillow": (pillow(RGBA8, "PNG"), LAID8, None),
    "png palette": (pillow(GREY8, "PNG", "P"), GREY8, None),
    "png 16 grey pillow": (pillow(GREY16, "PNG"), full(GREY16, 65535), None),
    "png 16 grey opencv": (opencv(GREY16, ".png"), full(GREY16, 65535), None),
    "png 16 rgb opencv": (opencv(RGB16, ".png"), full(RGB16, 65535), None),
    "png 16 rgb imagecodecs": (imagecodecs.png_encode(RGB16), full(RGB16, 65535), None),
    "png 16 rgba imagecodecs": (imagecodecs.png_encode(RGBA16), LAID16, None),
    "png 12 of 16 with levels": (opencv(CAMERA12, ".png"), between(CAMERA12, OF_CAMERA), OF_CAMERA),
    "png 8 with levels": (opencv(GREY8, ".png"), GREY8, OF_CAMERA),
    "webp": (pillow(RGB8, "WEBP", lossless=True), RGB8, None),
    "bmp opencv": (opencv(RGB8, ".bmp"), RGB8, None),
    "tiff grey": (tiff(GREY8), GREY8, None),
    "tiff rgb lzw": (tiff(RGB8, photometric="rgb", compression="lzw", predictor=True), RGB8, None),
    "tiff rgb pillow": (pillow(RGB8, "TIFF"), RGB8, None),
    "tiff rgb opencv": (opencv(RGB8, ".tif"), RGB8, None),
    "tiff white is low": (tiff(255 - GREY8, photometric="miniswhite"), GREY8, None),
    "tiff one bit": (pillow(GREY8 > 127, "TIFF", compression="group4"), (GREY8 > 127) * 255, None),
    "tiff planes": (tiff(np.moveaxis(RGB8, 2, 0), photometric="rgb", planarconfig="separate"), RGB8, None),
    "tiff alpha": (tiff(RGBA8, photometric="rgb", extrasamples=["unassalpha"]), LAID8, None),
    "tiff associated": (tiff(ASSOCIATED8, photometric="rgb", extrasamples=["assocalpha"]), ASSOCIATED8[..., :3], None),
    "tiff tiles": (tiff(RGB8, photometric="rgb", tile=(16, 16)), RGB8, None),
    "tiff 16 grey": (tiff(GREY16), full(GREY16, 65535), None),
    "tiff 16 grey pillow": (pillow(GREY16, "TIFF"), full(GREY16, 65535), None),
    "tiff 16 grey opencv": (opencv(GREY16, ".tif"), full(GREY16, 65535), None),
    "tiff 16 big-endian": (tiff(GREY16, byteorder=">"), full(GREY16, 65535), None),
    "tiff 16 bigtiff": (tiff(GREY16, bigtiff=True), full(GREY16, 65535), None),
    "tiff 16 white is low": (tiff(65535 - GREY16, photometric="miniswhite"), full(GREY16, 65535), None),
    "tiff 16 rgb": (tiff(RGB16, photometric="rgb"), full(RGB16, 65535), None),
    "tiff 16 rgb opencv": (opencv(RGB16, ".tif"), full(RGB16, 65535), None),
    "tiff 16 planes": (
        tiff(np.moveaxis(RGB16, 2, 0), photometric="rgb", planarconfig="separate"),
        full(RGB16, 65535),
        None,
    ),
    "tiff 16 planes in tiles": (
        tiff(np.moveaxis(RGB16, 2, 0), photometric="rgb", planarconfig="separate", tile=(16, 16), **DEFLATED),
        full(RGB16, 65535),
        None,
    ),
    "tiff 16 alpha": (tiff(RGBA16, photometric="rgb", extrasamples=["unassalpha"]), LAID16, None),
    "tiff 16 associated": (
        tiff(ASSOCIATED16, photometric="rgb", extrasamples=["assocalpha"]),
        full(ASSOCIATED16[..., :3], 65535),
        None,
    ),
    "tiff 16 no meaning": (
        tiff(RGBA16, photometric="rgb", extrasamples=["unspecified"]),
        full(RGB16, 65535),
        None,
    ),
    "tiff 12 packed": (TWELVE, full(CAMERA12 * 3, 4095), None),
    "tiff 12 packed with levels": (TWELVE, between(CAMERA12 * 3, Levels(900, 3600)), Levels(900, 3600)),
    "tiff 12 of 16 with levels": (tiff(CAMERA12, **DEFLATED), between(CAMERA12, OF_CAMERA), OF_CAMERA),
    "tiff signed with levels": (
        tiff(CAMERA12.astype(np.int16) - 700),
        between(CAMERA12, OF_CAMERA),
        Levels(-400, 499),
    ),
    "tiff 32 bit": (tiff(GREY16.astype(np.uint32)), full(GREY16, 65535), None),
    "tiff float": (tiff(UNIT), full(UNIT, 1), None),
    "tiff float pillow": (pillow(UNIT, "TIFF"), full(UNIT, 1), None),
    "tiff float opencv": (opencv(UNIT, ".tif"), full(UNIT, 1), None),
    "tiff half float": (tiff(UNIT.astype(np.float16)), full(UNIT.astype(np.float16).astype(float), 1), None),
    "tiff float predictor": (tiff(UNIT, predictor=3, **DEFLATED), full(UNIT, 1), None),
    "tiff float with levels": (tiff(THERMAL), between(THERMAL, Levels(-5, 25)), Levels(-5, 25)),
    "tiff jpeg 2000": (tiff(GREY16, compression="jpeg2000", compressionargs={"level": 0}), full(GREY16, 65535), None),
    "tiff jpeg xl": (tiff(RGB8, photometric="rgb", compression="jpegxl"), RGB8, None),
    "tiff lerc": (tiff(GREY16, compression="lerc"), full(GREY16, 65535), None),
    "tiff zstd": (tiff(GREY16, compression="zstd", predictor=True), full(GREY16, 65535), None),
    "tiff with a thumbnail": (
        pillow(RGB8, "TIFF", save_all=True, append_images=[Image.fromarray(RGB8[::4, ::4].copy())]),
        RGB8,
        None,
    ),
    "dicom 8": (dicom(GREY8, bits=8), GREY8, None),
    "dicom 12": (dicom(CAMERA12, bits=12), full(CAMERA12, 4095), None),
    "dicom 12 with levels": (dicom(CAMERA12, bits=12), between(CAMERA12, OF_CAMERA), OF_CAMERA),
    "dicom white is low": (dicom(4095 - CAMERA12, bits=12, photometric="MONOCHROME1"), full(CAMERA12, 4095), None),
    "dicom rescaled": (
        dicom(CAMERA12, bits=12, RescaleSlope=2, RescaleIntercept=-1024),
        between(CAMERA12, OF_CAMERA),
        Levels(-424, 1374),
    ),
    "dicom rgb": (dicom(RGB8, bits=8, photometric="RGB"), RGB8, None),
    "dicom rle": (recompressed(dicom(CAMERA12, bits=12), RLELossless), full(CAMERA12, 4095), None),
    "dicom jpeg 2000": (recompressed(dicom(CAMERA12, bits=12), JPEG2000Lossless), full(CAMERA12, 4095), None),
}


@pytest.mark.parametrize("name", READ)
def test_a_format_gives_the_pixels_that_were_written(name: str, tmp_path: Path) -> None:
    content, expected, levels = READ[name]
    found = read_image(content, levels=levels)
    wide = np.stack([expected] * 3, axis=2) if expected.ndim == 2 else expected
    assert np.abs(found - wide.astype(float)).max() <= 0.51, "of 255, half of which is rounding"
    header = image_header(content)
    assert (header.width, header.height) == (WIDTH, HEIGHT)
    assert header.deep == (stored_pixels(content, name).values.dtype != np.uint8)
    (tmp_path / "image").write_bytes(content)
    assert np.array_equal(read_image(tmp_path / "image", levels=levels), found)
    alone = reader.read_pixels(tmp_path / "image", None if levels is None else (levels.black, levels.white))
    assert np.array_equal(alone, found), "the reader that exports carry says something else"


def test_the_reader_of_exports_needs_nothing_of_this_program(tmp_path: Path) -> None:
    shutil.copy(reader.__file__, tmp_path)
    for number, (content, _, _) in enumerate(READ.values()):
        (tmp_path / f"{number}").write_bytes(content)
    script = (
        "import sys, hashlib; from read_pixels import read_pixels\n"
        "for each in sys.argv[1:]:\n"
        "    name, black, white = each.split(',')\n"
        "    levels = None if black == 'None' else (float(black), float(white))\n"
        "    print(hashlib.sha256(read_pixels(name, levels).tobytes()).hexdigest())\n"
        "assert not any(name.startswith(('skrd4ad', 'torch')) for name in sys.modules)\n"
    )
    wanted = [
        f"{number},{getattr(levels, 'black', None)},{getattr(levels, 'white', None)}"
        for number, (_, _, levels) in enumerate(READ.values())
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *wanted], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [
        hashlib.sha256(read_image(content, levels=levels).tobytes()).hexdigest() for content, _, levels in READ.values()
    ]
    assert done.stdout.split() == expected


def appended() -> bytes:
    stream = io.BytesIO(tiff(GREY8))
    tifffile.imwrite(stream, 255 - GREY8, append=True)
    return stream.getvalue()


REFUSED: dict[str, tuple[bytes, str]] = {
    "appended": (appended(), "2 frames of 48 x 40"),
    "stack": (tiff(np.stack([GREY16] * 3), photometric="minisblack"), "3 frames of 48 x 40"),
    "imagej": (tiff(np.stack([GREY16] * 3), imagej=True), "3 frames"),
    "pillow frames": (
        pillow(RGB8, "TIFF", save_all=True, append_images=[Image.fromarray(255 - RGB8)]),
        "2 frames",
    ),
    "bayer": (
        tiff(
            CAMERA12, photometric="cfa", extratags=[(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True)]
        ),
        "Bayer",
    ),
    "five channels": (
        tiff(np.stack([GREY16] * 5), photometric="minisblack", planarconfig="separate"),
        "5 channels of 16 bit",
    ),
    "cmyk 16": (tiff(RGBA16, photometric="separated"), "4 channels of 16 bit as SEPARATED"),
    "float white is low": (tiff(UNIT, photometric="miniswhite"), "float32 values, the lowest white"),
    "complex": (tiff(UNIT.astype(np.complex64)), "complex64"),
    "thermal without levels": (tiff(THERMAL), "without a black and a white level only 0 to 1"),
    "not a number": (tiff(np.where(UNIT > 0.5, np.nan, UNIT)), "without a black and a white level only 0 to 1"),
    "beyond 16 bit": (tiff(GREY16.astype(np.int32) * 4), "only 0 to 65535"),
    "cut": (tiff(GREY16)[:-100], "damaged or incomplete"),
    "cut strips": (tiff(GREY16, rowsperstrip=8, **DEFLATED)[:-100], "damaged or incomplete"),
    "dicom frames": (dicom(np.stack([CAMERA12] * 2), bits=12, frames=2), "2 frames"),
    "dicom palette": (dicom(GREY8, bits=8, photometric="PALETTE COLOR"), "PALETTE COLOR"),
    "dicom jpeg-ls": (recompressed(dicom(CAMERA12, bits=12), JPEGLSLossless), "JPEG-LS.*pylibjpeg"),
    "dicom cut": (dicom(CAMERA12, bits=12)[:-100], "damaged or incomplete"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_by_name(name: str) -> None:
    content, reason = REFUSED[name]
    with pytest.raises(ImageError, match=f"part: .*{reason}"):
        read_image(content, name="part")


def test_a_compression_that_no_codec_is_there_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        def __getitem__(self, key: object) -> Callable:
            raise KeyError(key)

    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", Without())
    with pytest.raises(ImageError, match="compressed as LERC, which is not read here; pip install imagecodecs"):
        read_image(READ["tiff lerc"][0])


def test_infinite_values_have_no_level() -> None:
    with pytest.raises(ImageError, match="no numbers"):
        read_image(tiff(np.where(UNIT > 0.5, np.inf, UNIT)), levels=Levels(0, 1))


def test_levels_come_from_the_middle_of_the_training_images(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.tif" for number in range(4)]
    for path in paths:
        values = RNG.integers(1000, 2001, (100, 100)).astype(np.uint16)
        values[0, :3] = 65535  # hot pixels, 0.03 % of all
        tifffile.imwrite(path, values)
    found = levels_of(paths)
    assert found is not None
    assert (found.black, found.white) == (pytest.approx(900, abs=3), pytest.approx(2100, abs=3)), "a tenth beside both"
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    assert levels_of([tmp_path / "broken.tif", *paths]) == found
    (tmp_path / "8.png").write_bytes(READ["png grey pillow"][0])
    assert levels_of([tmp_path / "8.png"]) is None
    tifffile.imwrite(tmp_path / "dark.tif", (values // 20).astype(np.uint16))
    assert levels_of([tmp_path / "dark.tif"]) == Levels(45, 104)
    tifffile.imwrite(tmp_path / "even.tif", np.full((9, 9), 7, np.uint16))
    assert levels_of([tmp_path / "even.tif"]) is None


def test_levels_are_given_as_two_values_or_as_bits() -> None:
    assert given_levels(black=None, white=None, bits=12) == Levels(0, 4095)
    assert given_levels(black=-5, white=30, bits=None) == Levels(-5, 30)
    assert given_levels(black=None, white=None, bits=None) is None
    for black, white, bits in ((1, None, None), (None, 2, None), (1, 2, 12), (None, None, 8), (2, 1, None)):
        with pytest.raises(ConfigError, match="give both" if (black is None) != (white is None) else "allowed"):
            given_levels(black=black, white=white, bits=bits)
