import re
from functools import cache

import numpy as np
import pytest

from skrd4ad.errors import DataError
from skrd4ad.model_folder.calibration import Calibration, calibrate
from skrd4ad.services.inspection.control_chart import (
    FALSE_ALARM_RATE,
    FEWEST,
    HORIZON,
    REJECTS_IN_A_ROW,
    USUAL,
    ControlChart,
    trend,
)

SHIFTED_PARTS = 60
"""Good parts within which a shift by three standard deviations is found."""


def good(random: np.random.Generator, count: int, *, shift: float = 0.0) -> list[float]:
    """Skewed scores of good parts; the shift is in standard deviations of their logarithm."""
    return [float(score) for score in np.exp(random.normal(0.2 * shift, 0.2, count))]


def calibrated(random: np.random.Generator, n: int) -> Calibration:
    return calibrate(good(random, n), data="held-out good images", who="A. Weber")


def drifts(found: ControlChart) -> list[int]:
    return [alarm.raised for alarm in found.alarms if alarm.kind == "drift"]


@cache
def false_alarms(n: int, runs: int) -> int:
    random = np.random.default_rng(7)
    return sum(bool(drifts(trend(good(random, HORIZON), calibrated(random, n)))) for _ in range(runs))


@pytest.mark.parametrize("n", [FEWEST, 21, 142])
def test_false_alarms_are_as_rare_as_stated(n: int) -> None:
    # 60 runs at 5 %: 3 expected, and more than 9 with a chance below 1 in 1000
    assert false_alarms(n, 60) <= 9


def test_false_alarms_are_not_much_rarer_than_stated() -> None:
    # an alarm that never sounds would keep any promise; no alarm in 180 runs at 5 % has a chance of 1 in 10 000
    assert FALSE_ALARM_RATE == 0.05
    assert sum(false_alarms(n, 60) for n in (FEWEST, 21, 142)) >= 1


@pytest.mark.parametrize(("shift", "share"), [(3.0, 0.9), (6.0, 1.0), (30.0, 1.0)])
def test_a_shift_of_good_parts_is_found(shift: float, share: float) -> None:
    random = np.random.default_rng(3)
    found = 0
    for _ in range(20):
        scores = good(random, 100) + good(random, SHIFTED_PARTS, shift=shift)
        alarms = trend(scores, calibrated(random, 50)).alarms
        found += any(alarm.raised >= 100 for alarm in alarms)
    assert found >= share * 20


def test_a_drift_names_where_it_began_and_how_many_good_parts() -> None:
    random = np.random.default_rng(1)
    calibration = calibrated(random, 60)
    # above the median and accepted
    high = float(np.quantile(calibration.scores, 0.9))
    found = trend([*good(random, 100), *[high] * 20], calibration)
    (alarm,) = found.alarms
    assert alarm.kind == "drift"
    assert 90 <= alarm.start <= 105 < alarm.raised < 120
    assert (alarm.end, alarm.ongoing) == (119, True)
    count = sum(point.verdict != "NG" for point in found.points[alarm.start :])
    assert alarm.text == (
        f"The last {count} good parts score higher than the calibration's: light, focus or dirt may have changed."
    )


def test_an_alarm_ends_when_scores_come_back() -> None:
    random = np.random.default_rng(1)
    calibration = calibrated(random, 60)
    high, usual = float(np.quantile(calibration.scores, 0.9)), float(np.median(calibration.scores))
    (alarm,) = trend([usual] * 30 + [high] * 20 + [usual] * 60, calibration).alarms
    assert not alarm.ongoing and 49 <= alarm.end < 109
    assert re.match(r"\d+ good parts, from number 31 to \d+, scored higher", alarm.text)


def test_lower_scores_are_no_alarm() -> None:
    calibration = calibrated(np.random.default_rng(1), 60)
    assert trend([min(calibration.scores) / 2] * 200, calibration).alarms == ()


def test_defects_between_good_parts_are_no_drift() -> None:
    random = np.random.default_rng(2)
    calibration = calibrated(random, 60)
    scores = [score if index % 3 else 10.0 for index, score in enumerate(good(random, 300))]
    found = trend(scores, calibration)
    assert drifts(found) == []
    assert found.points[3].average == found.points[2].average


def test_only_rejects_in_a_row_are_an_alarm() -> None:
    calibration = calibrated(np.random.default_rng(1), 60)
    median = float(np.median(calibration.scores))
    few = trend([median] + [10.0] * (REJECTS_IN_A_ROW - 1) + [median], calibration)
    (alarm,) = trend([median, None, *[10.0] * REJECTS_IN_A_ROW, None, median], calibration).alarms
    assert few.alarms == ()
    assert (alarm.kind, alarm.start, alarm.end) == ("rejects", 2, REJECTS_IN_A_ROW + 1)
    assert alarm.text.startswith(f"{REJECTS_IN_A_ROW} parts in a row, from number 3, were all rejected")


def test_lines_are_quantiles_of_the_held_out_scores() -> None:
    calibration = calibrated(np.random.default_rng(5), 41)
    found = trend([1.0], calibration)
    assert found.centre == pytest.approx(np.median(calibration.scores))
    assert found.usual == pytest.approx(np.quantile(calibration.scores, USUAL))
    assert found.image_threshold == calibration.image_threshold
    assert found.drift_limit is not None and found.centre is not None
    assert found.centre < found.drift_limit < calibration.image_threshold
    assert "median of 41 held-out good images" in found.note and "5% of runs of 1000 good parts" in found.note


def test_scores_on_any_scale_give_the_same_alarms() -> None:
    random = np.random.default_rng(11)
    held_out, scores = good(random, 40), good(random, 80) + good(random, 60, shift=2.0)
    plain = trend(scores, calibrate(held_out, data="d", who="w"))
    cubed = trend([score**3 for score in scores], calibrate([score**3 for score in held_out], data="d", who="w"))
    assert plain.alarms == cubed.alarms != ()


def test_parts_without_a_score_keep_their_place() -> None:
    found = trend([None, 1.0, None, 1.1], calibrated(np.random.default_rng(1), 20), names=["a", "b", "c", "d"])
    assert [(point.index, point.name) for point in found.points] == [(1, "b"), (3, "d")]


def test_no_parts_at_all() -> None:
    found = trend([], calibrated(np.random.default_rng(1), 20))
    assert found.points == () and found.alarms == ()


@pytest.mark.parametrize(("n", "word"), [(FEWEST - 1, "takes at least 10"), (1, "takes at least 10")])
def test_too_few_held_out_images_watch_no_drift(n: int, word: str) -> None:
    calibration = calibrated(np.random.default_rng(1), n)
    found = trend([max(calibration.scores)] * 100, calibration)
    assert found.drift_limit is None and found.alarms == () and word in found.note
    assert all(point.average is None for point in found.points)


def test_a_calibration_without_scores_has_no_centre_line() -> None:
    calibration = Calibration(
        who="w", method="manual", data="none", n=0, image_threshold=1.0, pixel_threshold=1.0, heat_top=2.0
    )
    found = trend([0.5, 2.0], calibration)
    assert (found.centre, found.usual, found.drift_limit) == (None, None, None)
    assert [point.verdict for point in found.points] == ["OK", "NG"] and "no centre line" in found.note


def test_wrong_input_is_refused_in_words() -> None:
    calibration = calibrated(np.random.default_rng(1), 20)
    with pytest.raises(DataError, match=r"places \[1\] are not finite"):
        trend([1.0, float("nan")], calibration)
    with pytest.raises(DataError, match="1 names for 2 scores"):
        trend([1.0, 1.0], calibration, names=["a"])
