"""Named pipes, sockets and devices are refused by every reader of files, with the reason, and keep nobody waiting."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from skrd4ad.data.images.archives import open_zip
from skrd4ad.data.images.read import image_size, list_images, read_image
from skrd4ad.digests import file_digest
from skrd4ad.documents import read_values
from skrd4ad.errors import CheckpointError, SkrdError
from skrd4ad.models.tensor_files import read_tensor_file
from skrd4ad.paths import open_regular, read_regular

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


def test_a_regular_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a.bin")
    assert read_regular(tmp_path / "link") == b"abc"
    with open_regular(tmp_path / "a.bin") as file:
        assert file.read(2) == b"ab"


def test_what_is_no_regular_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for path, reason in (("pipe", "a named pipe"), ("socket", "a socket"), ("/dev/zero", "a device")):
            with pytest.raises(OSError) as error:
                open_regular(Path(path))
            assert error.value.strerror == f"it is {reason}, and only regular files are read"
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("x.png", read_image),
        ("x.png", image_size),
        ("x.png", file_digest),
        ("x.json", read_values),
        ("x.pth", lambda path: read_tensor_file(path, error=CheckpointError)),
        ("x.safetensors", lambda path: read_tensor_file(path, error=CheckpointError)),
        ("x.zip", lambda path: open_zip(path, "x.zip", kind="ZIP file", remedy="Pack it anew.")),
    ],
)
def test_no_reader_waits_for_a_pipe(name: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SkrdError, match="named pipe"):
        read(tmp_path / name)


def test_a_pipe_among_images_is_listed_so_that_its_reader_says_why_it_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "folder.png").mkdir()
    assert list_images(tmp_path) == [tmp_path / "x.png"]
