import io
import stat
import zipfile
from pathlib import Path

import pytest

from skrd4ad.data.images import archives
from skrd4ad.data.images.archives import list_zip, read_zip
from skrd4ad.errors import DataError, ImageError


def packed(*entries: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def test_images_are_read_in_order_and_other_files_passed_over() -> None:
    source = packed(
        ("b/2.PNG", b"two"),
        ("notes.txt", b"x"),
        ("b/", b""),
        ("__MACOSX/b/._2.png", b"x"),
        (".h.png", b"x"),
        ("1.jpg", b"one"),
    )
    entries = list_zip(source)
    assert [entry.name for entry in entries] == ["b/2.PNG", "1.jpg"]
    assert [content for _, content in read_zip(source, entries)] == [b"two", b"one"]


def test_two_entries_of_one_name_keep_their_own_content() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        source = packed(("a.png", b"first"), ("a.png", b"second"))
    assert [content for _, content in read_zip(source, list_zip(source))] == [b"first", b"second"]


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "a\\..\\x.png", "a\x01.png"])
def test_a_path_that_leads_outside_is_reported_and_never_read(name: str) -> None:
    source = packed((name, b"content"), ("good.png", b"fine"))
    (_, bad), (entry, fine) = read_zip(source, list_zip(source))
    assert isinstance(bad, ImageError)
    assert "outside" in str(bad)
    assert (entry.name, fine) == ("good.png", b"fine")


def test_nothing_is_written_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "parts.zip"
    file.write_bytes(packed(("a/b.png", b"x")))
    monkeypatch.chdir(tmp_path)
    assert [content for _, content in read_zip(file, list_zip(file))] == [b"x"]
    assert [path.name for path in tmp_path.rglob("*")] == ["parts.zip"]


def test_a_damaged_entry_is_reported_and_the_rest_goes_on() -> None:
    body = bytes(range(256)) * 40
    source = bytearray(packed(("a.png", body), ("b.png", b"fine")))
    source[60:70] = b"\xff" * 10
    (_, bad), (_, fine) = read_zip(bytes(source), list_zip(bytes(source)))
    assert isinstance(bad, ImageError)
    assert "a.png: cannot be unpacked" in str(bad)
    assert fine == b"fine"


def test_an_encrypted_entry_is_reported() -> None:
    source = bytearray(packed(("a.png", b"content")))
    source[source.index(b"PK\x01\x02") + 8] |= 1
    (entry,) = list_zip(bytes(source))
    assert "encrypted" in str(entry.error)


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFBLK, stat.S_IFIFO])
def test_a_link_or_device_is_reported_and_never_read(mode: int) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, kind in (("link.png", mode), ("file.png", stat.S_IFREG)):
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, b"/etc/passwd")
    (_, bad), (_, fine) = read_zip(stream.getvalue(), list_zip(stream.getvalue()))
    assert isinstance(bad, ImageError)
    assert "a link or a device" in str(bad)
    assert fine == b"/etc/passwd"


@pytest.mark.parametrize(
    ("limit", "value", "error"),
    [("MAX_FILES", 1, "holds 2 entries; allowed: up to 1"), ("MAX_BYTES", 1500, "unpacked; allowed")],
)
def test_more_than_is_allowed_is_refused(monkeypatch: pytest.MonkeyPatch, limit: str, value: int, error: str) -> None:
    monkeypatch.setattr(archives, limit, value)
    with pytest.raises(DataError, match=error):
        list_zip(packed(("a.png", bytes(1000)), ("b.png", bytes(1000))))


def test_one_image_too_large_is_reported_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_IMAGE_BYTES", 500)
    first, second = list_zip(packed(("a.png", bytes(1000)), ("b.png", bytes(100))))
    assert "unpacked; allowed" in str(first.error)
    assert second.error is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"no archive at all"])
def test_what_is_no_zip_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="no ZIP file"):
        list_zip(content, name="upload.zip")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        list_zip(tmp_path / "x.zip")
