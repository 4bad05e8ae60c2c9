"""Model folders: ``<dataset>/<class>/<run>/`` with weights, settings, thresholds, metrics and a card for people."""

import hashlib
import json
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import skrd4ad
from skrd4ad.config import ModelConfig, TrainConfig, from_dict, to_dict
from skrd4ad.engine.calibration import Calibration
from skrd4ad.engine.files import new_folder, read_json, write_json
from skrd4ad.engine.model_card import model_card
from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.models.skrd import SKRD4AD, build_student
from skrd4ad.models.teachers import build_teacher
from skrd4ad.models.weights import weights_digest

WEIGHTS, CONFIG, CALIBRATION, METRICS, CARD = (
    "model.safetensors",
    "config.json",
    "calibration.json",
    "metrics.json",
    "model_card.md",
)
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Everything about a trained model but its weights; ``config.json`` with the calibration and the metrics."""

    dataset: str
    class_name: str
    model: ModelConfig
    train: TrainConfig | None
    """None for an imported model."""
    teacher_digest: str
    data: dict[str, Any] = field(default_factory=dict)
    """Where the training images came from, how many, their digest, licence and note."""
    history: tuple[dict[str, Any], ...] = ()
    """One entry an epoch: epoch, loss, holdout_score."""
    selected_epoch: int | None = None
    test_selected: bool = False
    """The epoch was chosen on the test set, so every figure of this model is optimistic."""
    training_seconds: float | None = None
    origin: str = "trained here"
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    environment: dict[str, str] = field(default_factory=lambda: _environment())
    digest: str = ""
    """SHA-256 of ``model.safetensors``; set when the folder is written."""
    calibration: Calibration | None = None
    metrics: dict[str, Any] | None = None
    """What ``evaluate`` found last, with its protocol."""
    folder: Path = Path()

    @property
    def title(self) -> str:
        """One line for people."""
        skips = {1: "no skip", 2: "1 skip", 3: "2 skips"}[self.model.res]
        return f"{self.class_name} · {self.model.net} · {skips} · {self.folder.name}"


def save_model(folder: Path, *, info: ModelInfo, student: dict[str, Tensor]) -> ModelInfo:
    """Write a new model folder in one go.

    Args:
        folder: must not exist.
        info: what the model is; its digest and folder are filled in.
        student: state dict of the student.

    Raises:
        CheckpointError: the folder exists or cannot be written.
    """
    with new_folder(folder) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in student.items()}, temporary / WEIGHTS)
        saved = replace(info, digest=file_digest(temporary / WEIGHTS), folder=folder.absolute())
        write_json(temporary / CONFIG, _config_values(saved))
        if saved.calibration is not None:
            write_json(temporary / CALIBRATION, saved.calibration.to_dict())
        if saved.metrics is not None:
            write_json(temporary / METRICS, saved.metrics)
        (temporary / CARD).write_text(model_card(saved), encoding="utf-8")
    return saved


def save_metrics(folder: Path, metrics: dict[str, Any]) -> ModelInfo:
    """Store what an evaluation found in a model folder, and bring its card up to date.

    Raises:
        CheckpointError: this is no model folder, or it cannot be written.
    """
    info = replace(read_info(folder), metrics=metrics)
    write_json(folder / METRICS, metrics)
    card = folder / CARD
    try:
        card.write_text(model_card(info), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"The file {card} cannot be written: {error.strerror}.") from error
    return info


def read_info(folder: Path) -> ModelInfo:
    """What a model folder says of itself, without its weights.

    Raises:
        CheckpointError: this is no model folder, or a file in it is damaged.
    """
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder} is no model folder: it must hold {WEIGHTS} and {CONFIG}. "
            "`skrd4ad models` lists the folders there are; `skrd4ad import-rd4ad` makes one from a .pth file."
        )
    values = read_json(folder / CONFIG)
    if values.pop("format", None) != FORMAT:
        raise CheckpointError(f"{folder / CONFIG} has another format than {FORMAT}; a newer version may have made it.")
    calibration, metrics = folder / CALIBRATION, folder / METRICS
    try:
        model = from_dict(ModelConfig, values.pop("model"))
        train = values.pop("train")
        return ModelInfo(
            **{**values, "history": tuple(values.get("history", ()))},
            model=model,
            train=None if train is None else from_dict(TrainConfig, train),
            calibration=Calibration.from_dict(read_json(calibration)) if calibration.is_file() else None,
            metrics=read_json(metrics) if metrics.is_file() else None,
            folder=folder.absolute(),
        )
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{folder / CONFIG} is damaged: {error}.") from error


def load_model(folder: Path, *, weights: Path | None = None) -> tuple[SKRD4AD, ModelInfo]:
    """A trained model in evaluation mode, and what is known of it.

    Args:
        folder: model folder.
        weights: weights file of the teacher to use instead of the usual places.

    Raises:
        CheckpointError: this is no model folder, or its weights are damaged or belong to another teacher.
        WeightsError: the teacher's weights cannot be found, fetched or trusted.
    """
    info = read_info(folder)
    if file_digest(folder / WEIGHTS) != info.digest:
        raise CheckpointError(f"{folder / WEIGHTS} was changed or damaged after it was written; restore or retrain it.")
    teacher = build_teacher(info.model.net, weights=weights)
    if weights_digest(teacher) != info.teacher_digest:
        raise CheckpointError(
            f"{folder} was trained with other weights of the teacher {info.model.net} (digest {info.teacher_digest}, "
            f"given {weights_digest(teacher)}); give the file it was trained with by --weights FILE."
        )
    student = build_student(info.model)
    try:
        student.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{folder / WEIGHTS} does not fit its {CONFIG}: {error}.") from error
    model = SKRD4AD(teacher, student.eval())
    model.requires_grad_(False)
    return model, info


def find_models(root: Path) -> Iterator[Path]:
    """Model folders below a folder, by name; training states and temporary folders are passed over."""
    if not root.is_dir():
        return
    for config in sorted(root.glob(f"*/*/*/{CONFIG}")):
        if not config.parent.name.startswith(".") and (config.parent / WEIGHTS).is_file():
            yield config.parent


def run_folder(out: Path, *, dataset: str, class_name: str, model: ModelConfig) -> Path:
    """A model folder's path for a new run, named by the time and the network; not made here."""
    moment = datetime.now().strftime("%Y%m%d-%H%M%S")
    base = out / folder_name(dataset) / folder_name(class_name) / f"{moment}-{model.net}-res{model.res}"
    free = (base.with_name(f"{base.name}{suffix}") for suffix in ["", *(f"-{n}" for n in range(2, 1000))])
    return next(folder for folder in free if not folder.exists())


def folder_name(name: str) -> str:
    """A name as a folder: letters, digits, dots, dashes and underscores are kept."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "unnamed"


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error


def _config_values(info: ModelInfo) -> dict[str, Any]:
    left_out = {"calibration", "metrics", "folder", "model", "train"}
    plain = {name: value for name, value in vars(info).items() if name not in left_out}
    values = {
        "format": FORMAT,
        **plain,
        "model": to_dict(info.model),
        "train": None if info.train is None else to_dict(info.train),
    }
    checked: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
    return checked


def _environment() -> dict[str, str]:
    return {"skrd4ad": skrd4ad.__version__, "torch": torch.__version__, "python": platform.python_version()}
