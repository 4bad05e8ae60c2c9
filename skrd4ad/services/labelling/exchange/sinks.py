"""Where an export is written: a folder or a ZIP file. The same files make the same bytes."""

import zipfile
from pathlib import Path
from typing import Protocol

from skrd4ad.errors import DataError

_ZIP_START = (1980, 1, 1, 0, 0, 0)
_PACKED_WELL = (".csv", ".json")


class Sink(Protocol):
    """Takes the files of an export."""

    def add(self, name: str, content: bytes) -> None:
        """Write a file.

        Args:
            name: path with ``/`` below the folder, or inside the ZIP file.
            content: of the file.
        """


class FolderSink:
    """Writes below a folder that exists."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            DataError: it cannot be written.
        """
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error


class ZipSink:
    """Writes into a ZIP file that is open; images are packed already and only stored."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            DataError: it cannot be written.
        """
        info = zipfile.ZipInfo(name, _ZIP_START)
        info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(_PACKED_WELL) else zipfile.ZIP_STORED
        info.external_attr = 0o644 << 16
        try:
            self._archive.writestr(info, content)
        except OSError as error:
            raise DataError(f"The ZIP file cannot be written: {error.strerror or error}.") from error
