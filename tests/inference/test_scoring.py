from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.errors import CheckpointError, DataError
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.model_folder.folder import save_calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import ScoringMask, find_regions, ignored_pixels, muted_map, score_under, without_small_regions


def highest_level_by_trying_all(plane: NDArray[np.float32], min_area: int) -> float:
    """The largest value of the map at which a flood fill finds a region that is large enough."""
    for level in sorted(set(plane.ravel().tolist()), reverse=True):
        todo = {(int(y), int(x)) for y, x in zip(*np.nonzero(plane >= level), strict=True)}
        while todo:
            region, edge = set(), [todo.pop()]
            while edge:
                y, x = edge.pop()
                region.add((y, x))
                near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & todo
                todo -= near
                edge += near
            if len(region) >= min_area:
                return float(level)
    raise AssertionError("the whole map is a region")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("min_area", [1, 2, 3, 7, 30, 99])
def test_the_score_is_the_highest_level_of_a_region_that_counts(seed: int, min_area: int) -> None:
    rng = np.random.default_rng(seed)
    plane = rng.random((9, 11), np.float32)
    if seed % 2:
        plane = cv2.GaussianBlur(plane, (0, 0), 1.5).round(2)  # ties and plateaus
    assert score_under(plane, ScoringMask(min_area=min_area)) == highest_level_by_trying_all(plane, min_area)


@pytest.mark.parametrize("min_area", [1, 4, 25])
def test_a_score_is_above_a_threshold_exactly_when_a_region_that_counts_is(min_area: int) -> None:
    plane = cv2.GaussianBlur(np.random.default_rng(1).random((32, 32), np.float32), (0, 0), 1.0)
    score = score_under(plane, ScoringMask(min_area=min_area))
    for threshold in np.quantile(plane, np.linspace(0, 1, 40)):
        assert (score > threshold) == bool(find_regions(plane, float(threshold), min_area=min_area))
    assert not find_regions(plane, score, min_area=min_area)


def test_ignored_pixels_neither_score_nor_join_regions() -> None:
    plane = np.array([[9, 1, 2], [1, 8, 1], [3, 1, 7]], np.float32)
    corner = np.zeros((3, 3), bool)
    corner[0, 0] = True
    assert score_under(plane, ScoringMask(ignored=corner)) == 8
    middle = ~np.eye(3, dtype=bool)[::-1] & np.eye(3, dtype=bool)  # the two other corners of the diagonal
    assert score_under(plane, ScoringMask(ignored=middle)) == 8
    assert score_under(plane, ScoringMask(min_area=3)) == 7
    centre = np.zeros((3, 3), bool)
    centre[1, 1] = True
    assert score_under(plane, ScoringMask(min_area=3, ignored=centre)) == 1
    assert plane[0, 0] == 9  # raw maps stay raw


def test_nothing_ignored_is_the_same_map() -> None:
    plane = np.ones((2, 2), np.float32)
    assert muted_map(plane, ScoringMask()) is plane


def test_everything_ignored_scores_nothing() -> None:
    assert score_under(np.ones((4, 4), np.float32), ScoringMask(ignored=np.ones((2, 2), bool))) == 0


@pytest.mark.parametrize("shape", [(5, 7), (40, 30), (13, 100), (16, 16)])
def test_a_map_pixel_is_ignored_as_soon_as_a_part_of_it_is(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.03
    mask[2, 3] = True
    found = ignored_pixels(mask, height=16, width=16)
    fine = np.kron(mask, np.ones((16, 16), bool))  # 16 x shape: a common grid of both
    blocks = fine.reshape(16, shape[0], 16, shape[1])
    np.testing.assert_array_equal(found, blocks.any(axis=(1, 3)))


def test_a_region_larger_than_the_map_is_refused() -> None:
    with pytest.raises(DataError, match="allowed: up to 16"):
        score_under(np.ones((4, 4), np.float32), ScoringMask(min_area=17))


def test_small_regions_are_lowered_and_large_ones_stay() -> None:
    plane = np.zeros((8, 8), np.float32)
    plane[0, 0] = 5
    plane[4:7, 4:7] = 3
    found = without_small_regions(plane, threshold=0.1, min_area=4)
    assert found[0, 0] <= 0.1
    assert find_regions(found, 0.1) == find_regions(plane, 0.1, min_area=4)
    assert without_small_regions(plane, threshold=0.1, min_area=1) is plane


def test_a_model_without_a_calibration_counts_every_pixel(trained: ModelInfo) -> None:
    bare = scoring_mask_of(replace(trained, calibration=None))
    assert (bare.min_area, bare.ignored) == (1, None)


def test_the_surface_is_that_of_the_calibration(trained: ModelInfo) -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:5, 3:9] = True
    wanted = replace(calibrate([0.1, 0.2], data="tests", who="tests"), min_area=5)
    found = scoring_mask_of(save_calibration(trained.folder, wanted, ignore_mask=mask))
    assert found.min_area == 5
    assert found.ignored is not None
    np.testing.assert_array_equal(found.ignored, mask)


def test_a_missing_mask_is_an_error_in_words(trained: ModelInfo) -> None:
    wanted = calibrate([0.1, 0.2], data="tests", who="tests")
    info = save_calibration(trained.folder, wanted, ignore_mask=np.eye(8, dtype=bool))
    assert info.calibration is not None and info.calibration.ignore is not None
    Path(info.folder / info.calibration.ignore).unlink()
    with pytest.raises(CheckpointError, match="mask of ignored regions cannot be read"):
        scoring_mask_of(info)
