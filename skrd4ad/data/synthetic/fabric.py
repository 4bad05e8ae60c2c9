"""A plain weave of blue warp and pale weft yarns, seen from above."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from skrd4ad.data.synthetic import canvas as draw
from skrd4ad.data.synthetic.canvas import Field, Picture

DEFECTS = ("broken_yarn", "hole", "oil_spot", "slub")
YARNS = 23
MARGIN = 6
"""Yarns drawn beyond each border, for the rotation."""
WARP, WEFT = (0.36, 0.46, 0.62), (0.86, 0.84, 0.79)
CROWN = 0.9
"""How far a yarn rises at a crossing, against its own roundness of 1."""


@dataclass(frozen=True, eq=False)
class _Weave:
    """Where the yarns run: yarn coordinates (1 = one yarn) and the share of its lane that a yarn fills."""

    u: Field
    v: Field
    warp_width: Field
    weft_width: Field
    lift: Field
    """Added to the height of the cloth: negative where it sinks, positive where it swells."""


def paint(part: Generator, flaw: Generator, defect_type: str, side: int) -> Picture:
    """The cloth with a defect of a type, or "good"; ``part`` draws the same cloth whatever the defect."""
    weave, warp_tone, weft_tone = _loom(part, side)
    fuzz, mottle = draw.grain(part, side), draw.clouds(part, side, 6)
    light = part.normal(0.9, 0.12)
    if defect_type == "broken_yarn":
        weave = _broken_yarn(flaw, weave)
    elif defect_type == "slub":
        weave = _slub(flaw, weave)
    x, y = draw.coordinates(side)
    hole = None
    if defect_type == "hole":
        centre, radius = flaw.uniform(-0.36, 0.36, 2), flaw.uniform(0.022, 0.065)
        hx, hy = x - np.float64(centre[0]), y - np.float64(centre[1])
        hole = draw.blot(flaw, hx, hy, radius=radius, softness=0.022)
        weave = _around_hole(weave, hx, hy, radius=radius, hole=hole)
    picture = _shade(weave, warp_tone=warp_tone, weft_tone=weft_tone, light=light, fuzz=fuzz, mottle=mottle)
    if hole is not None:
        picture = _frayed_hole(flaw, picture, hole, centre=centre, radius=radius)
    elif defect_type == "oil_spot":
        picture = _oil_spot(flaw, picture, x, y)
    return picture


def _loom(part: Generator, side: int) -> tuple[_Weave, Field, Field]:
    x, y = draw.rotated(*draw.coordinates(side), part.normal(0, 0.025))
    pitch = YARNS * part.normal(1, 0.012)
    phase = part.uniform(0, 2, 2)
    u = x * np.float64(pitch) + np.float64(YARNS / 2 + MARGIN + phase[0]) + 0.16 * draw.clouds(part, side, 4)
    v = y * np.float64(pitch) + np.float64(YARNS / 2 + MARGIN + phase[1]) + 0.16 * draw.clouds(part, side, 4)
    lanes = YARNS + 2 * MARGIN + 4
    widths = part.normal(0.90, 0.035, (2, lanes)).astype(np.float64)
    tones = part.normal(1, 0.045, (2, lanes)).astype(np.float64)
    i, j = _lane(u), _lane(v)
    weave = _Weave(
        u=u,
        v=v,
        warp_width=np.clip(widths[0, i] + 0.05 * draw.clouds(part, side, 12), 0.7, 1),
        weft_width=np.clip(widths[1, j] + 0.05 * draw.clouds(part, side, 12), 0.7, 1),
        lift=np.zeros_like(u),
    )
    return weave, tones[0, i], tones[1, j]


def _lane(position: Field) -> np.ndarray:
    return np.clip(np.floor(position), 0, YARNS + 2 * MARGIN + 3).astype(np.int32)


def _yarn(across: Field, along: Field, width: Field, sign: int) -> tuple[Field, Field, Field]:
    """Height, shade by the lamp across the yarn, and fibre pattern of one set of yarns."""
    lane = np.floor(across)
    f = (across - lane - 0.5) * 2 / np.maximum(width, 1e-3)
    flip = 1 - 2 * np.mod(lane, 2)
    wave = sign * flip * np.cos(np.pi * (along - 0.5))
    round_ = np.sqrt(np.clip(1 - f * f, 0, 1))
    height = np.where(np.abs(f) < 1, 0.8 * round_ + CROWN * wave, -1.6).astype(np.float64)
    fibres = np.sin(np.float64(2 * np.pi) * (along * 2.1 + f * 0.75 + lane * 0.37))
    return height, f, fibres


def _shade(weave: _Weave, *, warp_tone: Field, weft_tone: Field, light: float, fuzz: Field, mottle: Field) -> Picture:
    warp_h, warp_f, warp_fibres = _yarn(weave.u, weave.v, weave.warp_width, 1)
    weft_h, weft_f, weft_fibres = _yarn(weave.v, weave.u, weave.weft_width, -1)
    # one crossing is over where the other is under; a thin smooth step between them keeps edges anti-aliased
    over = draw.coverage(weft_h - warp_h, 0.12)
    height = np.maximum(warp_h, weft_h) + weave.lift
    cos, sin = np.float64(np.cos(light)), np.float64(np.sin(light))
    side_light = over * (-warp_f * cos) + (1 - over) * (-weft_f * sin)
    fibres = over * warp_fibres + (1 - over) * weft_fibres
    tone = over * warp_tone + (1 - over) * weft_tone
    depth = np.clip(0.42 + 0.38 * height, 0.10, 1.1)
    lum = depth * (1 + 0.16 * side_light + 0.07 * fibres + 0.06 * fuzz) * tone * (1 + 0.02 * mottle)
    return draw.blend(draw.coloured(lum, WEFT), draw.coloured(lum, WARP), over)


def _broken_yarn(flaw: Generator, weave: _Weave) -> _Weave:
    length, thinning = np.float64(flaw.uniform(2.5, 11)), np.float64(flaw.uniform(0.45, 1.0))
    lane, middle = _somewhere(flaw)
    weft = flaw.random() < 0.5
    across, along = (weave.v, weave.u) if weft else (weave.u, weave.v)
    gap = thinning * (np.floor(across) == np.floor(lane)) * draw.coverage(np.abs(along - middle) - length / 2, 0.9)
    # without its yarn the lane is not held up any more and sinks into shade
    lift = (
        -0.55
        * thinning
        * draw.coverage(np.abs(across - lane) - 0.5, 0.5)
        * draw.coverage(np.abs(along - middle) - length / 2, 1.5)
    )
    if weft:
        return replace(weave, weft_width=weave.weft_width * (1 - gap), lift=lift)
    return replace(weave, warp_width=weave.warp_width * (1 - gap), lift=lift)


def _slub(flaw: Generator, weave: _Weave) -> _Weave:
    lane, middle = _somewhere(flaw)
    length, swell = np.float64(flaw.uniform(1.2, 4.0)), np.float64(flaw.uniform(0.3, 0.62))
    across, along = weave.v - lane, weave.u - middle
    # stretching the lane pushes its neighbours together, as a thick place in a yarn does
    thick = swell * _dome(across / np.float64(1.5)) * _dome(along / length)
    return replace(weave, v=lane + across * (1 - thick), lift=0.5 * thick)


def _somewhere(flaw: Generator) -> tuple[np.float64, np.float64]:
    """Middle of a lane, and a place along it, both well inside the picture."""
    low, high = MARGIN + 5, MARGIN + YARNS - 4
    return np.float64(flaw.integers(low, high) + 0.5), np.float64(flaw.uniform(low, high))


def _dome(distance: Field) -> Field:
    """1 at 0, falling smoothly to exactly 0 at 1."""
    return np.square(np.clip(1 - np.square(distance), 0, 1))


def _around_hole(weave: _Weave, x: Field, y: Field, *, radius: float, hole: Field) -> _Weave:
    r = np.hypot(x, y)
    rim = _dome((r - np.float64(radius)) / np.float64(0.7 * radius))
    push = np.float64(0.3 * YARNS * radius) * rim / np.maximum(r, 1e-3)
    thin = 1 - 0.55 * hole
    return replace(
        weave,
        u=weave.u - push * x,
        v=weave.v - push * y,
        warp_width=weave.warp_width * thin,
        weft_width=weave.weft_width * thin,
    )


def _frayed_hole(flaw: Generator, picture: Picture, hole: Field, *, centre: np.ndarray, radius: float) -> Picture:
    side = hole.shape[0]
    picture = draw.blend(picture, (0.045, 0.045, 0.05), hole)
    for _ in range(int(flaw.integers(5, 12))):
        angle = flaw.uniform(0, 2 * np.pi)
        start = centre + 1.05 * radius * np.array([np.cos(angle), np.sin(angle)])
        length = radius * flaw.uniform(0.4, 1.1)
        heading = angle + np.pi + flaw.normal(0, 0.7)
        points = draw.curve(flaw, start, length=length, heading=heading, bend=flaw.normal(0, 1.2))
        colour = WEFT if flaw.random() < 0.5 else WARP
        picture = draw.blend(picture, colour, 0.75 * draw.stroke(points, side, width=0.003))
    return picture


def _oil_spot(flaw: Generator, picture: Picture, x: Field, y: Field) -> Picture:
    centre, radius = flaw.uniform(-0.38, 0.38, 2), flaw.uniform(0.025, 0.10)
    side = x.shape[0]
    spread = 0.012 * draw.clouds(flaw, side, 30)
    hx, hy = x - np.float64(centre[0]) + spread, y - np.float64(centre[1]) + spread
    shape = draw.blot(flaw, hx, hy, radius=radius, softness=0.5 * radius)
    strength = np.float64(flaw.uniform(0.3, 0.9))
    alpha = np.clip(strength * (shape + 0.7 * shape * (1 - shape)), 0, 1)
    return draw.tint(picture, (0.52, 0.47, 0.36), alpha)
