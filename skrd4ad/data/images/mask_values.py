"""What the values of a mask mean: one rule, and what a user may say instead.

- 0 is good. With one other value, whatever it is, that is the defect.
- Up to ``MOST_CLASSES`` other values that each fill areas are classes, all of them defect: levels such as 85, 170 and
  255, or the colours of Pascal VOC. Whole numbers up to ``MOST_CLASSES`` are class numbers, whatever they fill.
- Values that lie between a weaker and a stronger neighbour, as soft edges do, and any values of a lossy file, are cut:
  above half of the mask's highest value is defect.
- Where areas of several values have soft edges both readings fit. The mask is cut at half, and that is said.

What a user says has the form ``85=good,170=scratch,255=ignore``: a value, a range ``1-20`` or a colour ``#800000``, and
``good``, ``ignore``, ``defect`` or the name of a class. Other values but 0 stay defect. ``levels`` and ``half`` choose
one of the two readings.
"""

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import DataError

MOST_CLASSES = 32
LARGE = 0.5
"""A defect that covers more of its picture may be the background of an inverted mask."""
_BETWEEN = 0.5
"""Share of a value's pixels between a weaker and a stronger neighbour from which on it is a soft edge."""
_SECOND_LEVEL = 0.05
"""Share of the pixels above 0 that a second level must fill to be taken for a class."""
_NEAR_TOP = 0.9
_GOOD, _IGNORE, _DEFECT = "good", "ignore", "defect"
LEVELS, HALF = "levels", "half"
_VOID, _VOID_COLOUR = "255", "#e0e0c0"
"""What Pascal VOC writes around objects, as an index and as a colour."""
_ENTRY = re.compile(r"(?P<low>\d+)(-(?P<high>\d+))?|#(?P<colour>[0-9a-fA-F]{6})")


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskReading:
    """What a mask says of its H x W pixels."""

    defect: NDArray[np.bool_]
    """(H, W)."""
    ignored: NDArray[np.bool_] | None = None
    """(H, W): pixels of which nothing is said; None when there are none."""
    classes: dict[str, NDArray[np.bool_]]
    """(H, W) of each class by name; empty where the mask does not tell classes apart."""
    rule: str
    """``empty``, ``one value``, ``levels``, ``half`` or ``given``."""
    values: dict[str, int]
    """Pixels of each value above 0, up to ``MOST_CLASSES`` of them; colours as ``#rrggbb``."""
    doubt: str = ""
    """Why another reading fits as well."""

    @property
    def share(self) -> float:
        """Share of the picture that is defect."""
        return float(self.defect.mean())


def read_values(pixels: NDArray[Any], given: str = "", *, lossy: bool = False) -> MaskReading:
    """Reading of a mask's stored pixels, (H, W) or (H, W, 3); transparent ones are 0. ``given``: what a user says.

    Raises:
        DataError: what a user says has not the form that is allowed.
    """
    codes, strength, coloured = _codes(pixels)
    values, counts = _counted(codes)
    positive = [(value, int(count)) for value, count in zip(values.tolist(), counts.tolist(), strict=True) if value > 0]
    names = {value: f"#{int(value):06x}" if coloured else f"{value:g}" for value, _ in positive[:MOST_CLASSES]}
    shown = {names[value]: count for value, count in positive[:MOST_CLASSES]}
    if given and given not in (LEVELS, HALF):
        return _given(codes, _entries(given, coloured=coloured), values=shown)
    if not positive:
        return MaskReading(defect=codes > 0, classes={}, rule="empty", values={})
    if len(positive) == 1:
        return MaskReading(defect=codes > 0, classes={}, rule="one value", values=shown)
    levels, doubt = [value for value, _ in positive], ""
    if given == HALF or (given != LEVELS and (lossy or len(positive) > MOST_CLASSES)):
        levels = []
    elif given != LEVELS and not _are_numbers(levels):
        levels, doubt = _levels(codes, strength, positive)
    if not levels:
        return MaskReading(defect=strength > strength.max() / 2, classes={}, rule="half", values=shown, doubt=doubt)
    classes = {names[value]: codes == value for value in levels if value in names}
    doubt = "" if given else _void_doubt(list(shown))
    return MaskReading(defect=codes > 0, classes=classes, rule="levels", values=shown, doubt=doubt)


