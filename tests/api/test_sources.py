"""Pictures in memory are seen as the same pictures in a file are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from skrd4ad.api.sources import is_one_image, sources_of
from skrd4ad.data.images.read import read_image
from skrd4ad.errors import ConfigError

RGB = np.random.default_rng(3).integers(0, 256, (24, 40, 3)).astype(np.uint8)


def seen(picture: object) -> np.ndarray:
    [(name, file)] = sources_of(picture)
    assert isinstance(file, bytes)
    return read_image(file, name=name)


@pytest.mark.parametrize(
    "picture",
    [RGB, RGB[:, ::-1][:, ::-1], Image.fromarray(RGB), torch.from_numpy(RGB), torch.from_numpy(RGB).permute(2, 0, 1)],
    ids=["array", "view", "PIL", "tensor (H, W, 3)", "tensor (3, H, W)"],
)
def test_colours_keep_their_order(picture: object) -> None:
    assert np.array_equal(seen(picture), RGB)


def test_grey_becomes_three_equal_channels() -> None:
    grey = RGB[..., 0]
    for picture in (grey, Image.fromarray(grey), torch.from_numpy(grey.copy())):
        assert np.array_equal(seen(picture), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", "png"), ("LA", "png"), ("P", "png"), ("1", "png"), ("I;16", "png"), ("CMYK", "jpg")]
)
def test_other_modes_of_pil_are_seen_as_their_file_is(mode: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{suffix}"
    if mode == "I;16":
        Image.fromarray(RGB[..., 0].astype(np.uint16) * 200).save(path)
    else:
        Image.fromarray(np.dstack([RGB, RGB[..., :1]]), "RGBA").convert(mode if mode != "CMYK" else "RGB").convert(
            mode
        ).save(path)
    with Image.open(path) as picture:
        assert picture.mode == mode
        assert np.array_equal(seen(picture), read_image(path))


def test_the_rotation_of_a_camera_is_applied(tmp_path: Path) -> None:
    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[274] = 6
    Image.fromarray(RGB).save(path, exif=exif)
    with Image.open(path) as picture:
        assert seen(picture).shape == (40, 24, 3)
        assert np.array_equal(seen(picture), read_image(path))


@pytest.mark.parametrize(
    "picture",
    [RGB / 255, RGB[..., :2], RGB[None], RGB[:0], RGB.astype(np.uint16), torch.zeros(4, 8, 8, dtype=torch.uint8)],
    ids=["float", "two channels", "batch", "empty", "16 bit", "four channels"],
)
def test_other_arrays_are_refused_with_what_is_allowed(picture: object) -> None:
    with pytest.raises(ConfigError, match=r"shape \(.*\); allowed: uint8, .*\(H, W, 3\).* Several images go in a list"):
        list(sources_of(picture))
    with pytest.raises(ConfigError, match="An image is a dict; allowed: a path, an array, a PIL image or a tensor"):
        list(sources_of([{}]))


def test_folders_stand_for_their_images_and_pictures_are_numbered(tiny_data: Path) -> None:
    good = tiny_data / "machined_disc" / "test" / "good"
    assert not is_one_image(good) and is_one_image(good / "000.png") and is_one_image(str(good / "none.png"))
    names = [name for name, _ in sources_of([RGB, good, str(good / "000.png"), Image.fromarray(RGB)])]
    files = [str(path) for path in sorted(good.iterdir())]
    assert names == ["image-1", *files, files[0], "image-4"]
    assert [name for name, _ in sources_of(str(good))] == files
