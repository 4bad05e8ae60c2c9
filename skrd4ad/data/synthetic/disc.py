"""A turned steel flange with six bolt holes on a dark mat."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from skrd4ad.data.synthetic import canvas as draw
from skrd4ad.data.synthetic.canvas import Field, Picture

DEFECTS = ("dent", "missing_hole", "scratch", "stain")
OUTER, STEP, BORE = 0.405, 0.185, 0.105
HOLES, HOLE_CIRCLE, HOLE = 6, 0.295, 0.036
CHAMFER = 0.012
AXIS_OF_HIGHLIGHT = -0.7
"""Direction in radians of the two bright fans that a turned face shows under one lamp."""


@dataclass(frozen=True, eq=False)
class _Face:
    """The part as it lies under the camera: coordinates of its centre frame, and what is metal."""

    x: Field
    y: Field
    side: int
    turn: float
    light: float
    metal: Field
    """Coverage of the machined face, without holes."""


def paint(part: Generator, flaw: Generator, defect_type: str, side: int) -> Picture:
    """The part with a defect of a type, or "good"; ``part`` draws the same part whatever the defect."""
    x, y = draw.coordinates(side)
    scale = part.normal(1, 0.012)
    x = (x - part.normal(0, 0.016)) / np.float64(scale)
    y = (y - part.normal(0, 0.016)) / np.float64(scale)
    turn, light = part.uniform(0, 2 * np.pi), part.normal(-2.3, 0.1)
    missing = int(flaw.integers(HOLES)) if defect_type == "missing_hole" else None
    edge = 1.5 / side

    r, angle = np.hypot(x, y), np.arctan2(y, x)
    mat = _mat(part, x, y, side)
    lum = _turned_face(part, r, angle, side)
    facing = np.cos(angle - np.float64(light))
    lum += _ridge(r - STEP, facing)
    lum = _mix(lum, 0.52 + 0.34 * facing, draw.coverage(OUTER - CHAMFER - r, edge))
    lum = _mix(lum, 0.46 - 0.34 * facing, draw.coverage(r - (BORE + CHAMFER), edge))

    metal = draw.coverage(r - OUTER, edge) * draw.coverage(BORE - r, edge)
    for number in range(HOLES):
        if number == missing:
            continue
        bearing = turn + number * 2 * np.pi / HOLES
        around = _window(x, y, bearing)
        hole, hole_lum = _hole(x[around], y[around], bearing, light, edge)
        lum[around] = _mix(lum[around], hole_lum, hole)
        metal[around] *= 1 - hole
    face = _Face(x=x, y=y, side=side, turn=turn, light=light, metal=metal)

    if missing is not None:
        lum += _drill_mark(flaw, face, missing)
    elif defect_type == "dent":
        lum += metal * _dent(flaw, face)
    elif defect_type == "scratch":
        lum += metal * _scratch(flaw, face)
    steel = draw.coloured(lum, (1.0, 0.985, 0.955 + part.normal(0, 0.012)))
    if defect_type == "stain":
        steel = _stain(flaw, face, steel)
    bore = draw.coverage(r - BORE, edge)
    return draw.blend(
        draw.blend(mat, (0.03, 0.033, 0.04), 0.6 * bore), steel, draw.coverage(r - OUTER, edge) * (1 - bore)
    )


def _mix(below: Field, above: Field, alpha: Field) -> Field:
    return below + alpha * (above - below)


def _mat(part: Generator, x: Field, y: Field, side: int) -> Picture:
    ribs = np.sin((x + y) * np.float64(2 * np.pi * 55)) * np.sin((x - y) * np.float64(2 * np.pi * 55))
    lum = 1 + 0.05 * ribs + 0.05 * draw.clouds(part, side, 5) + 0.055 * draw.grain(part, side)
    shadow = draw.coverage(np.hypot(x - 0.022, y - 0.028) - OUTER, 0.06)
    return draw.coloured(lum * (1 - 0.7 * shadow), (0.165, 0.185, 0.215))


def _turned_face(part: Generator, r: Field, angle: Field, side: int) -> Field:
    axis = AXIS_OF_HIGHLIGHT + part.normal(0, 0.18)
    wave = np.cos(2 * (angle - np.float64(axis)))
    fan = np.exp(3.2 * (wave - 1)) + 0.35 * np.exp(5.0 * (-wave - 1))
    # one lathe groove a ring, a little different along its way: rows of noise stretched around the centre
    grooves = part.standard_normal((2, 420)).astype(np.float64)
    ring = np.clip(r * 800, 0, 418)
    index = ring.astype(np.int32)
    along = 0.5 + 0.5 * np.cos(angle * 3 + np.float64(part.uniform(0, 6.3)) + 2 * np.sin(r * 60))
    groove = grooves[0, index] * along + grooves[1, index] * (1 - along)
    feed = np.sin(r * np.float64(2 * np.pi * part.uniform(68, 76)))
    lum = 0.47 + 0.30 * fan + (0.018 + 0.030 * fan) * groove + 0.014 * feed
    return (lum + 0.02 * draw.clouds(part, side, 4) + 0.010 * draw.grain(part, side)).astype(np.float64)


def _ridge(distance: Field, facing: Field) -> Field:
    return draw.bump(distance, 0.0035) * (-0.22 * facing - 0.05) + draw.bump(distance - 0.008, 0.003) * (0.12 * facing)


def _window(x: Field, y: Field, bearing: float) -> tuple[slice, slice]:
    """Rows and columns around a bolt hole."""
    reach = HOLE + 2 * CHAMFER
    column = np.searchsorted(x[0], HOLE_CIRCLE * np.cos(bearing) + np.array([-reach, reach]))
    row = np.searchsorted(y[:, 0], HOLE_CIRCLE * np.sin(bearing) + np.array([-reach, reach]))
    return slice(int(row[0]), int(row[1])), slice(int(column[0]), int(column[1]))


def _hole(x: Field, y: Field, bearing: float, light: float, edge: float) -> tuple[Field, Field]:
    """Coverage of a bolt hole with its chamfer, and its lightness."""
    dx = x - np.float64(HOLE_CIRCLE * np.cos(bearing))
    dy = y - np.float64(HOLE_CIRCLE * np.sin(bearing))
    d = np.hypot(dx, dy)
    facing = (dx * np.float64(np.cos(light)) + dy * np.float64(np.sin(light))) / np.maximum(d, 1e-4)
    rim = 0.48 - 0.34 * facing
    wall = 0.05 + 0.22 * np.clip(-facing, 0, 1) * np.clip(d / HOLE, 0, 1) ** 3
    lum = _mix(rim, wall, draw.coverage(d - HOLE, edge))
    return draw.coverage(d - np.float64(HOLE + CHAMFER * 0.8), edge), lum


def _drill_mark(flaw: Generator, face: _Face, missing: int) -> Field:
    bearing = face.turn + missing * 2 * np.pi / HOLES
    dx, dy = face.x - np.float64(HOLE_CIRCLE * np.cos(bearing)), face.y - np.float64(HOLE_CIRCLE * np.sin(bearing))
    depth = flaw.choice([0.0, 0.12, 0.3])
    return -np.float64(depth) * draw.coverage(np.hypot(dx, dy) - np.float64(flaw.uniform(0.006, 0.016)), 0.006)


def _point_on(flaw: Generator, face: _Face, margin: float) -> tuple[float, float]:
    """A point on the face, between bore and rim and off the holes."""
    hole_step = 2 * np.pi / HOLES
    radius = flaw.uniform(BORE + margin, OUTER - margin)
    angle = flaw.uniform(0, 2 * np.pi)
    if abs(radius - HOLE_CIRCLE) < HOLE + margin:
        angle = face.turn + hole_step * (flaw.integers(HOLES) + flaw.uniform(0.4, 0.6))
    return radius * np.cos(angle), radius * np.sin(angle)


def _dent(flaw: Generator, face: _Face) -> Field:
    cx, cy = _point_on(flaw, face, 0.035)
    radius, depth = flaw.uniform(0.012, 0.034), flaw.uniform(0.16, 0.75)
    dx, dy = draw.rotated(face.x - np.float64(cx), face.y - np.float64(cy), face.light)
    across = np.float64(flaw.uniform(0.65, 1.0))
    d = np.hypot(dx, dy / across) / np.float64(radius)
    # the wall towards the lamp lies in shade, the far wall catches light; the floor is darker, the rim raised
    bowl = np.exp(-((d * 1.05) ** 4))
    slope = np.clip(dx / np.float64(radius), -1.5, 1.5)
    rim = draw.bump(d - 1.12, 0.14) * 0.35 * slope
    return np.float64(depth) * (bowl * (-0.55 * slope - 0.32) + rim)


def _scratch(flaw: Generator, face: _Face) -> Field:
    start = np.array(_point_on(flaw, face, 0.03))
    length, strength = flaw.uniform(0.07, 0.36), flaw.uniform(0.16, 0.60)
    inward = np.arctan2(-start[1], -start[0]) + flaw.normal(0, 0.9) + np.pi * 0.35
    points = draw.curve(flaw, start, length=length, heading=inward, bend=flaw.normal(0, 0.5))
    width = flaw.uniform(0.0025, 0.006)
    bright = draw.stroke(points, face.side, width=width)
    dark = draw.stroke(points + np.array([0.0035, 0.003]), face.side, width=width)
    # pressure: rises at the start, dies out at the end
    along = np.hypot(face.x - np.float64(start[0]), face.y - np.float64(start[1])) / np.float64(length)
    pressure = np.clip(1.15 - 0.6 * along, 0.4, 1)
    return np.float64(strength) * pressure * (bright - 0.75 * dark * (1 - bright))


def _stain(flaw: Generator, face: _Face, steel: Picture) -> Picture:
    cx, cy = _point_on(flaw, face, 0.04)
    radius = flaw.uniform(0.022, 0.075)
    x, y = face.x - np.float64(cx), face.y - np.float64(cy)
    shape = draw.blot(flaw, x, y, radius=radius, softness=0.35 * radius)
    mottle = np.clip(0.85 + 0.22 * draw.clouds(flaw, face.side, 22), 0.35, 1.2)
    tide = shape * (1 - shape) * 1.6
    strength = np.float64(flaw.uniform(0.22, 0.8))
    alpha = np.clip(strength * (shape * mottle + tide), 0, 1) * face.metal
    colours = ((0.50, 0.36, 0.22), (0.40, 0.42, 0.50), (0.62, 0.44, 0.20))
    return draw.tint(steel, colours[int(flaw.integers(len(colours)))], alpha)
