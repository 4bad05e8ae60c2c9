"""A blister pack of nine scored tablets under clear domes on embossed foil."""

import numpy as np
from numpy.random import Generator

from skrd4ad.data.synthetic import canvas as draw
from skrd4ad.data.synthetic.canvas import Field, Picture

DEFECTS = ("broken_tablet", "contamination", "cracked_tablet", "missing_tablet")
ROWS = 3
PITCH = 0.292
PACK, CORNER = 0.455, 0.05
CAVITY, TABLET = 0.122, 0.092
SLACK = 0.009
"""Standard deviation of a tablet's place in its cavity."""
COLOUR = (0.93, 0.66, 0.55)
LIGHT = -2.25


def paint(part: Generator, flaw: Generator, defect_type: str, side: int) -> Picture:
    """The pack with a defect of a type, or "good"; ``part`` draws the same pack whatever the defect."""
    x, y = draw.coordinates(side)
    x, y = draw.rotated(
        x - np.float64(part.normal(0, 0.010)), y - np.float64(part.normal(0, 0.010)), part.normal(0, 0.03)
    )
    # of each tablet, one a cavity: its place there, direction of the score line in radians, and tone
    dx, dy = (part.normal(0, SLACK, ROWS**2).astype(np.float64) for _ in "xy")
    turn = part.uniform(0, np.pi, ROWS**2).astype(np.float64)
    tone = part.normal(1, 0.02, ROWS**2).astype(np.float64)
    edge = 1.5 / side
    speckle = draw.grain(part, side)
    picture = _table(part, x, y, side)
    corner = PACK - CORNER
    outside = np.hypot(np.maximum(np.abs(x) - corner, 0), np.maximum(np.abs(y) - corner, 0)) - CORNER
    foil = _foil(part, x, y, speckle)
    picture = draw.blend(picture, foil, draw.coverage(outside, edge))

    cell, lx, ly = _nearest_cavity(x, y)
    r = np.hypot(lx, ly)
    facing = (lx * np.float64(np.cos(LIGHT)) + ly * np.float64(np.sin(LIGHT))) / np.maximum(r, 1e-4)
    picture = _cavity(picture, r, facing, edge)
    on_target = cell == flaw.integers(ROWS**2)

    tx, ty = lx - dx[cell], ly - dy[cell]
    distance = np.hypot(tx, ty) - TABLET
    fracture = np.zeros_like(distance)
    if defect_type == "missing_tablet":
        distance = np.where(on_target, np.float64(1), distance)
    elif defect_type == "broken_tablet":
        distance, fracture = _broken(flaw, distance, tx, ty, on_target)
    top = _tablet(turn[cell], tone[cell], tx, ty, speckle)
    if defect_type == "cracked_tablet":
        top = _cracked(flaw, top, x - tx, y - ty, on_target)
    # what is left of a tablet shades only its surroundings
    shadow = draw.coverage(np.hypot(tx - 0.010, ty - 0.012) - TABLET, 0.03) * draw.coverage(distance, 0.05) * 2
    picture = draw.tint(picture, (0.52, 0.52, 0.56), np.minimum(shadow, 1))
    top = draw.blend(top, (0.97, 0.80, 0.72), fracture)
    picture = draw.blend(picture, top, draw.coverage(distance, edge))
    if defect_type == "contamination":
        picture = _contaminated(flaw, picture, x, y)
    return _dome(picture, lx, ly, r, facing, part)


def _table(part: Generator, x: Field, y: Field, side: int) -> Picture:
    lum = 1 + 0.05 * draw.clouds(part, side, 6) + 0.045 * draw.grain(part, side)
    shadow = draw.coverage(np.maximum(np.abs(x - 0.012), np.abs(y - 0.014)) - PACK, 0.05)
    return draw.coloured(lum * (1 - 0.6 * shadow), (0.13, 0.24, 0.27))


def _foil(part: Generator, x: Field, y: Field, speckle: Field) -> Picture:
    side = x.shape[0]
    waves = np.float64(2 * np.pi * 42)
    emboss = np.sin((x + y) * waves) * np.sin((x - y) * waves)
    crinkle = draw.clouds(part, side, 5)
    direction = part.normal(0.8, 0.3)
    sheen = np.sin((x * np.float64(np.cos(direction)) + y * np.float64(np.sin(direction))) * 5 + 0.5 * crinkle)
    lum = 0.66 + 0.07 * emboss + 0.06 * sheen + 0.03 * crinkle + 0.015 * speckle
    return draw.coloured(lum, (0.985, 1.0, 1.02))


def _nearest_cavity(x: Field, y: Field) -> tuple[np.ndarray, Field, Field]:
    column = np.clip(np.rint(x / PITCH), -1, 1)
    row = np.clip(np.rint(y / PITCH), -1, 1)
    cell = ((row + 1) * ROWS + column + 1).astype(np.int32)
    return cell, x - column * np.float64(PITCH), y - row * np.float64(PITCH)


def _cavity(picture: Picture, r: Field, facing: Field, edge: float) -> Picture:
    inside = draw.coverage(r - CAVITY, edge * 2)
    # the clear wall dims the foil behind it, most where it is steep
    steep = draw.bump(r - np.float64(CAVITY - 0.008), 0.010)
    picture = draw.tint(picture, (0.86, 0.87, 0.90), inside)
    picture = draw.tint(picture, (0.52, 0.53, 0.56), steep * np.clip(0.55 + 0.45 * facing, 0, 1))
    return draw.blend(picture, (0.95, 0.97, 1.0), 0.5 * steep * np.clip(-facing, 0, 1))


