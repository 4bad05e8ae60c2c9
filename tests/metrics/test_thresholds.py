"""The promise of a split-conformal threshold, in small cases and by simulation."""

import numpy as np
import pytest

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.thresholds import conformal_threshold


@pytest.mark.parametrize(
    ("n", "rate", "rank", "certified"),
    [
        (9, 0.1, 9, 0.1),
        (19, 0.1, 18, 0.1),
        (20, 0.1, 19, 0.1),
        (99, 0.29, 71, 0.29),  # 100 * 0.29 is below 29 in floats
        (99, 0.01, 99, 0.01),
        (98, 0.01, 98, 1 / 99),
        (10, 0.01, 10, 1 / 11),
        (1, 0.3, 1, 0.5),
        (3, 0.999, 1, 0.999),
    ],
)
def test_takes_the_score_of_the_conformal_rank(n, rate, rank, certified):
    scores = np.random.default_rng(0).permutation(np.arange(1, n + 1)).astype(np.float32)
    result = conformal_threshold(scores, false_reject_rate=rate)
    assert result.threshold == rank
    assert result.certified_rate == pytest.approx(certified)
    assert (result.n, result.target, result.method) == (n, rate, "split-conformal")


@pytest.mark.parametrize(("n", "rate"), [(19, 0.1), (50, 0.05), (12, 0.01)])
def test_the_false_reject_rate_over_many_draws_is_the_one_that_theory_gives(n, rate):
    rng = np.random.default_rng(0)
    draws = 20_000
    held_out, new = rng.gumbel(size=(draws, n)), rng.gumbel(size=draws)
    thresholds = [conformal_threshold(row, false_reject_rate=rate) for row in held_out]
    rejected = np.mean(new > [t.threshold for t in thresholds])
    rank = np.sum(held_out[0] <= thresholds[0].threshold)
    exact = (n + 1 - rank) / (n + 1)
    assert exact <= thresholds[0].certified_rate + 1e-12
    assert rejected == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / draws))


def test_equal_scores_are_not_rejected():
    result = conformal_threshold([0.5] * 20, false_reject_rate=0.1)
    assert not np.any(np.full(20, 0.5) > result.threshold)


def test_the_input_is_not_sorted_in_place():
    scores = np.array([3.0, 1.0, 2.0])
    conformal_threshold(scores, false_reject_rate=0.5)
    assert scores.tolist() == [3.0, 1.0, 2.0]


def test_no_scores_are_refused_with_the_remedy():
    with pytest.raises(DataError, match=r"0 held-out good images.*hold-out share"):
        conformal_threshold([], false_reject_rate=0.1)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="not finite"):
        conformal_threshold([0.1, np.nan], false_reject_rate=0.1)


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(ConfigError, match="The false-reject rate is"):
        conformal_threshold([0.1], false_reject_rate=rate)
