"""The teacher's features of the training images, computed once: nothing is augmented, so they never change."""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from skrd4ad.data.dataset import iter_images
from skrd4ad.inference.network import tensor_of
from skrd4ad.models.devices import ahead_on
from skrd4ad.models.teachers import Teacher
from skrd4ad.scratch import in_files, memory_budget
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Alignment, ImageSize, Levels, Sample, height_width

BATCH = 4
"""Images that the teacher sees at once: the activations of more do not fit into a processor's cache."""
WHAT = "The teacher's features of the training images"


class FeatureCache:
    """Features of N images: a list over levels, each (N, h, w, C), in memory or in memory-mapped files. Use it as a
    context manager, so that memory and disk are free again afterwards."""

    def __init__(self, levels: list[Tensor], *, mapped: bool, device: torch.device) -> None:
        """``device``: where batches are given to."""
        self._levels = levels
        self.mapped = mapped
        self.device = device

    def __len__(self) -> int:
        return len(self._levels[0])

    def __enter__(self) -> "FeatureCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._levels = []

    def batch(self, indices: Tensor) -> list[Tensor]:
        """Features of the images at ``indices``, (B,) int64 in ordinary memory: [(B, C, h, w), …] float32 where the
        teacher is, finest level first."""
        return [level.float() for level in self._as_kept(indices)]

    def batches(self, order: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """Features of batches in their order, as they are kept; each is read while the one before is worked on."""
        with ThreadPoolExecutor(1) as reader:
            ahead: Future[list[Tensor]] | None = None
            for indices in order:
                following = reader.submit(self._as_kept, indices)
                if ahead is not None:
                    yield ahead.result()
                ahead = following
            if ahead is not None:
                yield ahead.result()

    def _as_kept(self, indices: Tensor) -> list[Tensor]:
        """(B, C, h, w) each, with channels last in memory."""
        return [ahead_on(level[indices].permute(0, 3, 1, 2), self.device) for level in self._levels]


def cache_features(
    teacher: Teacher,
    samples: Sequence[Sample],
    *,
    image_size: ImageSize,
    levels: Levels | None = None,
    alignment: Alignment | None = None,
    task: Task = QUIET,
    budget: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> FeatureCache:
    """Read images and keep the teacher's features of them, rounded to ``dtype``.

    What is above ``budget`` (bytes; by default that of :mod:`skrd4ad.scratch`) goes to memory-mapped files without a
    name.
    """
    with torch.inference_mode():
        blank = torch.zeros((1, 3, *height_width(image_size)), dtype=torch.uint8, device=teacher.mean.device)
        shapes = [f.permute(0, 2, 3, 1).shape[1:] for f in teacher(blank)]
    needed = dtype.itemsize * len(samples) * sum(shape.numel() for shape in shapes)
    mapped = needed > (memory_budget() if budget is None else budget)
    sizes = [(len(samples), *shape) for shape in shapes]
    if mapped:
        # numpy has no bfloat16: the bytes are mapped and then read as what they are
        held = in_files([dtype.itemsize * math.prod(size) for size in sizes], what=WHAT)
        kept = [torch.from_numpy(each).view(dtype).view(size) for each, size in zip(held, sizes, strict=True)]
    else:
        kept = [torch.empty(size, dtype=dtype) for size in sizes]
    cache = FeatureCache(kept, mapped=mapped, device=teacher.mean.device)
    try:
        batches = iter_images(samples, image_size, batch=BATCH, levels=levels, alignment=alignment)
        for indices, images in batches:
            with torch.inference_mode():
                # convolutions are faster with channels last, and the features come as they are kept
                pixels = tensor_of(images).to(teacher.mean.device)
                features = teacher(pixels.contiguous(memory_format=torch.channels_last))
            for stored, computed in zip(cache._levels, features, strict=True):
                stored[indices.start : indices.stop] = computed.permute(0, 2, 3, 1)
            task.report(indices.stop, len(samples))
    except BaseException:
        cache.__exit__()
        raise
    return cache
