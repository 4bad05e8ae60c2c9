import numpy as np
import pytest
from scipy.stats import binomtest

from skrd4ad.errors import DataError
from skrd4ad.metrics.consequences import consequences
from skrd4ad.metrics.escapes import binomial_interval, confusion, escapes_by_size, escapes_by_type, outcome_rates

LABELS = [0, 1, 1, 0, 1, 1, 0, 1]
SCORES = [0.1, 0.9, 0.2, 0.6, 0.4, 0.5, 0.8, 0.3]
TYPES = ["good", "dent", "dent", "good", "hole", "hole", "good", "dent"]


def test_every_image_is_in_exactly_one_cell():
    cells = confusion(LABELS, SCORES, reject=0.5, review=0.3)
    assert [(cell.truth, cell.verdict, cell.indices) for cell in cells] == [
        ("good", "OK", (0,)),
        ("good", "REVIEW", ()),
        ("good", "NG", (6, 3)),
        ("defect", "OK", (7, 2)),
        ("defect", "REVIEW", (5, 4)),
        ("defect", "NG", (1,)),
    ]
    assert sorted(place for cell in cells for place in cell.indices) == list(range(8))
    assert [cell.share for cell in cells] == pytest.approx([1 / 3, 0, 2 / 3, 2 / 5, 2 / 5, 1 / 5])


def test_what_cannot_be_judged_has_no_other_verdict_and_every_rate_is_exact():
    refused = [False, True, None, True, False, False, False, False]
    cells = confusion(LABELS, SCORES, reject=0.5, review=0.3, refused=refused)
    assert {(cell.truth, cell.verdict): cell.indices for cell in cells if cell.indices} == {
        ("good", "OK"): (0,),
        ("good", "NG"): (6,),
        ("good", "CANNOT JUDGE"): (3,),
        ("defect", "OK"): (7, 2),
        ("defect", "REVIEW"): (5, 4),
        ("defect", "CANNOT JUDGE"): (1,),
    }
    rates = outcome_rates(cells)
    assert [(each.name, each.count, each.total) for each in rates] == [
        ("false_rejects", 1, 3), ("escapes", 2, 5), ("for_review", 2, 8), ("cannot_judge", 2, 8)
    ]  # fmt: skip
    for each in rates:
        exact = binomtest(each.count, each.total).proportion_ci(0.95, method="exact")
        assert (each.share, each.interval.low, each.interval.high) == pytest.approx(
            (each.count / each.total, exact.low, exact.high)
        )
    dent, _ = escapes_by_type(LABELS, SCORES, TYPES, reject=0.5, review=0.3, refused=refused)
    assert (dent.escaped, dent.refused, dent.rejected) == ((7, 2), (1,), ())
    assert outcome_rates(confusion([0], [0.0], reject=0.5, review=None))[1].share is None


def test_the_counts_are_those_of_the_consequences():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 200), rng.normal(size=200).round(1)
    cells = confusion(labels, scores, reject=0.5, review=-0.2)
    effect = consequences(scores[labels == 0], scores[labels == 1], review=-0.2, reject=0.5, defect_rate=0.1)
    assert [cell.count for cell in cells] == [
        effect.good.ok, effect.good.review, effect.good.ng, effect.defect.ok, effect.defect.review, effect.defect.ng
    ]  # fmt: skip


def test_without_review_there_are_four_cells():
    cells = confusion(LABELS, SCORES, reject=0.5, review=None)
    assert [(cell.truth, cell.verdict, cell.count) for cell in cells] == [
        ("good", "OK", 1), ("good", "NG", 2), ("defect", "OK", 4), ("defect", "NG", 1)
    ]  # fmt: skip


def test_a_kind_without_images_has_no_share():
    cells = confusion([0, 0], [1.0, 2.0], reject=1.5, review=None)
    assert [cell.share for cell in cells] == [0.5, 0.5, None, None]


def test_escapes_by_type_name_the_images_that_pass():
    dent, hole = escapes_by_type(LABELS, SCORES, TYPES, reject=0.5, review=0.3)
    assert (dent.name, dent.indices, dent.escaped, dent.reviewed, dent.rejected) == (
        "dent",
        (1, 7, 2),
        (7, 2),
        (),
        (1,),
    )
    assert dent.rate == pytest.approx(2 / 3)
    # one for review is no escape: a person looks at it
    assert (hole.name, hole.escaped, hole.reviewed, hole.rate) == ("hole", (), (5, 4), 0)
    assert escapes_by_type([0], [1.0], ["good"], reject=0.5, review=None) == ()


@pytest.mark.parametrize(("count", "total"), [(0, 12), (1, 12), (7, 12), (12, 12), (3, 1)])
def test_intervals_are_clopper_pearsons(count, total):
    if count > total:
        count = total
    found = binomial_interval(count, total)
    expected = binomtest(count, total).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_sizes_are_quarters_of_the_masked_defects():
    areas = [None, 5, 9, None, 30, 31, None, 100, 7, 8, 200, 500, 60, 61, 62, 0, None]
    labels = [0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    scores = [0.0] * 12 + [1.0] * 5
    found = escapes_by_size(labels, scores, areas, reject=0.5, review=None)
    assert [(g.name, g.sizes, len(g.indices)) for g in found.groups] == [
        ("5 to 8 px", (5, 8), 3),
        ("9 to 31 px", (9, 31), 3),
        ("60 to 62 px", (60, 62), 3),
        ("100 to 500 px", (100, 500), 3),
    ]
    assert [g.rate for g in found.groups] == [1, 1, 0, 1]
    assert (found.without_mask, found.vanished) == ((16,), (15,))
    assert "12 defective images" in found.text
    assert "1 defective images without a mask" in found.text
    assert "nothing of their mask is left" in found.text


def test_defects_of_one_size_stay_together():
    found = escapes_by_size([1] * 12, [0.0] * 12, [4] * 9 + [7, 8, 9], reject=0.5, review=None)
    assert [(g.name, len(g.indices)) for g in found.groups] == [("4 px", 9), ("7 to 9 px", 3)]
    assert sum(len(g.indices) for g in found.groups) == 12


def test_few_defects_make_one_range_and_none_make_none():
    few = escapes_by_size([1, 1], [0.0, 1.0], [3, 9], reject=0.5, review=None)
    assert [(g.name, g.rate) for g in few.groups] == [("3 to 9 px", 0.5)]
    none = escapes_by_size([0, 1], [0.0, 1.0], [None, None], reject=0.5, review=None)
    assert (none.groups, none.without_mask) == ((), (1,))


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="not finite"):
        confusion([0, 1], [0.0, float("nan")], reject=0.5, review=None)
