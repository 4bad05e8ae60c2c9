"""What a model sees of a photograph: all of it, or the part, cropped and turned to lie as the good parts do.

Whether parts are cropped and turned is decided on good training images alone: they must lie by themselves on a plain
ground, and not where or as they lay in the other images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.dataset import decoding_pool, spread
from skrd4ad.data.images.find_part import (
    AlignedImage,
    Part,
    find_part,
    frame_matrix,
    small_of,
    template_of,
    to_template,
)
from skrd4ad.data.images.model_input import model_input
from skrd4ad.data.images.read import read_image
from skrd4ad.errors import DataError, ImageError
from skrd4ad.format import plural
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Align, Alignment, ImageSize, Levels, Sample, height_width

FEWEST = 10
"""Good images below which nobody can say how parts lie."""
SHAPED = 48
"""Good images, evenly spread, that the shape of the input is chosen by."""
FOUND = 0.99
"""Share of the good images in which a part must be found."""
PLAIN = 0.8
"""Share of a photograph's border that a plain ground covers."""
WHOLE = 0.005
"""Share of the border that the part may cover: then it is all in the photograph."""
ELONGATED = 1.3
"""Elongation from which the axis of a part is clear."""
TURNS, SHIFTS = math.radians(5), 0.05
"""Standard deviation of the parts' angles, and of their places over the root of their area, above which they lie
anyhow. Features tell such a turn from the part's usual place; smaller ones, the good images show as they are."""
ROOM = 1.1
"""The frame over the largest good part."""


@dataclass(frozen=True, kw_only=True)
class Lie:
    """How parts lie in good images, and what follows from it."""

    found: int
    looked_at: int
    turned: bool
    """Whether their axis is clear and their angles differ."""
    moved: bool
    """Whether their places differ."""
    plain: bool
    """Whether they lie on a plain ground, all in the photograph."""

    @property
    def mode(self) -> Align:
        """What is best: off, crop or rotate."""
        if not self.plain or not (self.turned or self.moved):
            return "off"
        return "rotate" if self.turned else "crop"


def lie_of(parts: Sequence[Part | None], shapes: Sequence[tuple[int, ...]]) -> Lie:
    """How the parts of good images lie; None where none was found. ``shapes``: height and width of each photograph."""
    clean = [part for part in parts if part is not None and part.ground >= PLAIN and part.cut <= WHOLE]
    plain = len(parts) >= FEWEST and len(clean) >= FOUND * len(parts)
    if not clean:
        return Lie(found=0, looked_at=len(parts), turned=False, moved=False, plain=False)
    axis_is_clear = sum(part.elongation >= ELONGATED for part in clean) >= FOUND * len(clean)
    doubled = np.exp(2j * np.array([part.angle for part in clean]))
    # standard deviation of angles that are the same after half a turn
    turns = math.sqrt(-2 * math.log(max(min(abs(doubled.mean()), 1.0), 1e-9))) / 2
    places = [
        (part.x / width, part.y / height, math.sqrt(part.area / (width * height)))
        for part, (height, width) in zip(parts, shapes, strict=True)
        if part is not None
    ]
    x, y, size = np.array(places).T
    shifts = max(float(x.std()), float(y.std())) / float(np.median(size))
    return Lie(
        found=sum(part is not None for part in parts),
        looked_at=len(parts),
        turned=axis_is_clear and turns > TURNS,
        moved=shifts > SHIFTS,
        plain=plain,
    )


def fit_alignment(
    samples: Sequence[Sample],
    asked: Align,
    *,
    size: ImageSize,
    levels: Levels | None = None,
    task: Task = QUIET,
) -> tuple[Alignment | None, frozenset[Path]]:
    """How the parts of good images are cropped and turned, None for not at all; and the images in which none was found.
    ``size``: of the model's input. ``task`` is checked.

    Raises:
        DataError: crop or rotate is asked for, and parts are not found in ``FOUND`` of the images, or have no axis.
    """
    if asked == "off":
        return None, frozenset()
    looks: list[_Look] = []
    with decoding_pool() as pool:
        for look in pool.map(partial(_look, levels=levels), samples):
            task.check()
            looks.append(look)
    lie = lie_of([look.part for look in looks], [look.photograph for look in looks])
    mode = lie.mode if asked == "auto" else asked
    if mode == "off":
        return None, frozenset()
    if lie.found < max(2, FOUND * len(looks)):
        raise DataError(
            f"A part was found in {lie.found} of {plural(len(looks), 'good image')}; align {mode} needs one in "
            f"{FOUND:.0%} of them: the largest thing whose colour is not that of the image's border. Choose align off, "
            "or photograph the parts on a plain ground."
        )
    found = [look for look in looks if look.part is not None]
    missing = frozenset(sample.path for sample, look in zip(samples, looks, strict=True) if look.part is None)
    return replace(_fitted(found, mode == "rotate", height_width(size)), looked_at=len(looks)), missing