def _tablet(turn: Field, tone: Field, tx: Field, ty: Field, speckle: Field) -> Picture:
    r = np.hypot(tx, ty)
    toward = tx * np.float64(np.cos(LIGHT)) + ty * np.float64(np.sin(LIGHT))
    bevel = draw.coverage(np.float64(TABLET - 0.018) - r, 0.03)
    lum = 0.93 + 0.9 * toward + bevel * (2.6 * toward - 0.05)
    across = -tx * np.sin(turn) + ty * np.cos(turn)
    lit = np.sin(turn - np.float64(LIGHT))
    lum = lum - 0.20 * draw.bump(across, 0.0045) + 0.10 * lit * across / 0.0045 * draw.bump(across, 0.0045)
    lum = lum * tone * (1 + 0.011 * speckle)
    return draw.coloured(lum, COLOUR)


def _broken(flaw: Generator, distance: Field, tx: Field, ty: Field, on_target: np.ndarray) -> tuple[Field, Field]:
    """Signed distance of the tablets with a piece of one gone, and coverage of the bright fracture face."""
    heading, left = flaw.uniform(0, 2 * np.pi), flaw.uniform(-0.2, 0.80) * TABLET
    along, across = draw.rotated(tx, ty, heading)
    phases = flaw.uniform(0, 6.3, 3).astype(np.float64)
    waves = [np.float64(0.0035 / k) * np.sin(across * (95 * k) + phases[k - 1]) for k in (1, 2, 3)]
    jagged = waves[0] + waves[1] + waves[2]
    cut = along - np.float64(left) + jagged
    broken = np.where(on_target, np.maximum(distance, cut), distance)
    face = on_target * draw.coverage(np.abs(cut + np.float64(0.007)) - 0.006, 0.006)
    return broken.astype(np.float64), face.astype(np.float64)


def _cracked(flaw: Generator, top: Picture, ox: Field, oy: Field, on_target: np.ndarray) -> Picture:
    """``ox``, ``oy`` of the target's pixels are the picture coordinates of its tablet's centre."""
    side = ox.shape[0]
    rows, columns = np.nonzero(on_target)
    pick = len(rows) // 2
    # the pack is turned a little; a crack keeps its place to well under a pixel without turning it too
    middle = np.array([ox[rows[pick], columns[pick]], oy[rows[pick], columns[pick]]], np.float64)
    heading, length = flaw.uniform(0, 2 * np.pi), TABLET * flaw.uniform(0.8, 1.8)
    start = middle - 0.5 * length * np.array([np.cos(heading), np.sin(heading)])
    points = draw.curve(flaw, start, length=length, heading=heading, bend=flaw.normal(0, 0.3))
    points += np.repeat(flaw.normal(0, 0.0025, (16, 2)), 3, axis=0)
    crack = draw.stroke(points, side, width=flaw.uniform(0.002, 0.007)) * on_target
    strength = np.float64(flaw.uniform(0.3, 0.85))
    light_side = np.roll(crack, (1, 1), (0, 1)) * (1 - crack)
    return draw.blend(
        draw.tint(top, (0.35, 0.28, 0.26), strength * crack), (1.0, 0.85, 0.78), 0.5 * strength * light_side
    )


def _contaminated(flaw: Generator, picture: Picture, x: Field, y: Field) -> Picture:
    side = x.shape[0]
    centre = flaw.uniform(-0.38, 0.38, 2)
    strength = np.float64(flaw.uniform(0.4, 0.95))
    if flaw.random() < 0.45:
        points = draw.curve(
            flaw, centre, length=flaw.uniform(0.06, 0.2), heading=flaw.uniform(0, 6.3), bend=flaw.normal(0, 2.5)
        )
        return draw.blend(
            picture, (0.10, 0.07, 0.06), strength * draw.stroke(points, side, width=flaw.uniform(0.002, 0.004))
        )
    radius = flaw.uniform(0.007, 0.028)
    shape = draw.blot(flaw, x - np.float64(centre[0]), y - np.float64(centre[1]), radius=radius, softness=0.010)
    colours = ((0.10, 0.08, 0.08), (0.35, 0.22, 0.10), (0.16, 0.20, 0.14))
    return draw.blend(picture, colours[int(flaw.integers(len(colours)))], strength * shape)


def _dome(picture: Picture, lx: Field, ly: Field, r: Field, facing: Field, part: Generator) -> Picture:
    drift = part.normal(0, 0.006, 2)
    hx, hy = draw.rotated(lx + np.float64(0.052 + drift[0]), ly + np.float64(0.060 + drift[1]), LIGHT + np.pi / 2)
    window = draw.coverage(np.hypot(hx / 2.4, hy) - 0.0075, 0.008)
    crescent = draw.bump(r - np.float64(CAVITY - 0.016), 0.005) * np.clip(-facing - 0.72, 0, 1) * 2.2
    rim = draw.bump(r - np.float64(CAVITY + 0.004), 0.0035) * np.clip(facing, 0, 1)
    glare = np.clip(0.8 * window + 0.55 * crescent + 0.35 * rim, 0, 0.9)
    return draw.blend(picture, (1.02, 1.02, 1.02), glare)
