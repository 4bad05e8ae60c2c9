import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from skrd4ad.documents import decode, to_plain
from skrd4ad.errors import CheckpointError, ConfigError, DataError, DocumentError
from skrd4ad.model_folder.calibration import DEFAULT_FALSE_REJECT_RATE, Calibration, CalibrationHistory, calibrate


def calibrated(
    scores: Sequence[float],
    *,
    false_reject_rate: float = DEFAULT_FALSE_REJECT_RATE,
    data: str = "held-out good images",
    who: str = "tests",
) -> Calibration:
    return calibrate(scores, false_reject_rate=false_reject_rate, data=data, who=who)


def test_a_part_is_rejected_above_the_threshold_and_not_at_it() -> None:
    calibration = calibrated([0.1, 0.4, 0.2])
    assert calibration.image_threshold == 0.4
    assert calibration.verdict(0.4) == "OK"
    assert calibration.verdict(np.nextafter(0.4, 1)) == "NG"


def test_between_the_thresholds_a_person_decides() -> None:
    calibration = replace(calibrated([0.1, 0.4, 0.2]), review_threshold=0.3)
    assert [calibration.verdict(score) for score in (0.3, 0.31, 0.4, 0.41)] == ["OK", "REVIEW", "REVIEW", "NG"]


def test_the_threshold_is_the_conformal_quantile() -> None:
    calibration = calibrated(list(range(1, 100)), false_reject_rate=0.1)
    assert calibration.image_threshold == 90  # 10 of 100 ranks may lie above: 91..99 and a new part beyond
    assert calibration.certified_false_reject_rate == 0.1


def test_few_images_certify_no_less_than_one_in_n_plus_one() -> None:
    calibration = calibrated([1.0, 2.0, 3.0], false_reject_rate=0.01)
    assert (calibration.n, calibration.image_threshold) == (3, 3.0)
    assert calibration.certified_false_reject_rate == 0.25
    assert calibration.target_false_reject_rate == 0.01


def test_pixels_have_the_threshold_of_the_part() -> None:
    calibration = calibrated([0.1, 0.4, 0.2])
    assert calibration.pixel_threshold == calibration.image_threshold


@pytest.mark.parametrize(
    ("scores", "rate"),
    [([0.5], 0.01), ([0.0], 0.01), ([0.3, 0.3, 0.3], 0.01), ([0.1, 0.2, 0.9], 0.01), ([1, 2, 3, 4, 5], 0.9)],
)
def test_the_heat_map_saturates_above_the_threshold(scores: list[float], rate: float) -> None:
    calibration = calibrated(scores, false_reject_rate=rate)
    assert calibration.heat_top > calibration.image_threshold


def test_the_scale_goes_on_by_twice_the_distance_to_a_usual_part() -> None:
    assert calibrated([1.0, 2.0, 4.0]).heat_top == 4.0 + 2 * 2.0


def test_one_score_is_its_own_threshold() -> None:
    calibration = calibrated([0.7])
    assert (calibration.image_threshold, calibration.n, calibration.certified_false_reject_rate) == (0.7, 1, 0.5)


def test_scores_are_kept_in_ascending_order() -> None:
    assert calibrated([3.0, 1.0, 2.0]).scores == (1.0, 2.0, 3.0)


def test_json_and_back_is_the_same_calibration() -> None:
    calibration = calibrated([np.float32(0.1), np.float32(0.3)])
    values = json.loads(json.dumps(to_plain(calibration), allow_nan=False))
    assert decode(values, Calibration, what="it") == calibration


