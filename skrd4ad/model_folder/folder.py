"""Model folders: ``<dataset>/<class>/<run>/`` with weights, settings, thresholds, metrics and a card for people."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from skrd4ad.config import ModelConfig
from skrd4ad.digests import file_digest
from skrd4ad.errors import CheckpointError
from skrd4ad.files import locked, new_file, new_folder, write_json
from skrd4ad.model_folder.calibration import Calibration, CalibrationHistory
from skrd4ad.model_folder.card import model_card
from skrd4ad.model_folder.info import (
    CALIBRATION,
    CARD,
    CONFIG,
    METRICS,
    WEIGHTS,
    ModelInfo,
    config_values,
    read_history,
    read_info,
)
from skrd4ad.model_folder.resume_state import is_unfinished, state_file
from skrd4ad.models.normality import PREFIX, Normality
from skrd4ad.models.skrd import SKRD4AD, Student, build_student
from skrd4ad.models.teachers import build_teacher
from skrd4ad.models.tensor_files import differences, read_tensor_file, write_tensors
from skrd4ad.models.weights import weights_digest
from skrd4ad.task import QUIET, Task


def save_model(
    folder: Path,
    *,
    info: ModelInfo,
    student: dict[str, Tensor],
    normality: Normality | None = None,
    more: Callable[[Path], object] = lambda _: None,
) -> ModelInfo:
    """Write a new model folder in one go; digest and folder of ``info`` are filled in. ``more`` writes further
    documents into the folder before it is there under its name."""
    with new_folder(folder) as temporary:
        usual = {} if normality is None else {PREFIX + name: each for name, each in normality.state_dict().items()}
        write_tensors(temporary / WEIGHTS, student | usual)
        saved = replace(info, digest=file_digest(temporary / WEIGHTS), folder=folder.absolute())
        write_json(temporary / CONFIG, config_values(saved))
        if saved.calibration is not None:
            history = CalibrationHistory(saved.calibration.version, (saved.calibration,))
            saved = replace(saved, calibration_versions=1)
            write_json(temporary / CALIBRATION, history.to_plain())
        if saved.metrics is not None:
            write_json(temporary / METRICS, saved.metrics)
        (temporary / CARD).write_text(model_card(saved), encoding="utf-8")
        more(temporary)
    return saved


def save_metrics(folder: Path, metrics: dict[str, Any]) -> ModelInfo:
    """Store what an evaluation found in a model folder, and bring its card up to date."""
    with locked(folder):
        info = replace(read_info(folder), metrics=metrics)
        write_json(folder / METRICS, metrics)
        _write_card(info)
    return info


def save_calibration(
    folder: Path, calibration: Calibration, *, ignore_mask: NDArray[np.bool_] | None = None
) -> ModelInfo:
    """Add a calibration to the history of a model folder and make it the current one; its card is brought up to date.

    Its version is given here. ``ignore_mask``: (H, W) of any size, true where the map is ignored; None keeps the mask
    that the calibration names.
    """
    with locked(folder):
        info, history = read_info(folder), read_history(folder)
        pixels = info.model.image_size**2
        if calibration.min_area > pixels:
            raise CheckpointError(
                f"The smallest region that counts is {calibration.min_area} pixels; the map has only {pixels}. "
                "Choose a smaller one."
            )
        version = 1 if history is None else history.next_version
        if ignore_mask is not None:
            calibration = replace(calibration, ignore=f"ignore-{version}.png")
            with new_file(folder / f"ignore-{version}.png") as temporary:
                Image.fromarray(ignore_mask.astype(np.uint8) * 255).save(temporary, format="PNG")
        elif calibration.ignore is not None and not (folder / calibration.ignore).is_file():
            raise CheckpointError(f"There is no {calibration.ignore} in {folder}; draw the ignored regions again.")
        added = (
            CalibrationHistory(1, (replace(calibration, version=1),)) if history is None else history.added(calibration)
        )
        return _store_history(info, added)


def use_version(folder: Path, version: int) -> ModelInfo:
    """Make an earlier calibration of a model folder the current one again; its history stays as it is."""
    with locked(folder):
        info, history = read_info(folder), read_history(folder)
        if history is None:
            raise CheckpointError(f"{folder} has no calibration yet; `skrd4ad calibrate` makes one.")
        return _store_history(info, history.using(version))


def load_model(folder: Path, *, weights: Path | None = None, task: Task = QUIET) -> tuple[SKRD4AD, ModelInfo]:
    """A trained model in evaluation mode, and what is known of it."""
    info = read_info(folder)
    if file_digest(folder / WEIGHTS) != info.digest:
        raise CheckpointError(f"{folder / WEIGHTS} was changed or damaged after it was written; restore or retrain it.")
    teacher = build_teacher(info.model.net, weights=weights, task=task)
    if weights_digest(teacher) != info.teacher_digest:
        raise CheckpointError(
            f"{folder} was trained with other weights of the teacher {info.model.net} (digest {info.teacher_digest}, "
            f"given {weights_digest(teacher)}); give the file it was trained with by --weights FILE."
        )
    student, normality = read_student(info)
    model = SKRD4AD(teacher, student, normality).eval()
    model.requires_grad_(False)
    return model, info


def read_student(info: ModelInfo) -> tuple[Student, Normality | None]:
    """What training made of a model, without its teacher: the student, and what is usual on good images.

    Raises:
        CheckpointError: the weights are damaged, do not fit the settings, or are no finite numbers.
    """
    folder, student = info.folder, build_student(info.model)
    of_student, of_normality = split_tensors(read_tensor_file(folder / WEIGHTS, error=CheckpointError))
    try:
        if problems := differences(of_student, student.state_dict()):
            raise RuntimeError("; ".join(problems))
        student.load_state_dict(of_student)
        normality = None if info.model.fusion == "sum" else Normality.from_tensors(of_normality)
        if normality is not None and (normality.floor is not None) != (info.model.fusion == "agreement"):
            raise RuntimeError(f"the fusion is {info.model.fusion!r} and the tensors are those of another")
    except RuntimeError as error:
        raise CheckpointError(f"{folder / WEIGHTS} does not fit its {CONFIG}: {error}.") from error
    return student, normality


def split_tensors(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of ``model.safetensors``: those of the student, and those of what is usual on good images."""
    usual = {name.removeprefix(PREFIX): each for name, each in tensors.items() if name.startswith(PREFIX)}
    return {name: each for name, each in tensors.items() if not name.startswith(PREFIX)}, usual


