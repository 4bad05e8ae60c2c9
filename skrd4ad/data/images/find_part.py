"""Where the part lies in a photograph, and the photograph turned and cropped to it, by numpy and OpenCV alone.

Exports carry this file, so that another program sees parts as this one does: :func:`aligned` gives what the network
looks at, and :meth:`AlignedImage.on_photograph` lays the network's map back over the photograph. An ``alignment`` is
that of the model, or what an export says of it, as the attributes of a ``types.SimpleNamespace``.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from skrd4ad.types import Alignment

SIDE = 320
"""Longest side in pixels at which the part is looked for."""
TEMPLATE = 32
"""Side of the good parts' mean shape, whatever the shape of the frame."""
MARGIN = 10 / 256
"""How far around the part the map counts, as a share of the frame's shorter side in the network's pixels."""
MAP_SIDE = 1024
"""Longest side of a map on the photograph."""
_BORDER = 2
_STEP, _FITS = 4, 3  # every fourth pixel along both sides says what the ground is like; so often is it found out
_SPREADS, _LEAST_CONTRAST, _OF_OTSU = 4.0, 8.0, 0.5
"""A pixel is off the ground when it differs from it, in CIELAB, by more than so many median distances of the border's
pixels, by so much, and by Otsu's threshold, or so much of it where it is lighter: there is no shadow."""
_LEAST_PART = 0.002
"""Share of the photograph below which the largest region is dirt, not a part."""
_CLOSING = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
"""Gaps of a few pixels, such as glints at the edge, belong to the part."""
_FINER = 4  # a pixel of the template is the mean of so many along both sides
_USUAL = 64  # of 255: where a quarter of the good parts have something, the part is expected
_SUPERSAMPLED = 8  # at most so many samples, along a side, make a pixel of the network

