"""What is known of each image and mask of a class after reading it once, in a few threads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.dataset import decoding_pool, vanished_regions
from skrd4ad.data.doctor.depth import Depth, read_with_depth
from skrd4ad.data.images.find_part import Part, find_part
from skrd4ad.data.images.read import image_header, resize_mask
from skrd4ad.data.masks import read_sample_mask
from skrd4ad.digests import array_digest
from skrd4ad.errors import ImageError
from skrd4ad.types import ImageSize, Levels, Sample

FEW_LEVELS = 3
"""Pictures with so few values look like masks."""
_PROBE = 97
"""Every so many pixels are looked at first, to tell quickly that there are more values."""


@dataclass(frozen=True)
class MaskFacts:
    """What is known of the mask of a picture, all of its files united."""

    path: Path
    size: tuple[int, int] = (0, 0)
    """Width, height."""
    empty: bool = False
    vanishes: bool = False
    """Has pixels, and none at the training size."""
    lost_regions: int = 0
    share: float = 0.0
    """Share of the picture that is defect."""
    rule: str = ""
    """How its values were read; see :class:`skrd4ad.data.images.mask_values.MaskReading`."""
    values: dict[str, int] = field(default_factory=dict)
    doubt: str = ""
    error: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image after reading it; without size and digest where it cannot be read."""

    sample: Sample
    size: tuple[int, int] | None = None
    mode: str = ""
    digest: str = ""
    """Of the pixels, so that one picture in two formats counts as the same."""
    few_levels: bool = False
    """Has no more than ``FEW_LEVELS`` different pixels."""
    error: str = ""
    mask: MaskFacts | None = None
    depth: Depth | None = None
    part: Part | None = None
    """What lies on the ground of a good training image; see :func:`find_part`."""


def read_facts(
    samples: Sequence[Sample], *, image_size: ImageSize, levels: Levels | None, advance: Callable[[], None]
) -> list[ImageFacts]:
    """Facts of every sample, in order; a file that cannot be read gives facts with an error. ``advance`` is called
    after each."""
    facts: list[ImageFacts] = []
    with decoding_pool() as pool:
        for fact in pool.map(lambda sample: _facts(sample, image_size, levels), samples):
            facts.append(fact)
            advance()
    return facts


def _facts(sample: Sample, image_size: ImageSize, levels: Levels | None) -> ImageFacts:
    mask = _mask_facts(sample, sample.mask_path, image_size) if sample.mask_path is not None else None
    try:
        mode = image_header(sample.path).mode
        pixels, depth = read_with_depth(sample.path, sample.split, levels)
    except ImageError as error:
        return ImageFacts(sample, error=str(error), mask=mask)
    height, width = pixels.shape[:2]
    return ImageFacts(
        sample,
        size=(width, height),
        mode=mode,
        digest=array_digest(pixels),
        few_levels=_has_few_levels(pixels),
        mask=mask,
        depth=depth,
        part=(find_part(pixels) or (None,))[0] if (sample.split, sample.label) == ("train", 0) else None,
    )


def _mask_facts(sample: Sample, path: Path, image_size: ImageSize) -> MaskFacts:
    try:
        reading = read_sample_mask(sample)
    except ImageError as error:
        return MaskFacts(path, error=str(error))
    small = resize_mask(reading.defect, image_size)
    return MaskFacts(
        path,
        size=(reading.defect.shape[1], reading.defect.shape[0]),
        empty=not reading.defect.any(),
        vanishes=bool(reading.defect.any() and not small.any()),
        lost_regions=vanished_regions(reading.defect, small),
        share=reading.share,
        rule=reading.rule,
        values=reading.values,
        doubt=reading.doubt,
    )


def _has_few_levels(image: NDArray[np.uint8]) -> bool:
    pixels, weights = image.reshape(-1, 3), np.array([65536, 256, 1])
    return all(np.unique(pixels[::step] @ weights).size <= FEW_LEVELS for step in (_PROBE, 1))
