"""How the part lies in good training images, and which way of measuring it can tell that it lies elsewhere.

A way is used only where it proves itself: training images are drawn shifted and scaled, and at least half of them must
be refused. Textures and parts that lie anywhere fail this, and the check is off for them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.inference.bands import Band
from skrd4ad.inference.placement import (
    GAIN,
    Kind,
    Place,
    Placement,
    ground_share,
    outside,
    place_by_layout,
    place_on_ground,
    small_grey,
)
from skrd4ad.training.ranges import seen_band, upper_limit

FEWEST = 10
"""Training images below which nobody can say how the part usually lies."""
PLAIN_SHARE, PLAIN_IMAGES = 0.8, 0.99
"""A plain ground: so much of the border has one colour, and a part is found, in so many of the training images."""
LEAST_NOTICED = 0.5
MOVES = (
    *((1.0, x, y) for x, y in ((0.15, 0.0), (-0.15, 0.0), (0.0, 0.15), (0.0, -0.15))),
    (0.8, 0.0, 0.0),
    (1.25, 0.0, 0.0),
)
"""Scale and shift, in sides of the image, of the drawn images; what comes into view continues the border."""
LOCATED = 0.1
"""Error of the shift, in sides, and of the scale, as a ratio, up to which a move counts as found."""
TRIED = 24
"""Training images that are drawn anew."""
TOLERANCES: dict[Kind, dict[str, float]] = {
    "ground": {"x": 0.02, "y": 0.02, "cut": 0.02, "size": math.log(1.03)},
    "layout": {"x": 0.035, "y": 0.035, "size": math.log(1.1)},
    "part": {"cut": 0.005, "size": math.log(1.05), "length": math.log(1.05), "width": math.log(1.1), "other": 0.005},
}
"""What does no harm to a map: in sides of the image, of its border, and as a ratio; by layout more than one step of the
search."""
SIDES = {"ground": 7, "layout": 6, "part": 8, "off": 0}
"""Ends of ranges that can refuse an image."""

UNMOVED = Place(x=0.5, y=0.5, size=1.0)
"""By layout."""

RGB = NDArray[np.uint8]
Measure = Callable[[RGB, int], Place | None]
"""Place in a thumbnail, which may be drawn anew; the training image of the index it is made of must not count."""


def fit_placement(thumbnails: NDArray[np.uint8], *, share: Callable[[int], float]) -> Placement:
    """Placement of training images. ``thumbnails``: (n, 64, 64, 3) RGB. ``share``: of good images that each of so many
    more ends of ranges may leave out."""
    if len(thumbnails) < FEWEST:
        return Placement(kind="off", noticed=0.0, located=0.0, bands={})
    if _is_plain(thumbnails):
        ground = _fitted("ground", lambda image, _: place_on_ground(image), thumbnails, share(SIDES["ground"]))
        if ground.noticed >= LEAST_NOTICED:
            return ground
    greys = np.stack([small_grey(each) for each in thumbnails])
    layout = greys.mean(axis=0)

    def by_layout(image: RGB, index: int) -> Place:
        others = (layout * len(greys) - greys[index]) / (len(greys) - 1)
        return place_by_layout(small_grey(image), others.astype(np.float32))

    found = _fitted("layout", by_layout, thumbnails, share(SIDES["layout"]))
    if found.noticed < LEAST_NOTICED:
        return replace(found, kind="off", bands={})
    return replace(found, layout=tuple(round(float(value), 4) for value in layout.ravel()))


def fit_part_placement(places: Sequence[Place], *, share: Callable[[int], float]) -> Placement:
    """Placement of the parts that training images were aligned to; arguments as for :func:`fit_placement`."""
    if len(places) < FEWEST:
        return Placement(kind="off", noticed=0.0, located=0.0, bands={})
    of_each = share(SIDES["part"])
    bands = {name: _band(name, places, of_each, tolerance) for name, tolerance in TOLERANCES["part"].items()}
    noticed = [
        bool(outside(_scaled(place, scale), bands, kind="part"))
        for place in places
        for scale, x, y in MOVES
        if scale != 1 and (x, y) == (0, 0)
    ]
    return Placement(kind="part", noticed=round(float(np.mean(noticed)), 3), located=0.0, bands=bands)


def _scaled(place: Place, scale: float) -> Place:
    return replace(place, **{name: scale * getattr(place, name) for name in ("size", "length", "width")})


def _fitted(kind: Kind, measure: Measure, thumbnails: NDArray[np.uint8], share: float) -> Placement:
    places = [measure(image, index) for index, image in enumerate(thumbnails)]
    bands = {name: _band(name, places, share, tolerance) for name, tolerance in TOLERANCES[kind].items()}
    if kind == "layout":
        # a move that gains too little refuses nothing, so either range leaves out the share at most
        believed = [place if place and place.gain > GAIN else UNMOVED for place in places]
        others = {name: _band(name, believed, share, tolerance) for name, tolerance in TOLERANCES[kind].items()}
        bands = {name: _tighter(band, others[name]) for name, band in bands.items()}
    noticed: list[bool] = []
    located: list[bool] = []
    for index in np.unique(np.linspace(0, len(thumbnails) - 1, TRIED).round().astype(int)):
        for move in MOVES:
            place = measure(drawn(thumbnails[index], *move), index)
            noticed.append(bool(outside(place, bands, kind=kind)))
            if noticed[-1]:
                located.append(_is_moved_by(move, places[index], place))
    return Placement(
        kind=kind,
        noticed=round(float(np.mean(noticed)), 3),
        located=round(float(np.mean(located or [False])), 3),
        bands=bands,
    )


def _is_moved_by(move: tuple[float, float, float], before: Place | None, after: Place | None) -> bool:
    """Whether a place is another one after a move."""
    if before is None or after is None:
        return False
    scale, x, y = move
    return (
        abs(after.x - (0.5 + (before.x - 0.5) * scale + x)) < LOCATED
        and abs(after.y - (0.5 + (before.y - 0.5) * scale + y)) < LOCATED
        and abs(after.size / (before.size * scale) - 1) < LOCATED
    )


def _tighter(band: Band, other: Band) -> Band:
    assert band.low is not None and other.low is not None and band.high is not None and other.high is not None
    return replace(band, low=max(band.low, other.low), high=min(band.high, other.high))


def _band(name: str, places: Sequence[Place | None], share: float, tolerance: float) -> Band:
    if name in ("cut", "other"):
        # where some training images show no part, such an image can be judged
        covered = np.array([1.0 if place is None else getattr(place, name) for place in places])
        return seen_band(covered, high=upper_limit(covered, share) + tolerance)
    values = np.array([getattr(place, name) for place in places if place is not None])
    ratio = name in ("size", "length", "width")
    scaled = np.log(values) if ratio else values
    ends = (-upper_limit(-scaled, share) - tolerance, upper_limit(scaled, share) + tolerance)
    low, high = map(math.exp, ends) if ratio else ends
    return seen_band(values, low=low, high=high)


def _is_plain(thumbnails: NDArray[np.uint8]) -> bool:
    plain = [ground_share(each) >= PLAIN_SHARE and place_on_ground(each) is not None for each in thumbnails]
    return float(np.mean(plain)) >= PLAIN_IMAGES


def drawn(image: RGB, scale: float, x: float, y: float) -> RGB:
    """The image scaled about its middle and shifted by shares of its sides."""
    height, width = image.shape[:2]
    matrix = np.array(
        [
            [scale, 0, (1 - scale) * (width - 1) / 2 + x * width],
            [0, scale, (1 - scale) * (height - 1) / 2 + y * height],
        ]
    )
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
