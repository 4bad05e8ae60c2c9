"""What turns scores into verdicts: thresholds, where they came from, and the versions a model has had."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from skrd4ad import documents
from skrd4ad.documents import Count, Positive
from skrd4ad.errors import CheckpointError
from skrd4ad.metrics.thresholds import conformal_threshold
from skrd4ad.types import Verdict, verdict_of

DEFAULT_FALSE_REJECT_RATE = 0.01
FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds, what they were taken from, and who answers for them. Scores, here and in verdicts, are image scores
    under ``min_area`` and ``ignore``; see :func:`skrd4ad.inference.scoring.score_under`."""

    version: Positive = 1
    """Number in the model's history; given when it is stored."""
    created_at: str = field(default_factory=lambda: this_moment(), compare=False)
    """Says nothing of what a calibration does, so it does not make two of them differ."""
    who: str
    method: str
    """``split-conformal``, ``f1-max``, ``balanced-accuracy``, ``least-cost`` or ``manual``."""
    data: str
    n: Count
    """Images the thresholds were taken from."""
    image_threshold: float
    """A part is NG when its score is above this."""
    review_threshold: float | None = None
    """A part is for REVIEW when its score is above this and not NG; None where there is no review."""
    pixel_threshold: float
    """A pixel is drawn and counted as defective above this: the lower of the thresholds of the score. The score is the
    level at which a region that counts appears, so a part that is OK has no region, and any other has one."""
    heat_top: float
    """Score at which the heat map saturates."""
    min_area: Positive = 1
    """Pixels of the map; a smaller region does not count."""
    ignore: str | None = None
    """Name of a PNG mask in the model folder, 255 where the map is ignored."""
    target_false_reject_rate: float | None = None
    """What was asked for; None when the threshold was not chosen by it."""
    certified_false_reject_rate: float | None = None
    """What holds for new good parts, averaged over draws of the held-out images; None when nothing is promised."""
    expected: dict[str, float] = field(default_factory=dict)
    """Rates to expect by name, as :meth:`skrd4ad.metrics.consequences.Consequences.rates` gives them."""
    test_fitted: bool = False
    """Chosen on the test images of the data set, so figures on these images are optimistic."""
    scores: tuple[float, ...] = ()
    note: str = ""

    @property
    def lower_threshold(self) -> float:
        """A part is OK up to this score."""
        return self.image_threshold if self.review_threshold is None else self.review_threshold

    def verdict(self, score: float) -> Verdict:
        """NG above the threshold, else REVIEW above the review threshold, else OK."""
        return verdict_of(score, review=self.review_threshold, reject=self.image_threshold)


@dataclass(frozen=True)
class CalibrationHistory:
    """All calibrations a model has had. Versions are only ever added; the current one may be any of them."""

    current_version: int
    versions: tuple[Calibration, ...]
    """By version, ascending."""

    @property
    def current(self) -> Calibration:
        """The calibration that verdicts are made with."""
        return self.of_version(self.current_version)

    @property
    def next_version(self) -> int:
        """Number of the calibration that is added next."""
        return self.versions[-1].version + 1

    def of_version(self, version: int) -> Calibration:
        """The calibration with a number."""
        for each in self.versions:
            if each.version == version:
                return each
        there_are = ", ".join(str(each.version) for each in self.versions)
        raise CheckpointError(f"There is no version {version} of this calibration; there are: {there_are}.")

    def added(self, calibration: Calibration) -> "CalibrationHistory":
        """The history with one more calibration, numbered by its place, as the current one."""
        numbered = replace(calibration, version=self.next_version)
        return CalibrationHistory(numbered.version, (*self.versions, numbered))

    def using(self, version: int) -> "CalibrationHistory":
        """The history with another current version."""
        return CalibrationHistory(self.of_version(version).version, self.versions)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"format": FORMAT, "current": self.current_version, "versions": documents.to_plain(self.versions)}

    @staticmethod
    def from_plain(values: Mapping[str, Any], what: str) -> "CalibrationHistory":
        """History from its JSON form; ``what`` names it in messages."""
        remedy = "Calibrate the model again: remove its calibration.json, then run `skrd4ad calibrate`."
        if "current" in values:  # its name in the file
            rest = {name: value for name, value in values.items() if name != "current"}
            values = {**rest, "current_version": values["current"]}
        found = documents.decode(values, CalibrationHistory, what=what, format=FORMAT, remedy=remedy)
        problems = [problem for each in found.versions for problem in _problems(each)]
        numbers = [each.version for each in found.versions]
        if numbers != sorted(set(numbers)) or found.current_version not in numbers:
            problems.append(f"the versions are {numbers}, the current one is {found.current_version}")
        if problems:
            raise documents.damaged(what, "; ".join(problems), remedy=remedy)
        return found


def this_moment() -> str:
    """The time now, as calibrations and models record it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def calibrate(
    scores: Sequence[float], *, false_reject_rate: float = DEFAULT_FALSE_REJECT_RATE, data: str, who: str
) -> Calibration:
    """First version of a calibration: one threshold for a target false-reject rate. ``scores``: image scores of good
    images that the model has not learnt from."""
    found = conformal_threshold(scores, false_reject_rate=false_reject_rate)
    return Calibration(
        who=who,
        method=found.method,
        data=data,
        n=found.n,
        image_threshold=found.threshold,
        pixel_threshold=found.threshold,
        heat_top=heat_top_above(found.threshold, good_scores=scores),
        target_false_reject_rate=found.target,
        certified_false_reject_rate=found.certified_rate,
        expected={"false_reject_rate": found.certified_rate},
        scores=tuple(sorted(float(score) for score in scores)),
    )


def heat_top_above(threshold: float, *, good_scores: Sequence[float]) -> float:
    """Score at which the heat map saturates: as far above the threshold as twice the way to it from a usual part. No
    defect needs to be known. A threshold below the usual part, or without one, has the scale go on by its own size."""
    spread = max(threshold - float(np.median(good_scores)), 0.0) if len(good_scores) else 0.0
    return threshold + (2 * spread or abs(threshold) or 1.0)


def _problems(found: Calibration) -> list[str]:
    """What is wrong with the values of a calibration besides their types, in words."""
    checks = (
        (documents.is_moment(found.created_at), f"created_at is {found.created_at!r}; allowed: an ISO 8601 moment"),
        (found.ignore is None or _is_plain_png(found.ignore), f"the ignore mask is {found.ignore!r}"),
        (found.lower_threshold <= found.image_threshold, "the review threshold is above the reject threshold"),
    )
    return [message for fine, message in checks if not fine]


def _is_plain_png(name: str) -> bool:
    """Whether a name is that of a PNG in the model folder itself: it may come from an imported file."""
    if not name.lower().endswith(".png") or name.startswith("."):
        return False
    return PurePosixPath(name).name == name == PureWindowsPath(name).name
