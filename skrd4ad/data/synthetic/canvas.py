"""What the synthetic parts are drawn with: seeds, coordinates, noise, anti-aliased shapes, and the camera.

A picture is float64, 0 black to 1 white. Lengths are shares of its side. Edges are soft over a pixel or more, which is
what keeps them free of steps.

The same picture must come out on every machine, though vector units and libraries round the last bits differently. So
everything is in double precision, and noise is cut where its generator calls on the mathematics library: what is left
of such differences is far below what rounding to 8 bit could meet.
"""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from skrd4ad.digests import content_digest

Field = NDArray[np.floating[Any]]
"""(side, side) float64: one value a pixel."""
Picture = NDArray[np.floating[Any]]
"""(3, side, side) float64: red, green, blue planes."""

_TAIL = 3.65
"""Below the 3.6541 from which on the generator of normal numbers takes logarithms."""
_CUBIC = -0.75

Colour = tuple[float, float, float]


def generator(*key: object) -> Generator:
    """Random numbers that depend on the key alone, on every platform and in every process."""
    text = "/".join(str(part) for part in key)
    return np.random.default_rng(int(content_digest(text), 16))


def coordinates(side: int) -> tuple[Field, Field]:
    """x and y of every pixel's centre, 0 in the middle of the picture, -0.5 and 0.5 at its borders."""
    axis = ((np.arange(side, dtype=np.float64) + 0.5) / side - 0.5).astype(np.float64)
    return np.broadcast_to(axis[None, :], (side, side)).copy(), np.broadcast_to(axis[:, None], (side, side)).copy()


def rotated(x: Field, y: Field, angle: float) -> tuple[Field, Field]:
    """Coordinates in a frame turned by an angle in radians."""
    cos, sin = np.float64(np.cos(angle)), np.float64(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def grain(rng: Generator, side: int) -> Field:
    """White noise, standard normal."""
    return noise(rng, (side, side))


def noise(rng: Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal numbers of single precision, cut at the tails."""
    return np.clip(rng.standard_normal(shape, dtype=np.float32), -_TAIL, _TAIL).astype(np.float64)


def clouds(rng: Generator, side: int, cells: int) -> Field:
    """Smooth noise with about ``cells`` bumps along a side, of standard deviation about 0.7."""
    spare = 2  # cells around the picture, so that it may begin anywhere within one
    coarse = noise(rng, (cells + spare, cells + spare))
    cell = -(-side // cells)
    spread = _cubic(cells + spare, cell)
    row, column = rng.integers(0, spare * cell, 2)
    return spread[row : row + side] @ coarse @ spread[column : column + side].T


@lru_cache(maxsize=16)
def _cubic(count: int, factor: int) -> NDArray[np.float64]:
    """(count x factor, count): weights of cubic convolution that enlarge a row of values, the ends repeated."""
    source = (np.arange(count * factor) + 0.5) / factor - 0.5
    first = np.floor(source).astype(int)
    weights = np.zeros((count * factor, count))
    for offset in (-1, 0, 1, 2):
        d = np.abs(source - first - offset)
        near = ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1
        far = ((_CUBIC * d - 5 * _CUBIC) * d + 8 * _CUBIC) * d - 4 * _CUBIC
        np.add.at(weights, (np.arange(source.size), np.clip(first + offset, 0, count - 1)), np.where(d <= 1, near, far))
    return weights


def coverage(distance: Field, softness: float) -> Field:
    """1 inside a shape, 0 outside, from its signed distance (negative inside), over an edge ``softness`` wide."""
    t = distance * np.float64(-1 / softness)
    t += np.float64(0.5)
    np.clip(t, 0, 1, out=t)
    return t * t * (3 - 2 * t)


def bump(distance: Field, width: float) -> Field:
    """Gaussian of a distance: 1 at 0."""
    return np.exp(np.float64(-0.5 / width**2) * np.square(distance))


def blot(rng: Generator, x: Field, y: Field, *, radius: float, softness: float) -> Field:
    """Coverage of an irregular, roundish patch around the origin."""
    angle, r = np.arctan2(y, x), np.hypot(x, y)
    outline = np.ones_like(r)
    for waves in (2, 3, 5, 8):
        outline += rng.normal(0, 0.22 / waves**0.7) * np.cos(waves * angle + np.float64(rng.uniform(0, 6.3)))
    return coverage(r - np.float64(radius) * np.maximum(outline, 0.45), softness)


def stroke(points: NDArray[np.floating[Any]], side: int, *, width: float) -> Field:
    """Coverage of a thin line through points (N, 2) of x, y; the width is at least half a drawn pixel."""
    bits = 4
    pixels = np.rint(((points + 0.5) * side - 0.5) * 2**bits).astype(np.int32)
    thickness = max(1, round(width * side))
    canvas = np.zeros((side, side), np.uint8)
    cv2.polylines(canvas, [pixels.reshape(-1, 1, 2)], False, 255, thickness, cv2.LINE_AA, bits)
    return cv2.GaussianBlur(canvas.astype(np.float64), (5, 5), 0.6) / 255


def curve(
    rng: Generator, start: NDArray[np.floating[Any]], *, length: float, heading: float, bend: float
) -> NDArray[np.floating[Any]]:
    """Points (48, 2) of a smooth line from a start; ``bend`` is the total turn in radians, a little wobble is added."""
    steps = 48
    turns = np.linspace(0, bend, steps) + np.cumsum(rng.normal(0, 0.04, steps))
    moves = np.stack([np.cos(heading + turns), np.sin(heading + turns)], axis=1) * (length / steps)
    return start + np.cumsum(moves, axis=0)


def coloured(lightness: Field, colour: Colour) -> Picture:
    """A picture in shades of one colour."""
    return _planes(colour) * lightness


def blend(picture: Picture, above: Colour | Picture, alpha: Field) -> Picture:
    """A colour or another picture laid over a picture with opacity ``alpha``."""
    over = above if isinstance(above, np.ndarray) else _planes(above)
    return picture + alpha * (over - picture)


def tint(picture: Picture, colour: Colour, alpha: Field) -> Picture:
    """A transparent colour laid over a picture: multiplies by it where ``alpha`` is 1."""
    return picture * (1 + alpha * (_planes(colour) - 1))


def photograph(picture: Picture, rng: Generator) -> NDArray[np.uint8]:
    """(side, side, 3) uint8: the picture through a camera with uneven light, exposure drift, blur and sensor noise."""
    side = picture.shape[1]
    blur, slope, direction = rng.uniform(0.35, 0.6), rng.uniform(0.02, 0.14), rng.normal(-2.2, 0.5)
    vignette = rng.uniform(0.15, 0.35)
    balance = rng.normal(1, 0.008, 3) * rng.uniform(0.93, 1.05)
    x, y = coordinates(side)
    along, _ = rotated(x, y, direction)
    falloff = 1 + (2 * slope) * along - vignette * (x * x + y * y)
    sensor = noise(rng, (side, side, 3))

    image = np.ascontiguousarray(np.clip(picture, 0, 1.2).transpose(1, 2, 0))
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.float64)
    image *= falloff[..., None] * balance.astype(np.float64)
    image += sensor * np.sqrt(np.float64(0.004**2) + np.float64(0.00007) * image)
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def _planes(colour: Colour) -> Picture:
    return np.array(colour, np.float64)[:, None, None]
