"""What turns scores into verdicts: thresholds, where they came from, and the versions a model has had."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from skrd4ad.errors import CheckpointError
from skrd4ad.metrics.thresholds import conformal_threshold
from skrd4ad.types import Verdict

DEFAULT_FALSE_REJECT_RATE = 0.01
FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds, what they were taken from, and who answers for them.

    Scores, here and in verdicts, are image scores under ``min_area`` and ``ignore``; see
    :func:`skrd4ad.inference.scoring.score_under`.
    """

    version: int = 1
    """Number in the model's history; given when it is stored."""
    created_at: str = field(default_factory=lambda: this_moment(), compare=False)
    """Says nothing of what a calibration does, so it does not make two of them differ."""
    who: str
    method: str
    """``split-conformal``, ``f1-max``, ``balanced-accuracy``, ``least-cost`` or ``manual``."""
    data: str
    """In words: which images the scores came from."""
    n: int
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
    min_area: int = 1
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
    """Scores of the held-out good images, ascending."""
    note: str = ""

    @property
    def lower_threshold(self) -> float:
        """A part is OK up to this score."""
        return self.image_threshold if self.review_threshold is None else self.review_threshold

    def verdict(self, score: float) -> Verdict:
        """NG above the threshold, else REVIEW above the review threshold, else OK."""
        return verdict_of(score, review=self.review_threshold, reject=self.image_threshold)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**asdict(self), "scores": list(self.scores)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Calibration":
        """Calibration from its JSON form.

        Raises:
            CheckpointError: a value is missing, unknown, of another kind or out of range.
        """
        try:
            found = Calibration(**{**values, "scores": tuple(values["scores"]), "expected": dict(values["expected"])})
            problems = _problems(found)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The calibration is damaged ({error}); calibrate the model again.") from error
        if problems:
            raise CheckpointError(f"The calibration is damaged ({'; '.join(problems)}); calibrate the model again.")
        return found


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
        """The calibration with a number.

        Raises:
            CheckpointError: there is none.
        """
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
        """The history with another current version.

        Raises:
            CheckpointError: there is no such version.
        """
        return CalibrationHistory(self.of_version(version).version, self.versions)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"format": FORMAT, "current": self.current_version, "versions": [v.to_dict() for v in self.versions]}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "CalibrationHistory":
        """History from its JSON form.

        Raises:
            CheckpointError: it has another format, or a value is missing or damaged.
        """
        if values.get("format") != FORMAT:
            raise CheckpointError(
                f"The calibration has the format {values.get('format')!r}; this version reads {FORMAT}. Calibrate the "
                "model again: remove its calibration.json, then run `skrd4ad calibrate`."
            )
        try:
            versions = tuple(Calibration.from_dict(each) for each in values["versions"])
            numbers = [each.version for each in versions]
            if numbers != sorted(set(numbers)) or values["current"] not in numbers:
                raise ValueError(f"the versions are {numbers}, the current one is {values['current']}")
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The calibration is damaged ({error}); calibrate the model again.") from error
        return CalibrationHistory(values["current"], versions)


def this_moment() -> str:
    """The time now, as calibrations and models record it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def verdict_of(score: float, *, review: float | None, reject: float) -> Verdict:
    """NG above ``reject``, else REVIEW above ``review`` when there is one, else OK."""
    if score > reject:
        return "NG"
    return "REVIEW" if review is not None and score > review else "OK"


def calibrate(
    scores: Sequence[float],
    *,
    false_reject_rate: float = DEFAULT_FALSE_REJECT_RATE,
    data: str,
    who: str,
) -> Calibration:
    """First version of a calibration: one threshold for a target false-reject rate.

    Args:
        scores: image scores of good images that the model has not learnt from.
        false_reject_rate: share of good parts that may be rejected.
        data: in words, which images these are.
        who: who answers for it.

    Raises:
        ConfigError: the rate is not above 0 and below 1.
        DataError: there are no scores, or one is not finite.
    """
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
    """Score at which the heat map saturates: as far above the threshold as twice the way to it from a usual part.

    No defect needs to be known. A threshold below the usual part, or without one, has the scale go on by its own size.
    """
    spread = max(threshold - float(np.median(good_scores)), 0.0) if len(good_scores) else 0.0
    return threshold + (2 * spread or abs(threshold) or 1.0)


def _problems(found: Calibration) -> list[str]:
    """What is wrong with the values of a calibration, in words."""
    needed = (found.image_threshold, found.pixel_threshold, found.heat_top, *found.scores, *found.expected.values())
    optional = (found.review_threshold, found.target_false_reject_rate, found.certified_false_reject_rate)
    numbers = [*needed, *(value for value in optional if value is not None)]
    texts = (found.created_at, found.who, found.method, found.data, found.note)
    counts = (found.version, found.n, found.min_area)
    checks = (
        (all(isinstance(v, (int, float)) and math.isfinite(v) for v in numbers), "a value is not a finite number"),
        (all(type(v) is int for v in counts), "a count is not a whole number"),
        (all(isinstance(v, str) for v in texts), "a text is not a text"),
        (type(found.test_fitted) is bool, "test_fitted is neither true nor false"),
        (found.ignore is None or _is_plain_png(found.ignore), f"the ignore mask is {found.ignore!r}"),
    )
    problems = [message for fine, message in checks if not fine]
    if problems:
        return problems
    if found.version < 1 or found.min_area < 1 or found.n < 0:
        problems.append("a count is too small")
    if found.lower_threshold > found.image_threshold:
        problems.append("the review threshold is above the reject threshold")
    return problems


def _is_plain_png(name: object) -> bool:
    """Whether a name is that of a PNG in the model folder itself: it may come from an imported file."""
    if not isinstance(name, str) or not name.lower().endswith(".png"):
        return False
    return not name.startswith(".") and PurePosixPath(name).name == name == PureWindowsPath(name).name
