"""Documents of what models say: predictions, limits, figures and their comparison."""

from dataclasses import dataclass
from typing import Literal

from skrd4ad.cli.schema.base import Document
from skrd4ad.metrics.bootstrap import PairedDifference
from skrd4ad.metrics.consequences import Consequences
from skrd4ad.metrics.evaluation import Metrics
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.evaluation.compare_images import ImageChange
from skrd4ad.types import ImageSize, Outcome, Region, Verdict

Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class CalibrateDocument(Document):
    """The calibration that was stored, what it promises, and what it means per 1000 parts."""

    model: str
    calibration: Calibration
    promise: str
    interval: Pair | None
    consequences: Consequences
    warnings: list[str]


@dataclass(frozen=True, kw_only=True)
class CalibrationInUse(Document):
    """Of ``--use``: the version that is in use now."""

    model: str
    calibration: Calibration


@dataclass(frozen=True, kw_only=True)
class CalibrationVersions(Document):
    """Of ``--history``."""

    model: str
    current: int | None
    versions: list[Calibration]


@dataclass(frozen=True, kw_only=True)
class Figures(Metrics):
    """Figures with 95 % intervals, as low and high by the figure's name."""

    intervals: dict[str, Pair | None]


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """How the intervals were drawn."""

    replicates: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class BinnedReplicates(Replicates):
    """How the intervals were drawn, and how far each may be off because pixels were counted in bins."""

    bin_errors: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class OutcomeFigures:
    """Images with one outcome: count, share and its exact 95 % interval."""

    count: int
    total: int
    share: float | None
    interval: Pair


@dataclass(frozen=True, kw_only=True)
class OutcomesOfType:
    """What the limits do to the defects of one type."""

    total: int
    escapes: int
    for_review: int
    rejected: int
    cannot_judge: int
    escape_share: float
    interval: Pair
    """Of the share that escapes."""


@dataclass(frozen=True, kw_only=True)
class OutcomesAtLimits:
    """What the model's own limits do to the images."""

    version: int
    reject: float
    review: float | None
    test_fitted: bool
    false_rejects: OutcomeFigures
    """Of the good images."""
    escapes: OutcomeFigures
    """Of the defective images."""
    for_review: OutcomeFigures
    cannot_judge: OutcomeFigures
    by_defect: dict[str, OutcomesOfType]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class EvaluateDocument(Document, Figures):
    """Figures of a model on a test set, by type of defect too, and how they were measured."""

    at_limits: OutcomesAtLimits | None
    why_no_limits: str
    """Empty with ``at_limits``."""
    by_defect: dict[str, Figures]
    by_mask_class: dict[str, Metrics]
    """By class in the masks, where masks tell classes apart."""
    authors: dict[str, float]
    """Metrics of the authors of the data set, by their names."""
    dataset: str
    class_name: str
    image_size: ImageSize
    vanished: list[str]
    vanished_regions: int
    left_out: int
    test_selected: bool
    calibration: int | None
    protocol: str
    evaluated_at: str
    bootstrap: BinnedReplicates


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """One of two models that are compared."""

    evaluation: str
    model: str
    title: str
    dataset: str
    class_name: str
    test_selected: bool
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class Difference(PairedDifference):
    """One figure of both models; ``clear`` when the interval leaves out 0."""

    clear: bool


@dataclass(frozen=True, kw_only=True)
class DifferingSetting:
    """A setting in which the models differ."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class CompareDocument(Document):
    """Two models on the same test images; differences are the second less the first."""

    a: ComparedModel
    b: ComparedModel
    n_good: int
    n_defect: int
    only_a: int
    only_b: int
    differences: dict[str, Difference]
    flips: list[ImageChange]
    """Images whose verdicts differ."""
    settings: list[DifferingSetting]
    notes: list[str]
    bootstrap: Replicates


@dataclass(frozen=True)
class ScaledRegion(Region):
    """A defect in pixels of the image and, with ``--mm-per-pixel``, in millimetres."""

    area_mm2: float | None = None
    box_mm: tuple[float, float, float, float] | None = None
    centroid_mm: Pair | None = None


@dataclass(frozen=True, kw_only=True)
class InspectedImage:
    """What the model says of an image, or the error for which it cannot be read."""

    path: str
    score: float | None
    raw_score: float | None
    verdict: Verdict | None
    threshold: float | None
    review_threshold: float | None
    calibration: int | None
    view: str
    refusal: str | None
    regions: list[ScaledRegion]
    error: str | None
    files: dict[Literal["map", "overlay", "mask"], str]


@dataclass(frozen=True, kw_only=True)
class PredictDocument(Document):
    """What a model says of images."""

    model: str
    runtime: str
    calibration: int | None
    counts: dict[Outcome, int]
    images: list[InspectedImage]


@dataclass(frozen=True, kw_only=True)
class ScoreDocument(Document):
    """How many images were scored, ``scored`` of them now, and the folder of the Parquet files."""

    model: str
    runtime: str
    scores: str
    images: int
    scored: int
    counts: dict[Outcome, int]


@dataclass(frozen=True, kw_only=True)
class SubmissionDocument(Document):
    """Of ``--ad2-submission``: how many private images of MVTec AD 2 were written, and where."""

    model: str
    folder: str
    images: int


@dataclass(frozen=True, kw_only=True)
class ArrivedImage:
    """What the model says of an image that arrived in a folder, or the error for which it cannot be read."""

    path: str
    score: float | None
    verdict: Verdict | None
    threshold: float | None
    calibration: int | None
    refusal: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class WatchDocument(Document):
    """What a model said of the images that arrived."""

    folder: str
    model: str
    calibration: int | None
    counts: dict[Outcome, int]
    images: list[ArrivedImage]


@dataclass(frozen=True, kw_only=True)
class ReportDocument(Document):
    """The report that was written."""

    model: str
    pdf: str
    html: str | None
    parts: int
    judged: int
    counts: dict[Outcome, int]
    calibration: int | None
    promise: str
