"""Masks as run lengths: the small, exact form in which a drawing travels between the browser and Python.

Row by row, the first run counts zeros (and is 0 when the mask begins with ones), then ones and zeros take turns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import DataError


def encode_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths of a mask (H, W) bool."""
    if mask.ndim != 2 or mask.size == 0 or mask.dtype != np.bool_:
        raise DataError(f"The mask has the shape {mask.shape} and type {mask.dtype}; allowed: (H, W) bool, not empty.")
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths: list[int] = np.diff(changes, prepend=0, append=flat.size).tolist()
    return [0, *lengths] if flat[0] else lengths


def decode_runs(runs: Any, *, width: int, height: int) -> NDArray[np.bool_]:
    """Mask (height, width) of run lengths, which may come from anywhere.

    Raises:
        DataError: the runs are not whole numbers, or do not fill the mask exactly.
    """
    size = width * height
    if width < 1 or height < 1:
        raise DataError(f"The mask is {width} x {height} pixels; allowed: at least 1 x 1.")
    try:
        lengths = np.asarray(runs)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"The run lengths of the mask are no list of numbers: {error}.") from error
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise DataError("The run lengths of the mask are no list of whole numbers; draw it again.")
    if lengths.size == 0 or lengths.min() < 0 or lengths.max() > size:
        raise DataError(f"The mask has a run outside of 0 to {size} pixels, or none at all; draw it again.")
    total = int(lengths.sum(dtype=np.int64))
    if total != size:
        raise DataError(f"The runs of the mask count {total} pixels; allowed: {width} x {height} = {size}.")
    values = np.arange(lengths.size) % 2 == 1
    return np.repeat(values, lengths.astype(np.int64)).reshape(height, width)
