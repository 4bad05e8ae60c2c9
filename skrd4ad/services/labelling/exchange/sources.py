"""What is imported: a folder, a ZIP file, or one file of labels, with the images and masks that it names."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from skrd4ad.data.images.archives import ZipEntry, list_zip, read_zip
from skrd4ad.data.images.read import is_hidden
from skrd4ad.errors import DataError, ImageError
from skrd4ad.paths import inside_data_roots, read_regular
from skrd4ad.services.labelling.exchange.records import Location, Problem

TABLES = (".csv", ".json", ".xml", ".txt", ".yaml", ".yml", ".names")
_ALONE = (".csv", ".json", ".xml")
"""Files of labels that say all by themselves."""
MAX_FILES = 200_000
"""Files of all kinds in a folder; a folder with more is not that of a data set."""
MAX_TABLE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Bundle:
    """Files to import, by their names: paths with ``/`` below the folder, or inside the ZIP file."""

    label: str
    files: Mapping[str, Location | bytes]
    """Files that were listed: where each is, or its content for one that was uploaded alone."""
    folder: Path | None = None
    """Folder from which the names count; None for what was uploaded."""
    only_data_roots: bool = True
    """Whether files elsewhere are refused; the command line reads any path its user may read."""
    archive: Path | bytes | None = None
    entries: Mapping[str, ZipEntry] = field(default_factory=dict)
    refused: tuple[Problem, ...] = ()

    def tables(self, suffix: str) -> list[str]:
        """Files with a suffix, the least deep first."""
        named = (name for name in self.files if name.lower().endswith(suffix))
        return sorted(named, key=lambda name: (name.count("/"), name))

    def find(self, name: str, *, beside: str = "") -> Location | None:
        """Where a file is that ``beside`` names, absolute or from its own folder; None when it is not there.

        Raises:
            DataError: it is outside the folders that may be read.
        """
        plain = name.replace("\\", "/")
        path = PurePosixPath(plain)
        if path.is_absolute():
            return self._on_disk(Path(plain))
        inner = os.path.normpath(PurePosixPath(beside).parent / path)
        known = self.files.get(inner)
        if known is not None and not isinstance(known, bytes):
            return known
        return None if self.folder is None else self._on_disk(self.folder / inner)

    def read(self, files: Iterable[Location]) -> Iterator[tuple[Location, bytes | ImageError]]:
        """Content of files, one in memory at a time, or why one cannot be read."""
        packed = []
        for location in files:
            if isinstance(location, str):
                packed.append(self.entries[location])
                continue
            try:
                yield location, read_regular(location)
            except OSError as error:
                yield location, ImageError(f"{location} cannot be read ({error.strerror}).")
        if packed and self.archive is not None:
            for entry, content in read_zip(self.archive, packed, name=self.label):
                yield entry.name, content

    def text(self, name: str) -> str:
        """A table of labels as text."""
        found = self.files[name] if name in self.files else self.find(name)
        if found is None:
            raise DataError(f"There is no {name} in {self.label}.")
        size = found.stat().st_size if isinstance(found, Path) and found.is_file() else 0
        content: bytes | ImageError = b""
        if size <= MAX_TABLE_BYTES:
            content = found if isinstance(found, bytes) else next(self.read([found]))[1]
        if isinstance(content, ImageError):
            raise DataError(f"{name} cannot be read. {content}") from content
        if (size := max(size, len(content))) > MAX_TABLE_BYTES:
            raise DataError(f"{name} has {size >> 20} MB; allowed: up to {MAX_TABLE_BYTES >> 20}. Split it.")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name} is no UTF-8 text ({error.reason}). Save it as UTF-8, in Excel “CSV UTF-8”."
            ) from error

    def _on_disk(self, path: Path) -> Path | None:
        if self.only_data_roots:
            inside_data_roots(path)
        try:
            return Path(os.path.normpath(path.absolute())) if path.is_file() else None
        except (OSError, ValueError):  # a name that no file can have
            return None


def open_bundle(source: Path | bytes, *, name: str | None = None, only_data_roots: bool = True) -> Bundle:
    """What is to be imported: a folder, a ZIP file, a CSV, JSON or XML file; or the content of one, and its name.

    ``only_data_roots`` refuses files that are outside the data roots.
    """
    label = name or str(source)
    suffix = PurePosixPath(label).suffix.lower()
    if isinstance(source, Path) and only_data_roots:
        inside_data_roots(source)
    if isinstance(source, Path) and source.is_dir():
        return Bundle(label, _listed(source, only_data_roots), source.absolute(), only_data_roots)
    if isinstance(source, Path) and not source.is_file():
        raise DataError(f"There is no {source}. Give a folder, a ZIP file, or a CSV, JSON or XML file of labels.")
    if suffix == ".zip":
        return _packed(source, label, only_data_roots)
    if suffix not in _ALONE:
        raise DataError(f"{label} is no file of labels; allowed: a folder, .zip, {', '.join(_ALONE)}.")
    if isinstance(source, bytes):
        return Bundle(label, {PurePosixPath(label).name: source}, None, only_data_roots)
    return Bundle(label, {source.name: source.absolute()}, source.absolute().parent, only_data_roots)


def _packed(source: Path | bytes, label: str, only_data_roots: bool) -> Bundle:
    entries = list_zip(source, name=label, also=TABLES)
    fine = {entry.name: entry for entry in entries if entry.error is None}
    refused = [Problem(label, str(entry.error)) for entry in entries if entry.error is not None]
    if len(fine) + len(refused) < len(entries):
        raise DataError(f"{label} holds several files of one name. Pack it anew.")
    files: dict[str, Location | bytes] = {name: name for name in fine}
    return Bundle(label, files, None, only_data_roots, archive=source, entries=fine, refused=tuple(refused))


def _listed(folder: Path, only_data_roots: bool) -> dict[str, Location | bytes]:
    """All visible files below a folder; links to folders are not followed, and none to outside the data roots."""
    found: dict[str, Location | bytes] = {}
    for here, folders, files in os.walk(folder):
        inside = Path(here)
        folders[:] = sorted(name for name in folders if not is_hidden(inside / name))
        for name in sorted(files):
            path = inside / name
            if is_hidden(path):
                continue
            if only_data_roots and path.is_symlink():
                inside_data_roots(path)
            found[path.relative_to(folder).as_posix()] = path.absolute()
        if len(found) > MAX_FILES:
            raise DataError(f"{folder} holds over {MAX_FILES} files. Choose the folder of the data set itself.")
    return found
