"""A slim steel screw that lies anywhere and anyhow on a plain table, with defects of a few pixels."""

import numpy as np
from numpy.random import Generator

from skrd4ad.data.synthetic import canvas as draw
from skrd4ad.data.synthetic.canvas import Field, Picture

DEFECTS = ("bent_tip", "flat_thread", "nick", "scratch", "stain")
LENGTH, SHAFT, HEAD, HEAD_LENGTH = 0.60, 0.033, 0.062, 0.055
"""The shaft's and the head's half widths."""
TIP, THREAD_FROM, PITCH, CREST = 0.07, 0.20, 0.021, 0.007
"""Length of the tip, where along the screw its thread begins, and the thread's pitch and height."""
SLACK = 0.12
"""How far the middle of a screw may lie from that of the picture, in x and in y."""
LIGHT = -2.3


def paint(part: Generator, flaw: Generator, defect_type: str, side: int) -> Picture:
    """The screw with a defect of a type, or "good"; ``part`` draws the same screw whatever the defect."""
    x, y = draw.coordinates(side)
    turn = np.float64(part.uniform(0, 2 * np.pi))
    x, y = x - np.float64(part.uniform(-SLACK, SLACK)), y - np.float64(part.uniform(-SLACK, SLACK))
    phase, polish = part.uniform(0, 2 * np.pi), np.float64(part.normal(1, 0.03))
    table = _table(part, side)
    speckle, streaks = draw.grain(part, side), draw.clouds(part, side, 40)
    shadow = draw.coverage(_outline(*_frame(x - 0.008, y - 0.010, turn), phase), 0.035)
    picture = draw.tint(table, (0.74, 0.74, 0.76), shadow)
    along, across = _frame(x, y, turn)
    at, where = _place(flaw, defect_type)
    if defect_type == "bent_tip":
        beyond = np.maximum(along - np.float64(LENGTH / 2 - TIP), 0)
        across = across + where * np.float64(flaw.uniform(2.0, 4.5)) * beyond**2
    outline = _outline(along, across, phase, flat_at=at if defect_type == "flat_thread" else None, flat_side=where)
    if defect_type == "nick":
        size = flaw.uniform(0.010, 0.016)
        edge = where * np.float64(_half_width(np.array(at)))
        outline = np.maximum(outline, np.float64(size) - np.hypot(along - at, across - edge))
    lum = _steel(along, across, turn, phase) * polish * (1 + 0.02 * speckle + 0.025 * streaks)
    if defect_type == "scratch":
        lum = lum + np.float64(flaw.choice([-0.3, 0.35])) * _scratch(flaw, along, across, at)
    steel = draw.coloured(lum, (1.0, 0.99, 0.965))
    if defect_type == "stain":
        u, v = along - at, across - where * np.float64(0.4 * SHAFT)
        blot = draw.blot(flaw, u, v, radius=flaw.uniform(0.009, 0.016), softness=0.004)
        steel = draw.tint(steel, (0.62, 0.45, 0.33), np.float64(flaw.uniform(0.6, 1.0)) * blot)
    return draw.blend(picture, steel, draw.coverage(outline, 1.5 / side))


def _frame(x: Field, y: Field, turn: float) -> tuple[Field, Field]:
    """Along the screw, from the head at -LENGTH / 2 to the tip at LENGTH / 2, and across it."""
    return draw.rotated(x, y, turn)


def _place(flaw: Generator, defect_type: str) -> tuple[np.float64, np.float64]:
    """Where along the screw a defect is, and on which side, -1 or 1."""
    thread = defect_type == "flat_thread"
    start = -LENGTH / 2 + (THREAD_FROM + 0.02 if thread else 0.02)
    return np.float64(flaw.uniform(start, LENGTH / 2 - TIP)), np.float64(flaw.choice([-1, 1]))


def _table(part: Generator, side: int) -> Picture:
    return draw.coloured(0.74 + 0.012 * draw.clouds(part, side, 5) + 0.012 * draw.grain(part, side), (1.0, 0.995, 0.98))


def _half_width(along: Field) -> Field:
    """Without the thread."""
    from_head = along + np.float64(LENGTH / 2)
    # a countersunk head
    head = np.clip((HEAD_LENGTH - from_head) / HEAD_LENGTH, 0, 1) * (HEAD - SHAFT)
    tip = np.clip((along - (LENGTH / 2 - TIP)) / TIP, 0, 1)
    return (SHAFT + head) * (1 - tip) + 0.002 * tip


def _ridge(along: Field, across: Field, phase: float) -> Field:
    """Height of the thread over the shaft, 0..1: it winds, so it lies half a turn later on the other side."""
    threaded = draw.coverage(np.float64(THREAD_FROM) - (along + np.float64(LENGTH / 2)), 0.02)
    winding = 2 * np.pi * along / PITCH + phase + np.float64(0.5 * np.pi) * np.clip(across / SHAFT, -1, 1)
    return threaded * np.clip(0.5 + 0.9 * np.sin(winding), 0, 1)


def _outline(
    along: Field, across: Field, phase: float, *, flat_at: np.float64 | None = None, flat_side: float = 1.0
) -> Field:
    """Signed distance, negative on the screw."""
    crest = CREST * _ridge(along, across, phase)
    if flat_at is not None:
        worn = draw.bump(along - flat_at, 1.2 * PITCH) * (across * flat_side > 0)
        crest = crest * (1 - worn)
    width = _half_width(along) + crest * np.clip((LENGTH / 2 - along) / TIP, 0, 1)
    ends = np.maximum(np.abs(along) - LENGTH / 2, 0)
    return np.maximum(np.abs(across) - width, ends * 1.0 - (np.abs(along) <= LENGTH / 2) * 1e-3)


def _steel(along: Field, across: Field, turn: float, phase: float) -> Field:
    """A cylinder under one lamp: which side is lit depends on how it lies."""
    height = np.clip(across / (_half_width(along) + 1e-6), -1, 1)
    facing = np.float64(np.sin(LIGHT - turn)) * height
    gloss = draw.bump(height - np.float64(0.45 * np.sin(LIGHT - turn)), 0.22)
    slope = np.cos(2 * np.pi * along / PITCH + phase + np.float64(0.5 * np.pi) * height)
    threaded = draw.coverage(np.float64(THREAD_FROM) - (along + np.float64(LENGTH / 2)), 0.02)
    return 0.36 + 0.13 * facing + 0.2 * gloss + 0.1 * threaded * slope - 0.05 * threaded


def _scratch(flaw: Generator, along: Field, across: Field, at: np.float64) -> Field:
    """Coverage of a short line on the shaft."""
    heading, half = flaw.uniform(-1.2, 1.2), flaw.uniform(0.01, 0.025)
    u, v = draw.rotated(along - at, across - np.float64(flaw.uniform(-0.5, 0.5) * SHAFT), heading)
    return draw.bump(v, 0.0028) * draw.coverage(np.abs(u) - half, 0.006)
