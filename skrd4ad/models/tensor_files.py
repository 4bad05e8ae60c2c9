"""Files of tensors: read without ever running what is in them, and written."""

import pickle
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from skrd4ad.errors import CheckpointError, SkrdError
from skrd4ad.paths import open_regular

SUFFIXES = (".pth", ".pt", ".safetensors")
COUNTER = "num_batches_tracked"
"""Batch norm's step counter: absent from old files, without meaning outside of training."""

# what torch.load lets through for files that are cut short, text, or of another program
_DAMAGED = (RuntimeError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, struct.error)


def read_tensor_file(path: Path, *, error: type[SkrdError]) -> dict[str, Any]:
    """Top-level dictionary of a ``.pth``, ``.pt`` or ``.safetensors`` file, on the CPU: tensors, or dicts of tensors.

    Raises:
        SkrdError: of the class ``error``; the file is missing, damaged, or holds more than tensors.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise error(f"{path} is not a file of tensors; allowed: {', '.join(SUFFIXES)}.")
    try:
        open_regular(path).close()
        packed = path.suffix.lower() == ".safetensors"
        content = load_file(path) if packed else torch.load(path, map_location="cpu", weights_only=True)
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror or cause}.") from cause
    except pickle.UnpicklingError as cause:
        raise error(
            f"{path} is damaged or holds Python objects besides tensors. Objects are never loaded, because loading "
            "them can run any code. Save the state dict instead: torch.save(model.state_dict(), FILE)."
        ) from cause
    except (SafetensorError, *_DAMAGED) as cause:
        raise error(f"{path} is damaged or cut short ({type(cause).__name__}). Copy or download it again.") from cause
    if not isinstance(content, dict) or not content:
        raise error(f"{path} holds no state dict (a dictionary from names to tensors).")
    for name, value in content.items():
        check_finite({name: value} if isinstance(value, Tensor) else value, path, error=error)
    return content


def check_finite(tensors: object, what: object, *, error: type[SkrdError]) -> None:
    """Refuse a mapping with a tensor that holds NaN or infinity, which would make scores that are no numbers."""
    named = tensors.items() if isinstance(tensors, Mapping) else ()
    bad = [
        name
        for name, tensor in named
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if bad:
        raise error(
            f"{what} holds values that are not finite (NaN or infinity), in {len(bad)} of {len(named)} tensors, "
            f"first in {bad[0]}. No verdict can come from them: restore the file, or train again."
        )


def write_tensors(target: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write a ``.safetensors`` file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    check_finite(plain, f"What is to be written to {target}", error=CheckpointError)
    try:
        # the library leaves files that only their owner may read; a new file has the system's default mode
        target.touch()
        mode = target.stat().st_mode
        save_file(plain, target, metadata=None if metadata is None else dict(metadata))
        target.chmod(mode)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"The file {target} cannot be written: {error}.") from error


def is_state_dict(value: object) -> bool:
    """Whether a value is a dictionary from names to tensors, with at least one entry."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def differences(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, unused: Sequence[str] = ()
) -> list[str]:
    """Up to three differences of two state dicts in words: names and shapes; batch norm's counters do not matter.
    ``unused``: modules whose tensors may be given without being expected."""
    needed = {name: like for name, like in expected.items() if not name.endswith(COUNTER)}
    skipped = tuple(f"{module}." for module in unused)
    found = [f"{name} is missing" for name in needed if name not in given]
    found += [
        f"{name} is {tuple(given[name].shape)}, not {tuple(like.shape)}"
        for name, like in needed.items()
        if name in given and given[name].shape != like.shape
    ]
    found += [
        f"{name} is of {given[name].dtype}, not floating point"
        for name in needed
        if name in given and not given[name].is_floating_point()
    ]
    unknown = (name for name in given if name not in needed and not name.endswith(COUNTER))
    found += [f"{name} is not known" for name in unknown if not name.startswith(skipped)]
    return found[:3]
