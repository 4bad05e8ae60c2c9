"""From samples to tensors: images and masks of one size, decoded in a few threads, in the order of the samples."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from skrd4ad.data.images.read import read_image, read_mask, resize_image, resize_mask
from skrd4ad.scratch import scratch_array
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Levels, Sample


@dataclass(frozen=True, eq=False)
class MaskSet:
    """Masks of samples, in their order."""

    masks: NDArray[np.bool_]
    """(N, S, S); all false for good images and for defects without a mask."""
    has_mask: NDArray[np.bool_]
    """(N,): whether the pixels are labelled: good images, and defects with a mask."""
    vanished: tuple[Path, ...] = ()
    """Images whose mask has pixels at its full size and none at size S."""
    vanished_regions: int = 0
    """Connected regions, of all masks, of which nothing is left at size S; those of ``vanished`` included."""


@contextmanager
def decoding_pool() -> Iterator[ThreadPoolExecutor]:
    """A few threads for decoding, which leaves the interpreter free; on an error nothing more is started."""
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def load_images(
    samples: Sequence[Sample], size: int, *, levels: Levels | None = None, task: Task = QUIET
) -> torch.Tensor:
    """(N, 3, size, size) uint8 RGB images of the samples; ``levels``: see :func:`read_image`."""
    images = torch.empty((len(samples), 3, size, size), dtype=torch.uint8)
    with decoding_pool() as pool:
        for done, image in enumerate(pool.map(partial(_read, size=size, levels=levels), samples), start=1):
            images[done - 1] = image
            task.report(done, len(samples))
    return images


def iter_images(
    samples: Sequence[Sample], size: int, *, batch: int, levels: Levels | None = None
) -> Iterator[tuple[range, torch.Tensor]]:
    """Images in batches of bounded memory: indices of the samples, and (B, 3, size, size) uint8."""
    with decoding_pool() as pool:
        for start in range(0, len(samples), batch):
            indices = range(start, min(start + batch, len(samples)))
            part = samples[indices.start : indices.stop]
            yield indices, torch.stack(list(pool.map(partial(_read, size=size, levels=levels), part)))


def load_masks(samples: Sequence[Sample], size: int) -> MaskSet:
    """Masks of the samples at the size of the maps."""
    masks = scratch_array((len(samples), size, size), np.bool_, what="The masks of the test images")
    has_mask = np.array([s.label == 0 or s.mask_path is not None for s in samples], bool)
    vanished: list[Path] = []
    lost = 0

    def read(path: Path) -> tuple[NDArray[np.bool_], bool, int]:
        mask = read_mask(path)
        small = resize_mask(mask, size)
        return small, bool(mask.any()), vanished_regions(mask, small)

    paths = {i: s.mask_path for i, s in enumerate(samples) if s.label == 1 and s.mask_path is not None}
    with decoding_pool() as pool:
        for i, (small, had_pixels, n_lost) in zip(paths, pool.map(read, paths.values()), strict=True):
            masks[i] = small
            lost += n_lost
            if had_pixels and not small.any():
                vanished.append(samples[i].path)
    return MaskSet(masks=masks, has_mask=has_mask, vanished=tuple(vanished), vanished_regions=lost)


def vanished_regions(mask: NDArray[np.bool_], small: NDArray[np.bool_]) -> int:
    """Number of 8-connected regions of a mask with nothing left where they were in its resized form."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    down, across = small.shape[0] / mask.shape[0], small.shape[1] / mask.shape[1]
    lost = 0
    for x, y, width, height, _area in stats[1:count].tolist():
        rows = slice(int(y * down), int(np.ceil((y + height) * down)))
        columns = slice(int(x * across), int(np.ceil((x + width) * across)))
        lost += not small[rows, columns].any()
    return lost


def _read(sample: Sample, *, size: int, levels: Levels | None) -> torch.Tensor:
    return torch.from_numpy(resize_image(read_image(sample.path, levels=levels), size)).permute(2, 0, 1)
