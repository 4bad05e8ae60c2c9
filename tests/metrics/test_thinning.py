import numpy as np
import pytest

from skrd4ad.metrics.thinning import thinned


def test_nothing_goes_when_nothing_must():
    assert thinned(np.arange(5.0), np.ones(5), most=5).tolist() == [0, 1, 2, 3, 4]


def test_points_of_straight_lines_go_before_corners():
    corners = np.array([0.0, 0.2, 0.3, 0.7, 1.0])
    heights = np.array([0.0, 0.6, 0.65, 0.9, 1.0])
    x = np.union1d(np.linspace(0, 1, 3001), corners)
    y = np.interp(x, corners, heights)
    kept = thinned(x, y, most=5)
    assert x[kept] == pytest.approx(corners)


def test_the_area_under_a_staircase_is_kept():
    rng = np.random.default_rng(0)
    rises = rng.random(4000) < 0.02
    x, y = np.cumsum(~rises) / np.count_nonzero(~rises), np.cumsum(rises) / np.count_nonzero(rises)
    kept = thinned(x, y, most=400)
    assert len(kept) == 400
    assert np.trapezoid(y[kept], x[kept]) == pytest.approx(np.trapezoid(y, x), abs=1e-9)


def test_steps_keep_the_area_under_steps():
    rng = np.random.default_rng(1)
    x, y = np.linspace(0.001, 1, 5000), np.linspace(1, 0.3, 5000) + 0.01 * rng.normal(size=5000)
    kept = thinned(x, y, most=500, steps=True)
    whole = np.diff(x, prepend=0) @ y
    assert np.diff(x[kept], prepend=0) @ y[kept] == pytest.approx(whole, abs=2e-3)


def test_ends_and_pinned_points_stay():
    x = np.linspace(0, 1, 100)
    pinned = np.zeros(100, bool)
    pinned[[37, 38, 39]] = True
    kept = thinned(x, x, most=4, pinned=pinned)
    assert kept.tolist() == [0, 37, 38, 39, 99]
    assert pinned.sum() == 3
