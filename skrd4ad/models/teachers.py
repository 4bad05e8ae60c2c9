"""The frozen teacher: from raw pixels to features at three levels."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skrd4ad.config import LITE_NETS
from skrd4ad.models.backbones import TeacherSpec, empty_network, teacher_spec
from skrd4ad.models.weights import load_weights
from skrd4ad.task import QUIET, Task


class Teacher(nn.Module):
    """A network that never learns: no gradients, and always in evaluation mode."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: TeacherSpec, stages: list[nn.Module]) -> None:
        super().__init__()
        self.spec = spec
        self.stages = nn.ModuleList(stages)
        # not persistent: they belong to the spec, not to the weights
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":  # noqa: ARG002 - the signature is torch's
        """Keep evaluation mode, so that ``train()`` on a model around it does not change its features."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) → [f1, f2, f3], finest first: (B, C, H / stride, W / stride), as ``spec`` has them. RGB,
        uint8 or float, 0..255; H and W are multiples of the coarsest stride."""
        x = (images.float() - self.mean) / self.std
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def build_teacher(net: str, *, weights: Path | None = None, task: Task = QUIET) -> Teacher:
    """Teacher with its ImageNet weights; arguments and errors as for :func:`skrd4ad.models.weights.load_weights`."""
    network: Any = empty_network(net)
    network.load_state_dict(load_weights(net, file=weights, task=task), assign=True)
    network.eval()
    stages = _lite_stages(network) if net in LITE_NETS else _resnet_stages(network)
    return Teacher(teacher_spec(net), stages)


def _resnet_stages(network: Any) -> list[nn.Module]:
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    return [nn.Sequential(stem, network.layer1), network.layer2, network.layer3]


class _Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _lite_stages(network: Any) -> list[nn.Module]:
    """EfficientNet-Lite as plain convolutions: batch norms folded in, TensorFlow's padding made explicit. A level ends
    where the next block halves the sides; the first two halvings, to stride 4, are within the first level."""
    blocks = [_lite_block(block) for block in network._blocks]
    stem = nn.Sequential(*_plain_convolution(network._conv_stem, network._bn0), nn.ReLU6())
    first, second = [n for n, block in enumerate(network._blocks) if block._depthwise_conv.stride[0] == 2][2:]
    return [
        nn.Sequential(stem, *blocks[:first]),
        nn.Sequential(*blocks[first:second]),
        nn.Sequential(*blocks[second:]),
    ]


def _lite_block(block: Any) -> nn.Module:
    layers: list[nn.Module] = []
    if hasattr(block, "_expand_conv"):
        layers += [*_plain_convolution(block._expand_conv, block._bn0), nn.ReLU6()]
    layers += [*_plain_convolution(block._depthwise_conv, block._bn1), nn.ReLU6()]
    layers += _plain_convolution(block._project_conv, block._bn2)
    body = nn.Sequential(*layers)
    keeps_shape = block._depthwise_conv.stride[0] == 1 and (
        block._project_conv.out_channels == (getattr(block, "_expand_conv", block._depthwise_conv)).in_channels
    )
    return _Residual(body) if keeps_shape else body


def _plain_convolution(source: nn.Conv2d, norm: nn.BatchNorm2d) -> list[nn.Module]:
    """Convolution that equals ``norm(source(x))`` for inputs with even sides, with a padding layer when needed.
    TensorFlow's SAME padding of a strided convolution puts the odd row and column at the end."""
    kernel, stride = source.kernel_size[0], source.stride[0]
    total = kernel - stride
    conv = nn.Conv2d(
        source.in_channels,
        source.out_channels,
        kernel,
        stride=stride,
        padding=0 if total % 2 else total // 2,
        groups=source.groups,
        device="meta",
    )
    weight, bias = _folded(source.weight, norm)
    conv.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    if total % 2 == 0:
        return [conv]
    before, after = total // 2, total - total // 2
    return [nn.ZeroPad2d((before, after, before, after)), conv]


def _folded(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that takes the batch norm behind it into itself. In float64 with exactly rounded
    operations only, so that all machines get the same bits (and digest)."""
    gamma, beta, mean, variance = (
        norm.get_parameter("weight").double(),
        norm.get_parameter("bias").double(),
        norm.get_buffer("running_mean").double(),
        norm.get_buffer("running_var").double(),
    )
    scale = gamma / torch.sqrt(variance + norm.eps)
    return (weight.double() * scale.view(-1, 1, 1, 1)).float(), (beta - mean * scale).float()
