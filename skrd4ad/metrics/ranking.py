"""How well scores rank defects above good parts, from two arrays of the same length.

A part counts as a defect when its score lies *above* a threshold, here as everywhere in this package.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrd4ad.errors import DataError


@dataclass(frozen=True)
class F1Max:
    """The best F1 that any threshold reaches."""

    f1: float
    """0 to 1."""
    threshold: float
    """Lies halfway between the two neighbouring scores it separates; of several equally good ones the highest."""


@dataclass(frozen=True, eq=False)
class RankCounts:
    """What lies at or above every distinct score; all arrays (T,), highest score first."""

    scores: NDArray[np.floating]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]

    @property
    def one_class_only(self) -> bool:
        """Whether good or defective parts are missing; no ranking metric exists then."""
        return self.scores.size == 0 or self.true_positives[-1] == 0 or self.false_positives[-1] == 0


def auroc(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the ROC curve: the chance that a defect scores above a good part, ties counting half.

    ``labels``: (N,), 0 good and 1 defect. ``scores``: (N,), any finite numbers. None when a class is missing.

    Raises:
        DataError: shapes differ, a label is neither 0 nor 1, or a score is not finite.
    """
    counts = count_ranks(labels, scores)
    if counts.one_class_only:
        return None
    tpr = np.concatenate([[0.0], counts.true_positives / counts.true_positives[-1]])
    fpr = np.concatenate([[0.0], counts.false_positives / counts.false_positives[-1]])
    return float(np.trapezoid(tpr, fpr))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Precision averaged over the steps of recall, without interpolation.

    Arguments, None and errors as for :func:`auroc`.
    """
    counts = count_ranks(labels, scores)
    if counts.one_class_only:
        return None
    precision = counts.true_positives / (counts.true_positives + counts.false_positives)
    recall_steps = np.diff(counts.true_positives, prepend=0) / counts.true_positives[-1]
    return float(precision @ recall_steps)


def f1_max(labels: ArrayLike, scores: ArrayLike) -> F1Max | None:
    """The best F1 over all thresholds, and the threshold that gives it.

    Arguments, None and errors as for :func:`auroc`.
    """
    counts = count_ranks(labels, scores)
    if counts.one_class_only:
        return None
    positives = counts.true_positives[-1]
    f1 = 2 * counts.true_positives / (counts.true_positives + counts.false_positives + positives)
    best = int(np.argmax(f1))
    below = counts.scores[best + 1] if best + 1 < counts.scores.size else None
    return F1Max(float(f1[best]), threshold_between(below, counts.scores[best]))


def threshold_between(lower: np.floating | None, upper: np.floating) -> float:
    """A threshold with ``upper`` above it and ``lower`` not, halfway between; just below ``upper`` without a lower."""
    if lower is None:
        return float(np.nextafter(upper, -np.inf, dtype=upper.dtype))
    middle = float(lower) + (float(upper) - float(lower)) / 2
    # two neighbouring floats have no number between them
    return middle if middle < float(upper) else float(lower)


def finite_scores(scores: ArrayLike) -> NDArray[np.floating]:
    """``scores`` as an (N,) array of float32 (kept as it is) or float64.

    Raises:
        DataError: it has another shape, or a score is not finite.
    """
    values = np.asarray(scores)
    if values.ndim != 1:
        raise DataError(f"The scores have shape {values.shape}; allowed: (N,), one score an image.")
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise DataError(
            f"{bad} of {values.size} scores are not finite numbers (NaN or infinite). "
            "Leave these images out, or train the model again if it gives such scores for readable images."
        )
    return values


def count_ranks(labels: ArrayLike, scores: ArrayLike) -> RankCounts:
    """Good and defective parts at or above every distinct score.

    Arguments and errors as for :func:`auroc`.
    """
    values, truth = finite_scores(scores), np.asarray(labels)
    if truth.shape != values.shape:
        raise DataError(f"There are labels of shape {truth.shape} for {values.size} scores; give one label a score.")
    if not np.isin(truth, (0, 1)).all():
        raise DataError(f"The labels hold {np.unique(truth).tolist()}; allowed: 0 (good) and 1 (defect).")
    distinct, places = np.unique(values, return_inverse=True)
    everything = np.bincount(places, minlength=distinct.size)
    defects = np.bincount(places[truth == 1], minlength=distinct.size)
    return RankCounts(
        scores=distinct[::-1],
        true_positives=np.cumsum(defects[::-1]),
        false_positives=np.cumsum((everything - defects)[::-1]),
    )
