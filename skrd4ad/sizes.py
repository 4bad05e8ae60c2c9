"""The size of what a model sees, and the size of a pixel: one number where both directions agree, else two.

In documents the size of a square is a whole number, as it always was, and that of any other rectangle [height, width].
"""

import math
import re

from skrd4ad.errors import ConfigError

ImageSize = int | tuple[int, int]
"""Pixels of a model's input and maps: the side of a square, or (height, width) where they differ."""
Pitch = float | tuple[float, float]
"""Millimetres a pixel of an image: one number, or (x, y), such as along and across a line scan."""

MAX_SIDE = 4096
_SIZE = re.compile(r"([0-9]{1,6})(?:\s*[xX×]\s*([0-9]{1,6}))?")


def height_width(size: ImageSize) -> tuple[int, int]:
    """Height and width in pixels."""
    return (size, size) if isinstance(size, int) else size


def image_size_of(height: int, width: int) -> ImageSize:
    """The size as it is kept: a whole number for a square."""
    return height if height == width else (height, width)


def size_text(size: ImageSize) -> str:
    """Height x width, such as ``64 x 1280``."""
    return "{} x {}".format(*height_width(size))


def size_option(size: ImageSize) -> str:
    """As :func:`parse_size` reads it: ``256`` or ``64x1280``."""
    return str(size) if isinstance(size, int) else "{}x{}".format(*size)


def parse_size(text: str) -> ImageSize:
    """The size that a text such as ``256`` or ``64x1280`` (height x width) gives.

    Raises:
        ConfigError: it is no such text, or a side is not 1 to ``MAX_SIDE``.
    """
    found = _SIZE.fullmatch(text.strip())
    sides = [int(side) for side in found.groups() if side is not None] if found else []
    if not sides or not all(1 <= side <= MAX_SIDE for side in sides):
        raise ConfigError(
            f"The image size is {text!r}; allowed: one side of a square, such as 256, or height x width, such as "
            f"64x1280, each from 1 to {MAX_SIDE} pixels."
        )
    return image_size_of(sides[0], sides[-1])


def pitch_xy(pitch: Pitch) -> tuple[float, float]:
    """Millimetres a pixel in x and in y.

    Raises:
        ConfigError: one is not finite and above 0.
    """
    x, y = pitch if isinstance(pitch, tuple) else (pitch, pitch)
    if not all(math.isfinite(each) and each > 0 for each in (x, y)):
        given = f"{x} mm a pixel" if x == y else f"{x} (x) and {y} (y) mm a pixel"
        raise ConfigError(f"The scale is {given}; allowed: any finite number above 0.")
    return x, y


def parse_pitch(text: str) -> Pitch:
    """The scale that a text such as ``0.05`` or ``0.05x0.1`` (x, then y) gives.

    Raises:
        ConfigError: it is no such text, or a number is not finite and above 0.
    """
    try:
        numbers = [float(each) for each in re.split("[xX×]", text)]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ConfigError(
            f"The scale is {text!r}; allowed: mm a pixel, such as 0.05, or in x and in y, such as 0.05x0.1."
        )
    x, y = pitch_xy((numbers[0], numbers[-1]))
    return x if x == y else (x, y)
