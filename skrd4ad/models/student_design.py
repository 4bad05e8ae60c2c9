"""Widths and depths of the student of each teacher, in one place, so that an experiment changes one value."""

from dataclasses import dataclass
from typing import Literal

from skrd4ad.models.backbones import teacher_spec

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