def find_models(root: Path) -> Iterator[Path]:
    """Model folders below a folder, by name; those whose training is not complete are passed over."""
    if not root.is_dir():
        return
    for config in sorted(root.glob(f"*/*/*/{CONFIG}")):
        folder = config.parent
        if not folder.name.startswith(".") and (folder / WEIGHTS).is_file() and not is_unfinished(folder):
            yield folder


def run_folder(out: Path, *, dataset: str, class_name: str, model: ModelConfig) -> Path:
    """A model folder's path for a new run, named by the time and the network; not made here. It is neither that of a
    model nor that of an unfinished training."""
    moment = datetime.now().strftime("%Y%m%d-%H%M%S")
    base = out / folder_name(dataset) / folder_name(class_name) / f"{moment}-{model.net}-res{model.res}"
    free = (base.with_name(f"{base.name}{suffix}") for suffix in ["", *(f"-{n}" for n in range(2, 1000))])
    return next(folder for folder in free if not folder.exists() and not state_file(folder).exists())


def folder_name(name: str) -> str:
    """A name as a folder: letters, digits, dots, dashes and underscores are kept."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "unnamed"


def _store_history(info: ModelInfo, history: CalibrationHistory) -> ModelInfo:
    saved = replace(info, calibration=history.current, calibration_versions=len(history.versions))
    write_json(info.folder / CALIBRATION, history.to_plain())
    _write_card(saved)
    return saved


def _write_card(info: ModelInfo) -> None:
    with new_file(info.folder / CARD) as temporary:
        temporary.write_text(model_card(info), encoding="utf-8")
