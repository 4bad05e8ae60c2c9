"""SK-RD4AD: a frozen teacher, and a student that restores its features from a compressed embedding."""

from pathlib import Path

import torch
from torch import Tensor, nn

from skrd4ad.config import ModelConfig
from skrd4ad.models.bottleneck import OCBE
from skrd4ad.models.decoder import Decoder
from skrd4ad.models.normality import Normality
from skrd4ad.models.student_design import StudentDesign, student_design
from skrd4ad.models.teachers import Teacher, build_teacher
from skrd4ad.types import Progress


class Student(nn.Module):
    """The trained network: bottleneck (``bn``) and decoder (``decoder``), named as in the published checkpoints."""

    def __init__(self, design: StudentDesign, *, skips: int) -> None:
        super().__init__()
        self.bn = OCBE(design)
        self.decoder = Decoder(design, skips=skips)
        self._initialise()

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """[f1, f2, f3] → [g1, g2, g3], same shapes."""
        restored: list[Tensor] = self.decoder(self.bn(features), features)
        return restored

    def _initialise(self) -> None:
        """Kaiming-normal convolutions without bias; transposed convolutions and heads keep PyTorch's default."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class SKRD4AD(nn.Module):
    """Teacher and student together, from raw pixels to both sets of features.

    ``normality``: statistics of good images for the anomaly map; None for the published map.
    """

    def __init__(self, teacher: Teacher, student: Student, normality: Normality | None = None) -> None:
        super().__init__()
        self.teacher = teacher
        self.student = student
        self.normality = normality

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Images (B, 3, S, S) RGB, uint8 or float, 0..255 → [f1, f2, f3] of the teacher and [g1, g2, g3] restored.

        Finest first, (B, C_l, H_l, W_l) each.
        """
        features = self.teacher(images)
        return features, self.student(features)


def build_student(config: ModelConfig, *, seed: int | None = None) -> Student:
    """Untrained student; the same seed gives the same weights, and the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        return Student(student_design(config.net, width=config.width), skips=config.skips)


def build_model(
    config: ModelConfig, *, weights: Path | None = None, seed: int | None = None, progress: Progress | None = None
) -> SKRD4AD:
    """Teacher with its weights and an untrained student; ``weights`` and ``progress`` as for ``load_weights``."""
    teacher = build_teacher(config.net, weights=weights, progress=progress)
    return SKRD4AD(teacher, build_student(config, seed=seed))
