"""Writing that is either done or not: a temporary name, flushed to the disk, then renamed."""

import errno
import json
import os
import platform
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.digests import content_digest, file_digest
from skrd4ad.documents import Count, to_plain
from skrd4ad.errors import CheckpointError, SkrdError, StorageError

LOCK = ".lock"
SWEEP_SECONDS = 60.0
"""What a dead process of this machine left behind is swept once it is so old."""
SWEEP_ELSEWHERE_SECONDS = 24 * 3600.0
"""The same for processes of other machines, of which nobody here knows whether they live."""
_HOST = content_digest(platform.node())[:6]
_TEMPORARY = re.compile(r"\..+\.(?P<host>[0-9a-f]{6})-(?P<pid>[0-9]+)-[0-9a-f]{8}\.part")
_SYNC_FLAGS = os.O_RDONLY if os.name == "posix" else os.O_RDWR
"""Windows flushes only files that are open for writing, and no folders."""


@dataclass(frozen=True)
class FileEntry:
    """What a file was when it was written."""

    sha256: str
    bytes: Count

    @staticmethod
    def of(path: Path) -> "FileEntry":
        """Digest and size of a file as it is now."""
        return FileEntry(file_digest(path), path.stat().st_size)


def temporary_name(target: Path) -> Path:
    """A free name beside ``target`` that says which process writes there."""
    return target.with_name(f".{target.name}.{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part")


def sweep(root: Path) -> list[Path]:
    """Remove what processes that were killed were writing below a folder; returns what was removed.

    What this process, another living one of this machine, or lately one of another machine writes is left alone.
    """
    removed = []
    for here, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path, match = Path(here, name), _TEMPORARY.fullmatch(name)
            if match is None or not _is_abandoned(path, host=match["host"], pid=int(match["pid"])):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
            removed.append(path)
        folders[:] = [name for name in folders if not _TEMPORARY.fullmatch(name)]
    return removed


def _is_abandoned(path: Path, *, host: str, pid: int) -> bool:
    try:
        age = time.time() - path.lstat().st_mtime
    except OSError:
        return False
    if host != _HOST:
        return age > SWEEP_ELSEWHERE_SECONDS
    import psutil  # as FileLock below: what only reads files need not wait for it

    return age > SWEEP_SECONDS and not psutil.pid_exists(pid)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` when the block ends well, and vanishes when it does not."""
    if target.exists():
        raise CheckpointError(f"{target} exists already; choose another folder, or move it away first.")
    temporary = temporary_name(target)
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
def new_file(target: Path, *, durable: bool = True, error: type[SkrdError] = CheckpointError) -> Iterator[Path]:
    """A temporary file name whose file replaces ``target`` when the block ends well.

    ``durable``: it is on the disk by then, whatever happens to the power; what can be made again need not be.
    """
    temporary = temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(target)
        if durable:
            _sync(target.parent)
    except OSError as cause:
        raise error(f"The file {target} cannot be written: {cause.strerror or cause}.") from cause
    finally:
        # not only missing: with a file where the folder should be, unlinking fails too, and would hide the reason
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder that is gone after the block."""
    folder = temporary_name(parent / "scratch")
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        raise StorageError(f"The folder {parent} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder in one go: it is out of sight first, so that a process that dies leaves no half of it.

    Raises:
        OSError: it cannot be removed.
    """
    gone = temporary_name(folder)
    folder.rename(gone)
    shutil.rmtree(gone)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one holder at a time, over all threads and processes; a folder that nobody can write is not locked.

    Raises:
        CheckpointError: there is no such folder.
    """
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}.")
    from filelock import FileLock

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire()
    except OSError as error:
        if os.access(folder, os.W_OK) and error.errno != errno.EROFS:
            raise CheckpointError(f"The folder {folder} cannot be locked: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def require_writable(folder: Path) -> None:
    """Make a folder when it is missing, and try whether files can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(
            f"The folder {folder} cannot be written: {error.strerror or error}. Choose another folder for the models."
        ) from error


def write_json(target: Path, value: object, *, format: int | None = None, indent: int | None = 2) -> None:
    """Replace a JSON file in one go. ``format``: number kept under that key; None for documents without one."""
    values = ({} if format is None else {"format": format}) | to_plain(value)
    text = json.dumps(values, indent=indent, ensure_ascii=False) + "\n"
    with new_file(target) as temporary:
        try:
            temporary.write_text(text, encoding="utf-8")
        except UnicodeEncodeError:  # a file's name need not be valid text
            temporary.write_text(json.dumps(values, indent=indent) + "\n", encoding="ascii")


def _sync(path: Path) -> None:
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, _SYNC_FLAGS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
