"""Polygons of masks, in pixels: (0, 0) is the corner of the image, so the pixel (x, y) covers x..x+1 and y..y+1.

Polygons are traced along the edges of pixels: filling them gives the same mask again. A polygon has no holes; a part
with a hole is cut through it, into polygons that share an edge.
"""

from collections import defaultdict

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = list[tuple[int, int]]
_EDGES_AT_ONCE = 4096


def trace(mask: NDArray[np.bool_]) -> list[Ring]:
    """Polygons whose union is the mask (H, W): corners as x, y, clockwise on the screen."""
    rings = _rings(mask)
    if all(_area(ring) > 0 for ring in rings):
        return rings
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1].astype(np.int32)
    parts: dict[int, list[Ring]] = defaultdict(list)
    for ring in rings:
        # a pixel of the mask at the first edge of the ring
        (x, y), (to, _) = ring[:2]
        parts[int(labels[y, x] if to > x else labels[y - 1, x - 1])].append(ring)
    polygons: list[Ring] = []
    for label, of_part in parts.items():
        polygons += of_part if len(of_part) == 1 else _cut(labels, label, of_part)
    return polygons


def fill(polygon: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask (H, W) of the pixels whose middle lies inside a polygon, by the even-odd rule. ``polygon``: (N, 2) corners
    x, y; finite. What lies outside of the image is cut off."""
    mask = np.zeros(shape, bool)
    limits = shape[1], shape[0]
    low = np.clip(np.floor(polygon.min(axis=0)), 0, limits).astype(np.int64)
    high = np.clip(np.ceil(polygon.max(axis=0)), 0, limits).astype(np.int64)
    width, height = high - low
    # where a row's middle crosses an edge, all pixels to the right of it change sides
    turns = np.zeros((height, width + 1), bool)
    starts = polygon - low
    ends = np.roll(starts, -1, axis=0)
    for at in range(0, len(starts), _EDGES_AT_ONCE):
        _cross(turns, starts[at : at + _EDGES_AT_ONCE], ends[at : at + _EDGES_AT_ONCE])
    mask[low[1] : high[1], low[0] : high[0]] = np.logical_xor.accumulate(turns, axis=1)[:, :width]
    return mask


def fill_centres(polygon: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask (H, W) of a polygon through the middles of the outermost pixels, as ``cv2.findContours`` traces it: those
    pixels and all within. ``polygon``: (N, 2) middles x, y, counted from 0 at the middle of the first pixel."""
    drawn = np.zeros(shape, np.uint8)
    cv2.fillPoly(drawn, [np.rint(polygon).astype(np.int32)], 1)
    return drawn.astype(bool)


def _cross(turns: NDArray[np.bool_], starts: NDArray[np.float64], ends: NDArray[np.float64]) -> None:
    height, width = turns.shape[0], turns.shape[1] - 1
    low, high = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    first, last = (np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64) for y in (low, high))
    lengths = last - first
    edge = np.repeat(np.arange(len(starts)), lengths)
    rows = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
    (x0, y0), (x1, y1) = starts[edge].T, ends[edge].T
    x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    np.logical_xor.at(turns, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)), True)


def _cut(labels: NDArray[np.int32], label: int, rings: list[Ring]) -> list[Ring]:
    """Polygons of one connected part with holes: cut in two at the hole that is nearest to its middle."""
    outer = next(ring for ring in rings if _area(ring) > 0)
    (left, right), (top, bottom) = ((min(values), max(values)) for values in zip(*outer, strict=True))
    rows = [[y for _, y in ring] for ring in rings if ring is not outer]
    row = min(((min(ys) + max(ys)) // 2 for ys in rows), key=lambda y: abs(2 * y - top - bottom))
    pieces = ((top, labels[top:row, left:right] == label), (row, labels[row:bottom, left:right] == label))
    return [[(x + left, y + above) for x, y in ring] for above, piece in pieces for ring in trace(piece)]


def _rings(mask: NDArray[np.bool_]) -> list[Ring]:
    """Closed paths around the 4-connected parts of a mask, clockwise on the screen, and around their holes, the other
    way; each begins with an edge along a row."""
    along_rows = _segments(np.pad(mask, ((1, 1), (0, 0))))
    down_columns = _segments(np.pad(mask, ((0, 0), (1, 1))).T)
    # the mask lies to the right of every path: tops of pixels to the right, bottoms to the left
    across = {((a, at), 1): (b, at) for at, a, b in along_rows[True]}
    across |= {((b, at), -1): (a, at) for at, a, b in along_rows[False]}
    upright = {((at, b), -1): (at, a) for at, a, b in down_columns[True]}
    upright |= {((at, a), 1): (at, b) for at, a, b in down_columns[False]}
    rings: list[Ring] = []
    while across:
        (start, way), end = across.popitem()
        ring = [start]
        while True:
            # where two pixels touch at a corner, the path turns right and stays with its own
            ring.append(end)
            down = way if (end, way) in upright else -way
            end = upright.pop((end, down))
            if end == start and (end, -down) not in across:
                break
            ring.append(end)
            way = -down if (end, -down) in across else down
            end = across.pop((end, way))
        rings.append(ring)
    return rings


def _segments(padded: NDArray[np.bool_]) -> dict[bool, list[tuple[int, int, int]]]:
    """Longest edges between rows of a mask that has an empty row before and after: (row, from, to), by whether the
    mask lies after the edge or before it."""
    after, before = padded[1:], padded[:-1]
    found = {}
    for side, edges in ((True, after & ~before), (False, before & ~after)):
        ends = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        rows, starts = np.nonzero(ends == 1)
        stops = np.nonzero(ends == -1)[1]
        found[side] = list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))
    return found


def _area(ring: Ring) -> int:
    """Twice the area; below zero for a hole."""
    following = ring[1:] + ring[:1]
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, following, strict=True))
