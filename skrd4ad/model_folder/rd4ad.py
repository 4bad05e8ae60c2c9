"""Model folders from checkpoints of the original RD4AD and SK-RD4AD code."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skrd4ad.config import NETS, ModelConfig
from skrd4ad.errors import CheckpointError
from skrd4ad.model_folder.folder import run_folder
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.network import save_model
from skrd4ad.models.skrd import Student, student_design
from skrd4ad.models.teachers import build_teacher
from skrd4ad.models.tensor_files import COUNTER, differences, is_state_dict, read_tensor_file
from skrd4ad.models.weights import weights_digest
from skrd4ad.task import QUIET, Task

_PARTS = ("bn", "decoder")


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

    ``model``: what the checkpoint is of; the file tells neither ``res`` nor the image size.
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


def read_rd4ad(path: Path, config: ModelConfig) -> dict[str, Tensor]:
    """State dict of a student from a checkpoint of the original code. ``path``: ``.pth`` or ``.pt`` with ``{'bn': …,
    'decoder': …}``, or ``.safetensors`` with the names ``bn.…`` and ``decoder.…``. ``config`` is that of the model; the
    file does not tell its ``res``. Returns the state dict of ``build_student(config)``."""
    flat = _flat_names(read_tensor_file(path, error=CheckpointError), path)
    # some published files carry a memory bank of an earlier method, which RD4AD never reads
    given = {name: tensor for name, tensor in flat.items() if "memory" not in name}
    if problems := differences(given, _expected(config.net)):
        raise CheckpointError(_wrong_net(path, given, net=config.net, problems=problems))
    student = {}
    for name, like in _expected(config.net).items():
        if name.endswith(COUNTER):  # old files lack it, and it has no meaning outside of training
            student[name] = given.get(name, torch.zeros((), dtype=torch.long)).long().reshape(())
        else:
            student[name] = given[name].to(like.dtype)
    return student


def _flat_names(content: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """``bn.…`` and ``decoder.…`` to tensors, whichever way the file nests them."""
    if is_state_dict(content):
        flat = {name.removeprefix("module."): tensor for name, tensor in content.items()}
        parts = {name.partition(".")[0] for name in flat}
    else:
        parts = {part for part in _PARTS if is_state_dict(content.get(part))}
        flat = {
            f"{part}.{name.removeprefix('module.')}": tensor for part in parts for name, tensor in content[part].items()
        }
    missing = [part for part in _PARTS if part not in parts]
    if not missing:
        return {name: tensor for name, tensor in flat.items() if name.startswith(("bn.", "decoder."))}
    if parts & {"layer1", "layer2", "layer3"} or missing == ["bn"]:
        raise CheckpointError(
            f"{path} holds only the decoder: the bottleneck (bn) is missing. The original code writes such files with "
            "--seg 1. The two were trained together, so this model can never be restored from it. Train it again, "
            "or find the file that holds both: a dictionary with 'bn' and 'decoder'."
        )
    raise CheckpointError(
        f"{path} is no RD4AD checkpoint: expected a dictionary with 'bn' and 'decoder', "
        f"found {', '.join(sorted(map(str, content))[:5])}."
    )


def _expected(net: str) -> dict[str, Tensor]:
    """Names and shapes of a student, without values."""
    with torch.device("meta"):
        return Student(student_design(net), skips=0).state_dict()


def _wrong_net(path: Path, given: dict[str, Tensor], *, net: str, problems: list[str]) -> str:
    other = next((name for name in NETS if name != net and not differences(given, _expected(name))), None)
    remedy = f"Its shapes fit --net {other}." if other else "Its shapes fit no --net that is known."
    return f"{path} is no checkpoint of {net}: {'; '.join(problems)}. {remedy}"
