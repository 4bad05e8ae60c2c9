"""Run lengths of masks as COCO stores them: column by column, the first run false, as numbers or as text.

Files of others are read with this, so every value is checked before memory is taken for it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import DataError

_ZERO, _BITS, _MORE, _SIGN = 48, 5, 0x20, 0x10
"""A character of the text stands for five bits above ``0``; a sixth says that more follow, the last fifth is a sign."""
_LONGEST = 7
"""Characters of one number: 35 bits, more than any image has pixels."""


def encode(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Run lengths of a mask (H, W): false, true, false, … down the columns; they sum to H * W."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    # a mask that begins with true has a first run of none
    edges = np.concatenate(([0, 0] if flat.size and flat[0] else [0], changes, [flat.size]))
    return np.diff(edges).astype(np.int64)


def decode(counts: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) of run lengths.

    Raises:
        DataError: they are not of an image of this size.
    """
    height, width = shape
    pixels = height * width
    if (counts.size and not 0 <= counts.min() <= counts.max() <= pixels) or counts.sum() != pixels:
        raise DataError(f"The run lengths do not sum to the {pixels} pixels of an image of {width} x {height}.")
    values = np.arange(counts.size) % 2 == 1
    return np.repeat(values, counts).reshape((height, width), order="F")


def to_text(counts: NDArray[np.int64]) -> str:
    """Run lengths as COCO's compressed text: from the fourth on, each as its difference from the one two before."""
    numbers = counts.copy()
    numbers[3:] -= counts[1:-2]
    text = bytearray()
    for number in numbers.tolist():
        more = True
        while more:
            bits = number & (2**_BITS - 1)
            number >>= _BITS
            more = number != (-1 if bits & _SIGN else 0)
            text.append(_ZERO + bits + (_MORE if more else 0))
    return text.decode("ascii")


def from_text(text: str) -> NDArray[np.int64]:
    """Run lengths from COCO's compressed text."""
    if not text.isascii():
        raise DataError("The text is no compressed run lengths.")
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - _ZERO
    if codes.size == 0:
        return codes
    ends = (codes & _MORE) == 0
    starts = np.flatnonzero(np.concatenate(([True], ends[:-1])))
    lengths = np.diff(np.append(starts, codes.size))
    if codes.min() < 0 or codes.max() >= 2 * _MORE or not ends[-1] or lengths.max() > _LONGEST:
        raise DataError("The text is no compressed run lengths.")
    positions = np.arange(codes.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & (2**_BITS - 1)) << (_BITS * positions), starts)
    negative = (codes[starts + lengths - 1] & _SIGN) != 0
    numbers -= np.where(negative, np.int64(1) << (_BITS * lengths), 0)
    # the differences were taken over every second number, from the second and the third on
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def from_numbers(numbers: Sequence[object]) -> NDArray[np.int64]:
    """Run lengths from a list of numbers."""
    if not all(type(number) is int and 0 <= number < 2**40 for number in numbers):
        raise DataError("The run lengths hold something else than whole numbers from 0.")
    return np.array(numbers, np.int64)
