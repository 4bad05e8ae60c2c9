"""The state of a training between two epochs, on disk: what ``--resume`` goes on from."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from skrd4ad import documents
from skrd4ad.documents import Count
from skrd4ad.errors import CheckpointError, DocumentError
from skrd4ad.files import new_file
from skrd4ad.model_folder.info import EpochEntry
from skrd4ad.models.tensor_files import write_tensors


@dataclass(kw_only=True)
class TrainState:
    """What is known of a training besides its tensors."""

    settings: dict[str, Any]
    """What must be equal for a training to go on: model, train, data digest, teacher digest."""
    epoch: Count = 0
    best_epoch: Count = 0
    best_score: float | None = None
    """The lower the better; None before the first epoch that may be selected."""
    seconds: float = 0.0
    history: list[EpochEntry] = field(default_factory=list)


def save_state(
    path: Path, *, record: TrainState, student: nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, Tensor]
) -> None:
    """Replace a training state in one go; ``best`` is empty when the last epoch is kept."""
    tensors = {f"student.{name}": tensor for name, tensor in student.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": tensor for name, tensor in moments.items()}
    with new_file(path) as temporary:
        write_tensors(temporary, tensors, metadata={"record": json.dumps(documents.to_plain(record))})


def read_record(path: Path) -> TrainState:
    """The record of a training state, without its tensors."""
    return _read(path, tensors=False)[0]


def restore_state(
    path: Path, *, student: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[TrainState, dict[str, Tensor]]:
    """Put student and optimizer back to where they were; returns the record and the best epoch's state dict."""
    record, tensors = _read(path, tensors=True)
    parts: dict[str, dict[str, Tensor]] = {"student": {}, "best": {}, "adam": {}}
    moments: dict[int, dict[str, Tensor]] = {}
    try:
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        for name, tensor in parts["adam"].items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        student.load_state_dict(parts["student"])
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        # moments are laid out in memory as their parameters: the fused step goes over both in the order of memory
        for parameter, of_parameter in optimizer.state.items():
            for name, moment in of_parameter.items():
                if moment.shape == parameter.shape:
                    of_parameter[name] = torch.empty_like(parameter).copy_(moment)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} is the state of another network: {error}.") from error
    return record, parts["best"]


def _read(path: Path, *, tensors: bool) -> tuple[TrainState, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            # older states hold Infinity for "none yet"
            values = json.loads(file.metadata()["record"], parse_constant=lambda _: None)
            record = documents.decode(values, TrainState, what="its record")
            return record, {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError, DocumentError) as error:
        raise CheckpointError(
            f"The training state {path} cannot be read ({error}). Delete it and resume again: an older state is taken "
            "then, or the training begins anew."
        ) from error
