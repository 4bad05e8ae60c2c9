"""Thresholds from labelled images, against trying every threshold and every pair."""

import itertools

import numpy as np
import pytest

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.consequences import Costs, consequences
from skrd4ad.metrics.labelled_thresholds import balanced_accuracy_max, least_cost, review_by_escapes, review_by_rate
from skrd4ad.metrics.thresholds import conformal_threshold


def some_scores(seed):
    """Overlapping scores with ties."""
    rng = np.random.default_rng(seed)
    return rng.normal(1.0, 0.5, rng.integers(1, 15)).round(1), rng.normal(1.6, 0.6, rng.integers(1, 15)).round(1)


def every_threshold(good, defects):
    scores = np.unique(np.concatenate([good, defects]))
    return [scores[0] - 1, *(scores[:-1] + scores[1:]) / 2, scores[-1]]


@pytest.mark.parametrize("seed", range(20))
def test_balanced_accuracy_is_the_best_of_all_and_lets_fewest_escape(seed):
    good, defects = some_scores(seed)
    tried = [
        (((good <= t).mean() + (defects > t).mean()) / 2, (defects > t).sum()) for t in every_threshold(good, defects)
    ]
    found = balanced_accuracy_max(good, defects)
    best = max(accuracy for accuracy, _ in tried)
    assert found.value == pytest.approx(best)
    assert (defects > found.threshold).sum() == max(n for accuracy, n in tried if accuracy == pytest.approx(best))
    assert ((good <= found.threshold).mean() + (defects > found.threshold).mean()) / 2 == pytest.approx(best)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rate", [0.0, 0.02, 0.5, 1.0])
def test_one_threshold_of_least_cost_is_the_cheapest_of_all(seed, rate):
    good, defects = some_scores(seed)
    costs = Costs(escape=20.0, false_reject=1.0)
    tried = [
        consequences(good, defects, review=None, reject=t, defect_rate=rate, costs=costs)
        for t in every_threshold(good, defects)
    ]
    found = least_cost(good, defects, costs=costs, defect_rate=rate)
    cheapest = min(each.cost for each in tried)
    assert found.review is None
    assert found.cost == pytest.approx(cheapest)
    at = consequences(good, defects, review=None, reject=found.reject, defect_rate=rate, costs=costs)
    assert at.cost == pytest.approx(cheapest)
    assert at.escapes == pytest.approx(min(each.escapes for each in tried if each.cost == pytest.approx(cheapest)))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("review_cost", [0.0, 0.3, 2.0, 100.0])
def test_two_thresholds_of_least_cost_are_the_cheapest_of_all_pairs(seed, review_cost):
    good, defects = some_scores(seed)
    costs = Costs(escape=20.0, false_reject=1.0, review=review_cost)
    tried = [
        consequences(good, defects, review=low, reject=high, defect_rate=0.1, costs=costs)
        for low, high in itertools.combinations_with_replacement(every_threshold(good, defects), 2)
    ]
    found = least_cost(good, defects, costs=costs, defect_rate=0.1)
    cheapest = min(each.cost for each in tried)
    assert found.cost == pytest.approx(cheapest)
    at = consequences(good, defects, review=found.review, reject=found.reject, defect_rate=0.1, costs=costs)
    assert at.cost == pytest.approx(cheapest)
    assert at.escapes == pytest.approx(min(each.escapes for each in tried if each.cost == pytest.approx(cheapest)))
    assert found.review is None or found.review < found.reject


def test_a_dear_review_is_never_asked_for():
    assert (
        least_cost(*some_scores(1), costs=Costs(escape=5, false_reject=1, review=1e6), defect_rate=0.1).review is None
    )


def test_separate_scores_need_neither_reviews_nor_mistakes():
    found = least_cost([1.0, 2.0], [4.0, 5.0], costs=Costs(escape=9, false_reject=1, review=1), defect_rate=0.1)
    assert (found.reject, found.review, found.cost) == (3.0, None, 0.0)


def test_the_review_threshold_of_a_rate_is_the_conformal_one_below_the_reject_threshold():
    scores = np.arange(1.0, 100.0)
    reject = conformal_threshold(scores, false_reject_rate=0.01).threshold
    assert review_by_rate(scores, reject=reject, rate=0.1) == 90
    assert review_by_rate(scores, reject=reject, rate=0.01) is None
    assert review_by_rate(scores, reject=50.0, rate=0.1) is None


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.29, 0.5])
def test_the_review_threshold_of_an_escape_rate_is_the_highest_that_keeps_it(seed, rate):
    defects = np.random.default_rng(seed).normal(1, 0.5, 17).round(1)
    review = review_by_escapes(defects, reject=9.0, escape_rate=rate)
    assert (defects <= review).mean() <= rate
    higher = defects[defects > review].min()
    assert (defects <= higher).mean() > rate


def test_no_review_is_needed_where_rejecting_keeps_the_escapes():
    assert review_by_escapes([2.0, 3.0], reject=1.0, escape_rate=0.0) is None
    assert review_by_escapes([0.5, 3.0], reject=1.0, escape_rate=0.5) is None


@pytest.mark.parametrize(("good", "defects"), [([], [1.0]), ([1.0], [])])
def test_one_kind_alone_is_refused(good, defects):
    with pytest.raises(DataError, match="There are 0"):
        balanced_accuracy_max(good, defects)
    with pytest.raises(DataError, match="There are 0"):
        least_cost(good, defects, costs=Costs(escape=1, false_reject=1), defect_rate=0.1)


def test_impossible_rates_are_refused():
    with pytest.raises(ConfigError, match="defect rate"):
        least_cost([1.0], [2.0], costs=Costs(escape=1, false_reject=1), defect_rate=2)
    with pytest.raises(ConfigError, match="escape rate"):
        review_by_escapes([1.0], reject=1.0, escape_rate=1)
    with pytest.raises(DataError, match="There are 0 defective"):
        review_by_escapes([], reject=1.0, escape_rate=0)
