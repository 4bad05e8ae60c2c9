import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from torchvision import transforms

from skrd4ad.data.images import read as images
from skrd4ad.data.images import read_pixels as reader
from skrd4ad.data.images.read import (
    image_header,
    image_size,
    is_image,
    list_images,
    read_image,
    read_mask,
    resize_image,
    resize_mask,
)
from skrd4ad.errors import DataError, ImageError

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (11, 17, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (11, 17, 3), dtype=np.uint16)
ORIENTATION = 274


def packed(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def encoded(array: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, array)[1].tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def divided_by_257(array: np.ndarray) -> np.ndarray:
    return np.floor(array / 257 + 0.5).astype(np.uint8)


def grey3(array: np.ndarray) -> np.ndarray:
    return np.stack([array] * 3, axis=2)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
def test_lossless_formats_give_the_pixels_that_were_saved(kind, options):
    assert np.array_equal(read_image(packed(Image.fromarray(RGB), kind, **options)), RGB)


def test_jpeg_gives_the_pixels_of_pillow():
    data = packed(Image.fromarray(RGB), "JPEG")
    assert np.array_equal(read_image(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_colour_is_divided_by_257_with_rounding(suffix):
    read = read_image(encoded(DEEP[..., ::-1], suffix))
    assert np.array_equal(read, divided_by_257(DEEP))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_is_not_stretched_to_its_own_range(suffix):
    dark = (DEEP[..., 0] // 10).astype(np.uint16)
    assert np.array_equal(read_image(encoded(dark, suffix)), grey3(divided_by_257(dark)))


def test_sixteen_bit_alpha_is_laid_over_black():
    alpha = DEEP[..., :1]
    read = read_image(encoded(np.concatenate([DEEP[..., ::-1], alpha], axis=2), ".png"))
    assert np.abs(read - DEEP * (alpha / 65535) / 257).max() < 1


def test_twelve_bit_tiff_uses_its_own_full_range():
    # two pixels of 12 bit, 0 and 4095, in a TIFF written by hand
    tags = [(256, 4, 2), (257, 4, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (279, 4, 3)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in tags)
    data = b"II*\0" + struct.pack("<I", 12) + b"\x00\x0f\xff\x00" + directory + struct.pack("<I", 0)
    assert read_image(data)[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr"])
def test_other_modes_give_what_their_conversion_to_rgb_gives(mode):
    image = Image.fromarray(RGB).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    assert np.array_equal(read_image(packed(image, kind)), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_over_black(mode):
    image = Image.fromarray(RGB).convert(mode)
    image.putalpha(Image.fromarray(RGB[..., 0]))
    solid = np.asarray(Image.fromarray(RGB).convert("L").convert("RGB") if mode == "LA" else Image.fromarray(RGB))
    expected = solid * (RGB[..., :1] / 255.0)
    assert np.abs(read_image(packed(image, "PNG")) - expected).max() <= 0.51


def test_transparent_palette_entry_becomes_black():
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([200, 100, 50, 10, 20, 30])
    assert read_image(packed(image, "PNG", transparency=0))[0].tolist() == [[0, 0, 0], [10, 20, 30]]


def test_float_tiff_between_0_and_1_is_taken():
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(read_image(packed(Image.fromarray(values), "TIFF")), grey3(np.rint(values * 255)))


@pytest.mark.parametrize("wrong", [-0.1, 1.5, np.nan])
def test_float_tiff_of_unknown_range_is_refused(wrong):
    values = np.full((3, 4), 0.5, np.float32)
    values[1, 1] = wrong
    with pytest.raises(ImageError, match="only 0 to 1"):
        read_image(packed(Image.fromarray(values), "TIFF"))


def test_colour_float_tiff_that_pillow_does_not_know_is_read():
    values = RNG.random((5, 6, 3)).astype(np.float32)
    data = encoded(values[..., ::-1], ".tif")
    assert image_size(data) == (6, 5)
    assert np.array_equal(read_image(data), np.rint(values * 255))


def test_integers_beyond_16_bit_are_refused():
    with pytest.raises(ImageError, match="0 to 65535"):
        read_image(packed(Image.fromarray(np.full((2, 2), 70000, np.int32)), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_applied_to_pixels_and_size(kind, orientation):
    image = Image.fromarray(RGB)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"tiffinfo": {ORIENTATION: orientation}} if kind == "TIFF" else {"exif": exif}
    data = packed(image, kind, **options)
    opened = Image.open(io.BytesIO(data))
    opened.load()
    expected = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(read_image(data), expected)
    assert image_size(data) == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_exif_rotation_is_applied_to_16_bit_colour(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(DEEP[..., ::-1], ".png")
    end = data.index(b"IDAT") - 4
    data = data[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + data[end:]
    turned = {1: DEEP, 3: DEEP[::-1, ::-1], 6: np.rot90(DEEP, -1)}[orientation]
    assert np.array_equal(read_image(data), divided_by_257(turned))
    assert image_size(data) == turned.shape[1::-1]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_first_frame_of_an_animation_counts(kind):
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = packed(first, kind, save_all=True, append_images=[second], **options)
    assert np.array_equal(read_image(data), RGB)


def test_result_is_writable_and_contiguous():
    for data in (packed(Image.fromarray(RGB), "PNG"), encoded(DEEP, ".png"), encoded(DEEP[..., 0], ".png")):
        read = read_image(data)
        assert read.dtype == np.uint8 and read.flags.writeable and read.flags.c_contiguous


def test_suffix_may_lie(tmp_path):
    path = tmp_path / "really_png.JPG"
    path.write_bytes(packed(Image.fromarray(RGB), "PNG"))
    assert np.array_equal(read_image(path), RGB)


@pytest.mark.parametrize(
    ("width", "height", "allowed"), [(10_000, 10_000, True), (10_001, 10_000, False), (100_000, 100_000, False)]
)
def test_size_limit_is_judged_from_the_header(width, height, allowed):
    data = png_of_size(width, height)
    if allowed:
        assert image_size(data) == (width, height)
    else:
        for read in (image_size, read_image, read_mask):
            with pytest.raises(ImageError, match=rf"{width} x {height} = {width * height} pixels.*100000000"):
                read(data)


@pytest.mark.parametrize("lossless", [True, False])
def test_size_limit_holds_for_webp_before_its_plugin_makes_room(monkeypatch, lossless):
    data = packed(Image.fromarray(RGB), "WEBP", lossless=lossless)
    monkeypatch.setattr(reader, "MAX_PIXELS", 17 * 11 - 1)
    monkeypatch.setattr(reader, "WebPImageFile", lambda stream: pytest.fail("opened"))
    with pytest.raises(ImageError, match="17 x 11 = 187 pixels"):
        read_image(data)


def test_size_limit_holds_for_tiff_that_pillow_does_not_know(monkeypatch):
    data = encoded(RNG.random((5, 6, 3)).astype(np.float32), ".tif")
    monkeypatch.setattr(reader, "MAX_PIXELS", 29)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="6 x 5 = 30 pixels"):
        read_image(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_truncated_file_is_refused_by_name(tmp_path, kind, share):
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = packed(noise, kind)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=r"cut\.img.*Allowed: PNG, JPEG, BMP, TIFF, WebP or DICOM"):
        read_image(path)


def test_corrupt_bytes_never_give_another_error():
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP"):
        data = packed(Image.fromarray(RGB), kind)
        for seed in range(60):
            rng = np.random.default_rng(seed)
            broken = bytearray(data)
            for place in rng.integers(0, min(len(data), 300), 4):
                broken[place] = rng.integers(256)
            try:
                assert read_image(bytes(broken)).shape[2] == 3
            except ImageError as error:
                assert "Allowed" in str(error) or "allowed" in str(error)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty"), (b"hello world, I am text", "not an image"), (b"GIF89a" + b"\0" * 40, "not an image")],
)
def test_what_is_no_image_is_refused_with_the_reason(data, reason):
    with pytest.raises(ImageError, match=rf"upload\.png: .*{reason}"):
        read_image(data, name="upload.png")


def test_zero_size_is_refused():
    with pytest.raises(ImageError, match="size of zero"):
        read_image(png_of_size(0, 4))


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(ImageError, match="cannot be opened"):
        read_image(tmp_path / "no.png")
    with pytest.raises(ImageError, match="cannot be opened"):
        read_image(tmp_path)


def test_many_threads_read_the_same(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(DEEP, ".png"))
    expected = read_image(path)
    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(expected, r) for r in pool.map(read_image, [path] * 40))


def test_header_tells_the_stored_mode():
    assert image_header(encoded(DEEP, ".png")).mode == "RGB;16"
    assert image_header(encoded(DEEP[..., 0], ".png")).mode == "I;16"
    assert image_header(packed(Image.fromarray(RGB), "JPEG")).mode == "RGB"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 127, 128, 255], [0, 0, 1, 1]),
        ([0, 0, 1, 1], [0, 0, 1, 1]),
        ([0, 1, 2, 7], [0, 1, 1, 1]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([0, 3, 0, 200], [0, 1, 0, 1]),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "I", "F"])
def test_mask_is_cut_at_half_or_holds_levels_and_class_numbers(values, expected, mode):
    grey = np.array([values], np.uint8)
    image = Image.fromarray(grey).convert(mode)
    assert read_mask(packed(image, "TIFF"))[0].tolist() == [bool(v) for v in expected]


@pytest.mark.parametrize(("high", "expected"), [(65535, [0, 0, 1]), (3, [0, 1, 1])])
def test_mask_of_16_bit(high, expected):
    data = encoded(np.array([[0, high // 3, high]], np.uint16), ".png")
    assert read_mask(data)[0].astype(int).tolist() == expected


def test_mask_of_one_bit_float_and_transparency():
    bits = np.array([[True, False, True]])
    assert np.array_equal(read_mask(packed(Image.fromarray(bits), "PNG")), bits)
    assert read_mask(packed(Image.fromarray(np.array([[0.2, 0.6, 1.0]], np.float32)), "TIFF")).tolist() == [
        [False, True, True]
    ]
    painted = Image.new("RGBA", (2, 1), (255, 255, 255, 0))
    painted.putpixel((1, 0), (0, 255, 0, 255))
    assert read_mask(packed(painted, "PNG")).tolist() == [[False, True]]


@pytest.mark.parametrize("size", [8, 16, 40])
def test_resize_is_that_of_torchvision_on_pillow_images(size):
    expected = np.asarray(transforms.Resize((size, size))(Image.fromarray(RGB)))
    assert np.array_equal(resize_image(RGB, size), expected)


def triangle_filter(count, wanted):
    """(wanted, count): bilinear with antialiasing by its definition, a triangle as wide as a pixel of the result."""
    scale = count / wanted
    support = max(scale, 1.0)
    centres = (np.arange(wanted)[:, None] + 0.5) * scale
    weights = np.maximum(1 - np.abs(np.arange(count) + 0.5 - centres) / support, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(8, 8), (33, 7), (256, 256), (64, 96), (97, 211)])
@pytest.mark.parametrize("given", [(1, 1), (5, 200), (97, 211), (300, 64)])
def test_resize_is_the_triangle_filter(given, size):
    image = np.random.default_rng(3).integers(0, 256, (*given, 3)).astype(np.uint8)
    rows, columns = (triangle_filter(*each) for each in zip(given, size, strict=True))
    expected = np.einsum("yh,hwc,xw->yxc", rows, image.astype(float), columns, optimize=True)
    # rounded after either direction
    assert np.abs(resize_image(image, size) - expected).max() <= 1.01


@pytest.mark.parametrize("size", [4, 9, 30])
def test_mask_resize_is_the_published_one(size):
    mask = RNG.random((21, 33)) > 0.7
    published = transforms.Compose([transforms.Resize((size, size)), transforms.ToTensor()])
    expected = published(Image.fromarray(mask.astype(np.uint8) * 255))[0].numpy() > 0.5
    assert np.array_equal(resize_mask(mask, size), expected)


def test_list_images_is_natural_and_leaves_out_what_is_hidden(tmp_path):
    for name in ("10.png", "2.PNG", "1.Jpeg", ".x.png", "._2.png", "notes.txt", "b.WebP", "a.tif"):
        (tmp_path / name).touch()
    (tmp_path / "deep.png").mkdir()
    assert [p.name for p in list_images(tmp_path)] == ["1.Jpeg", "2.PNG", "10.png", "a.tif", "b.WebP"]
    with pytest.raises(DataError, match="cannot be listed"):
        list_images(tmp_path / "missing")


@pytest.mark.parametrize("suffix", images.IMAGE_SUFFIXES)
def test_suffixes_count_in_any_letter_case(suffix):
    assert is_image(Path("a" + suffix)) and is_image(Path("a" + suffix.upper()))
    assert not is_image(Path("a" + suffix + ".txt"))