RGB = NDArray[np.uint8]
Matrix = NDArray[np.float64]
"""(2, 3): where a point goes; the centre of the first pixel is (0, 0)."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part as it lies in a photograph; lengths in pixels of the photograph."""

    x: float
    """Of its centre of gravity, holes filled; the centre of the first pixel is 0."""
    y: float
    angle: float
    """Of its long axis, in radians, -pi/2 to pi/2: 0 from left to right, pi/4 from upper left to lower right."""
    length: float
    """Along the axis."""
    width: float
    """Across it."""
    ahead: float
    """How far the middle of the length lies from the centre, along the axis."""
    aside: float
    """How far the middle of the width lies from it, across the axis, to the right of who looks along it."""
    half_width: float
    """How far it reaches from the centre to the left or right, whichever is more."""
    half_height: float
    """How far up or down."""
    area: float
    """In pixels, holes filled."""
    elongation: float
    """Standard deviation of its pixels along the axis over that across it; 1 for a disc."""
    cut: float
    """Share of the photograph's border that it covers, 0..1."""
    other: float
    """Area of the largest other thing on the ground over the part's."""
    ground: float
    """Share of the photograph's border that has the ground's colour, 0..1."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AlignedImage:
    """What the network sees of a photograph."""

    pixels: RGB
    """(h, w, 3) of the network's size."""
    part: Part
    turned: float
    """By how much the part was turned, in degrees, 0..360."""
    matrix: Matrix
    """From pixels of the photograph to those of the network."""
    counted: NDArray[np.bool_]
    """(h, w): the part and its surroundings, where the map counts."""
    photograph: tuple[int, int]  # height and width

    @property
    def scale(self) -> float:
        """Pixels of the network for one of the photograph."""
        return float(np.hypot(*self.matrix[:, 0]))

    @property
    def frame(self) -> Matrix:
        """From pixels of the photograph to shares of what the network sees, -0.5 to 0.5 in x and in y."""
        return chained(self.matrix, scaling(*(1 / side for side in self.counted.shape[::-1])))

    def on_photograph(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map (h, w) over the whole photograph: (H, W) at the network's scale, 0 where it does not count."""
        shown = np.where(self.counted, plane, np.float32(0))
        height, width = self.photograph
        scale = min(self.scale, MAP_SIDE / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        matrix = chained(inverse(self.matrix), scaling(size[1] / width, size[0] / height))
        return np.asarray(cv2.warpAffine(shown, matrix, size[::-1], flags=cv2.INTER_LINEAR), np.float32)


def find_part(image: RGB, small: RGB | None = None) -> tuple[Part, NDArray[np.uint8]] | None:
    """The largest thing on the ground of a photograph (H, W, 3) RGB, and its mask (h, w), 0 or 1, holes filled, of up
    to ``SIDE`` pixels; None where there is none. The ground has the border's colour, which may fall off evenly.
    ``small``: its thumbnail, if it is at hand."""
    off_ground, ground = _off_ground(small_of(image) if small is None else small)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(off_ground, connectivity=8)
    if count < 2:
        return None
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")
    mask = _filled(labels == order[0])
    moments = cv2.moments(mask, binaryImage=True)
    area = moments["m00"]
    if area < _LEAST_PART * mask.size:
        return None
    # a thing in a hole of the part lies on the part
    others = [stats[index, cv2.CC_STAT_AREA] for index in order[1:4] if not mask[labels == index].any()]
    down, across = image.shape[0] / mask.shape[0], image.shape[1] / mask.shape[1]
    unit = math.sqrt(down * across)
    x, y = moments["m10"] / area, moments["m01"] / area
    covariance = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / area
    angle = 0.5 * math.atan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
    axis, normal = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    # a pixel is not a point: its own second moment is 1/12
    along, thick = axis @ covariance @ axis + 1 / 12, normal @ covariance @ normal + 1 / 12
    outline = np.concatenate(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0])[:, 0] - (x, y)
    ends, sides = outline @ axis, outline @ normal
    border = _border(mask.shape[:2], 1)
    part = Part(
        x=(x + 0.5) * across - 0.5,
        y=(y + 0.5) * down - 0.5,
        angle=angle,
        length=float(np.ptp(ends) + 1) * unit,
        width=float(np.ptp(sides) + 1) * unit,
        ahead=float(ends.max() + ends.min()) / 2 * unit,
        aside=float(sides.max() + sides.min()) / 2 * unit,
        half_width=float(np.abs(outline[:, 0]).max() + 0.5) * across,
        half_height=float(np.abs(outline[:, 1]).max() + 0.5) * down,
        area=area * down * across,
        elongation=math.sqrt(along / thick),
        cut=float(mask[border].mean()),
        other=float(max(others, default=0)) / area,
        ground=ground,
    )
    return part, mask


def aligned(image: RGB, size: tuple[int, int], alignment: "Alignment") -> AlignedImage | None:
    """What the network sees of a photograph (H, W, 3) RGB: ``size``, height and width; None where no part is found."""
    small = small_of(image)
    found = find_part(image, small)
    if found is None:
        return None
    part, mask = found
    matrix, half_turn = _placed(small, part, mask, image.shape[:2], size, alignment)
    counted = counted_places(mask, matrix, size, image.shape[:2], alignment)
    angle = part.angle * alignment.turned + math.pi * half_turn
    return AlignedImage(
        pixels=warped(image, matrix, size),
        part=part,
        turned=math.degrees(-angle) % 360,
        matrix=matrix,
        counted=counted,
        photograph=(image.shape[0], image.shape[1]),
    )


def frame_matrix(
    part: Part, alignment: "Alignment", size: tuple[int, int], photograph: tuple[int, ...], *, half_turn: bool = False
) -> Matrix:
    """From pixels of a photograph, of height and width ``photograph``, to those of the network, of ``size``."""
    unit = math.sqrt(photograph[0] * photograph[1])
    # one scale for both directions: the frame has the shape of the network's input
    scale = min(size[1] / alignment.width, size[0] / alignment.height) / unit
    angle = part.angle * alignment.turned + math.pi * half_turn
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    away = scale * unit * np.array([alignment.ahead, alignment.aside])
    middle = np.array([size[1] - 1, size[0] - 1]) / 2
    return np.column_stack([turn, middle - away - turn @ (part.x, part.y)])


def counted_places(
    mask: NDArray[np.uint8],
    matrix: Matrix,
    size: tuple[int, int],
    photograph: tuple[int, ...],
    alignment: "Alignment",
) -> NDArray[np.bool_]:
    """(h, w) of what the network sees: the part as it is, the place where good parts are, and a margin around both. A
    piece that is missing is a defect as well."""
    from_mask = scaling(photograph[1] / mask.shape[1], photograph[0] / mask.shape[0])
    inside = cv2.warpAffine(mask * np.uint8(255), chained(from_mask, matrix), size[::-1], flags=cv2.INTER_LINEAR)
    if alignment.shape:
        shape = np.array(alignment.shape, np.uint8).reshape(TEMPLATE, TEMPLATE)
        usual = cv2.resize(shape, size[::-1], interpolation=cv2.INTER_LINEAR)
        inside = np.where(usual >= _USUAL, np.uint8(255), inside)
    away = cv2.distanceTransform((inside < 128).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(away <= MARGIN * min(size), bool)


def warped(image: RGB, matrix: Matrix, size: tuple[int, int]) -> RGB:
    """(h, w, 3) of a photograph; where it shrinks, each pixel is the mean of several samples. Beyond its border it goes
    on as it ends."""
    times = min(_SUPERSAMPLED, max(1, math.ceil(1 / float(np.hypot(*matrix[:, 0])) - 0.25)))
    height, width = size
    fine = cv2.warpAffine(
        image,
        chained(matrix, scaling(times, times)),
        (width * times, height * times),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(fine if times == 1 else cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def template_of(small: RGB, mask: NDArray[np.uint8], matrix: Matrix) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What tells one end of the part from the other, whatever side the light comes from: its shape, (32, 32) of the
    frame in 0..255, and the profile (32,) of how much lighter than the ground it is along its axis, the mean across.
    ``small``: the thumbnail of the photograph; ``matrix`` leads from its pixels to those of the frame at this size."""
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    lighter = np.where(mask > 0, grey - np.median(grey[_border(mask.shape, _BORDER)]), np.float32(0))
    fine = chained(matrix, scaling(_FINER, _FINER))
    shape, light = (
        cv2.resize(
            cv2.warpAffine(plane, fine, (_FINER * TEMPLATE, _FINER * TEMPLATE)),
            (TEMPLATE, TEMPLATE),
            interpolation=cv2.INTER_AREA,
        )
        for plane in (mask * np.float32(255), lighter)
    )
    return np.asarray(shape, np.float32), np.asarray(light.mean(axis=0), np.float32)


def likeness(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Cosine of two arrays as vectors; 0 where one is 0."""
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / norm if norm > 1e-6 else 0.0


def to_template(matrix: Matrix, small: tuple[int, ...], photograph: tuple[int, ...], size: tuple[int, int]) -> Matrix:
    """From pixels of a thumbnail to those of the template, where ``matrix`` leads from photograph to network."""
    from_small = scaling(photograph[1] / small[1], photograph[0] / small[0])
    return chained(chained(from_small, matrix), scaling(TEMPLATE / size[1], TEMPLATE / size[0]))


def scaling(across: float, down: float) -> Matrix:
    """Matrix of a change of size, by pixels' edges."""
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])


def chained(first: Matrix, then: Matrix) -> Matrix:
    """Matrix of one after the other."""
    return np.column_stack([then[:, :2] @ first[:, :2], then[:, :2] @ first[:, 2] + then[:, 2]])


def inverse(matrix: Matrix) -> Matrix:
    """Matrix of the way back."""
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def _placed(
    small: RGB,
    part: Part,
    mask: NDArray[np.uint8],
    photograph: tuple[int, int],
    size: tuple[int, int],
    alignment: "Alignment",
) -> tuple[Matrix, bool]:
    """Matrix from photograph to network, and whether the end that the axis points to is the left one."""
    matrices = [frame_matrix(part, alignment, size, photograph, half_turn=half_turn) for half_turn in (False, True)]
    if not alignment.turned:
        return matrices[0], False
    usual = np.array(alignment.shape, np.float32).reshape(TEMPLATE, TEMPLATE), np.array(alignment.profile, np.float32)
    alike = [
        sum(map(likeness, template_of(small, mask, to_template(matrix, mask.shape, photograph, size)), usual))
        for matrix in matrices
    ]
    half_turn = alike[1] > alike[0]
    return matrices[half_turn], half_turn


def small_of(image: RGB) -> RGB:
    """The photograph at the size at which the part is looked for."""
    shrunk = SIDE / max(image.shape[:2])
    if shrunk >= 1:
        return image
    size = max(1, round(image.shape[1] * shrunk)), max(1, round(image.shape[0] * shrunk))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _off_ground(small: RGB) -> tuple[NDArray[np.uint8], float]:
    """(h, w), 0 or 1: pixels that have not the ground's colour; and the share of the border's that have it."""
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    # the ground's colours fall off evenly over the photograph, and the lens darkens its corners
    chosen, border, terms = _places(lab.shape[:2])
    colours = lab[chosen]
    away = np.linalg.norm(colours - np.median(colours[border], axis=0), axis=1)
    for _ in range(_FITS):
        near = away <= max(_SPREADS * float(np.median(away[border])), _LEAST_CONTRAST)
        # by einsum: products of matrices would wait for threads that a busy machine does not run
        left, right = (np.einsum("ni,nj->ij", terms[near], each[near]) for each in (terms, colours))
        weights = np.linalg.lstsq(left, right, rcond=None)[0]
        away = np.linalg.norm(colours - np.einsum("ni,ij->nj", terms, weights), axis=1)
    least = max(_SPREADS * float(np.median(away[border])), _LEAST_CONTRAST)
    y, x = (np.linspace(-1, 1, side, dtype=np.float32)[:, None] for side in lab.shape[:2])
    down, across = weights[0] + y * weights[2] + y * y * weights[5], x * weights[1] + x * x * weights[3]
    difference = lab - (down[:, None] + across + y[:, None] * (x * weights[4]))
    distance = cv2.sqrt(cv2.transform(difference * difference, np.ones((1, 3), np.float32)))
    top = max(float(distance.max()), 1e-6)
    otsu = cv2.threshold((distance * (255 / top)).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)[0] * top / 255
    limit = np.where(difference[..., 0] < 0, np.float32(max(least, otsu)), np.float32(max(least, _OF_OTSU * otsu)))
    return (distance > limit).astype(np.uint8), float((away[border] <= least).mean())


@lru_cache(maxsize=8)
def _places(shape: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]:
    """Pixels (h, w) that say what the ground is like, which are those of the border and a grid; which of these, (n,),
    are of the border; and the terms of a quadratic surface there, (n, 6)."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for side in shape), indexing="ij")
    border = _border(shape, _BORDER)
    chosen = border.copy()
    chosen[::_STEP, ::_STEP] = True
    x, y = x[chosen], y[chosen]
    return chosen, border[chosen], np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _border(shape: tuple[int, ...], width: int) -> NDArray[np.bool_]:
    mask = np.ones(shape, bool)
    mask[width:-width, width:-width] = False
    return mask


def _filled(part: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(h, w), 0 or 1: small gaps closed, and what cannot be reached from outside is a hole of the part."""
    reached = np.pad(cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_CLOSE, _CLOSING), 1)
    cv2.floodFill(reached, None, (0, 0), (2,), flags=4)
    return np.asarray(reached[1:-1, 1:-1] != 2, np.uint8)
