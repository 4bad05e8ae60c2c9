"""The types of the JSON documents, one or more for each command.

They describe what commands write; tests hold every document of every command against the schema that is made of them.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field

from skrd4ad.cli.output import SCHEMA
from skrd4ad.data.doctor.report import ClassSummary, Finding
from skrd4ad.export.certificate import Certificate
from skrd4ad.files import FileEntry
from skrd4ad.metrics.bootstrap import PairedDifference
from skrd4ad.metrics.consequences import Consequences
from skrd4ad.metrics.evaluation import Metrics
from skrd4ad.model_folder.bundle import BundleManifest
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.info import StoredMetrics
from skrd4ad.types import Outcome, Region, Role, Verdict

Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Document:
    """What every document holds."""

    schema: Literal[1]
    """Version of the schema. Within a version values may be added, and none is changed or taken away."""


assert SCHEMA == 1  # the version that the literal above stands for


@dataclass(frozen=True, kw_only=True)
class ErrorDocument(Document):
    """In place of the document of a command that could not be done (exit code 1), was used wrongly (2) or was
    interrupted (130)."""

    error: str


@dataclass(frozen=True, kw_only=True)
class AppDocument(Document):
    """What is started, with which options of Streamlit."""

    script: str
    options: list[str]
    workspace: str
    models: str


@dataclass(frozen=True, kw_only=True)
class DoctorDocument(Document):
    """What the examination of a data set found; ``ok``: no error among the findings."""

    ok: bool
    classes: list[ClassSummary]
    findings: list[Finding]


class DrawnClass(Struct, kw_only=True):
    """A class that was drawn."""

    class_: str = field(name="class")
    train: int
    test: int
    defects: list[str]


@dataclass(frozen=True, kw_only=True)
class DemoDocument(Document):
    """The data set that was written."""

    folder: str
    classes: list[DrawnClass]


class TrainedModel(Struct, kw_only=True):
    """A model that was trained, with its figures on the test images unless it was not evaluated."""

    folder: str
    dataset: str
    class_: str = field(name="class")
    selected_epoch: int | None
    test_selected: bool
    training_seconds: float | None
    threshold: float | None
    metrics: StoredMetrics | None


@dataclass(frozen=True, kw_only=True)
class TrainDocument(Document):
    """The models that were trained, one a class."""

    models: list[TrainedModel]


@dataclass(frozen=True, kw_only=True)
class RetrainedSide:
    """A model on the labelled images that neither has learnt from."""

    image_auroc: float | None
    image_ap: float | None
    pixel_auroc: float | None
    aupro: float | None
    n_good: int
    n_defect: int
    agreement: float | None
    in_sample: int


@dataclass(frozen=True, kw_only=True)
class VerdictChange:
    """A labelled image on which the models differ."""

    digest: str
    name: str
    label: str
    old: Verdict | None
    new: Verdict | None
    turn: str


@dataclass(frozen=True, kw_only=True)
class LabelledComparison:
    """The old and the new model on labelled images."""

    old: RetrainedSide
    new: RetrainedSide
    image_auroc_difference: PairedDifference | None
    left_out: int
    changes: list[VerdictChange]


@dataclass(frozen=True, kw_only=True)
class RetrainDocument(Document):
    """The model that was made, the one it goes on from, how many images were for what, and both compared."""

    model: str
    start_from: str
    plan: dict[Literal["own", "own_held_out", "learn", "limits", "compare", "tests"], int]
    comparison: LabelledComparison


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
class EvaluateDocument(Document, Figures):
    """Figures of a model on a test set, by type of defect too, and how they were measured."""

    by_defect: dict[str, Figures]
    dataset: str
    class_name: str
    image_size: int
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
class Flip:
    """An image whose verdict differs."""

    name: str
    path: Path
    label: int
    defect_type: str
    place_a: int
    place_b: int
    score_a: float
    score_b: float
    verdict_a: Verdict | None
    verdict_b: Verdict | None
    rank_a: float
    rank_b: float


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
    flips: list[Flip]
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


@dataclass(frozen=True, kw_only=True)
class CertificateDocument(Certificate):
    """How far an export or a runtime differs from the model."""

    format: int
    passed: bool = dataclasses.field()  # a value here, where the certificate itself has a property


@dataclass(frozen=True, kw_only=True)
class ExportDocument(Document):
    """The export that was made, and its certificate; ``passed`` is null when there were no images to compare on."""

    folder: str
    model: str
    passed: bool | None
    words: str
    certificate: CertificateDocument | None
    manifest: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PackedModel(BundleManifest):
    """What a bundle holds."""

    kind: str
    format: int
    parts: dict[str, FileEntry]


@dataclass(frozen=True, kw_only=True)
class BundleDocument(Document):
    """The bundle that was written."""

    file: str
    bytes: int
    manifest: PackedModel


class ImportedModel(Struct, kw_only=True):
    """The model folder that was made."""

    schema: Literal[1]
    folder: str
    dataset: str
    class_: str = field(name="class")


class ImportedBundleModel(ImportedModel, kw_only=True):
    """The model folder that was made, or that was there already with the same content."""

    existed: bool
    digest: str
    net: str
    teacher_digest: str


@dataclass(frozen=True, kw_only=True)
class LeftOutLabels:
    """What is not among exported labels: counts, and the names of images without file or with unusable masks."""

    unsure: int
    undecided: int
    missing: list[str]
    unusable: list[str]


@dataclass(frozen=True, kw_only=True)
class LabelsExportDocument(Document):
    """Of ``labels export`` and ``labels dataset``: what was written; ``out`` is null with ``--dry-run``."""

    out: str | None
    images: int
    masks: int
    good_train: int
    good_test: int
    defects: int
    unsure: int
    left_out: LeftOutLabels


@dataclass(frozen=True, kw_only=True)
class WrongEntry:
    """An entry that cannot be imported."""

    where: str
    what: str


@dataclass(frozen=True, kw_only=True)
class LabelsImportDocument(Document):
    """Of ``labels import``: what was stored."""

    format: str
    problems: list[WrongEntry]
    notes: list[str]
    kinds: dict[str, int]
    take: str
    decisions: int
    images: int


@dataclass(frozen=True, kw_only=True)
class HistoryRow:
    """Who did what to what, and when."""

    id: int
    at: str
    who: str
    what: str
    dataset: str
    class_name: str
    model_folder: str
    model_digest: str
    previous: str
    hash: str
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class HistoryDocument(Document):
    """The history of the workspace, newest first."""

    total: int
    head: str
    rows: list[HistoryRow]


@dataclass(frozen=True, kw_only=True)
class HistoryFile(Document):
    """Of ``history --csv``: the file that was written."""

    file: str


@dataclass(frozen=True, kw_only=True)
class HistoryVerification(Document):
    """Of ``history --verify``: whether the chain of hashes holds, and the first row that does not fit."""

    verified: bool
    rows: int
    head: str
    altered: int | None
    problem: str


class ListedModel(Struct, kw_only=True):
    """A model. Of a damaged one only ``folder`` and ``error`` are there."""

    folder: str
    error: str | None
    title: str = ""
    dataset: str = ""
    class_: str = field(name="class", default="")
    net: str = ""
    res: int = 0
    image_size: int = 0
    created_at: str = ""
    origin: str = ""
    digest: str = ""
    threshold: float | None = None
    calibration: int | None = None
    calibration_versions: int = 0
    test_fitted: bool = False
    test_selected: bool = False
    guards: bool = False
    metrics: StoredMetrics | None = None


@dataclass(frozen=True, kw_only=True)
class ModelsDocument(Document):
    """The models there are."""

    models: list[ListedModel]


@dataclass(frozen=True, kw_only=True)
class RolesDocument(Document):
    """Who may do what in the app; ``default`` holds for all others who are logged in."""

    file: str
    default: Role
    roles: dict[str, Role]


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What computes, and in which precision."""

    runtime: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class MeasuredRuntime(Runtime):
    """A runtime as it was measured; ``problem`` says why it is not used unless it is asked for."""

    milliseconds: float | None
    problem: str
    certificate: CertificateDocument | None


