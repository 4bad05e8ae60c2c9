from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as reference

from skrd4ad.data import rle
from skrd4ad.errors import DataError


def random_masks() -> Iterator[NDArray[np.bool_]]:
    """Sparse to full, of all sizes from one pixel on, also long and thin ones."""
    random = np.random.default_rng(4)
    for _ in range(300):
        height, width = random.integers(1, 30, 2)
        yield random.random((height, width)) < random.choice([0, 0.03, 0.4, 0.6, 0.97, 1])
    yield np.zeros((700, 3), bool)
    yield random.random((2, 900)) < 0.5


def theirs(mask: NDArray[np.bool_]) -> str:
    return reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def test_the_text_is_that_of_pycocotools_and_comes_back_exactly() -> None:
    for mask in random_masks():
        counts = rle.encode(mask)
        text = rle.to_text(counts)
        assert text == theirs(mask)
        assert np.array_equal(rle.from_text(text), counts)
        assert np.array_equal(rle.decode(counts, mask.shape), mask)


def test_a_long_run_takes_several_characters() -> None:
    mask = np.zeros((3000, 2000), bool)
    mask[-1, -1] = True
    assert np.array_equal(rle.decode(rle.from_text(theirs(mask)), mask.shape), mask)


def test_runs_as_numbers() -> None:
    assert rle.encode(np.array([[True, False], [True, True]])).tolist() == [0, 2, 1, 1]
    assert rle.from_numbers([0, 2, 1, 1]).tolist() == [0, 2, 1, 1]


@pytest.mark.parametrize("text", ["~", "o", "0o", "\x00", "é", "oooooooo0"])
def test_text_that_is_no_run_lengths_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="no compressed run lengths"):
        rle.from_text(text)


@pytest.mark.parametrize("numbers", [[1.5], [-1], ["3"], [True], [2**41], [None]])
def test_numbers_that_are_no_run_lengths_are_refused(numbers: list[object]) -> None:
    with pytest.raises(DataError, match="whole numbers"):
        rle.from_numbers(numbers)


@pytest.mark.parametrize("counts", [[], [3], [5], [2**39], [-4, 8], [2**39, -(2**39) + 4]])
def test_runs_of_another_size_are_refused_before_memory_is_taken(counts: list[int]) -> None:
    with pytest.raises(DataError, match="do not sum to the 4 pixels"):
        rle.decode(np.array(counts, np.int64), (2, 2))
