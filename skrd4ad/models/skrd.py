"""SK-RD4AD: a frozen teacher, and a student that restores its features from a compressed embedding.

Parameter names are those of the published RD4AD code, so that its checkpoints load. The decoder's blocks mirror a
ResNet's, with 2x2 transposed convolutions of stride 2 where that has strided ones.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet

from skrd4ad.config import ModelConfig
from skrd4ad.models.backbones import teacher_spec
from skrd4ad.models.normality import Normality
from skrd4ad.models.teachers import Teacher

Block = Literal["basic", "bottleneck"]
EXPANSION: dict[Block, int] = {"basic": 1, "bottleneck": 4}
"""Output channels of a block over its planes."""


@dataclass(frozen=True, kw_only=True)
class StudentDesign:
    """Sizes of bottleneck (OCBE) and decoder; tuples over levels are finest first, as everywhere."""

    teacher_channels: tuple[int, int, int]
    fused_channels: tuple[int, int, int]
    """Outputs of the fusion's convolutions: conv1 and conv2 (f1 passes both), conv3 (f2)."""
    embedding_block: Block
    embedding_channels: int
    embedding_blocks: int
    decoder_block: Block
    decoder_channels: tuple[int, int, int]
    """Trunk widths of the stages that restore f1, f2, f3."""
    decoder_blocks: tuple[int, int, int]
    base_width: int = 64
    """``width_per_group`` of the bottleneck blocks."""
    signed: bool = False
    """Teacher features have both signs, so every stage ends with a linear 1x1 head from trunk to teacher channels."""
    published: bool = True
    """The layout is RD4AD's, with its unused conv4 and bn4."""


def student_design(net: str, *, width: int = 1) -> StudentDesign:
    """Design of the student of a teacher: the published one for the ResNets, a small one for EfficientNet-Lite0.
    ``width``: factor of the widths of the small student's decoder; the published ones have only 1."""
    spec = teacher_spec(net)
    if spec.block == "linear":
        return StudentDesign(
            teacher_channels=spec.channels,
            fused_channels=(32, 64, 64),
            embedding_block="bottleneck",
            embedding_channels=256,
            embedding_blocks=1,
            decoder_block="basic",
            decoder_channels=(32 * width, 64 * width, 128 * width),
            decoder_blocks=(1, 1, 1),
            base_width=128,
            signed=True,
            published=False,
        )
    return StudentDesign(
        teacher_channels=spec.channels,
        fused_channels=(spec.channels[1], spec.channels[2], spec.channels[2]),
        embedding_block=spec.block,
        embedding_channels=2 * spec.channels[2],
        embedding_blocks=2 if net == "res18" else 3,
        decoder_block=spec.block,
        decoder_channels=spec.channels,
        decoder_blocks=(2, 2, 2) if net == "res18" else (6, 4, 3),
        base_width=128 if net == "wide_res50" else 64,
    )


_BLOCKS: dict[Block, type[resnet.BasicBlock] | type[resnet.Bottleneck]] = {
    "basic": resnet.BasicBlock,
    "bottleneck": resnet.Bottleneck,
}


class OCBE(nn.Module):
    """Multi-scale fusion, then a ResNet stage of stride 2 (arXiv 2201.10703, section 3.3)."""

    def __init__(self, design: StudentDesign) -> None:
        super().__init__()
        c1, c2, c3 = design.teacher_channels
        middle, from_f1, from_f2 = design.fused_channels
        self.conv1 = _halving_conv(c1, middle)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = _halving_conv(middle, from_f1)
        self.bn2 = nn.BatchNorm2d(from_f1)
        self.conv3 = _halving_conv(c2, from_f2)
        self.bn3 = nn.BatchNorm2d(from_f2)
        self.relu = nn.ReLU(inplace=True)
        self.bn_layer = _embedding_stage(from_f1 + from_f2 + c3, design)
        if design.published:
            # never used, but published checkpoints hold them
            self.conv4 = nn.Conv2d(4 * c3, 2 * c3, 1, bias=False)
            self.bn4 = nn.BatchNorm2d(2 * c3)

    def forward(self, features: list[Tensor]) -> Tensor:
        """[f1, f2, f3], finest first → (B, embedding channels, h / 2, w / 2) rounded up, h and w the sides of f3."""
        f1, f2, f3 = features
        from_f1 = self.relu(self.bn1(self.conv1(f1)))
        from_f1 = self.relu(self.bn2(self.conv2(from_f1)))
        from_f2 = self.relu(self.bn3(self.conv3(f2)))
        embedding: Tensor = self.bn_layer(torch.cat([from_f1, from_f2, f3], dim=1))
        return embedding


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; with ``upsample`` the first is the transposed one."""

    def __init__(self, in_channels: int, planes: int, *, upsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, planes) if upsample is None else _Deconv2x2(in_channels, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) → (B, planes, h, w), or twice the sides with ``upsample``; never negative."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = out + (x if self.upsample is None else self.upsample(x))
        restored: Tensor = self.relu(out)
        return restored


class BottleneckBlock(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut; with ``upsample`` the middle one is the transposed one."""

    def __init__(self, in_channels: int, planes: int, *, base_width: int, upsample: nn.Module | None = None) -> None:
        super().__init__()
        width = planes * base_width // 64
        out_channels = planes * EXPANSION["bottleneck"]
        self.conv1 = _conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width) if upsample is None else _Deconv2x2(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) → (B, 4 planes, h, w), or twice the sides with ``upsample``; never negative."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = out + (x if self.upsample is None else self.upsample(x))
        restored: Tensor = self.relu(out)
        return restored


