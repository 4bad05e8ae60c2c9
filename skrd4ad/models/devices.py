"""Where torch computes: the processor, or a graphics card when there is one."""

import copy
from typing import get_args

import torch
from torch import Tensor

from skrd4ad.config import LITE_NETS, DeviceName, TrainPrecision
from skrd4ad.errors import ConfigError
from skrd4ad.models.skrd import SKRD4AD


def choose_device(name: DeviceName) -> torch.device:
    """The device of a name; auto is the graphics card when torch can use one."""
    if name not in get_args(DeviceName):
        raise ConfigError(f"The device is {name!r}; allowed: {', '.join(get_args(DeviceName))}.")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ConfigError(
            "The device is 'cuda', but torch finds no graphics card it can use here. Choose cpu or auto, or install "
            "the card's driver and a torch that was built for it."
        )
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def mixed_precision(device: torch.device) -> torch.autocast:
    """Context in which a graphics card computes in bf16, if it can, and the processor as ever."""
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def training_type(precision: TrainPrecision, *, net: str, device: torch.device) -> torch.dtype:
    """What a student's convolutions are trained in, and its teacher's features are kept in.

    auto is bfloat16 for the ResNets where the device computes in it by itself: others only imitate it, slower than
    float32, and the students of the EfficientNet-Lites lose a little by it (``docs/performance.md``).
    """
    if precision == "auto":
        precision = "bf16" if net not in LITE_NETS and _computes_bf16(device) else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


class CudaNetwork:
    """Teacher and student on a graphics card, from images in ordinary memory."""

    def __init__(self, model: SKRD4AD, device: torch.device) -> None:
        # a copy: what looks inside the model goes on doing so in ordinary memory
        self._model = copy.deepcopy(model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device

    def __call__(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Both sets of features in ordinary memory, float32, of images (B, 3, S, S) uint8 RGB."""
        ahead = images.pin_memory().to(self._device, non_blocking=True)
        with mixed_precision(self._device):
            features, restored = self._model(ahead)
        return [f.float().cpu() for f in features], [g.float().cpu() for g in restored]
