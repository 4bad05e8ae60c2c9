"""The ways to choose thresholds, and the thresholds that each way gives."""

from dataclasses import dataclass
from typing import Literal, get_args

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.format import format_rate
from skrd4ad.metrics.consequences import Costs
from skrd4ad.metrics.labelled_thresholds import balanced_accuracy_max, least_cost, review_by_escapes, review_by_rate
from skrd4ad.metrics.ranking import f1_max
from skrd4ad.metrics.thresholds import conformal_threshold
from skrd4ad.services.calibration.scores import Distributions

Way = Literal["rate", "f1", "balanced", "cost", "manual"]
"""By a false-reject rate, best F1, best balanced accuracy, least expected cost, or by hand."""
METHODS: dict[Way, str] = {
    "rate": "split-conformal",
    "f1": "f1-max",
    "balanced": "balanced-accuracy",
    "cost": "least-cost",
    "manual": "manual",
}


@dataclass(frozen=True, kw_only=True)
class ThresholdChoice:
    """How thresholds are chosen; a ConfigError names all that does not go together."""

    way: Way = "rate"
    rate: float = 0.01
    """Share of good parts that may be rejected; for the way "rate"."""
    review_rate: float | None = None
    """Share of good parts that may be reviewed or rejected: sets the review threshold; not for "cost" and "manual"."""
    review_escape_rate: float | None = None
    """Share of defects that may be OK: sets the review threshold; not for "cost" and "manual"."""
    costs: Costs | None = None
    """Needed for "cost", where its cost of a review sets the review threshold; with other ways, shown only."""
    defect_rate: float = 0.01
    """Share of defective parts among all parts; the figures per 1000 parts and the way "cost" use it."""
    threshold: float | None = None
    """For "manual"."""
    review_threshold: float | None = None
    """For "manual"."""

    def __post_init__(self) -> None:
        by_hand = self.threshold is not None or self.review_threshold is not None
        banded = self.review_rate is not None or self.review_escape_rate is not None
        checks = (
            (self.way in get_args(Way), f"the way is {self.way!r}; allowed: {', '.join(get_args(Way))}"),
            (self.way != "manual" or self.threshold is not None, "the way 'manual' needs a threshold"),
            (self.way == "manual" or not by_hand, f"a threshold by hand is for the way 'manual', not {self.way!r}"),
            (self.way != "cost" or self.costs is not None, "the way 'cost' needs the costs"),
            (
                not (banded and self.way in ("cost", "manual")),
                f"a review rate does not go with the way {self.way!r}: give "
                + ("the cost of a review" if self.way == "cost" else "a review threshold"),
            ),
            (
                self.review_rate is None or self.review_escape_rate is None,
                "a review rate of good parts and an escape rate are both given; give one",
            ),
            (
                self.way != "rate" or self.review_rate is None or self.review_rate > self.rate,
                f"the review rate {self.review_rate} is not above the false-reject rate {self.rate}",
            ),
        )
        if wrong := [message for fine, message in checks if not fine]:
            raise ConfigError(f"Wrong choice of thresholds: {'; '.join(wrong)}.")


def thresholds_of(found: Distributions, choice: ThresholdChoice) -> tuple[float, float | None, tuple[str, ...]]:
    """Reject threshold, review threshold if there is one, and what is to be said of them."""
    if choice.way == "manual":
        assert choice.threshold is not None
        return choice.threshold, choice.review_threshold, ()
    if choice.way == "cost":
        assert choice.costs is not None
        cheapest = least_cost(
            found.good_scores, found.defect_scores, costs=choice.costs, defect_rate=choice.defect_rate
        )
        return cheapest.reject, cheapest.review, ()
    reject = _reject_threshold(found, choice)
    if choice.review_rate is not None:
        _require_normals(found)
        review = review_by_rate(found.normals, reject=reject, rate=choice.review_rate)
        wish = f"a review rate of {format_rate(choice.review_rate)}"
    elif choice.review_escape_rate is not None:
        review = review_by_escapes(found.defect_scores, reject=reject, escape_rate=choice.review_escape_rate)
        wish = f"an escape rate of {format_rate(choice.review_escape_rate)}"
    else:
        return reject, None, ()
    none = f"The reject threshold alone keeps {wish}, so there is no review."
    return reject, review, (none,) if review is None else ()


def _reject_threshold(found: Distributions, choice: ThresholdChoice) -> float:
    if choice.way == "rate":
        _require_normals(found)
        return conformal_threshold(found.normals, false_reject_rate=choice.rate).threshold
    if choice.way == "balanced":
        return balanced_accuracy_max(found.good_scores, found.defect_scores).threshold
    scores = [*found.good_scores, *found.defect_scores]
    labels = [0] * len(found.good_scores) + [1] * len(found.defect_scores)
    best = f1_max(labels, scores)
    if best is None:
        raise DataError(
            f"There are {len(found.good_scores)} good and {len(found.defect_scores)} defective images with a label; "
            "the best F1 needs both."
        )
    return best.threshold


def _require_normals(found: Distributions) -> None:
    if not found.normals:
        raise DataError(
            "There are no held-out good images; a false-reject rate can only be promised from good images that the "
            "model has not learnt from. Give some, or choose by hand or from labelled images."
        )