@pytest.mark.parametrize(
    "damage",
    [
        {"image_threshold": "high"},
        {"image_threshold": None},
        {"heat_top": float("nan")},
        {"scores": None},
        {"scores": ["low"]},
        {"unknown": 1},
        {"review_threshold": 0.9},
        {"review_threshold": "low"},
        {"min_area": 0},
        {"min_area": 1.5},
        {"version": True},
        {"who": None},
        {"test_fitted": 1},
        {"expected": {"false_reject_rate": None}},
        {"ignore": "../mask.png"},
        {"ignore": "sub\\\\mask.png"},
        {"ignore": "mask.txt"},
    ],
)
def test_damaged_values_are_refused(damage: dict[str, object]) -> None:
    values = CalibrationHistory(1, (calibrated([0.1, 0.2]),)).to_plain()
    values["versions"][0] |= damage
    with pytest.raises(DocumentError, match=r"The file is damaged: .*Calibrate the model again"):
        CalibrationHistory.from_plain(values, "The file")


@pytest.mark.parametrize("missing", ["who", "n", "image_threshold"])
def test_a_missing_value_is_refused(missing: str) -> None:
    values = to_plain(calibrated([0.1, 0.2]))
    del values[missing]
    with pytest.raises(DocumentError, match=missing):
        decode(values, Calibration, what="it")


def test_no_scores_or_no_number_cannot_calibrate() -> None:
    with pytest.raises(DataError, match="at least one"):
        calibrated([])
    with pytest.raises(DataError, match="not finite"):
        calibrated([float("nan")])


@pytest.mark.parametrize("rate", [0, 1, -0.1])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="above 0, below 1"):
        calibrated([0.1], false_reject_rate=rate)


def test_a_calibration_says_who_made_it_from_what() -> None:
    calibration = calibrated([0.1, 0.2], data="2 images", who="A. Mason")
    assert (calibration.data, calibration.who, calibration.method) == ("2 images", "A. Mason", "split-conformal")
    assert (calibration.version, calibration.test_fitted, calibration.min_area) == (1, False, 1)
    assert calibration.created_at.startswith("20")


def test_when_it_was_made_does_not_make_it_another_calibration() -> None:
    calibration = calibrated([0.1, 0.2])
    assert replace(calibration, created_at="2020-01-01T00:00:00+00:00") == calibration
    assert replace(calibration, who="another") != calibration


def test_versions_are_numbered_and_added_only() -> None:
    first = calibrated([0.1])
    history = CalibrationHistory(1, (first,)).added(calibrated([0.2])).using(1).added(calibrated([0.3]))
    assert [each.version for each in history.versions] == [1, 2, 3]
    assert [each.image_threshold for each in history.versions] == [0.1, 0.2, 0.3]
    assert (history.current_version, history.current.image_threshold) == (3, 0.3)
    assert history.using(2).current.image_threshold == 0.2
    assert history.using(2).versions == history.versions
    with pytest.raises(CheckpointError, match=r"no version 4 .* there are: 1, 2, 3"):
        history.using(4)


def test_a_history_and_back_is_the_same() -> None:
    history = CalibrationHistory(1, (calibrated([0.1]),)).added(calibrated([0.2], false_reject_rate=0.5)).using(1)
    values = json.loads(json.dumps(history.to_plain(), allow_nan=False))
    assert (values["format"], values["current"], len(values["versions"])) == (2, 1, 2)
    assert CalibrationHistory.from_plain(values, "The file") == history


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"format": 1}, "has the format 1"),
        ({"format": None}, "has the format null"),
        ({"current": 3}, "the current one is 3"),
        ({"versions": []}, "damaged"),
        ({"versions": None}, "damaged"),
        ({"versions": [{}]}, "damaged"),
    ],
)
def test_a_damaged_history_is_refused(damage: dict[str, object], words: str) -> None:
    values = {**CalibrationHistory(1, (calibrated([0.1]),)).to_plain(), **damage}
    with pytest.raises(CheckpointError, match=words):
        CalibrationHistory.from_plain(values, "The file")


def test_a_version_twice_is_refused() -> None:
    values = CalibrationHistory(1, (calibrated([0.1]),)).to_plain()
    values["versions"] *= 2
    with pytest.raises(CheckpointError, match=r"the versions are \[1, 1\]"):
        CalibrationHistory.from_plain(values, "The file")
