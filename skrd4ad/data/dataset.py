"""From samples to arrays: images and masks of one size, decoded in a few threads, in the order of the samples."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.mask_values import MaskReading
from skrd4ad.data.images.model_input import model_input
from skrd4ad.data.images.read import read_image, resize_mask
from skrd4ad.data.masks import read_sample_mask
from skrd4ad.scratch import scratch_array
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Alignment, ImageSize, Levels, Sample, height_width


@dataclass(frozen=True, eq=False)
class MaskSet:
    """Masks of samples, in their order."""

    masks: NDArray[np.bool_]
    """(N, H, W); all false for good images and for defects without a mask."""
    has_mask: NDArray[np.bool_]
    """(N,): whether the pixels are labelled: good images, and defects with a mask."""
    vanished: tuple[Path, ...] = ()
    """Images whose mask has pixels at its full size and none at this size."""
    vanished_regions: int = 0
    """Connected regions, of all masks, of which nothing is left at this size; those of ``vanished`` included."""
    ignored: NDArray[np.bool_] | None = None
    """(N, H, W): pixels of which the masks say nothing; None when there are none."""
    classes: tuple[str, ...] = ()
    """Names of the classes of defect that the masks tell apart; empty with one class or none."""
    class_of: NDArray[np.uint8] | None = None
    """(N, H, W): 1 + index in ``classes``, 0 outside of masks; None without classes."""


@contextmanager
def decoding_pool() -> Iterator[ThreadPoolExecutor]:
    """A few threads for decoding, which leaves the interpreter free; on an error nothing more is started."""
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def load_images(
    samples: Sequence[Sample],
    size: ImageSize,
    *,
    levels: Levels | None = None,
    alignment: Alignment | None = None,
    task: Task = QUIET,
) -> NDArray[np.uint8]:
    """(N, H, W, 3) RGB images of the samples as a model sees them; for ``levels`` and ``alignment`` see
    :func:`read_image` and :func:`model_input`."""
    images = np.empty((len(samples), *height_width(size), 3), np.uint8)
    with decoding_pool() as pool:
        read = partial(_read, size=size, levels=levels, alignment=alignment)
        for done, image in enumerate(pool.map(read, samples), start=1):
            images[done - 1] = image
            task.report(done, len(samples))
    return images


def iter_images(
    samples: Sequence[Sample],
    size: ImageSize,
    *,
    batch: int,
    levels: Levels | None = None,
    alignment: Alignment | None = None,
) -> Iterator[tuple[range, NDArray[np.uint8]]]:
    """Images in batches of bounded memory: indices of the samples, and (B, H, W, 3) RGB; see :func:`load_images`."""
    read = partial(_read, size=size, levels=levels, alignment=alignment)
    with decoding_pool() as pool:
        for start in range(0, len(samples), batch):
            indices = range(start, min(start + batch, len(samples)))
            part = samples[indices.start : indices.stop]
            yield indices, np.stack(list(pool.map(read, part)))


def load_masks(samples: Sequence[Sample], size: ImageSize) -> MaskSet:
    """Masks of the samples at the size of the maps."""
    shape = (len(samples), *height_width(size))
    masks = scratch_array(shape, np.bool_, what="The masks of the test images")
    has_mask = np.array([s.label == 0 or s.mask_path is not None for s in samples], bool)
    vanished: list[Path] = []
    lost = 0
    ignored: NDArray[np.bool_] | None = None
    class_of: NDArray[np.uint8] | None = None
    names: list[str] = []

    def read(sample: Sample) -> tuple[MaskReading, NDArray[np.bool_], int]:
        reading = read_sample_mask(sample)
        small = resize_mask(reading.defect, size)
        return reading, small, vanished_regions(reading.defect, small)

    masked = {i: s for i, s in enumerate(samples) if s.label == 1 and s.mask_path is not None}
    with decoding_pool() as pool:
        for i, (reading, small, n_lost) in zip(masked, pool.map(read, masked.values()), strict=True):
            masks[i] = small
            lost += n_lost
            if reading.defect.any() and not small.any():
                vanished.append(samples[i].path)
            if reading.ignored is not None:
                if ignored is None:
                    ignored = scratch_array(shape, np.bool_, what="The ignored pixels of the test images")
                ignored[i] = resize_mask(reading.ignored, size) & ~small
            if reading.classes:
                if class_of is None:
                    class_of = scratch_array(shape, np.uint8, what="The classes of the masks")
                names += [name for name in reading.classes if name not in names]
                class_of[i] = _classes_at(reading, small, names)
    told_apart = len(names) > 1
    return MaskSet(
        masks=masks,
        has_mask=has_mask,
        vanished=tuple(vanished),
        vanished_regions=lost,
        ignored=ignored,
        classes=tuple(names) if told_apart else (),
        class_of=class_of if told_apart else None,
    )


def _classes_at(reading: MaskReading, small: NDArray[np.bool_], names: Sequence[str]) -> NDArray[np.uint8]:
    """(H, W): 1 + index of the class that covers most of each pixel of the small mask, 0 where none covers any."""
    side = (small.shape[1], small.shape[0])
    covered = np.stack(
        [np.full(small.shape, 1e-6, np.float32)]
        + [
            cv2.resize(reading.classes[name].astype(np.float32), side, interpolation=cv2.INTER_AREA)
            if name in reading.classes
            else np.zeros(small.shape, np.float32)
            for name in names
        ]
    )
    return np.where(small, covered.argmax(axis=0), 0).astype(np.uint8)


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


def spread(count: int, most: int) -> list[int]:
    """Up to ``most`` of the indices 0 to ``count`` - 1, evenly spread from the first to the last."""
    return [] if count == 0 else np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _read(sample: Sample, *, size: ImageSize, levels: Levels | None, alignment: Alignment | None) -> NDArray[np.uint8]:
    return model_input(read_image(sample.path, levels=levels), size, alignment)[0]
