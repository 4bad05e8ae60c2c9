import math

import numpy as np
import pytest
from scipy import stats

from skrd4ad.errors import DataError
from skrd4ad.metrics.gauge import Scores, bias, degrees_needed, deviation_interval, gauge_study, stability

# AIAG, Measurement Systems Analysis, 4th edition, Table III-B 1: three trials of each of three appraisers on ten parts
AIAG = """
0.29 -0.56 1.34 0.47 -0.80 0.02 0.59 -0.31 2.26 -1.36
0.41 -0.68 1.17 0.50 -0.92 -0.11 0.75 -0.20 1.99 -1.25
0.64 -0.58 1.27 0.64 -0.84 -0.21 0.66 -0.17 2.01 -1.31
0.08 -0.47 1.19 0.01 -0.56 -0.20 0.47 -0.63 1.80 -1.68
0.25 -1.22 0.94 1.03 -1.20 0.22 0.55 0.08 2.12 -1.62
0.07 -0.68 1.34 0.20 -1.28 0.06 0.83 -0.34 2.19 -1.50
0.04 -1.38 0.88 0.14 -1.46 -0.29 0.02 -0.46 1.77 -1.49
-0.11 -1.13 1.09 0.20 -1.07 -0.67 0.01 -0.56 1.45 -1.77
-0.15 -0.96 0.67 0.11 -1.45 -0.49 0.21 -0.49 1.87 -2.16
"""


@pytest.fixture
def aiag() -> Scores:
    table = [[float(value) for value in line.split()] for line in AIAG.split("\n") if line]
    return {
        f"part {part}": {name: [table[3 * row + trial][part] for trial in range(3)] for row, name in enumerate("ABC")}
        for part in range(10)
    }


def test_the_worked_example_of_the_manual(aiag: Scores) -> None:
    found = gauge_study(aiag)
    # the manual's ANOVA report: EV 0.199933, AV 0.226838, no interaction, GRR 0.302373 (27.9 %), PV 1.042327, ndc 4
    assert found.repeatability == pytest.approx(0.199933, abs=1e-6)
    assert found.reproducibility == pytest.approx(0.226838, abs=1e-6)
    assert (found.interaction, found.categories) == (0, 4)
    assert found.interaction_p == pytest.approx(0.974, abs=5e-4)
    assert found.gauge == pytest.approx(0.302373, abs=2e-6)
    assert found.part == pytest.approx(1.042327, abs=1e-6)
    assert found.share == pytest.approx(0.279, abs=5e-4)


def test_an_interaction_that_is_there_is_kept_apart() -> None:
    rng = np.random.default_rng(3)
    parts, settings, crossed = rng.normal(0, 10, 60), rng.normal(0, 4, 12), rng.normal(0, 2, (60, 12))
    values = parts[:, None, None] + settings[:, None] + crossed[..., None] + rng.normal(0, 1, (60, 12, 4))
    found = gauge_study({str(p): {str(s): list(values[p, s]) for s in range(12)} for p in range(60)})
    assert found.interaction_p is not None and found.interaction_p < 1e-6
    assert found.repeatability == pytest.approx(1, rel=0.03)
    assert found.interaction == pytest.approx(2, rel=0.1)
    assert found.setting == pytest.approx(float(settings.std(ddof=1)), rel=0.1)
    assert found.part == pytest.approx(float(parts.std(ddof=1)), rel=0.05)


def test_one_setting_takes_parts_with_different_numbers_of_photographs() -> None:
    groups = [[1.0, 1.4, 0.9], [5.0, 5.5], [9.0, 8.1, 8.8, 9.4]]
    found = gauge_study({str(number): {"": group} for number, group in enumerate(groups)})
    within = sum(float(np.var(group)) * len(group) for group in groups) / 6
    assert found.repeatability == pytest.approx(math.sqrt(within))
    assert (found.reproducibility, found.degrees, found.repeats) == (None, 6, 2)
    effective = (9 - (9 + 4 + 16) / 9) / 2
    # the F ratio of the parts, computed by SciPy
    assert 1 + effective * found.part**2 / within == pytest.approx(stats.f_oneway(*groups).statistic)


def test_a_score_that_never_moves_has_no_gauge() -> None:
    found = gauge_study({"a": {"": [1.0, 1.0]}, "b": {"": [3.0, 3.0]}})
    assert (found.gauge, found.share, found.categories) == (0, 0, None)
    same = gauge_study({"a": {"x": [1.0, 1.0], "y": [1.0, 1.0]}, "b": {"x": [1.0, 1.0], "y": [1.0, 1.0]}})
    assert math.isnan(same.share)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"a": {"": [1.0, 2.0]}}, "has 1 parts; at least 2"),
        ({"a": {"": [1.0]}, "b": {"": [2.0]}}, "No part was measured twice"),
        ({"a": {"x": [1.0, 2.0], "y": [1.0, 2.0]}, "b": {"x": [1.0, 2.0]}}, "Part b has no score in the setting y"),
        (
            {"a": {"x": [1.0, 2.0], "y": [1.0, 2.0]}, "b": {"x": [1.0, 2.0], "y": [1.0]}},
            "Part b has 1 scores in the setting y, and others have 2",
        ),
    ],
)
def test_a_study_that_cannot_be_analysed_says_what_is_missing(scores: Scores, message: str) -> None:
    with pytest.raises(DataError, match=message):
        gauge_study(scores)


def test_the_interval_of_a_deviation_is_that_of_chi_squared() -> None:
    found = deviation_interval(2.0, 20)
    low, high = stats.chi2.ppf([0.975, 0.025], 20)
    assert (found.low, found.high) == pytest.approx((2 * math.sqrt(20 / low), 2 * math.sqrt(20 / high)))
    for precision in (0.1, 0.25, 1.0):
        enough = degrees_needed(precision)
        assert deviation_interval(1.0, enough).high <= 1 + precision < deviation_interval(1.0, enough - 1).high


def test_a_round_that_moved_is_out_of_control_and_the_others_are_not() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(0, 10, 20)[:, None] + rng.normal(0, 1, (20, 6))
    found = stability(values)
    assert found.out == () and found.p > 0.05
    # least squares of parts and rounds, and the F test of leaving the rounds out
    parts, rounds = np.indices(values.shape).reshape(2, -1)
    full = np.concatenate([np.eye(20)[parts], np.eye(6)[rounds]], axis=1)
    error = [
        float(((values.ravel() - design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]) ** 2).sum())
        for design in (full, full[:, :20])
    ]
    ratio = ((error[1] - error[0]) / 5) / (error[0] / 95)
    assert found.p == pytest.approx(stats.f.sf(ratio, 5, 95))
    values[:, 4] += 2
    assert stability(values).out == (4,) and stability(values).p < 1e-6


def test_the_interval_of_a_bias_is_students() -> None:
    differences = [0.3, -0.1, 0.5, 0.2, 0.4]
    found = bias(differences)
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.mean, found.interval.low, found.interval.high) == pytest.approx((0.26, low, high))
    with pytest.raises(DataError, match="at least 2"):
        bias([1.0])
