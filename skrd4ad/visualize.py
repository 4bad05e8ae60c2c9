"""Pictures of anomaly maps.

One scale for all of them, anchored to the threshold so that colours mean the same on every part: position 0 at score 0,
0.5 at the threshold, 1 at ``top`` (the highest score of the calibration). Far below the threshold the heat is fully
transparent, at the threshold it is full: a good part looks like a photograph. The viewer in the browser gets the table
:func:`heat_table` and draws with it; only the two straight lines of :func:`heat_position` are repeated there, and a
browser test holds both to the same pixels.
"""

from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError, DataError

ColourMap = Literal["inferno", "viridis", "grey"]
COLOUR_MAPS: tuple[ColourMap, ...] = get_args(ColourMap)
"""All rise evenly in lightness, so they read the same with any colour vision and in print."""

HEAT_STEPS = 1024
"""Entries of a heat table: fine enough that neighbouring colours differ by less than one grey level."""
VISIBLE_FROM = 0.35
"""Position below which heat is fully transparent: 70 % of the threshold."""
OPAQUE_FROM = 0.5
"""Position from which heat is full: the threshold."""

OUTLINE_INNER = (255, 255, 255)
OUTLINE_HALO = (16, 20, 24)
"""A light line on a dark one shows on any part."""


def lut(name: str) -> NDArray[np.uint8]:
    """Colours of one of :data:`COLOUR_MAPS` by rising score, (256, 3) RGB."""
    ramp = np.arange(256, dtype=np.uint8)
    if name == "grey":
        return np.repeat(ramp[:, None], 3, axis=1)
    tables = {"inferno": cv2.COLORMAP_INFERNO, "viridis": cv2.COLORMAP_VIRIDIS}
    if name not in tables:
        raise ConfigError(f"The colour map is {name!r}; allowed: {', '.join(COLOUR_MAPS)}.")
    bgr = cv2.applyColorMap(ramp[:, None], tables[name])[:, 0]
    return np.ascontiguousarray(bgr[:, ::-1])


def heat_position(values: NDArray[np.floating], *, threshold: float, top: float) -> NDArray[np.float64]:
    """Positions 0 to 1 of raw scores on the anchored scale, in the shape of ``values``. Two straight lines: from 0 at
    score 0 to 0.5 at the threshold, and on to 1 at ``top``. When ``top`` is not above the threshold, every score above
    the threshold is at 1."""
    scores = np.asarray(values, np.float64)
    below = 0.5 / threshold if threshold > 0 else 0.0
    above = 0.5 / max(top - threshold, 1e-12)
    positions = np.where(scores > threshold, 0.5 + (scores - threshold) * above, scores * below)
    return np.clip(positions, 0, 1)


def heat_alpha(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Opacity 0 to 1 of heat by its position on the scale; squared, so that only what nears the limit shows."""
    ramp = (np.asarray(positions, np.float64) - VISIBLE_FROM) / (OPAQUE_FROM - VISIBLE_FROM)
    return np.clip(ramp, 0, 1) ** 2


def heat_table(name: str) -> NDArray[np.uint8]:
    """Colour and opacity of heat at evenly spaced positions from 0 to 1, (HEAT_STEPS, 4) RGBA, not premultiplied."""
    positions = np.linspace(0, 1, HEAT_STEPS)
    colours = lut(name).astype(np.float64)
    knots = np.linspace(0, 1, len(colours))
    channels = [np.interp(positions, knots, colours[:, c]) for c in range(3)]
    return np.rint(np.stack([*channels, 255 * heat_alpha(positions)], axis=1)).astype(np.uint8)


def heat_index(values: NDArray[np.floating], *, threshold: float, top: float) -> NDArray[np.intp]:
    """Rows of :func:`heat_table` for scores, in the shape of ``values``."""
    positions = heat_position(values, threshold=threshold, top=top)
    return np.floor(positions * (HEAT_STEPS - 1) + 0.5).astype(np.intp)


def resize_map(anomaly_map: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """A map at another size, bilinear, (height, width) float32; its values keep their unit."""
    plane = np.ascontiguousarray(anomaly_map, np.float32)
    if plane.shape == (height, width):
        return plane
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def overlay(
    image: NDArray[np.uint8],
    anomaly_map: NDArray[np.floating],
    *,
    threshold: float,
    top: float,
    opacity: float = 0.6,
    colour_map: str = "inferno",
    outlines: bool = True,
) -> NDArray[np.uint8]:
    """The image (H, W, 3) RGB with the heat of its map (h, w) over it, a new array; ``top`` is the score that
    saturates."""
    _check_image(image)
    if anomaly_map.ndim != 2 or anomaly_map.size == 0:
        raise DataError(f"The anomaly map has the shape {anomaly_map.shape}; allowed: (H, W), at least one pixel.")
    if not 0 <= opacity <= 1:
        raise ConfigError(f"The opacity is {opacity}; allowed: 0 to 1.")
    scores = resize_map(anomaly_map, height=image.shape[0], width=image.shape[1])
    # where the heat is transparent, which is most of most parts, the image stays as it is
    shown = scores >= 2 * threshold * (VISIBLE_FROM - 1 / HEAT_STEPS) if threshold > 0 else np.ones(scores.shape, bool)
    heat = heat_table(colour_map)[heat_index(scores[shown], threshold=threshold, top=top)].astype(np.float32)
    alpha = heat[..., 3:] * (opacity / 255)
    under = image[shown]
    blended = image.copy()
    blended[shown] = np.rint(under + (heat[..., :3] - under) * alpha).astype(np.uint8)
    return draw_outlines(blended, scores > np.float64(threshold)) if outlines else blended


def draw_outlines(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image (H, W, 3) RGB with the outlines of a mask (H, W), a new array. A light line with a dark halo, whose
    width follows the image's size."""
    _check_image(image)
    if mask.shape != image.shape[:2]:
        raise DataError(f"The mask has the shape {mask.shape}; allowed: that of the image, {image.shape[:2]}.")
    drawn = np.ascontiguousarray(image).copy()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    line = max(1, round(max(mask.shape) / 500))
    cv2.drawContours(drawn, contours, -1, OUTLINE_HALO, line + 2, cv2.LINE_AA)
    cv2.drawContours(drawn, contours, -1, OUTLINE_INNER, line, cv2.LINE_AA)
    return drawn


def draw_frame(image: NDArray[np.uint8], corners: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The image (H, W, 3) RGB with marks at the corners (4, 2), x and y, of a frame, a new array; as the outlines are,
    and short, so that they are not taken for one."""
    _check_image(image)
    drawn = np.ascontiguousarray(image).copy()
    bits, line = 4, max(1, round(max(image.shape[:2]) / 500))
    reach = 0.15 * min(np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[2] - corners[1]))
    marks = []
    for corner, *others in zip(corners, np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0), strict=True):
        ends = [corner + reach * (other - corner) / np.linalg.norm(other - corner) for other in others]
        marks.append(np.rint(np.array([ends[0], corner, ends[1]]) * 2**bits).astype(np.int32))
    for colour, width in ((OUTLINE_HALO, line + 2), (OUTLINE_INNER, line)):
        cv2.polylines(drawn, marks, False, colour, width, cv2.LINE_AA, bits)
    return drawn


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DataError(f"The image has the shape {image.shape} and type {image.dtype}; allowed: (H, W, 3) uint8.")
