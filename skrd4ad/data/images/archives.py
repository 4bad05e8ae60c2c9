"""ZIP files whose entries are checked before any is unpacked, and images inside them, read into memory one at a time.

Nothing here writes to the disk. Bundles of models and of labels are read with the same checks.
"""

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from skrd4ad.data.images.decode import name_of
from skrd4ad.data.images.read import is_hidden, is_image
from skrd4ad.errors import DataError, ImageError
from skrd4ad.paths import open_regular

MAX_FILES = 20_000
"""Entries of all kinds; a ZIP file with more is refused."""
MAX_BYTES = 8 * 2**30
"""Of all images together, unpacked."""
MAX_IMAGE_BYTES = 2**30
"""Of one image, unpacked; more than any image of the largest size that is allowed needs."""
_CHUNK = 2**20
_LONGEST_NAME = 200
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"|?*\\]')
"""Characters that some system takes for more than a part of a name."""

# what zipfile raises on damaged files; RuntimeError: encrypted, NotImplementedError: packed in an unknown way
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)


def open_zip(source: Path | bytes, label: str, *, kind: str, remedy: str) -> zipfile.ZipFile:
    """A ZIP file, with its listing read. ``kind`` and ``remedy`` are for the message: "ZIP file", "Pack it anew."

    Raises:
        DataError: it cannot be opened, or is none.
    """
    try:
        if isinstance(source, bytes):
            return zipfile.ZipFile(io.BytesIO(source))
        open_regular(source).close()
        return zipfile.ZipFile(source)
    except OSError as error:
        raise DataError(f"{label} cannot be opened: {error.strerror or error}.") from error
    except _DAMAGED as error:
        raise DataError(f"{label} is no {kind}, or it is damaged ({error}). {remedy}") from error


def hazard_of(info: zipfile.ZipInfo) -> Literal["path", "link", "encrypted"] | None:
    """Why an entry must not be read: its path leads elsewhere, it is a link or a device, or it has a password."""
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or _FORBIDDEN.search(info.filename):
        return "path"
    # the upper half of the attributes is the file's mode where it was packed on Unix (3); 0 where the packer gave none
    if info.create_system == 3 and stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "link"
    return "encrypted" if info.flag_bits & 0x1 else None


def read_chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of an entry; never more than the size in the listing, whatever the packed data claim.

    Raises:
        DataError: it cannot be unpacked; the message is the reason alone.
    """
    try:
        with archive.open(info) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except _DAMAGED as error:
        raise DataError(str(error) or type(error).__name__) from error


@dataclass(frozen=True)
class ZipEntry:
    """One image in a ZIP file."""

    name: str
    """Path inside the file, as stored; safe to use below a folder only when there is no error."""
    index: int
    """Among all entries."""
    error: ImageError | None = None


def list_zip(source: Path | bytes, *, name: str | None = None, also: tuple[str, ...] = ()) -> list[ZipEntry]:
    """Images in a ZIP file, and files with the suffixes ``also``, in its order; hidden files are passed over.

    An image whose path leads elsewhere, that is encrypted or too large, stays in the list with its error.
    """
    label = name_of(source, name, kind="the ZIP file")
    with _opened(source, label) as archive:
        infos = archive.infolist()
    if len(infos) > MAX_FILES:
        raise DataError(f"{label} holds {len(infos)} entries; allowed: up to {MAX_FILES}. Split it.")
    entries = [
        ZipEntry(info.filename, index, _refusal(info, label))
        for index, info in enumerate(infos)
        if not info.is_dir() and _is_shown(info.filename, also)
    ]
    unpacked = sum(infos[entry.index].file_size for entry in entries if entry.error is None)
    if unpacked > MAX_BYTES:
        raise DataError(
            f"The images in {label} take {unpacked / 2**30:.1f} GB unpacked; allowed: up to "
            f"{MAX_BYTES / 2**30:.0f} GB. Split it."
        )
    return entries


def read_zip(
    source: Path | bytes, entries: list[ZipEntry], *, name: str | None = None
) -> Iterator[tuple[ZipEntry, bytes | ImageError]]:
    """Each listed entry with its bytes, or with why it cannot be read; one is in memory at a time."""
    label = name_of(source, name, kind="the ZIP file")
    with _opened(source, label) as archive:
        infos = archive.infolist()
        for entry in entries:
            found: bytes | ImageError
            try:
                found = entry.error or b"".join(read_chunks(archive, infos[entry.index]))
            except DataError as error:
                found = ImageError(f"{label}/{infos[entry.index].filename}: cannot be unpacked ({error}).")
            yield entry, found


def _opened(source: Path | bytes, label: str) -> zipfile.ZipFile:
    return open_zip(source, label, kind="ZIP file", remedy="Pack the images anew.")


def _is_shown(name: str, also: tuple[str, ...]) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    wanted = is_image(Path(name)) or name.lower().endswith(also)
    return wanted and not any(is_hidden(Path(part)) and part != ".." for part in parts)


def _refusal(info: zipfile.ZipInfo, label: str) -> ImageError | None:
    hazard = hazard_of(info)
    if hazard == "path":
        return ImageError(f"{label}/{info.filename!r}: its path leads outside the ZIP file, so it is not read.")
    if any(len(part) > _LONGEST_NAME for part in PurePosixPath(info.filename).parts):
        return ImageError(f"{label}/{info.filename[:60]}…: its name is longer than {_LONGEST_NAME} characters.")
    if hazard == "link":
        return ImageError(f"{label}/{info.filename}: it is a link or a device, no file. Pack the image itself.")
    if hazard == "encrypted":
        return ImageError(f"{label}/{info.filename}: it is encrypted. Pack the images without a password.")
    if info.file_size > MAX_IMAGE_BYTES:
        return ImageError(
            f"{label}/{info.filename}: {info.file_size / 2**30:.1f} GB unpacked; allowed: up to "
            f"{MAX_IMAGE_BYTES / 2**30:.0f} GB."
        )
    return None
