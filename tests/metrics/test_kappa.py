import pytest

from skrd4ad.errors import DataError
from skrd4ad.metrics.escapes import binomial_interval
from skrd4ad.metrics.kappa import Verdicts, attribute_study, cohen_kappa, fleiss_kappa, parts_needed

# Fleiss (1971), "Measuring nominal scale agreement among many raters", in the form of 10 subjects, 14 raters, 5 classes
FLEISS = """
0 0 0 0 14
0 2 6 4 2
0 0 3 5 6
0 3 9 2 0
2 2 8 1 1
7 7 0 0 0
3 2 6 3 0
2 5 3 2 2
6 5 2 1 0
0 2 2 3 7
"""


def test_fleiss_worked_example() -> None:
    subjects = [
        [str(kind) for kind, count in enumerate(map(int, line.split())) for _ in range(count)]
        for line in FLEISS.split("\n")
        if line
    ]
    assert fleiss_kappa(subjects) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa([["OK", "OK"], ["OK", "OK", "OK"]]) is None


def test_cohens_kappa_of_a_table() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: 0.7 observed, 0.5 expected
    first, second = ["y"] * 25 + ["n"] * 25, ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert cohen_kappa(["y", "y"], ["y", "n"]) is None


def test_parts_are_counted_not_verdicts() -> None:
    verdicts: Verdicts = {
        "sound": {"Anna": ["OK", "OK"], "Ben": ["OK", "OK"]},
        "dull": {"Anna": ["OK", "OK"], "Ben": ["NG", "NG"]},
        "cracked": {"Anna": ["NG", "OK"], "Ben": ["NG", "NG"]},
        "chipped": {"Anna": ["NG", "REVIEW"], "Ben": ["CANNOT JUDGE", "NG"]},
        "unknown": {"Anna": ["NG", "NG"], "Ben": ["NG", "NG"]},
    }
    found = attribute_study(verdicts, {"sound": "good", "dull": "good", "cracked": "defect", "chipped": "defect"})
    assert (found.repeatable.count, found.repeatable.total) == (3, 5)
    assert found.reproducible is not None and (found.reproducible.count, found.reproducible.total) == (2, 5)
    assert (found.effective.count, found.effective.total) == (1, 4)
    # a part that a person looks at neither escapes nor is a false alarm
    assert (found.escaped.count, found.escaped.total, found.miss_rate) == (1, 2, 1 / 8)
    assert (found.alarmed.count, found.alarmed.total, found.false_alarm_rate) == (1, 2, 2 / 8)
    assert found.escaped.interval == binomial_interval(1, 2)


def test_without_truth_only_agreement_is_told() -> None:
    found = attribute_study({"a": {"": ["OK", "OK"]}, "b": {"": ["NG", "OK"]}}, {})
    assert (found.effective.share, found.miss_rate, found.truth_kappa, found.reproducible) == (None, None, None, None)
    assert found.kappa == pytest.approx(-1 / 3)
    with pytest.raises(DataError, match="judged twice"):
        attribute_study({"a": {"": ["OK"]}, "b": {"": ["NG"]}}, {})


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.05, 0.1, 0.5])
def test_so_many_parts_are_needed_and_one_less_is_not_enough(rate: float) -> None:
    needed = parts_needed(rate)
    assert binomial_interval(0, needed).high <= rate < binomial_interval(0, needed - 1).high
