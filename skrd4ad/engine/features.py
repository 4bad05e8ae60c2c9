"""The teacher's features of the training images, computed once: nothing is augmented, so they never change."""

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    """Features of N images: a list over levels, each (N, h, w, C), in memory or in memory-mapped files.

    Use it as a context manager, so that memory and disk are free again afterwards.
    """

    def __init__(self, levels: list[Tensor], *, mapped: bool) -> None:
        self._levels = levels
        self.mapped = mapped
        """Whether the features are in memory-mapped files."""

    def __len__(self) -> int:
        return len(self._levels[0])

    def __enter__(self) -> "FeatureCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._levels = []

    def batch(self, places: Tensor) -> list[Tensor]:
        """Features of the images at ``places``, (B,) int64: [(B, C, h, w), …] float32, finest level first."""
        return [level.float() for level in self._as_kept(places)]

    def batches(self, order: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """Features of batches in their order, as they are kept; each is read while the one before is worked on."""
        with ThreadPoolExecutor(1) as reader:
            ahead: Future[list[Tensor]] | None = None
            for places in order:
                following = reader.submit(self._as_kept, places)
                if ahead is not None:
                    yield ahead.result()
                ahead = following
            if ahead is not None:
                yield ahead.result()

    def _as_kept(self, places: Tensor) -> list[Tensor]:
        """(B, C, h, w) each, with channels last in memory."""
        return [level[places].permute(0, 3, 1, 2) for level in self._levels]


def cache_features(
    teacher: Teacher,
    samples: Sequence[Sample],
    *,
    image_size: int,
    on_image: Callable[[int], None],
    budget: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> FeatureCache:
    """Read images and keep the teacher's features of them.

    Args:
        teacher: what computes them, in float32, on any device.
        samples: at least one image.
        image_size: side the images are resized to.
        on_image: called with the number of images done so far.
        budget: bytes that may stay in memory; more goes to memory-mapped files in the workspace, which have no name,
            so that nothing stays behind even when the process is killed. The default is ``SKRD4AD_CACHE_MB``, or a
            third of the memory that is free now.
        dtype: float32 or bfloat16, which they are rounded to.

    Raises:
        ConfigError: ``SKRD4AD_CACHE_MB`` is no whole number of megabytes.
        ImageError: an image cannot be read.
        StorageError: the workspace folder cannot be made.
        TrainingError: the features fit neither in memory nor on the disk.
    """
    with torch.inference_mode():
        blank = torch.zeros((1, 3, image_size, image_size), dtype=torch.uint8, device=teacher.mean.device)
        shapes = [f.permute(0, 2, 3, 1).shape[1:] for f in teacher(blank)]
    needed = dtype.itemsize * len(samples) * sum(shape.numel() for shape in shapes)
    mapped = needed > (memory_budget() if budget is None else budget)
    sizes = [(len(samples), *shape) for shape in shapes]
    levels = _on_disk(sizes, dtype) if mapped else [torch.empty(size, dtype=dtype) for size in sizes]
    cache = FeatureCache(levels, mapped=mapped)
    try:
        for places, images in iter_images(samples, image_size, batch=BATCH):
            with torch.inference_mode():
                # convolutions are faster with channels last, and the features come as they are kept
                features = teacher(images.to(teacher.mean.device).contiguous(memory_format=torch.channels_last))
            for stored, computed in zip(cache._levels, features, strict=True):
                stored[places.start : places.stop] = computed.permute(0, 2, 3, 1)
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
    if not given.isdecimal():
        raise ConfigError(f"{BUDGET_VARIABLE} is {given!r}; allowed: a whole number of megabytes, 0 or more.")
    return int(given) * 2**20


def _on_disk(sizes: Sequence[tuple[int, ...]], dtype: torch.dtype) -> list[Tensor]:
    needed = sum(dtype.itemsize * math.prod(size) for size in sizes)
    try:
        place = workspace() / "cache"
        place.mkdir(exist_ok=True)
        free = shutil.disk_usage(place).free
        if needed <= 0.9 * free:
            return [_mapped(size, place, dtype) for size in sizes]
    except OSError as error:
        raise TrainingError(
            f"The teacher's features of the training images need {needed / 2**30:.1f} GB, more than fits in memory, "
            f"and cannot be written to the workspace: {error}. Set SKRD4AD_HOME to another folder."
        ) from error
    raise TrainingError(
        f"The teacher's features of the training images need {needed / 2**30:.1f} GB, more than fits in memory, "
        f"and {place} has {free / 2**30:.1f} GB free. Free some space, set SKRD4AD_HOME to a larger disk, choose a "
        "smaller image size or net, or train on fewer images."
    )


def _mapped(size: tuple[int, ...], place: Path, dtype: torch.dtype) -> Tensor:
    needed = dtype.itemsize * math.prod(size)
    with tempfile.TemporaryFile(dir=place) as file:
        # the blocks are taken now: a disk that is full later would end the process, not raise an error
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, needed)
        else:
            file.truncate(needed)
        # numpy has no bfloat16: the bytes are mapped and then read as what they are
        array: np.memmap = np.memmap(file, dtype=np.uint8, mode="r+", shape=(needed,))
    return torch.from_numpy(array).view(dtype).view(size)
