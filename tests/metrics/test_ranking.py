"""Image-level metrics against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from skrd4ad.errors import DataError
from skrd4ad.metrics.ranking import auroc, average_precision, f1_max

METRICS = [auroc, average_precision, f1_max]


def random_set(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 60)
    labels[:2] = 0, 1
    scores = {
        "distinct": rng.normal(size=60) + labels,
        "tied": rng.integers(0, 5, 60) + labels,
        "constant": np.full(60, 0.25),
        "inverted": -labels + 0.1 * rng.normal(size=60),
    }[kind]
    return labels, scores.astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["distinct", "tied", "constant", "inverted"])
def test_auroc_and_average_precision_agree_with_scikit_learn(kind, seed):
    labels, scores = random_set(kind, seed)
    assert auroc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(
        reference.average_precision_score(labels, scores), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["distinct", "tied", "constant", "inverted"])
def test_f1_max_is_the_best_f1_of_any_threshold_and_its_threshold_reaches_it(kind, seed):
    labels, scores = random_set(kind, seed)
    result = f1_max(labels, scores)
    best = max(reference.f1_score(labels, scores >= t) for t in np.unique(scores))
    assert result.value == pytest.approx(best, abs=1e-12)
    assert reference.f1_score(labels, scores > result.threshold) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("n_good", [1, 3, 40, 41, 107])
def test_a_perfect_split_has_an_auroc_of_exactly_1_and_its_reverse_of_exactly_0(n_good):
    labels = np.repeat([0, 1], [n_good, 63])
    scores = np.arange(labels.size)
    assert (auroc(labels, scores), average_precision(labels, scores), f1_max(labels, scores).value) == (1.0, 1.0, 1.0)
    assert auroc(labels, -scores) == 0.0


def test_f1_max_puts_the_threshold_halfway_between_separated_classes():
    assert f1_max([0, 0, 1, 1], [0.0, 1.0, 3.0, 4.0]).threshold == 2.0


def test_f1_max_takes_the_highest_of_equally_good_thresholds():
    # rejecting {4} gives 2/3, rejecting {4, 3, 2, 1} gives 4/6
    result = f1_max([1, 0, 0, 1], [4.0, 3.0, 2.0, 1.0])
    assert (result.value, result.threshold) == (pytest.approx(2 / 3), 3.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_f1_max_separates_neighbouring_floats(dtype):
    # the last bit of the lower one is set, so that their mean rounds to the upper one
    lower = np.nextafter(dtype(1), dtype(2))
    scores = np.array([lower, np.nextafter(lower, dtype(2))], dtype)
    assert (scores.astype(np.float64) > f1_max([0, 1], scores).threshold).tolist() == [False, True]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("labels", "scores"), [([], []), ([0, 0], [0.1, 0.2]), ([1, 1], [0.1, 0.2])])
def test_a_missing_class_gives_none(metric, labels, scores):
    assert metric(labels, scores) is None


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.1, np.nan], "1 of 2 scores are not finite"),
        ([0, 1], [0.1, np.inf], "not finite"),
        ([0, 1, 1], [0.1, 0.2], "labels of shape"),
        ([0, 2], [0.1, 0.2], r"The labels hold \[0, 2\]"),
        ([[0, 1]], [[0.1, 0.2]], "The scores have shape"),
    ],
)
def test_bad_input_is_refused_in_words(metric, labels, scores, message):
    with pytest.raises(DataError, match=message):
        metric(labels, scores)
