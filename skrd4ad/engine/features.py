"""The teacher's features of the training images, computed once: nothing is augmented, so they never change."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from skrd4ad.data.dataset import iter_images
from skrd4ad.errors import ConfigError, TrainingError
from skrd4ad.models.teachers import Teacher
from skrd4ad.paths import workspace
from skrd4ad.types import Sample

BATCH = 16
BUDGET_VARIABLE = "SKRD4AD_CACHE_MB"


class FeatureCache:
    """Features of N images: a list over levels, each (N, C, h, w) float32, in memory or in memory-mapped files.

    Use it as a context manager, so that files are removed.
    """

    def __init__(self, levels: list[Tensor], folder: Path | None = None) -> None:
        self._levels = levels
        self.folder = folder
        """Where the memory-mapped files are; None when the features are in memory."""

    def __len__(self) -> int:
        return len(self._levels[0])

    def __enter__(self) -> "FeatureCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._levels = []
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def batch(self, places: Tensor) -> list[Tensor]:
        """Features of the images at ``places``, (B,) int64: [(B, C, h, w), …], finest level first."""
        return [level[places] for level in self._levels]


def cache_features(
    teacher: Teacher,
    samples: Sequence[Sample],
    *,
    image_size: int,
    on_image: Callable[[int], None],
    budget: int | None = None,
) -> FeatureCache:
    """Read images and keep the teacher's features of them.

    Args:
        teacher: what computes them.
        samples: at least one image.
        image_size: side the images are resized to.
        on_image: called with the number of images done so far.
        budget: bytes that may stay in memory; more goes to memory-mapped files in the workspace. The default is
            ``SKRD4AD_CACHE_MB``, or a third of the memory that is free now.

    Raises:
        ImageError: an image cannot be read.
        TrainingError: the features fit neither in memory nor on the disk.
    """
    with torch.inference_mode():
        shapes = [f.shape[1:] for f in teacher(torch.zeros((1, 3, image_size, image_size), dtype=torch.uint8))]
    needed = 4 * len(samples) * sum(shape.numel() for shape in shapes)
    folder = None if needed <= (memory_budget() if budget is None else budget) else _cache_folder(needed)
    cache = FeatureCache([_empty(level, len(samples), shape, folder) for level, shape in enumerate(shapes)], folder)
    try:
        for places, images in iter_images(samples, image_size, batch=BATCH):
            with torch.inference_mode():
                features = teacher(images)
            for stored, computed in zip(cache._levels, features, strict=True):
                stored[places.start : places.stop] = computed
            on_image(places.stop)
    except BaseException:
        cache.__exit__()
        raise
    return cache


def memory_budget() -> int:
    """Bytes of features that may stay in memory.

    Raises:
        ConfigError: ``SKRD4AD_CACHE_MB`` is no whole number of megabytes.
    """
    given = os.environ.get(BUDGET_VARIABLE)
    if given is None:
        return int(psutil.virtual_memory().available / 3)
    if not given.isdigit():
        raise ConfigError(f"{BUDGET_VARIABLE} is {given!r}; allowed: a whole number of megabytes, 0 or more.")
    return int(given) * 2**20


def _empty(level: int, n: int, shape: torch.Size, folder: Path | None) -> Tensor:
    if folder is None:
        return torch.empty((n, *shape))
    array: np.memmap = np.memmap(folder / f"level{level + 1}.f32", dtype=np.float32, mode="w+", shape=(n, *shape))
    return torch.from_numpy(array)


def _cache_folder(needed: int) -> Path:
    place = workspace() / "cache"
    place.mkdir(exist_ok=True)
    free = shutil.disk_usage(place).free
    if needed > 0.9 * free:
        raise TrainingError(
            f"The teacher's features of the training images need {needed / 2**30:.1f} GB, more than fits in memory, "
            f"and {place} has {free / 2**30:.1f} GB free. Free some space, set SKRD4AD_HOME to a larger disk, choose a "
            "smaller image size or net, or train on fewer images."
        )
    return Path(tempfile.mkdtemp(prefix="features-", dir=place))