def frame_shape(samples: Sequence[Sample], asked: Align, *, levels: Levels | None = None) -> tuple[int, int] | None:
    """Width and height in proportion of what a model will see of good images, by some of them; None where it sees them
    whole. Unreadable files do not count."""
    if asked == "off":
        return None
    chosen = [samples[index] for index in spread(len(samples), SHAPED)]
    with decoding_pool() as pool:
        looks = [look for look in pool.map(partial(_readable_look, levels=levels), chosen) if look is not None]
    lie = lie_of([look.part for look in looks], [look.photograph for look in looks])
    found = [look for look in looks if look.part is not None]
    mode = lie.mode if asked == "auto" else asked
    if mode == "off" or not found:
        return None
    frame = _fitted(found, mode == "rotate", (SHAPED, SHAPED))
    return round(1000 * frame.width), round(1000 * frame.height)


def without_part(samples: Sequence[Sample], *, levels: Levels | None = None, task: Task = QUIET) -> frozenset[Path]:
    """Images in which no part is found."""
    missing = []
    with decoding_pool() as pool:
        for sample, look in zip(samples, pool.map(partial(_look, levels=levels), samples), strict=True):
            task.check()
            if look.part is None:
                missing.append(sample.path)
    return frozenset(missing)


def aligned_images(
    samples: Sequence[Sample], alignment: Alignment, *, size: ImageSize, levels: Levels | None = None
) -> list[AlignedImage | None]:
    """How images are aligned, without their pixels; None where no part is found."""

    def read(sample: Sample) -> AlignedImage | None:
        found = model_input(read_image(sample.path, levels=levels), size, alignment)[1]
        return None if found is None else replace(found, pixels=found.pixels[:0])

    with decoding_pool() as pool:
        return list(pool.map(read, samples))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Look:
    """What is kept of a good image."""

    part: Part | None
    mask: NDArray[np.uint8]
    small: NDArray[np.uint8]
    """Of the mask's size; both are empty without a part."""
    photograph: tuple[int, int]

    def template(
        self, alignment: Alignment, size: tuple[int, int], half_turn: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Shape and profile of the part in a frame; see :func:`template_of`."""
        assert self.part is not None
        matrix = frame_matrix(self.part, alignment, size, self.photograph, half_turn=half_turn)
        return template_of(self.small, self.mask, to_template(matrix, self.mask.shape, self.photograph, size))


def _readable_look(sample: Sample, *, levels: Levels | None) -> _Look | None:
    try:
        return _look(sample, levels=levels)
    except ImageError:
        return None


def _look(sample: Sample, *, levels: Levels | None) -> _Look:
    image = read_image(sample.path, levels=levels)
    part, mask = find_part(image) or (None, np.zeros((0, 0), np.uint8))
    return _Look(part=part, mask=mask, small=small_of(image), photograph=(image.shape[0], image.shape[1]))


def _fitted(looks: Sequence[_Look], turned: bool, size: tuple[int, int]) -> Alignment:
    parts = [look.part for look in looks if look.part is not None]
    units = np.array([math.sqrt(math.prod(look.photograph)) for look in looks])
    half_turns = np.zeros(len(parts), bool)
    if turned:
        half_turns = _half_turns(looks, _frame(parts, units, half_turns, turned), size)
    alignment = _frame(parts, units, half_turns, turned)
    shapes, profiles = zip(
        *(look.template(alignment, size, bool(half_turn)) for look, half_turn in zip(looks, half_turns, strict=True)),
        strict=True,
    )
    shape = np.rint(np.mean(shapes, axis=0)).astype(int).ravel()
    profile = np.mean(profiles, axis=0).round(2) if turned else np.zeros(0)
    return replace(alignment, shape=tuple(shape.tolist()), profile=tuple(profile.tolist()), found=len(looks))


def _frame(parts: Sequence[Part], units: NDArray[np.float64], half_turns: NDArray[np.bool_], turned: bool) -> Alignment:
    """The frame that every part fits into."""
    if not turned:
        halves = np.array([(part.half_width, part.half_height) for part in parts]) / units[:, None]
        across, down = 2 * ROOM * halves.max(axis=0)
        return Alignment(turned=False, width=float(across), height=float(down))
    ahead, aside = (np.array([(part.ahead, part.aside) for part in parts]) / units[:, None]).T
    ahead, aside = (np.where(half_turns, -each, each) for each in (ahead, aside))
    length, width = (np.array([(part.length, part.width) for part in parts]) / units[:, None]).T
    return Alignment(
        turned=True,
        width=ROOM * float((length + 2 * np.abs(ahead - np.median(ahead))).max()),
        height=ROOM * float((width + 2 * np.abs(aside - np.median(aside))).max()),
        ahead=float(np.median(ahead)),
        aside=float(np.median(aside)),
    )


def _half_turns(looks: Sequence[_Look], alignment: Alignment, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which parts must be turned by 180 degrees so that all show the same end left: what a view is more than the view
    with the ends changed points one way or the other along the direction that most of them share."""
    rows = []
    for look in looks:
        pairs = zip(*(look.template(alignment, size, half_turn) for half_turn in (False, True)), strict=True)
        rows.append([(one - other).ravel() / max(float(np.linalg.norm(one)), 1e-6) for one, other in pairs])
    uneven = np.array([np.concatenate(each) for each in rows])
    _, _, directions = np.linalg.svd(uneven, full_matrices=False)
    return np.asarray(uneven @ directions[0] < 0, bool)
