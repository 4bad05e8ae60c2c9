import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skrd4ad import digests
from skrd4ad.data.images.read import read_image
from skrd4ad.digests import array_digest, content_digest, file_digest, image_digest
from skrd4ad.errors import CheckpointError, ImageError

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of "abc", from the standard."""


def test_bytes_texts_and_files_have_the_digest_of_their_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert content_digest(b"abc") == content_digest("abc") == content_digest("a", b"b", "c") == ABC
    assert file_digest(path) == image_digest(path) == ABC
    assert content_digest("ä") == hashlib.sha256("ä".encode()).hexdigest()


def test_a_file_that_is_not_there_is_named_in_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none cannot be read: No such file"):
        file_digest(tmp_path / "none")
    with pytest.raises(ImageError, match="cannot be read"):
        file_digest(tmp_path / "none", error=ImageError)
    with pytest.raises(ImageError, match="cannot be read"):
        image_digest(tmp_path / "none")


def test_an_images_digest_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(b"abc")
    assert image_digest(path) == ABC
    with monkeypatch.context() as patch:
        patch.setattr(digests, "file_digest", lambda *_, **__: pytest.fail("it is known"))
        assert image_digest(path) == ABC
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    assert image_digest(path) == content_digest(b"abd")


def packed(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_an_arrays_digest_is_of_the_picture_not_of_its_file() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(pixels)
    assert array_digest(read_image(packed(image, "PNG"))) == array_digest(read_image(packed(image, "BMP")))
    assert array_digest(pixels) == hashlib.sha256(b"(6, 8, 3)" + pixels.tobytes()).hexdigest()
    assert array_digest(pixels) != array_digest(pixels.swapaxes(0, 1))
    flat = np.zeros((2, 6, 3), np.uint8)
    assert array_digest(flat) != array_digest(flat.reshape(3, 4, 3))
