"""Writing that is either done or not: a temporary name, flushed to the disk, then renamed."""

import fcntl
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from skrd4ad.errors import CheckpointError


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` when the block ends well, and vanishes when it does not.

    Raises:
        CheckpointError: the target exists, or the place cannot be written.
    """
    if target.exists():
        raise CheckpointError(f"{target} exists already; choose another folder, or move it away first.")
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        temporary.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise CheckpointError(f"The folder {target} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A temporary file name whose file replaces ``target`` when the block ends well.

    Raises:
        CheckpointError: the place cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise CheckpointError(f"The file {target} cannot be written: {error.strerror or error}.") from error
    finally:
        # not only missing: with a file where the folder should be, unlinking fails too, and would hide the reason
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one holder at a time, over all threads and processes: for reading a file and writing it again.

    Raises:
        CheckpointError: there is no such folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise CheckpointError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def require_writable(folder: Path) -> None:
    """Make a folder when it is missing, and try whether files can be made in it.

    Raises:
        CheckpointError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(
            f"The folder {folder} cannot be written: {error.strerror or error}. Choose another folder for the models."
        ) from error


def write_json(target: Path, values: Mapping[str, Any]) -> None:
    """Replace a JSON file in one go.

    Raises:
        CheckpointError: the place cannot be written.
    """
    with new_file(target) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: the file is missing, unreadable or damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is damaged: expected a JSON object.")
    return values


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
