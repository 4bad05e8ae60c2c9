"""The document of a measurement study."""

from dataclasses import dataclass

from skrd4ad.cli.schema.base import Document
from skrd4ad.cli.schema.figures import OutcomeFigures, Pair
from skrd4ad.services.study.measure import Part
from skrd4ad.types import Verdict


@dataclass(frozen=True, kw_only=True)
class GaugeFigures:
    """Standard deviations of scores by where they come from."""

    parts: int
    settings: int
    repeats: int
    repeatability: float
    repeatability_interval: Pair
    degrees: int
    setting: float | None
    interaction: float | None
    interaction_p: float | None
    reproducibility: float | None
    part: float
    gauge: float
    total: float
    share: float | None
    """%GRR, 0 to 1."""
    categories: int | None
    """ndc."""


@dataclass(frozen=True, kw_only=True)
class AttributeFigures:
    """Counts of parts with exact 95 % intervals, rates of verdicts, and kappa."""

    repeatable: OutcomeFigures
    reproducible: OutcomeFigures | None
    effective: OutcomeFigures
    escaped: OutcomeFigures
    alarmed: OutcomeFigures
    miss_rate: float | None
    false_alarm_rate: float | None
    kappa: float | None
    """Fleiss'."""
    truth_kappa: float | None
    """Cohen's."""


@dataclass(frozen=True, kw_only=True)
class StabilityFigures:
    """Shift of each round, and the rounds that are out of control by their names."""

    rounds: list[str]
    shifts: list[float]
    limit: float
    p: float
    out: list[str]


@dataclass(frozen=True, kw_only=True)
class BiasFigures:
    """Mean difference to the reference scores."""

    parts: int
    mean: float
    interval: Pair


@dataclass(frozen=True, kw_only=True)
class JudgedChallengePart:
    """A challenge part and what the model says of it; null where nothing was judged."""

    name: str
    digest: str
    expected: Verdict
    score: float | None
    verdict: Verdict | None
    error: str
    passed: bool | None


@dataclass(frozen=True, kw_only=True)
class ChallengeDocument(Document):
    """The challenge parts of a class, and whether all get their expected verdict; null when they were changed."""

    model: str
    passed: bool | None
    parts: list[JudgedChallengePart]


@dataclass(frozen=True, kw_only=True)
class StudyDocument(Document):
    """Whether the measurement is fit. What could not be analysed is null, and ``why_not`` says why, by its name."""

    model: str
    made_at: str
    calibration: int | None
    limit: float | None
    photographs: int
    left_out: list[str]
    gauge: GaugeFigures | None
    room: float | None
    """Three standard deviations of the gauge, of the way from the mean good part to the limit."""
    attribute: AttributeFigures | None
    stability: StabilityFigures | None
    bias: BiasFigures | None
    why_not: dict[str, str]
    plan: list[str]
    parts: list[Part]
    report: str | None