@dataclass(frozen=True, kw_only=True)
class RuntimesDocument(Document):
    """How fast each runtime is here, and how far it differs from torch."""

    model: str
    format: int
    fastest: Runtime
    candidates: list[MeasuredRuntime]
    images: str
    calibration: int | None
    environment: dict[str, str]


DOCUMENTS: dict[str, tuple[type, ...]] = {
    "app": (AppDocument,),
    "bundle": (BundleDocument,),
    "calibrate": (CalibrateDocument, CalibrationInUse, CalibrationVersions),
    "compare": (CompareDocument,),
    "demo": (DemoDocument,),
    "doctor": (DoctorDocument,),
    "evaluate": (EvaluateDocument,),
    "export": (ExportDocument,),
    "history": (HistoryDocument, HistoryFile, HistoryVerification),
    "import-bundle": (ImportedBundleModel,),
    "import-rd4ad": (ImportedModel,),
    "labels": (LabelsExportDocument, LabelsImportDocument),
    "models": (ModelsDocument,),
    "predict": (PredictDocument,),
    "report": (ReportDocument,),
    "retrain": (RetrainDocument,),
    "roles": (RolesDocument,),
    "runtimes": (RuntimesDocument,),
    "train": (TrainDocument,),
}
"""By command, but for ``schema``, whose document is a JSON schema itself."""
