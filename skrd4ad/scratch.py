"""Arrays that may outgrow the memory: above a budget they are in files of the workspace, which the system pages.

The files have no name, so that nothing stays behind, even when the process is killed.
"""

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from skrd4ad.errors import ConfigError, StorageError
from skrd4ad.paths import workspace

BUDGET_VARIABLE = "SKRD4AD_CACHE_MB"


def memory_budget() -> int:
    """Bytes that what is computed once and used often may take in memory: ``SKRD4AD_CACHE_MB``, or a third of what is
    free now."""
    given = os.environ.get(BUDGET_VARIABLE)
    if given is None:
        import psutil

        return int(psutil.virtual_memory().available / 3)
    if not given.isdecimal():
        raise ConfigError(f"{BUDGET_VARIABLE} is {given!r}; allowed: a whole number of megabytes, 0 or more.")
    return int(given) * 2**20


def scratch_array(shape: Sequence[int], dtype: DTypeLike, *, what: str) -> NDArray[Any]:
    """An array of zeros, in memory or, when it is larger than the budget, in a file."""
    kind, number = np.dtype(dtype), math.prod(shape)
    if kind.itemsize * number <= memory_budget():
        return np.zeros(shape, kind)
    (held,) = in_files([kind.itemsize * number], what=what)
    return held.view(kind).reshape(shape)


def in_files(sizes: Sequence[int], *, what: str) -> list[NDArray[np.uint8]]:
    """Bytes of zeros in files that have no name; the disk's room for all of them is taken before this returns."""
    needed = sum(sizes)
    try:
        folder = workspace() / "cache"
        folder.mkdir(exist_ok=True)
        free = shutil.disk_usage(folder).free
        if needed <= 0.9 * free:
            return [_in_file(size, folder) for size in sizes]
    except OSError as error:
        raise StorageError(
            f"{what} need {needed / 2**30:.1f} GB, more than fits in memory, and cannot be written to the workspace: "
            f"{error}. Set SKRD4AD_HOME to another folder."
        ) from error
    raise StorageError(
        f"{what} need {needed / 2**30:.1f} GB, more than fits in memory, and {folder} has {free / 2**30:.1f} GB free. "
        "Free some space, set SKRD4AD_HOME to a larger disk, or choose a smaller image size or fewer images."
    )


def _in_file(size: int, folder: Path) -> NDArray[np.uint8]:
    if size == 0:
        return np.zeros(0, np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        # the blocks are taken now: a disk that is full later would end the process, not raise an error
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=(size,))
