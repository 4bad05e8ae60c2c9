"""Figures per 1000 parts, against counting part by part."""

import numpy as np
import pytest

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.consequences import Costs, Counts, consequences

COSTS = Costs(escape=50.0, false_reject=3.0, review=1.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("review", [None, 0.8, 1.2])
def test_figures_agree_with_a_thousand_parts_counted_one_by_one(seed, review):
    rng = np.random.default_rng(seed)
    good, defects = rng.normal(0.5, 0.4, 30).round(1), rng.normal(1.5, 0.5, 20).round(1)
    found = consequences(good, defects, review=review, reject=1.2, defect_rate=0.1, costs=COSTS)
    lower = 1.2 if review is None else review
    per_good, per_defect = 900 / 30, 100 / 20  # parts that each image stands for
    false_rejects = sum(per_good for s in good if s > 1.2)
    escapes = sum(per_defect for s in defects if s <= lower)
    reviews = sum(per_good for s in good if lower < s <= 1.2) + sum(per_defect for s in defects if lower < s <= 1.2)
    assert found.false_rejects == pytest.approx(false_rejects)
    assert found.escapes == pytest.approx(escapes)
    assert found.reviews == pytest.approx(reviews)
    assert found.cost == pytest.approx(3 * false_rejects + 50 * escapes + reviews)
    assert (found.good.total, found.defect.total) == (30, 20)


def test_a_score_equal_to_a_threshold_is_not_above_it():
    found = consequences([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], review=1.0, reject=2.0, defect_rate=0.5)
    assert found.good == found.defect == Counts(ok=1, review=1, ng=1)


def test_without_defects_escapes_and_what_needs_them_are_not_known():
    for defects in (None, []):
        found = consequences([1.0, 2.0], defects, review=0.5, reject=1.5, defect_rate=0.02, costs=COSTS)
        assert (found.defect, found.escapes, found.reviews, found.cost) == (None, None, None, None)
        assert found.false_rejects == pytest.approx(490)
        assert set(found.rates()) == {"false_reject_rate", "good_review_rate", "defect_rate"}


def test_where_every_part_is_good_nothing_needs_a_defect():
    found = consequences([1.0, 2.0], None, review=0.5, reject=1.5, defect_rate=0, costs=COSTS)
    assert (found.false_rejects, found.reviews, found.cost) == (500, 500, 500 * 3 + 500)


def test_without_costs_there_is_no_cost():
    assert consequences([1.0], [2.0], review=None, reject=1.5, defect_rate=0.1).cost is None


def test_rates_are_shares_of_their_own_kind():
    found = consequences([1, 2, 3, 4], [2, 3, 4, 5], review=2, reject=3, defect_rate=0.3)
    assert found.rates() == {
        "false_reject_rate": 0.25,
        "good_review_rate": 0.25,
        "defect_rate": 0.3,
        "escape_rate": 0.25,
        "defect_review_rate": 0.25,
    }


@pytest.mark.parametrize(("review", "reject"), [(2.0, 1.0), (None, float("nan")), (float("-inf"), 1.0)])
def test_thresholds_out_of_order_or_range_are_refused(review, reject):
    with pytest.raises(ConfigError, match="review not above reject"):
        consequences([1.0], [2.0], review=review, reject=reject, defect_rate=0.1)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_an_impossible_defect_rate_is_refused(rate):
    with pytest.raises(ConfigError, match="defect rate"):
        consequences([1.0], [2.0], review=None, reject=1.0, defect_rate=rate)


def test_no_good_images_are_refused():
    with pytest.raises(DataError, match="0 good images"):
        consequences([], [2.0], review=None, reject=1.0, defect_rate=0.1)


@pytest.mark.parametrize("wrong", [{"escape": -1}, {"false_reject": float("inf")}, {"review": float("nan")}])
def test_impossible_costs_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong)).replace("_", " ")):
        Costs(**{"escape": 1.0, "false_reject": 1.0, **wrong})


def test_mistakes_that_cost_nothing_are_refused():
    with pytest.raises(ConfigError, match="Neither"):
        Costs(escape=0, false_reject=0, review=1)
