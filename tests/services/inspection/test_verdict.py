import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skrd4ad.errors import ConfigError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import Inspection, Limits, limits_of
from skrd4ad.inference.scoring import comparable_versions
from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.model_folder.folder import CALIBRATION, read_info, save_calibration, use_version
from skrd4ad.regions import ScoringMask, find_regions, score_under
from skrd4ad.services.inspection.inspect import image_row, inspect_images, mask_of, to_record


@pytest.fixture
def part(tiny_data: Path) -> Path:
    return tiny_data / "machined_disc" / "test" / "dent" / "000.png"


def calibrated(predictor: Predictor, **settings: Any) -> Predictor:
    """The predictor with a fourth version of its calibration."""
    plain = calibrate([0.1, 0.2], data="tests", who="tests")
    return Predictor(predictor.model, replace(predictor.info, calibration=replace(plain, version=4, **settings)))


def one(predictor: Predictor, part: Path, threshold: float | None = None) -> Inspection:
    (found,) = inspect_images(predictor, [("part", part)], threshold=threshold)
    return found


def raw_score(predictor: Predictor, part: Path) -> float:
    prediction = one(predictor, part).prediction
    assert prediction is not None
    return prediction.score


def test_a_part_between_the_thresholds_is_for_review_and_shows_its_regions(predictor: Predictor, part: Path) -> None:
    score = raw_score(predictor, part)
    limits = {"image_threshold": score + 0.1, "review_threshold": score - 0.01, "pixel_threshold": score - 0.01}
    found = one(calibrated(predictor, **limits), part)
    assert found.limits is not None
    assert (found.verdict, found.limits.calibration) == ("REVIEW", 4)
    assert found.regions and found.regions[0].peak == pytest.approx(score)
    record = to_record(found)
    assert (record["verdict"], record["calibration"], record["review_threshold"]) == ("REVIEW", 4, score - 0.01)
    assert image_row(found)["calibration"] == 4
    mask = mask_of(found)
    assert mask is not None and mask.any()


def test_a_threshold_by_hand_names_no_calibration_and_reviews_nothing(predictor: Predictor, part: Path) -> None:
    held = calibrated(predictor, image_threshold=0.5, review_threshold=0.0, pixel_threshold=0.0)
    found = one(held, part, 99.0)
    assert found.limits is not None
    assert (found.verdict, found.limits.calibration, found.limits.review) == ("OK", None, None)


def test_regions_too_small_count_neither_in_score_nor_in_mask(predictor: Predictor, part: Path) -> None:
    score = raw_score(predictor, part)
    limit = score - 1e-4
    peak = {"image_threshold": limit, "pixel_threshold": limit}
    assert one(calibrated(predictor, **peak), part).verdict == "NG"
    found = one(calibrated(predictor, **peak, min_area=500), part)
    assert (found.verdict, found.regions) == ("OK", ())
    assert found.score is not None and found.score < score
    assert found.prediction is not None and found.prediction.score == pytest.approx(score)
    mask = mask_of(found)
    assert mask is not None and not mask.any()
    record = to_record(found)
    assert record["score"] < record["raw_score"]


def test_ignored_regions_are_muted_in_score_map_and_regions_and_stay_raw(
    predictor: Predictor, part: Path, tmp_path: Path
) -> None:
    prediction = one(predictor, part).prediction
    assert prediction is not None
    y, x = np.unravel_index(np.argmax(prediction.anomaly_map), (64, 64))
    mask = np.zeros((128, 128), np.uint8)  # drawn on an image of twice the size
    mask[2 * max(y - 8, 0) : 2 * (y + 9), 2 * max(x - 8, 0) : 2 * (x + 9)] = 255
    Image.fromarray(mask).save(tmp_path / "ignore.png")
    limits = {"image_threshold": prediction.score / 2, "pixel_threshold": prediction.score / 2}
    held = calibrated(predictor, **limits, ignore="ignore.png")
    found = one(Predictor(held.model, replace(held.info, folder=tmp_path)), part)
    assert found.scored_map is not None and found.prediction is not None
    inside = mask[::2, ::2] > 0
    assert not found.scored_map[inside].any()
    assert found.prediction.anomaly_map[inside].all()
    assert found.score == pytest.approx(found.prediction.anomaly_map[~inside].max())
    centres = [tuple(int(v) for v in region.centroid) for region in found.regions]
    assert all(not inside[cy, cx] for cx, cy in centres)


def test_what_counts_also_holds_for_a_threshold_by_hand(predictor: Predictor, part: Path) -> None:
    score = raw_score(predictor, part)
    assert one(calibrated(predictor, min_area=500), part, score - 1e-4).verdict == "OK"
    assert one(predictor, part, score - 1e-4).verdict == "NG"


@pytest.mark.parametrize("min_area", [1, 3, 20])
@pytest.mark.parametrize("quantile", [0.2, 0.7, 0.99])
def test_a_part_has_a_region_exactly_when_it_is_not_ok(min_area: int, quantile: float) -> None:
    rng = np.random.default_rng(min_area)
    for _ in range(20):
        plane = rng.random((12, 12), np.float32)
        limit = float(np.quantile(plane, quantile))
        limits = Limits(
            reject=limit + 0.1,
            review=limit,
            pixel=limit,
            heat_top=2,
            mask=ScoringMask(min_area=min_area),
            calibration=1,
        )
        verdict = limits.verdict(score_under(plane, limits.mask))
        assert bool(find_regions(plane, limit, min_area=min_area)) == (verdict != "OK")


def test_without_calibration_and_threshold_there_are_no_limits(predictor: Predictor, part: Path) -> None:
    bare = Predictor(predictor.model, replace(predictor.info, calibration=None))
    assert limits_of(bare.info) is None
    found = one(bare, part)
    assert (found.verdict, found.counted_map) == (None, None)
    assert found.prediction is not None and found.score == found.prediction.score


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_a_threshold_that_is_no_number_is_refused(predictor: Predictor, threshold: float) -> None:
    with pytest.raises(ConfigError, match="allowed: any finite"):
        limits_of(predictor.info, threshold)


def test_scores_hold_under_all_versions_that_count_the_same_pixels(
    tiny_model: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model[0], tmp_path / "model"))
    first = read_info(folder).calibration
    assert first is not None and comparable_versions(read_info(folder)) == (None, 1)
    save_calibration(folder, replace(first, image_threshold=9.0, pixel_threshold=9.0))
    assert comparable_versions(read_info(folder)) == (None, 1, 2)
    save_calibration(folder, replace(first, min_area=4))
    assert comparable_versions(read_info(folder)) == (3,)
    save_calibration(folder, replace(first, min_area=4, image_threshold=8.0))
    assert comparable_versions(read_info(folder)) == (3, 4)
    save_calibration(folder, first, ignore_mask=np.eye(64, dtype=bool))
    assert comparable_versions(read_info(folder)) == (5,)
    use_version(folder, 2)
    assert comparable_versions(read_info(folder)) == (1, 2)  # a limit by hand was judged by what counted then
    (folder / CALIBRATION).unlink()
    assert comparable_versions(read_info(folder)) == (None,)
