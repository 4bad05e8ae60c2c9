"""What thresholds mean for a thousand parts: false rejects, escapes, reviews and cost."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.ranking import finite_scores

PARTS = 1000


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Cost of one mistake or review, in any one unit."""

    escape: float
    false_reject: float
    review: float | None = None
    """A part that a person looks at, and then judges rightly; None when nobody can."""

    def __post_init__(self) -> None:
        given = {"escape": self.escape, "false reject": self.false_reject, "review": self.review or 0.0}
        if wrong := [f"{name} {value!r}" for name, value in given.items() if not (0 <= value < math.inf)]:
            raise ConfigError(f"Wrong costs: {', '.join(wrong)}; allowed: 0 or more, in any one unit.")
        if self.escape == 0 and self.false_reject == 0:
            raise ConfigError("Neither an escape nor a false reject costs anything; give the cost of at least one.")


@dataclass(frozen=True)
class Counts:
    """Images of one kind by verdict."""

    ok: int
    review: int
    ng: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.ok + self.review + self.ng


@dataclass(frozen=True, kw_only=True)
class Consequences:
    """What two thresholds do, per 1000 parts of which a given share is defective. A reviewed part is judged rightly, so
    it is neither a false reject nor an escape."""

    good: Counts
    """Good images; their number stands behind the false rejects."""
    defect: Counts | None
    """Defective images; their number stands behind the escapes. None when no defect is known."""
    defect_rate: float
    false_rejects: float
    """Good parts that are rejected, per 1000 parts."""
    escapes: float | None
    """Defective parts that are passed, per 1000 parts; None when no defect is known."""
    reviews: float | None
    """Parts that are reviewed, per 1000 parts; None when no defect is known but there are some."""
    cost: float | None
    """Per 1000 parts; None without costs, or when no defect is known but there are some."""

    def rates(self) -> dict[str, float]:
        """Shares 0 to 1: false_reject_rate and good_review_rate of good parts, escape_rate and defect_review_rate of
        defective ones where any is known, and the defect_rate of all parts."""
        found = {
            "false_reject_rate": self.good.ng / self.good.total,
            "good_review_rate": self.good.review / self.good.total,
            "defect_rate": self.defect_rate,
        }
        if self.defect is not None:
            found["escape_rate"] = self.defect.ok / self.defect.total
            found["defect_review_rate"] = self.defect.review / self.defect.total
        return found


def consequences(
    good_scores: ArrayLike,
    defect_scores: ArrayLike | None,
    *,
    review: float | None,
    reject: float,
    defect_rate: float,
    costs: Costs | None = None,
) -> Consequences:
    """Verdicts counted, and scaled to 1000 parts. ``good_scores``: (n,) image scores of good parts, at least one.
    ``defect_scores``: (m,) image scores of defective parts; None or empty when no defect is known. ``costs``: a review
    without a cost is free."""
    require_rate(defect_rate)
    lower = reject if review is None else review
    if not (math.isfinite(lower) and math.isfinite(reject) and lower <= reject):
        raise ConfigError(
            f"The review threshold is {review} and the reject threshold {reject}; allowed: finite numbers, review not "
            "above reject."
        )
    good = _counts(good_scores, lower=lower, upper=reject)
    if good.total == 0:
        raise DataError("There are 0 good images; what thresholds do to good parts is not known without any.")
    counted = None if defect_scores is None else _counts(defect_scores, lower=lower, upper=reject)
    defect = counted if counted is not None and counted.total else None
    good_parts, bad_parts = PARTS * (1 - defect_rate), PARTS * defect_rate
    false_rejects, reviews = good_parts * good.ng / good.total, good_parts * good.review / good.total
    escapes = None
    if defect is not None:
        escapes = bad_parts * defect.ok / defect.total
        reviews += bad_parts * defect.review / defect.total
    known = defect is not None or defect_rate == 0
    cost = None
    if costs is not None and known:
        cost = false_rejects * costs.false_reject + (escapes or 0.0) * costs.escape + reviews * (costs.review or 0.0)
    return Consequences(
        good=good,
        defect=defect,
        defect_rate=float(defect_rate),
        false_rejects=false_rejects,
        escapes=escapes,
        reviews=reviews if known else None,
        cost=cost,
    )


def require_rate(defect_rate: float) -> None:
    """Raise ConfigError for a share of defective parts that is not 0 to 1."""
    if not 0 <= defect_rate <= 1:
        raise ConfigError(f"The defect rate is {defect_rate!r}; allowed: 0 to 1 (0.01 is 1 %).")


def _counts(scores: ArrayLike, *, lower: float, upper: float) -> Counts:
    values = finite_scores(scores)
    above_lower, above_upper = (int(np.count_nonzero(values > np.float64(limit))) for limit in (lower, upper))
    return Counts(ok=values.size - above_lower, review=above_lower - above_upper, ng=above_upper)
