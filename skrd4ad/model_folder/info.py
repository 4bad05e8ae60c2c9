"""What a model says of itself: ``config.json``, with its calibration and its metrics. No networks are loaded here."""

import platform
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict

import skrd4ad
from skrd4ad import documents
from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.digests import file_digest
from skrd4ad.documents import Count, StoredSize
from skrd4ad.errors import CheckpointError
from skrd4ad.model_folder.calibration import Calibration, CalibrationHistory, this_moment
from skrd4ad.models.installed import version_of
from skrd4ad.types import Alignment, Levels

WEIGHTS, CONFIG, CALIBRATION, METRICS, CARD, REFERENCE = (
    "model.safetensors",
    "config.json",
    "calibration.json",
    "metrics.json",
    "model_card.md",
    "reference.json",
)
FORMAT = 1
GRAPH = "graph"
"""Folder of the converted graph; see :mod:`skrd4ad.export.carried`."""
PATCH_IMAGES = "patch_images"
"""Key of the data of a model: SHA-256 of the training images in the order that its patches name them by."""


_ELSEWHERE = {"calibration", "calibration_versions", "metrics", "folder"}
"""Fields of a model's info that other files hold."""
_REMEDY = "Restore the file, or train or import the model again."


class EpochEntry(TypedDict):
    """What is known of one epoch of a training."""

    epoch: int
    loss: float
    holdout_score: float | None
    """None where no images are held out."""


