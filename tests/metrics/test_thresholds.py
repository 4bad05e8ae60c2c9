"""The promise of a split-conformal threshold, in small cases and by simulation."""

import numpy as np
import pytest
from scipy import stats

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.thresholds import conformal_threshold, false_reject_interval, smallest_certifiable


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
    assert result.rank == rank
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


@pytest.mark.parametrize(("n", "rate"), [(142, 0.007), (9, 0.1), (1, 0.5)])
def test_n_images_certify_one_in_n_plus_one(n, rate):
    assert smallest_certifiable(n) == pytest.approx(rate, abs=5e-5)
    assert conformal_threshold(range(n), false_reject_rate=1e-6).certified_rate == smallest_certifiable(n)


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (21, 21), (99, 95), (1000, 10)])
def test_the_interval_holds_the_quantiles_of_the_beta_distribution(n, rank):
    low, high = false_reject_interval(n, rank, confidence=0.9)
    assert stats.beta(n + 1 - rank, rank).cdf([low, high]) == pytest.approx([0.05, 0.95])


@pytest.mark.parametrize(("n", "rate"), [(21, 0.01), (60, 0.05), (200, 0.1)])
def test_the_interval_covers_the_true_rate_as_often_as_it_says(n, rate):
    """1000 draws from a known distribution; their count of hits lies within its own binomial interval."""
    rng, draws = np.random.default_rng(3), 1000
    hits = 0
    for held_out in rng.exponential(size=(draws, n)):
        found = conformal_threshold(held_out, false_reject_rate=rate)
        low, high = false_reject_interval(n, found.rank)
        hits += low <= np.exp(-found.threshold) <= high
    assert stats.binom(draws, 0.95).ppf(0.0005) <= hits <= stats.binom(draws, 0.95).ppf(0.9995)


@pytest.mark.parametrize("rank", [0, 6])
def test_a_rank_that_is_none_is_refused(rank):
    with pytest.raises(ConfigError, match="allowed: 1 to 5"):
        false_reject_interval(5, rank)


def test_an_impossible_confidence_is_refused():
    with pytest.raises(ConfigError, match="The confidence is 1"):
        false_reject_interval(5, 5, confidence=1)


SOLAR_CELLS = np.array(
    [
        0.61085, 0.35562, 0.49360, 0.52726, 0.45230, 0.21775, 0.51756, 0.45335, 0.23111, 0.55292, 0.24492, 0.28596,
        0.31556, 0.18958, 0.20014, 0.30317, 0.40621, 0.28714, 0.43094, 0.55239, 0.44106, 0.26189, 0.30948, 0.47566,
        0.26434, 0.39357, 0.30800, 0.45727, 0.38543, 0.38706, 0.35587, 0.36755, 0.34082, 0.44035, 0.28987, 0.48139,
        0.17276, 0.24221, 0.33085, 0.30830, 0.20237, 0.23916, 0.18119, 0.18150, 0.45874, 0.31973, 0.23086, 0.18644,
        0.19218, 0.15930, 0.21230, 0.21640, 0.17123, 0.22162, 0.19353, 0.20980, 0.16084, 0.15805, 0.20847, 0.15617,
        0.17211, 0.17854, 0.16802, 0.19437, 0.22315, 0.16343, 0.15002, 0.48095, 0.16957, 0.21894, 0.17963, 0.16738,
        0.18468, 0.20411, 0.20579, 0.33751, 0.15465, 0.22257, 0.16795, 0.16157, 0.31084, 0.27064, 0.25694, 0.25130,
        0.20144, 0.18305, 0.21075, 0.22995, 0.17759, 0.23447, 0.41844, 0.19302, 0.26649, 0.39985, 0.28220, 0.25446,
        0.31488, 0.27464, 0.31331, 0.26667, 0.39023, 0.36203, 0.37050, 0.53245, 0.26642, 0.36659, 0.24293, 0.34022,
        0.24292, 0.25882, 0.37815, 0.37698, 0.40161, 0.28065, 0.41267, 0.34349, 0.34319, 0.36326, 0.35713, 0.47991,
        0.18175, 0.20594, 0.52741, 0.38259, 0.21927, 0.34740, 0.41442, 0.31954, 0.36099, 0.42557, 0.54700, 0.52776,
        0.49565, 0.57640, 0.35547, 0.39173, 0.34908, 0.42557, 0.34450, 0.35953, 0.31293, 0.37022, 0.37707, 0.35388,
        0.46247, 0.28481,
    ]
)  # fmt: skip
"""Scores of the good test images of ELPV's monocrystalline cells, by a model of four epochs at 64 pixels."""


@pytest.mark.parametrize(("n", "rate"), [(44, 0.05), (80, 0.1), (20, 0.01)])
def test_the_promise_holds_for_real_parts(n, rate):
    """1000 draws of held-out parts and one new part each; the count of rejects lies within its binomial interval."""
    rng, draws = np.random.default_rng(7), 1000
    rejects = 0
    for _ in range(draws):
        drawn = rng.permutation(SOLAR_CELLS)[: n + 1]
        found = conformal_threshold(drawn[:n], false_reject_rate=rate)
        rejects += drawn[n] > found.threshold
    exact = (n + 1 - found.rank) / (n + 1)
    assert exact <= found.certified_rate + 1e-12
    low, high = stats.binom(draws, exact).ppf([0.0005, 0.9995])
    assert low <= rejects <= high