def check_mask_values(given: str) -> None:
    """Raise DataError when a text does not say what the values of masks mean."""
    if given not in ("", LEVELS, HALF):
        _entries(given, coloured="#" in given)


def _codes(pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], bool]:
    """One number a pixel, how strong it is, and whether it is a colour."""
    if pixels.dtype.kind not in "uf":
        pixels = pixels.astype(np.float64)
    if pixels.ndim == 2:
        return pixels, pixels, False
    strength = pixels.max(axis=2)
    if (pixels == pixels[..., :1]).all() or pixels.dtype != np.uint8:
        return strength, strength, False
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    return red << 16 | green << 8 | blue, strength, True


def _counted(codes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The values there are, ascending, and how many pixels have each."""
    if codes.dtype not in (np.uint8, np.uint16):
        return np.unique(codes, return_counts=True)
    counts = np.bincount(codes.ravel())
    values = np.flatnonzero(counts)
    return values, counts[values]


def _are_numbers(values: list[Any]) -> bool:
    """Whether values count classes: no soft edge steps by one."""
    return all(value <= MOST_CLASSES and value == int(value) for value in values)


def _levels(codes: NDArray[Any], strength: NDArray[Any], positive: list[tuple[Any, int]]) -> tuple[list[Any], str]:
    """Values that are classes, none where the mask is to be cut at half; and why another reading fits as well."""
    plane = strength if strength.dtype in (np.uint8, np.uint16, np.float32) else strength.astype(np.float64)
    around = np.ones((3, 3), np.uint8)
    between = (cv2.dilate(plane, around) > plane) & (cv2.erode(plane, around) < plane)
    edges = {value for value, count in positive if between[codes == value].sum() >= _BETWEEN * count}
    levels = [value for value, _ in positive if value not in edges]
    if not edges:
        return levels, ""
    top, total = float(strength.max()), sum(count for _, count in positive)
    second = [
        value
        for value, count in positive
        if value not in edges and count >= _SECOND_LEVEL * total and strength[codes == value].max() <= _NEAR_TOP * top
    ]
    if not second:
        return [], ""
    return [], f"areas of {len(second) + 1} values with soft edges: classes ({LEVELS}), or one defect cut at {HALF}?"


def _void_doubt(names: list[str]) -> str:
    """Whether a value looks like that of pixels to ignore: 255 beside small numbers, or VOC's colour."""
    void = next((name for name in names if name == _VOID_COLOUR), "")
    if not void and names[-1] == _VOID and all(float(name) <= MOST_CLASSES for name in names[:-1]):
        void = _VOID
    return f"{void} marks pixels to ignore ({void}=ignore), or is defect like the others ({LEVELS})?" if void else ""


def _entries(given: str, *, coloured: bool) -> list[tuple[int, int, str]]:
    """Lowest and highest code, and meaning, of each entry."""
    entries = []
    for part in given.split(","):
        values, _, meaning = part.strip().partition("=")
        match = _ENTRY.fullmatch(values.strip())
        if match is None or not meaning.strip():
            raise DataError(
                f"The values of masks are given as {given!r}; {part.strip()!r} is not of the form VALUE=MEANING. "
                "Allowed: such as 85=good,170=scratch,255=ignore; ranges 1-20=defect; colours #800000=crack; or "
                f"{LEVELS}, or {HALF}."
            )
        low = int(match["colour"], 16) if match["colour"] else int(match["low"])
        high = int(match["high"]) if match["high"] else low
        if coloured and not match["colour"]:  # a grey of a coloured file
            low, high = low * 0x010101, high * 0x010101
        entries.append((low, high, meaning.strip()))
    return entries


def _given(codes: NDArray[Any], entries: list[tuple[int, int, str]], *, values: dict[str, int]) -> MaskReading:
    defect, ignored = codes > 0, np.zeros(codes.shape, bool)
    classes: dict[str, NDArray[np.bool_]] = {}
    for low, high, meaning in entries:
        chosen = (codes >= low) & (codes <= high)
        defect = defect & ~chosen if meaning in (_GOOD, _IGNORE) else defect | chosen
        if meaning == _IGNORE:
            ignored |= chosen
        elif meaning not in (_GOOD, _DEFECT) and chosen.any():
            classes[meaning] = classes[meaning] | chosen if meaning in classes else chosen
    return MaskReading(
        defect=defect, ignored=ignored if ignored.any() else None, classes=classes, rule="given", values=values
    )