class Decoder(nn.Module):
    """Three stages that restore f3, f2, f1, with 0, 1 or 2 non-corresponding skip connections.

    The teacher's f_l never enters the stage that restores f_l: it enters the next one, which restores f_(l-1).
    A stage after the first takes what the stage before restored. Without its skip it takes it as it is, which for
    the ResNets is RD4AD; with its skip it takes ReLU(restored + teacher's).
    """

    def __init__(self, design: StudentDesign, *, skips: int) -> None:
        super().__init__()
        self.skips = skips
        c1, c2, c3 = design.teacher_channels
        t1, t2, t3 = design.decoder_channels
        n1, n2, n3 = design.decoder_blocks
        self.layer1 = _stage(design.embedding_channels, t3, n3, design)
        self.layer2 = _stage(c3, t2, n2, design)
        self.layer3 = _stage(c2, t1, n1, design)
        self.head1 = _head(t3, c3, design)
        self.head2 = _head(t2, c2, design)
        self.head3 = _head(t1, c1, design)

    def forward(self, embedding: Tensor, features: list[Tensor]) -> list[Tensor]:
        """Restored [g1, g2, g3], shaped as the teacher's [f1, f2, f3]; f1 is never read, f3 and f2 only by the skips.

        ``embedding``: (B, embedding channels, h / 2, w / 2) rounded up, h and w the sides of f3.
        """
        _, f2, f3 = features
        g3 = self.head1(self.layer1(embedding))
        # the embedding of an odd side is rounded up, and so is what is restored of it
        if g3.shape[-2:] != f3.shape[-2:]:
            g3 = g3[..., : f3.shape[-2], : f3.shape[-1]]
        g2 = self.head2(self.layer2(F.relu(g3 + f3) if self.skips >= 1 else g3))
        g1 = self.head3(self.layer3(F.relu(g2 + f2) if self.skips >= 2 else g2))
        return [g1, g2, g3]


class Student(nn.Module):
    """What is trained: bottleneck (``bn``) and decoder (``decoder``), named as in the published checkpoints."""

    def __init__(self, design: StudentDesign, *, skips: int) -> None:
        super().__init__()
        self.bn = OCBE(design)
        self.decoder = Decoder(design, skips=skips)
        # transposed convolutions and heads keep PyTorch's default
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """[f1, f2, f3] → [g1, g2, g3], same shapes."""
        restored: list[Tensor] = self.decoder(self.bn(features), features)
        return restored


class SKRD4AD(nn.Module):
    """Teacher and student together, from raw pixels to both sets of features."""

    def __init__(self, teacher: Teacher, student: Student, normality: Normality | None = None) -> None:
        """Put a model together. ``normality``: what is usual on good images; None for the published map."""
        super().__init__()
        self.teacher = teacher
        self.student = student
        self.normality = normality

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Images (B, 3, H, W) RGB, uint8 or float, 0..255 → [f1, f2, f3] and [g1, g2, g3], finest first."""
        features = self.teacher(images)
        return features, self.student(features)


def build_student(config: ModelConfig, *, seed: int | None = None) -> Student:
    """Untrained student; the same seed gives the same weights, and the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        return Student(student_design(config.net, width=config.width), skips=config.skips)


def _halving_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)


def _embedding_stage(in_channels: int, design: StudentDesign) -> nn.Sequential:
    block = _BLOCKS[design.embedding_block]
    out_channels = design.embedding_channels
    planes = out_channels // EXPANSION[design.embedding_block]
    width = design.base_width
    shortcut = nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False),
        nn.BatchNorm2d(out_channels),
    )
    blocks = [block(in_channels, planes, 2, shortcut, base_width=width)]
    blocks += [block(out_channels, planes, base_width=width) for _ in range(design.embedding_blocks - 1)]
    return nn.Sequential(*blocks)


def _stage(in_channels: int, out_channels: int, blocks: int, design: StudentDesign) -> nn.Sequential:
    upsample = nn.Sequential(_Deconv2x2(in_channels, out_channels), nn.BatchNorm2d(out_channels))
    layers = [_block(in_channels, out_channels, design, upsample)]
    layers += [_block(out_channels, out_channels, design, None) for _ in range(blocks - 1)]
    return nn.Sequential(*layers)


def _block(in_channels: int, out_channels: int, design: StudentDesign, upsample: nn.Module | None) -> nn.Module:
    planes = out_channels // EXPANSION[design.decoder_block]
    if design.decoder_block == "basic":
        return BasicBlock(in_channels, planes, upsample=upsample)
    return BottleneckBlock(in_channels, planes, base_width=design.base_width, upsample=upsample)


def _head(trunk_channels: int, teacher_channels: int, design: StudentDesign) -> nn.Module:
    return nn.Conv2d(trunk_channels, teacher_channels, 1) if design.signed else nn.Identity()


def _conv1x1(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


class _Deconv2x2(nn.ConvTranspose2d):
    """Transposed convolution of stride 2. While it is trained it is one matrix product: its 2x2 outputs do not overlap,
    and the processor's transposed convolution takes twice as long."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 2, stride=2, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, in, h, w) → (B, out, 2 h, 2 w)."""
        if not self.training:
            return super().forward(x, output_size)
        batch, _, height, width = x.shape
        # with channels last in memory, as in training, only the last reshape copies
        blocks = x.permute(0, 2, 3, 1) @ self.weight.permute(0, 2, 3, 1).flatten(1)
        rows = blocks.view(batch, height, width, 2, 2, -1).transpose(2, 3)
        return rows.reshape(batch, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)
