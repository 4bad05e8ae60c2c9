"""Images above 8 bit: what their class is shown from and to, how many grey levels that leaves, and what lies beyond."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.decode import stored_pixels
from skrd4ad.data.images.read import eight_bit_rgb
from skrd4ad.format import plural
from skrd4ad.types import Levels, Remark, Split

FEWEST_GREYS = 64
"""Of the 256 that the model sees; fewer hide what is faint."""
MOST_BEYOND = 0.01
"""Share of the pixels of an image that may lie below black or above white."""


@dataclass(frozen=True, eq=False)
class Depth:
    """What is known of the depth of an image."""

    path: Path
    split: Split
    deep: bool
    """Whether it has more than 8 bit a channel."""
    greys: NDArray[np.bool_]
    """(256,): which values occur once it is 8 bit."""
    beyond: float
    """Share of the pixels below black or above white."""


def read_with_depth(path: Path, split: Split, levels: Levels | None) -> tuple[NDArray[np.uint8], Depth]:
    """(H, W, 3) RGB pixels of an image, and what is known of its depth."""
    stored = stored_pixels(path, str(path))
    pixels = eight_bit_rgb(stored, str(path), levels)
    deep, greys, beyond = stored.values.dtype != np.uint8, np.zeros(256, bool), 0.0
    if deep:
        greys[np.unique(pixels)] = True
        if levels is not None:
            beyond = float(((stored.values < levels.black) | (stored.values > levels.white)).mean())
    return pixels, Depth(path, split, deep, greys, beyond)


def check_depth(depths: Sequence[Depth], levels: Levels | None, *, given: bool) -> Iterator[Remark]:
    """Findings on the images above 8 bit of a class. ``given``: somebody gave the levels."""
    deep = [depth for depth in depths if depth.deep]
    if not deep:
        return
    shown = "over the full range of their files" if levels is None else f"from {levels}"
    source = ", as given" if given else ", as the good training images are" if levels is not None else ""
    count = plural(len(deep), "image")
    yield Remark("note", "levels", f"{count} above 8 bit shown {shown}{source}; --black and --white or --bits say it.")
    if shallow := [depth.path for depth in depths if not depth.deep]:
        message = (
            f"{plural(len(shallow), 'image')} of 8 bit beside {len(deep)} of more: the levels apply to the latter only."
        )
        yield Remark("warning", "mixed-depth", message, tuple(shallow))
    learnt = [depth for depth in deep if depth.split == "train"] or deep
    greys = int(np.any([depth.greys for depth in learnt], axis=0).sum())
    if greys < FEWEST_GREYS:
        message = f"only {greys} of 256 grey levels are used of the images above 8 bit, shown {shown}; give --black, "
        yield Remark("warning", "few-greys", message + "--white or --bits closer to what the camera gives.")
    beyond = [depth.path for depth in deep if depth.beyond > MOST_BEYOND and (given or depth.split == "test")]
    if beyond:
        message = f"with over {MOST_BEYOND:.0%} of their pixels beyond {levels}: cut off there."
        yield Remark("warning", "beyond-levels", f"{plural(len(beyond), 'image')} {message}", tuple(beyond))
