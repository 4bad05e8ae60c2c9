"""The mask of a sample: all of its files united, as their values are to be read."""

from dataclasses import replace
from functools import reduce

from skrd4ad.data.images.mask_values import MaskReading
from skrd4ad.data.images.read import read_mask_values
from skrd4ad.errors import ImageError
from skrd4ad.types import Sample


def read_sample_mask(sample: Sample) -> MaskReading:
    """What the masks of a sample say of its pixels.

    Raises:
        ImageError: it has no mask, one cannot be read, or they differ in size.
    """
    if not sample.masks:
        raise ImageError(f"{sample.path} has no mask.")
    readings = [read_mask_values(path, sample.mask_values) for path in sample.masks]
    if len(sizes := {reading.defect.shape for reading in readings}) > 1:
        raise ImageError(f"The masks of {sample.path} have {len(sizes)} sizes; allowed: one, that of the picture.")
    return reduce(_united, readings)


def _united(one: MaskReading, other: MaskReading) -> MaskReading:
    defect = one.defect | other.defect
    silent = [reading.ignored for reading in (one, other) if reading.ignored is not None]
    classes = dict(one.classes)
    for name, pixels in other.classes.items():
        classes[name] = classes[name] | pixels if name in classes else pixels
    counts = {name: one.values.get(name, 0) + other.values.get(name, 0) for name in {**one.values, **other.values}}
    return replace(
        one,
        defect=defect,
        ignored=(reduce(lambda a, b: a | b, silent) & ~defect) if silent else None,
        classes=classes,
        rule=one.rule if one.rule == other.rule else f"{one.rule}, {other.rule}",
        values=counts,
        doubt=one.doubt or other.doubt,
    )
