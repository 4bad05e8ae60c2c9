"""The networks of model folders: written with all that is known of them, and read back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from skrd4ad.digests import file_digest
from skrd4ad.errors import CheckpointError
from skrd4ad.files import new_folder, write_json
from skrd4ad.model_folder.calibration import CalibrationHistory
from skrd4ad.model_folder.card import model_card
from skrd4ad.model_folder.info import (
    CALIBRATION,
    CARD,
    CONFIG,
    METRICS,
    WEIGHTS,
    ModelInfo,
    config_values,
    read_info,
    require_own_weights,
)
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


def load_model(folder: Path, *, weights: Path | None = None, task: Task = QUIET) -> tuple[SKRD4AD, ModelInfo]:
    """A trained model in evaluation mode, and what is known of it."""
    info = read_info(folder)
    require_own_weights(info)
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
