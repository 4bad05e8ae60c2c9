"""The one-class bottleneck embedding (OCBE): the teacher's levels, fused and compressed into one embedding.

Parameter names are those of the published RD4AD code, so that its checkpoints load.
"""

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from skrd4ad.models.student_design import EXPANSION, StudentDesign

_BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


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
        """[f1, f2, f3], finest first → (B, embedding channels, h / 2, w / 2), h and w the sides of f3."""
        f1, f2, f3 = features
        from_f1 = self.relu(self.bn1(self.conv1(f1)))
        from_f1 = self.relu(self.bn2(self.conv2(from_f1)))
        from_f2 = self.relu(self.bn3(self.conv3(f2)))
        embedding: Tensor = self.bn_layer(torch.cat([from_f1, from_f2, f3], dim=1))
        return embedding


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
