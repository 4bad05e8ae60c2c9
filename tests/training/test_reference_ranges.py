import math

import numpy as np
import pytest

from skrd4ad.inference.reference import FIGURES
from skrd4ad.training.ranges import upper_limit
from skrd4ad.training.reference import figure_band

SHARE = 0.005 / 12


@pytest.mark.parametrize("n", [30, 100, 400])
def test_about_the_share_of_further_values_lies_above_the_limit(n: int) -> None:
    rng = np.random.default_rng(n)
    exponential = [math.exp(-upper_limit(rng.exponential(size=n), SHARE)) for _ in range(500)]
    normal = [0.5 * math.erfc(upper_limit(rng.normal(size=n), SHARE) / math.sqrt(2)) for _ in range(500)]
    assert 0.1 * SHARE < np.mean(exponential) < 1.6 * SHARE
    assert np.mean(normal) < 0.5 * SHARE


@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_limit_is_never_inside_what_was_seen(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    assert upper_limit(values, SHARE) >= values.max()


def test_many_values_need_no_fitted_tail() -> None:
    values = np.random.default_rng(0).uniform(size=100_000)
    assert upper_limit(values, 0.01) == pytest.approx(0.99, abs=0.003)


def test_equal_values_leave_the_tolerance_alone() -> None:
    band = figure_band("brightness", np.full(50, 100.0), SHARE)
    assert (band.low, band.high) == (100 - FIGURES["brightness"], 100 + FIGURES["brightness"])
    ratio = figure_band("sharpness", np.full(50, 100.0), SHARE)
    assert ratio.low == pytest.approx(100 / 1.1)
    assert ratio.high is None


def test_sides_tell_where_a_value_lies() -> None:
    band = figure_band("brightness", np.linspace(90, 110, 50), SHARE)
    assert [band.side(value) for value in (0, 100, 250)] == [-1, 0, 1]
    assert (band.seen_low, band.median, band.seen_high) == pytest.approx((90, 100, 110))
