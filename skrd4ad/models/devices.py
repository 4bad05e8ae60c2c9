"""Where torch computes: the processor, or an accelerator such as a graphics card."""

import re
from typing import Literal

import torch
from torch import Tensor

from skrd4ad.config import DEVICES, LITE_NETS, TrainPrecision
from skrd4ad.errors import ConfigError

DevicePrecision = Literal["fp32", "bf16", "fp16"]
TYPES: dict[DevicePrecision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device of a name out of :data:`skrd4ad.config.DEVICES`.

    Raises:
        ConfigError: there is no such device, or torch cannot use it here.
    """
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d+)?", name):
        raise ConfigError(f"The device is {name!r}; allowed: {DEVICES}.")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if (device.index or 0) >= (count := _device_count(device.type)):
        there = f"only {count} of them" if count else "none that it can use"
        raise ConfigError(
            f"The device is {name!r}, but torch finds {there} here. Choose cpu or auto, or install the device's driver "
            "and a torch that was built for it."
        )
    return device


def _device_count(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "xpu":
        return torch.xpu.device_count() if torch.xpu.is_available() else 0
    return 1 if kind == "cpu" or torch.backends.mps.is_available() else 0


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
    if device.type != "cpu":
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def ahead_on(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; to a CUDA card it goes by way of memory that the card reads by itself."""
    if device.type == tensor.device.type:
        return tensor
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=device.type == "cuda")
