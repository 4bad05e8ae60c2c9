"""SHA-256 of contents, in hexadecimal: the one way by which this program tells whether two things are the same."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from skrd4ad.errors import CheckpointError, ImageError, SkrdError
from skrd4ad.paths import open_regular

KEPT_DIGESTS = 100_000


def content_digest(*parts: bytes | str) -> str:
    """Of bytes and of texts in UTF-8, one after another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def file_digest(path: Path, *, error: type[SkrdError] = CheckpointError) -> str:
    """Of a file's bytes; ``error`` is raised where it cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}.") from cause


def image_digest(path: Path) -> str:
    """Of an image's file; see :func:`remembered_digest`.

    Raises:
        ImageError: the file cannot be read.
    """
    return remembered_digest(path, error=ImageError)


def remembered_digest(path: Path, *, error: type[SkrdError] = CheckpointError) -> str:
    """Of a file's bytes, taken once a process as long as its size and time of change stay as they are; ``error`` is
    raised where it cannot be read."""
    try:
        state = path.stat()
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}.") from cause
    try:
        return _remembered_digest(path, state.st_mtime_ns, state.st_size)
    except CheckpointError as cause:
        raise error(str(cause)) from cause


@lru_cache(maxsize=KEPT_DIGESTS)
def _remembered_digest(path: Path, _changed_at: int, _size: int) -> str:
    return file_digest(path)


def array_digest(array: NDArray[Any]) -> str:
    """Of an array's shape and values: the same for one picture saved in several lossless formats."""
    return content_digest(repr(array.shape), array.tobytes())
