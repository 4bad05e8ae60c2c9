"""Where the part lies in an image and how large it is, held against the training images.

Three ways to measure it; which one a class allows is found out at training (:mod:`skrd4ad.training.placement`):

- ground: the part is the largest region whose colour is not that of the image's border;
- layout: the mean training image, small and grey, is laid over the image at many shifts and scales; the best match
  says how the view has moved. It refuses only where the moved view matches clearly better than the unmoved one: a part
  that is displaced on a ground with structure is a defect, and left to the model;
- part: where the model looks at the part alone, cropped or turned, the part that it has found: it may lie anywhere, but
  all of it, of the usual size, and by itself.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.find_part import AlignedImage
from skrd4ad.inference.bands import Band

RGB = NDArray[np.uint8]
Grey = NDArray[np.float32]
Kind = Literal["ground", "layout", "part", "off"]

SIDE = 64
"""Side in pixels of the thumbnails that are measured."""
LAYOUT_SIDE = 32
GAIN = 0.1
"""By so much more must the moved view correlate with the training images than the unmoved one. Of 13 displaced or bent
transistors that match best when moved, two reach it; of their shifted, cropped and scaled images 99 % do."""
_BORDER = 1
"""Width in pixels of the border whose median colour is the ground's."""
_SPREADS, _LEAST_CONTRAST = 4.0, 8.0
"""A pixel belongs to the part when its colour is farther from the ground's, in CIELAB, than so many median distances of
the border's pixels, and at least so far."""
_LEAST_PART = 0.005
"""Share of the image below which the largest region is dirt, not a part."""
_LOCATED = 0.9
"""So often must a drawn shift or scale have been found for one to be named in a reason."""
_LEAST_SIZE = 0.5
"""Share of the usual size below which a region is something else than the part."""
_TEMPLATE, _PADDING = 22, 9
"""The middle of the layout that is searched for, and how far beyond the image, in pixels of the layout."""
_SIDES = range(22, 47, 2)
"""Sides to which the image is scaled for the search: from 1.45 times to 0.7 times the usual size. Even ones, so that
the template can lie in the middle."""
_SECOND = 0.5
"""Of the part's area: what lies beside it and is larger may be a part as well."""
_SIZES = {"size": ("smaller", "larger"), "length": ("shorter", "longer"), "width": ("narrower", "wider")}
_DIRECTIONS = {("x", -1): "left", ("x", 1): "right", ("y", -1): "up", ("y", 1): "down"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Place and size of the part in an image."""

    x: float
    """Centre, from the left, in widths of the image."""
    y: float
    """Centre, from above, in heights of the image."""
    size: float
    """Ground and part: root of the part's share of the image, holes filled, 0..1. Layout: 1 is as in the training
    images."""
    cut: float = 0.0
    """Share of the image's border that the part covers, 0..1; 0 by layout."""
    length: float = 0.0
    """Part: along its axis, in roots of the image's area."""
    width: float = 0.0
    """Part: across it."""
    other: float = 0.0
    """Part: area of the largest other thing over its own."""
    gain: float = 0.0
    """By how much the correlation with the layout rises when the view is moved back; 0 by ground."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How the part lies in the training images."""

    kind: Kind
    """How it is measured; "off": neither way can tell moved training images from others."""
    noticed: float
    """Share of training images that are refused once they are drawn shifted or scaled, 0..1."""
    located: float
    """Share of those whose shift and scale are found as they were drawn, 0..1."""
    bands: dict[str, Band]
    """By the names of :class:`Place`; see ``FIGURES_OF``."""
    layout: tuple[float, ...] = ()
    """Mean training image, row by row; empty unless it is measured by layout."""

    @property
    def problem(self) -> str:
        """Why it cannot be as it stands in a file; empty when it can."""
        missing = sorted(set(FIGURES_OF[self.kind]) - set(self.bands))
        if missing:
            return f"of the bands of the placement, {', '.join(missing)} are missing"
        if self.kind != "off" and self.bands["size"].median <= 0:
            return f"the usual size is {self.bands['size'].median}; allowed: above 0"
        expected = LAYOUT_SIDE**2 if self.kind == "layout" else 0
        return "" if len(self.layout) == expected else f"the layout has {len(self.layout)} values; needed: {expected}"

    def reasons(self, thumbnail: RGB, *, width: int, height: int, aligned: AlignedImage | None = None) -> list[str]:
        """Why an image, (64, 64, 3) RGB of ``width`` x ``height`` pixels, cannot be judged; empty when it can.
        ``aligned``: how its part was found."""
        if self.kind == "off" or (self.kind == "part" and aligned is None):
            return []  # that no part was found is said without any range
        if self.kind == "part":
            assert aligned is not None
            return self._of_part(place_of_part(aligned))
        if self.kind == "ground":
            place = place_on_ground(thumbnail)
        else:
            grey = small_grey(thumbnail)
            # no move can raise a correlation above 1
            if correlation(grey, self._layout) >= 1 - GAIN:
                return []
            place = place_by_layout(grey, self._layout)
        sides = outside(place, self.bands, kind=self.kind)
        if place is None or (self.kind == "ground" and place.size < _LEAST_SIZE * self.bands["size"].median):
            return ["no part like that of the training images found on the ground"] if sides else []
        moves = {name: self._move(name, side, place, width, height) for name, side in sides.items() if name != "cut"}
        if self.kind == "layout":
            # a repeated pattern matches in several places, and then it is better not to say where
            known = self.located >= _LOCATED
            moved = f" (against the training images: {', '.join(words for words, _ in moves.values())})"
            return [f"shifted, cropped or at another scale{moved if known else ''}"] if moves else []
        found = [f"the part is cut off by the border (along {100 * place.cut:.0f} % of it)"] if "cut" in sides else []
        for name, (words, seen) in moves.items():
            verb = "is" if name == "size" else "lies"
            found.append(f"the part {verb} {words} than in the training images (there up to {seen})")
        return found

    def _of_part(self, place: Place) -> list[str]:
        found = []
        for name, side in outside(place, self.bands, kind="part").items():
            value, band = getattr(place, name), self.bands[name]
            if name == "cut":
                found.append(f"the part is cut off by the border (along {100 * value:.1f} % of it)")
            elif name == "other" and value >= _SECOND:
                found.append("two parts, or something as large lies beside the part")
            elif name == "other":
                found.append(
                    f"something lies beside the part, {100 * value:.1f} % of its size (training images up to "
                    f"{100 * band.seen_high:.1f} %)"
                )
            else:
                farthest = band.seen_high if side > 0 else band.seen_low
                beyond = 100 * abs(value / farthest - 1)
                found.append(f"the part is {beyond:.0f} % {_SIZES[name][side > 0]} than any good part")
        return found

    def _move(self, name: str, side: int, place: Place, width: int, height: int) -> tuple[str, str]:
        """How far a figure is from the training images' median, in words, and their farthest."""
        band = self.bands[name]
        values = getattr(place, name), band.seen_high if side > 0 else band.seen_low
        if name == "size":
            away, seen = (100 * abs(value / band.median - 1) for value in values)
            return f"{away:.0f} % {'larger' if side > 0 else 'smaller'}", f"{seen:.0f} %"
        away, seen = (abs(value - band.median) * {"x": width, "y": height}[name] for value in values)
        return f"{away:.0f} pixels further {_DIRECTIONS[name, side]}", f"{seen:.0f}"

    @cached_property
    def _layout(self) -> Grey:
        return np.array(self.layout, np.float32).reshape(LAYOUT_SIDE, LAYOUT_SIDE)


FIGURES_OF: dict[Kind, tuple[str, ...]] = {
    "ground": ("cut", "x", "y", "size"),
    "layout": ("x", "y", "size"),
    "part": ("cut", "size", "length", "width", "other"),
    "off": (),
}
"""Figures that have a range, by the way of measuring."""


def outside(place: Place | None, bands: dict[str, Band], *, kind: Kind) -> dict[str, int]:
    """Figures outside their ranges: -1 below, 1 above. ``place``: None where no part was found."""
    if place is None:
        return {"cut": 1} if bands["cut"].side(1.0) else {}
    if kind == "layout" and place.gain <= GAIN:
        return {}
    return {name: side for name in FIGURES_OF[kind] if (side := bands[name].side(getattr(place, name)))}


def place_of_part(aligned: AlignedImage) -> Place:
    """Place and size of the part that an image was aligned to."""
    part, (height, width) = aligned.part, aligned.photograph
    unit = float(np.sqrt(height * width))
    return Place(
        x=(part.x + 0.5) / width,
        y=(part.y + 0.5) / height,
        size=float(np.sqrt(part.area)) / unit,
        cut=part.cut,
        length=part.length / unit,
        width=part.width / unit,
        other=part.other,
    )


def thumbnail_of(seen: RGB) -> RGB:
    """(64, 64, 3) RGB from the image at the model's size, (H, W, 3) RGB."""
    return np.asarray(cv2.resize(seen, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def small_grey(thumbnail: RGB) -> Grey:
    """(32, 32) of mean 0 and standard deviation 1, from a thumbnail."""
    side = (LAYOUT_SIDE, LAYOUT_SIDE)
    grey = cv2.resize(cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY), side, interpolation=cv2.INTER_AREA)
    grey = grey.astype(np.float32)
    return np.asarray((grey - grey.mean()) / max(float(grey.std()), 1e-6), np.float32)


def ground_share(thumbnail: RGB) -> float:
    """Share of the border's pixels that have the ground's colour, 0..1."""
    return float((~_off_ground(thumbnail))[_border_mask()].mean())


def place_on_ground(thumbnail: RGB) -> Place | None:
    """The largest region that has not the colour of the border, its holes filled; None where there is none."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(_off_ground(thumbnail).astype(np.uint8), connectivity=4)
    if count < 2:
        return None
    part = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    # what cannot be reached from outside is a hole of the part
    reached = np.pad(part, 1).astype(np.uint8)
    cv2.floodFill(reached, None, (0, 0), (2,), flags=4)
    part = reached[1:-1, 1:-1] != 2
    rows, columns = part.sum(axis=1), part.sum(axis=0)
    area = int(rows.sum())
    if area < _LEAST_PART * part.size:
        return None
    centres = (np.arange(SIDE) + 0.5) / SIDE
    return Place(
        x=float(columns @ centres) / area,
        y=float(rows @ centres) / area,
        size=float(np.sqrt(area / part.size)),
        cut=float(part[_border_mask()].mean()),
    )


def place_by_layout(grey: Grey, layout: Grey) -> Place:
    """How the view has moved against the layout (32, 32), from the best match of the layout's middle. ``grey``: (32,
    32), see :func:`small_grey`."""
    edge = (LAYOUT_SIDE - _TEMPLATE) // 2
    template = np.ascontiguousarray(layout[edge : edge + _TEMPLATE, edge : edge + _TEMPLATE])
    best, x, y, scale = -2.0, 0.5, 0.5, 1.0
    for side in _SIDES:
        scaled = cv2.resize(grey, (side, side), interpolation=cv2.INTER_LINEAR)
        scaled = cv2.copyMakeBorder(scaled, _PADDING, _PADDING, _PADDING, _PADDING, cv2.BORDER_REPLICATE)
        _, match, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(scaled, template, cv2.TM_CCOEFF_NORMED))
        if match > best:
            best, scale = match, LAYOUT_SIDE / side
            x, y = ((start + _TEMPLATE / 2 - _PADDING) / side for start in (left, top))
    return Place(x=x, y=y, size=scale, gain=_moved(grey, layout, x, y, scale) - correlation(grey, layout))


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson's, -1..1; 0 where one of them is even."""
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    norm = float(np.sqrt(float(a @ a) * float(b @ b)))
    return float(a @ b) / norm if norm > 1e-6 else 0.0


def _moved(grey: Grey, layout: Grey, x: float, y: float, scale: float) -> float:
    """Correlation of an image, moved back, with the layout, where the image shows something of it."""
    middle = (LAYOUT_SIDE - 1) / 2
    matrix = np.array(
        [[scale, 0, x * LAYOUT_SIDE - 0.5 - scale * middle], [0, scale, y * LAYOUT_SIDE - 0.5 - scale * middle]]
    )
    back = cv2.warpAffine(
        grey,
        matrix,
        (LAYOUT_SIDE, LAYOUT_SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    shown = [
        (at > -0.5) & (at < LAYOUT_SIDE - 0.5) for at in scale * np.arange(LAYOUT_SIDE) + matrix[:, 2:]
    ]  # columns, rows
    overlap = np.outer(shown[1], shown[0])
    return correlation(np.asarray(back, np.float32)[overlap], layout[overlap])


def _off_ground(thumbnail: RGB) -> NDArray[np.bool_]:
    """(64, 64): pixels that have not the ground's colour."""
    lab = cv2.cvtColor(thumbnail.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    border = lab[_border_mask()]
    ground = np.median(border, axis=0)
    distance = np.sqrt(((lab - ground) ** 2).sum(axis=2))
    spread = float(np.median(distance[_border_mask()]))
    return np.asarray(distance > max(_SPREADS * spread, _LEAST_CONTRAST), bool)


def _border_mask() -> NDArray[np.bool_]:
    mask = np.ones((SIDE, SIDE), bool)
    mask[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    return mask
