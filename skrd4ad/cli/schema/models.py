"""Documents of what is done with models: training, listing, moving, exporting."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Struct, field

from skrd4ad.cli.schema.base import Document
from skrd4ad.export.certificate import Certificate
from skrd4ad.files import FileEntry
from skrd4ad.metrics.bootstrap import PairedDifference
from skrd4ad.model_folder.bundle import BundleManifest
from skrd4ad.model_folder.info import StoredMetrics
from skrd4ad.types import ImageSize, Verdict


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


class ListedModel(Struct, kw_only=True):
    """A model. Of a damaged one only ``folder`` and ``error`` are there."""

    folder: str
    error: str | None
    name: str = ""
    """``dataset/class/run``."""
    title: str = ""
    dataset: str = ""
    class_: str = field(name="class", default="")
    net: str = ""
    res: int = 0
    image_size: ImageSize = 0
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
