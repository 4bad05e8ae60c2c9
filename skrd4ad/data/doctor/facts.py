"""What the preflight reads from the files of a class: each image and mask once, in a few threads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.data.dataset import decoding_pool, vanished_regions
from skrd4ad.data.images.read import image_header, pixel_hash, read_image, read_mask, resize_mask
from skrd4ad.errors import ImageError
from skrd4ad.types import Sample


@dataclass(frozen=True)
class MaskFacts:
    """What is known of a mask after reading it."""

    path: Path
    size: tuple[int, int] = (0, 0)
    """Width, height."""
    empty: bool = False
    vanishes: bool = False
    """Has pixels, and none at the training size."""
    lost_regions: int = 0
    error: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image after reading it; without size and digest where it cannot be read."""

    sample: Sample
    size: tuple[int, int] | None = None
    mode: str = ""
    digest: str = ""
    """Of the pixels, so that one picture in two formats counts as the same."""
    error: str = ""
    mask: MaskFacts | None = None


def read_facts(samples: Sequence[Sample], *, image_size: int, advance: Callable[[], None]) -> list[ImageFacts]:
    """Facts of every sample, in order; a file that cannot be read gives facts with an error.

    ``advance`` is called after each.
    """
    facts: list[ImageFacts] = []
    with decoding_pool() as pool:
        for fact in pool.map(lambda sample: _facts(sample, image_size), samples):
            facts.append(fact)
            advance()
    return facts


def _facts(sample: Sample, image_size: int) -> ImageFacts:
    mask = _mask_facts(sample.mask_path, image_size) if sample.mask_path is not None else None
    try:
        mode = image_header(sample.path).mode
        pixels = read_image(sample.path)
    except ImageError as error:
        return ImageFacts(sample, error=str(error), mask=mask)
    height, width = pixels.shape[:2]
    return ImageFacts(sample, size=(width, height), mode=mode, digest=pixel_hash(pixels), mask=mask)


def _mask_facts(path: Path, image_size: int) -> MaskFacts:
    try:
        mask = read_mask(path)
    except ImageError as error:
        return MaskFacts(path, error=str(error))
    small = resize_mask(mask, image_size)
    return MaskFacts(
        path,
        size=(mask.shape[1], mask.shape[0]),
        empty=not mask.any(),
        vanishes=bool(mask.any() and not small.any()),
        lost_regions=vanished_regions(mask, small),
    )
