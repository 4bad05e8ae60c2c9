"""The networks that serve as teachers, as their packages define them."""

from dataclasses import dataclass
from typing import Literal

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torchvision.models import resnet18, resnet34, resnet50, wide_resnet50_2

from skrd4ad.config import NETS
from skrd4ad.errors import ConfigError

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True, kw_only=True)
class TeacherSpec:
    """What a teacher takes and yields. Tuples over levels are finest first."""

    net: str
    title: str
    channels: tuple[int, int, int]
    strides: tuple[int, int, int]
    mean: tuple[float, float, float]
    """Of the pixel values 0..255, per channel R, G, B."""
    std: tuple[float, float, float]
    block: Literal["linear", "basic", "bottleneck"]
    """What ends a level: a ReLU after a basic or bottleneck block (features from 0 up), or nothing (signed)."""
    weights_file: str
    """File name as published; ends with the first 8 hex digits of the file's SHA-256."""
    url: str | None
    """Where the file is published; None when a Python package ships it."""

    @property
    def sha256_prefix(self) -> str:
        """First hex digits of the SHA-256 of the weights file."""
        return self.weights_file.rpartition("-")[2].partition(".")[0]


def _resnet_spec(net: str, title: str, block: Literal["basic", "bottleneck"], weights_file: str) -> TeacherSpec:
    return TeacherSpec(
        net=net,
        title=title,
        channels=(64, 128, 256) if block == "basic" else (256, 512, 1024),
        strides=(4, 8, 16),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        block=block,
        weights_file=weights_file,
        url=f"https://download.pytorch.org/models/{weights_file}",
    )


def _lite_spec(number: int, channels: tuple[int, int, int], weights_file: str) -> TeacherSpec:
    return TeacherSpec(
        net=f"efficientnet_lite{number}",
        title=f"EfficientNet-Lite{number}",
        channels=channels,
        strides=(8, 16, 32),
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        block="linear",
        weights_file=weights_file,
        url=None,
    )


_SPECS = {
    spec.net: spec
    for spec in (
        _lite_spec(0, (40, 112, 320), "efficientnet-lite0-57934424.pth"),
        _lite_spec(1, (40, 112, 320), "efficientnet-lite1-77cc7160.pth"),
        _lite_spec(2, (48, 120, 352), "efficientnet-lite2-9656183e.pth"),
        _resnet_spec("res18", "ResNet-18", "basic", "resnet18-f37072fd.pth"),
        _resnet_spec("res34", "ResNet-34", "basic", "resnet34-b627a593.pth"),
        _resnet_spec("res50", "ResNet-50", "bottleneck", "resnet50-0676ba61.pth"),
        _resnet_spec("wide_res50", "Wide ResNet-50-2", "bottleneck", "wide_resnet50_2-95faca4d.pth"),
    )
}

_RESNETS = {"res18": resnet18, "res34": resnet34, "res50": resnet50, "wide_res50": wide_resnet50_2}
_BEHIND_RESNET = ("layer4", "avgpool", "fc")
_BEHIND_LITE = ("_conv_head", "_bn1", "_avg_pooling", "_dropout", "_fc")


def teacher_spec(net: str) -> TeacherSpec:
    """Spec of a teacher by its ``--net`` name."""
    try:
        return _SPECS[net]
    except KeyError:
        raise ConfigError(f"net is {net!r}; allowed: {', '.join(NETS)}.") from None


def unused_modules(net: str) -> tuple[str, ...]:
    """Names of a network's modules behind its coarsest level: in published weights files, but never computed."""
    return _BEHIND_LITE if teacher_spec(net).block == "linear" else _BEHIND_RESNET


def empty_network(net: str) -> nn.Module:
    """The network of a teacher as its package defines it, up to the coarsest level, on the meta device. It has names
    and shapes but no values: load a state dict with ``assign=True``. What lies behind the coarsest level (a ResNet's
    stage 4, pooling, classifier) is not in it. The global random state is left alone."""
    unused = unused_modules(net)
    with torch.device("meta"):
        network = _RESNETS[net]() if net in _RESNETS else EfficientNet.from_name(net.replace("_", "-"))
    for name in unused:
        delattr(network, name)
    return network
