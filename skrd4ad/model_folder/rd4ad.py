"""Model folders from checkpoints of the original RD4AD and SK-RD4AD code."""

from pathlib import Path

from skrd4ad.config import ModelConfig
from skrd4ad.model_folder.folder import run_folder, save_model
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.rd4ad_import import read_rd4ad
from skrd4ad.models.teachers import build_teacher
from skrd4ad.models.weights import weights_digest
from skrd4ad.task import QUIET, Task


def import_rd4ad(
    path: Path,
    *,
    model: ModelConfig,
    out: Path,
    dataset: str = "imported",
    class_name: str | None = None,
    weights: Path | None = None,
    task: Task = QUIET,
) -> ModelInfo:
    """Write a model folder with the bottleneck and the decoder of a checkpoint. It has no thresholds.

    ``path``: ``.pth``, ``.pt`` or ``.safetensors`` with ``bn`` and ``decoder``. ``model``: what the checkpoint is of;
    the file tells neither ``res`` nor the image size. ``class_name``: name of the class; default the file's name
    without suffix.
    """
    student = read_rd4ad(path, model)
    teacher = build_teacher(model.net, weights=weights, task=task)
    name = class_name or path.stem
    info = ModelInfo(
        dataset=dataset,
        class_name=name,
        model=model,
        train=None,
        teacher_digest=weights_digest(teacher),
        origin=f"imported from {path.name}",
    )
    return save_model(run_folder(out, dataset=dataset, class_name=name, model=model), info=info, student=student)
