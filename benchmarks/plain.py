"""The published procedure, written down plainly: what every benchmark here compares with.

Teacher and student in fp32, run operation by operation; the teacher is a whole network, with batch norms and with the
stage behind the coarsest level, and is run at every training step; the anomaly map is summed with SciPy's filter.
Figures are of speed alone: weights are random where the published ones are not at hand, which changes no operation.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import wide_resnet50_2

from skrd4ad.config import ModelConfig
from skrd4ad.models.backbones import teacher_spec
from skrd4ad.models.skrd import SKRD4AD, Student, build_student
from skrd4ad.models.teachers import Teacher, _resnet_stages

SIZE = 256
REST = 0.05
"""Seconds between two measurements."""
WIDE = ModelConfig(net="wide_res50")


class PlainTeacher(nn.Module):
    """A Wide ResNet-50-2 as its package defines it, all four stages computed."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Any = wide_resnet50_2(weights=None).eval().requires_grad_(False)
        spec = teacher_spec("wide_res50")
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        n = self.network
        x = (images.float() - self.mean) / self.std
        x = n.maxpool(n.relu(n.bn1(n.conv1(x))))
        f1 = n.layer1(x)
        f2 = n.layer2(f1)
        f3 = n.layer3(f2)
        n.layer4(f3)  # computed and thrown away, as published
        return [f1, f2, f3]


def plain_wide() -> tuple[PlainTeacher, Student]:
    """Teacher and student with random weights."""
    torch.manual_seed(0)
    return PlainTeacher(), build_student(WIDE, seed=0)


def ours_of(teacher: PlainTeacher, student: Student) -> SKRD4AD:
    """The same weights as this package uses them: no fourth stage."""
    ours = Teacher(teacher_spec("wide_res50"), _resnet_stages(teacher.network))
    return SKRD4AD(ours, student).eval().requires_grad_(False)


def plain_maps(teacher: PlainTeacher, student: Student, images: Tensor) -> np.ndarray:
    """Anomaly maps (B, S, S) of images (B, 3, S, S)."""
    with torch.no_grad():
        features = teacher(images)
        restored = student(features)
        total = torch.zeros(len(images), 1, SIZE, SIZE)
        for f, g in zip(features, restored, strict=True):
            distance = 1 - F.cosine_similarity(f, g)[:, None]
            total += F.interpolate(distance, size=SIZE, mode="bilinear", align_corners=True)
    return np.stack([gaussian_filter(plane, sigma=4) for plane in total[:, 0].numpy()])


def plain_loss(features: list[Tensor], restored: list[Tensor]) -> Tensor:
    """The published losses: cosine a level, and group consistency with rate 0.005."""
    cosine = [
        (1 - F.cosine_similarity(f.flatten(1), g.flatten(1))).mean() for f, g in zip(features, restored, strict=True)
    ]
    groups = []
    for level in range(len(features) - 1):
        size = features[level].shape[-2:]
        coarse = [
            F.interpolate(x[level + 1], size=size, mode="bilinear", align_corners=True) for x in (restored, features)
        ]
        groups.append((F.mse_loss(*coarse) - F.mse_loss(restored[level], features[level])).abs())
    return torch.stack(cosine).sum() + 0.005 * torch.stack(groups).sum()


def plain_step(teacher: PlainTeacher, student: Student, optimizer: torch.optim.Optimizer, images: Tensor) -> float:
    """One training step."""
    with torch.no_grad():
        features = teacher(images)
    loss = plain_loss(features, student(features))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def in_turn(
    ways: dict[str, Callable[[], object]], *, rounds: int, warm_up: int = 1, least: float = 0.0
) -> dict[str, float]:
    """Median seconds of each way; every round runs all of them, so that a busy machine slows all alike.

    Args:
        ways: what to run, by name.
        rounds: that count.
        warm_up: rounds that do not.
        least: seconds that a way is run for in a round, again and again when it takes less; its mean counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + rounds):
        for name, way in ways.items():
            # threads that torch has used go on waiting for work for some milliseconds, and hold up those of others
            time.sleep(REST)
            begun = time.perf_counter()
            runs = 0
            while runs == 0 or time.perf_counter() - begun < least:
                way()
                runs += 1
            if turn >= warm_up:
                seconds[name].append((time.perf_counter() - begun) / runs)
    return {name: statistics.median(times) for name, times in seconds.items()}


def print_table(title: str, seconds: dict[str, float], *, per: int, unit: str = "ms an image") -> None:
    """Each way with its ratio to the first one."""
    print(title)
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"  {name:44}{1000 * value / per:9.2f} {unit}   {first / value:6.2f}x", flush=True)


def parser_of(doc: str | None, **numbers: int) -> argparse.ArgumentParser:
    """A command line with whole numbers, each with its default."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, metavar="N")
    return parser