class StoredMetrics(TypedDict, total=False):
    """``metrics.json``: figures of a test set, None where undefined, and how they were measured. Later versions may
    know other keys; they are kept."""

    image_auroc: float | None
    image_ap: float | None
    image_f1_max: float | None
    pixel_auroc: float | None
    pixel_ap: float | None
    pixel_f1_max: float | None
    aupro: float | None
    aupro_005: float | None
    aupro_paper: float | None
    n_good: Count
    n_defect: Count
    n_masks: Count
    n_regions: Count
    intervals: dict[str, tuple[float, float] | None]
    by_defect: dict[str, dict[str, Any]]
    by_mask_class: dict[str, dict[str, Any]]
    authors: dict[str, float]
    dataset: str
    class_name: str
    image_size: StoredSize
    vanished: list[str]
    vanished_regions: int
    left_out: int
    test_selected: bool
    calibration: int | None
    protocol: str
    evaluated_at: str
    bootstrap: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Everything about a trained model but its weights; ``config.json`` with the calibration and the metrics."""

    dataset: str
    class_name: str
    model: ModelConfig
    train: TrainConfig | None
    """None for an imported model."""
    teacher_digest: str
    levels: Levels | None = None
    """Black and white level of images above 8 bit; None where it learnt from none, and for models of earlier builds:
    then the full range counts."""
    alignment: Alignment | None = None
    """How photographs are cropped and turned to the part; None where they are seen whole, as by models of earlier
    builds."""
    data: dict[str, Any] = field(default_factory=dict)
    """Where the training images came from, how many, their digest, licence and note."""
    history: tuple[EpochEntry, ...] = ()
    selected_epoch: Count | None = None
    test_selected: bool = False
    """The epoch was chosen on the test set, so every figure of this model is optimistic."""
    first_look: bool = False
    """The memory bank alone decides; made while the student of the full model still learnt."""
    training_seconds: float | None = None
    origin: str = "trained here"
    created_at: str = field(default_factory=this_moment)
    environment: dict[str, str] = field(default_factory=lambda: versions())
    digest: str = ""
    """SHA-256 of ``model.safetensors``; set when the folder is written."""
    calibration: Calibration | None = None
    calibration_versions: int = 0
    metrics: dict[str, Any] | None = None
    """What ``evaluate`` found last, with its protocol."""
    folder: Path = Path()

    @property
    def title(self) -> str:
        """One line for people."""
        skips = {1: "no skip", 2: "1 skip", 3: "2 skips"}[self.model.res]
        made = "first look" if self.first_look else skips
        return f"{self.class_name} · {self.model.net} · {made} · {self.folder.name}"


def calibration_stamp(folder: Path) -> int:
    """Changes whenever the limits of a model do; 0 while it has none."""
    try:
        return (folder / CALIBRATION).stat().st_mtime_ns
    except OSError:
        return 0


def read_history(folder: Path) -> CalibrationHistory | None:
    """All calibrations of a model folder; None when there is none."""
    path = folder / CALIBRATION
    return CalibrationHistory.from_plain(documents.read_values(path), str(path)) if path.is_file() else None


def read_info(folder: Path) -> ModelInfo:
    """What a model folder says of itself, without its weights.

    Raises:
        CheckpointError: this is no model folder, or a file in it is damaged.
    """
    config, metrics = folder / CONFIG, folder / METRICS
    if not config.is_file() or not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder} is no model folder: it must hold {WEIGHTS} and {CONFIG}. "
            "`skrd4ad models` lists the folders there are; `skrd4ad import-rd4ad` makes one from a .pth file."
        )
    values = documents.read_values(config, remedy=_REMEDY)
    if wrong := sorted(_ELSEWHERE & set(values)):
        raise documents.damaged(str(config), f"{', '.join(wrong)}: unknown", remedy=_REMEDY)
    info = documents.decode(values, ModelInfo, what=str(config), format=FORMAT, remedy=_REMEDY)
    if not documents.is_moment(info.created_at):
        problem = f"created_at is {info.created_at!r}; allowed: an ISO 8601 moment with its time zone"
        raise documents.damaged(str(config), problem, remedy=_REMEDY)
    if info.alignment is not None and info.alignment.problem:
        raise documents.damaged(str(config), info.alignment.problem, remedy=_REMEDY)
    history = read_history(folder)
    return replace(
        info,
        calibration=None if history is None else history.current,
        calibration_versions=0 if history is None else len(history.versions),
        metrics=_read_metrics(metrics) if metrics.is_file() else None,
        folder=folder.absolute(),
    )


def require_own_weights(info: ModelInfo) -> None:
    """See that the weights of a model are those it was stored with.

    Raises:
        CheckpointError: the file was changed.
    """
    if file_digest(info.folder / WEIGHTS) != info.digest:
        raise CheckpointError(
            f"{info.folder / WEIGHTS} was changed or damaged after it was written; restore or retrain it."
        )


def config_values(info: ModelInfo) -> dict[str, Any]:
    """What ``config.json`` holds of a model."""
    kept = {each.name: getattr(info, each.name) for each in fields(info) if each.name not in _ELSEWHERE}
    for name in ("levels", "alignment", "first_look"):
        if not kept[name]:
            del kept[name]  # builds before know no such key
    if info.train is not None:
        kept["train"] = train_values(info.train)
    return {"format": FORMAT, **documents.to_plain(kept)}


def train_values(config: TrainConfig) -> dict[str, Any]:
    """JSON-ready form of the settings of a training."""
    values: dict[str, Any] = documents.to_plain(config)
    if config.align == "off":
        del values["align"]  # builds before know no such key
    return values


def versions() -> dict[str, str]:
    """Versions of what a model is made with."""
    return {"skrd4ad": skrd4ad.__version__, "torch": version_of("torch"), "python": platform.python_version()}


GUARDS_OFF = "Guards off: images unlike the training images are judged all the same"
"""Said of a model without a reference: it was imported, or made before there were guards."""


def has_guards(folder: Path) -> bool:
    """Whether a model folder has a reference, by which images unlike the training images are refused."""
    return (folder / REFERENCE).is_file()


def _read_metrics(path: Path) -> dict[str, Any]:
    remedy = "Delete the file; evaluating the model makes another."
    values = documents.read_values(path, remedy=remedy)
    return documents.decode_known(values, StoredMetrics, what=str(path), remedy=remedy)
