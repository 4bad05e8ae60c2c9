"""The values that travel between the layers: plain and frozen."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError, DataError

GOOD = "good"
"""Defect type of a part without a defect; also the folder name of such parts in the MVTec layout."""

Split = Literal["train", "test"]
Verdict = Literal["OK", "REVIEW", "NG", "CANNOT JUDGE"]
"""OK up to the lower threshold, NG above the upper one, REVIEW between them: a person decides. CANNOT JUDGE, whatever
the score, where the image is not like the training images."""

Outcome = Verdict | Literal["NO LIMIT", "UNREADABLE"]
"""A verdict, or why there is none: the model has no limit, or the file is no usable image."""
OUTCOMES: tuple[Outcome, ...] = ("NG", "REVIEW", "OK", "CANNOT JUDGE", "NO LIMIT", "UNREADABLE")

ImageSize = int | tuple[int, int]
"""Pixels of a model's input and maps: the side of a square, or (height, width) where they differ."""
Pitch = float | tuple[float, float]
"""Millimetres a pixel of an image: one number, or (x, y), such as along and across a line scan."""

MAX_SIDE = 4096
_SIZE = re.compile(r"([0-9]{1,6})(?:\s*[xX×]\s*([0-9]{1,6}))?")

Align = Literal["auto", "off", "crop", "rotate"]
"""Whether photographs are cropped to the part and turned to lie alike; auto where good training images allow it and
gain by it."""
TEMPLATE = 32
"""Side of the shape of an :class:`Alignment`, and places of its profile."""

Role = Literal["viewer", "inspector", "engineer", "admin"]
"""What somebody may do in a workspace; each role may do what the ones before it may."""


@dataclass(frozen=True)
class Levels:
    """Values of images above 8 bit that are shown as black and as white, in the unit of their files; the same for all
    images of a class, and for all that its model reads."""

    black: float
    white: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.black) and math.isfinite(self.white) and self.black < self.white):
            raise ConfigError(
                f"The black and white levels are {self.black:g} and {self.white:g}; allowed: finite numbers, black "
                "below white."
            )

    def __str__(self) -> str:
        return f"{self.black:g} (black) to {self.white:g} (white)"


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How photographs are cropped and turned to the part, found on good training images."""

    turned: bool
    """Whether the part's axis is laid from left to right; otherwise the photograph is only cropped."""
    width: float
    """Of the frame that the network sees, in roots of the photograph's area."""
    height: float
    ahead: float = 0.0
    """How far the frame's middle lies from the part's centre, along the axis, in the same unit."""
    aside: float = 0.0
    """How far it lies from it across the axis."""
    profile: tuple[float, ...] = ()
    """By how much the good parts are lighter than the ground, in grey levels at 32 places from left to right: with
    their shape, what tells one end from the other."""
    shape: tuple[int, ...] = ()
    """Share of the good parts that cover a place of the frame, (32, 32) row by row, 0..255."""
    found: int = 0
    """Good images in which a part was found, of ``looked_at``."""
    looked_at: int = 0

    @property
    def problem(self) -> str:
        """Why it cannot be as it stands in a file; empty when it can."""
        if not (0 < self.width < math.inf and 0 < self.height < math.inf):
            return f"the frame of the alignment is {self.width} x {self.height}; allowed: above 0"
        found, needed = (len(self.shape), len(self.profile)), (TEMPLATE**2, TEMPLATE * self.turned)
        if found != needed or not all(0 <= value <= 255 for value in self.shape):
            return (
                f"shape and profile of the alignment hold {found} values; needed: {needed}, the shape's from 0 to 255"
            )
        return ""

    def __str__(self) -> str:
        done = "Parts are turned to lie alike, and cropped" if self.turned else "Images are cropped to the part"
        return f"{done}; {self.found} of {self.looked_at} found"


@dataclass(frozen=True)
class Sample:
    """One image of a data set; its label comes from its folder or CSV row, never from its mask."""

    path: Path
    split: Split
    label: int
    """0 good, 1 defect."""
    defect_type: str
    """``good``, or the name of the defect's folder."""
    mask_path: Path | None = None
    more_masks: tuple[Path, ...] = ()
    """Further masks of the same picture; they are united with the first."""
    mask_values: str = ""
    """What the values of its masks mean, as :mod:`skrd4ad.data.images.mask_values` reads it; empty for its rule."""
    held_out: bool = False
    """A training image that the data set itself sets aside for validation: limits are taken from it."""

    @property
    def masks(self) -> tuple[Path, ...]:
        """All files with masks of this picture."""
        return () if self.mask_path is None else (self.mask_path, *self.more_masks)


@dataclass(frozen=True)
class Remark:
    """What the reader of a layout guessed, left out, or could not settle."""

    severity: Literal["error", "warning", "note"]
    code: str
    message: str
    paths: tuple[Path, ...] = ()
    asks: bool = False
    """An error that an option settles, or ``--yes``."""


@dataclass(frozen=True)
class DatasetClass:
    """One class of a data set: what kind of part it shows, and its images."""

    dataset: str
    """Name of the data set: folder name, ``elpv`` or ``synthetic``."""
    name: str
    root: Path
    layout: str
    """Name of the layout, with the hints that it was read by: what opens the class again."""
    samples: tuple[Sample, ...]
    licence: str = ""
    note: str = ""
    """What a reader of results must know, such as "synthetic images"."""
    remarks: tuple[Remark, ...] = ()

    @property
    def train(self) -> tuple[Sample, ...]:
        """Good images to learn from."""
        return tuple(s for s in self.samples if s.split == "train" and s.label == 0)

    @property
    def test(self) -> tuple[Sample, ...]:
        """Images to evaluate on, good and defective."""
        return tuple(s for s in self.samples if s.split == "test")

    @property
    def defect_types(self) -> tuple[str, ...]:
        """Sorted names of the defects in the test images."""
        return tuple(sorted({s.defect_type for s in self.test if s.label == 1}))

    @property
    def has_masks(self) -> bool:
        """Whether any test image has a mask."""
        return any(s.mask_path is not None for s in self.test)


@dataclass(frozen=True)
class Region:
    """A connected region of an anomaly map above a threshold, in pixels of that map."""

    area: int
    peak: float
    mean: float
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1; x1 and y1 are exclusive."""
    centroid: tuple[float, float]
    """x, y."""


WHOLE = "resized whole"
"""How a model sees an image that is not cut into tiles."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Anomaly map and score of one image, in raw units; a verdict needs a calibration."""

    anomaly_map: NDArray[np.float32]
    """(H, W) at the model's image size, or of the joined tiles: sum of the levels, blurred."""
    level_maps: NDArray[np.float32]
    """(L, H, W): one map a feature level, finest first, and that of the memory bank where the model has one; they sum
    to the map before its blur."""
    score: float
    """Maximum of ``anomaly_map``."""
    view: str = WHOLE
    """How the model saw the image: "resized whole", such as "tiled 4x3 at 1:1", or "cropped to the part"."""
    frame: NDArray[np.float64] | None = None
    """(2, 3): from pixels of the image to shares of the model's input, -0.5 to 0.5 in x and in y, where it was aligned
    to the part."""
    refusal: str | None = None
    """Why the image cannot be judged: "cannot judge: …", when it is not like the training images; None when it is, or
    when the model does not know them."""

    @property
    def in_tiles(self) -> bool:
        """Whether the model saw the image in tiles."""
        return is_tiled(self.view)


def is_tiled(view: str) -> bool:
    """Whether a view, as predictions name it, is of tiles."""
    return view.startswith("tiled")


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Scores and maps of a test set, the input of every metric. All arrays in the order of the samples."""

    labels: NDArray[np.int64]
    """(N,): 0 good, 1 defect."""
    scores: NDArray[np.float32]
    """(N,)."""
    defect_types: tuple[str, ...]
    maps: NDArray[np.float32] | None = None
    """(N, H, W)."""
    masks: NDArray[np.bool_] | None = None
    """(N, H, W); all false for good images. None when no defect has a mask."""
    has_mask: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """(N,): whether the pixels of the image are labelled: good images, and defects with a mask."""
    ignored: NDArray[np.bool_] | None = None
    """(H, W) or (N, H, W): pixels that the model's calibration or the masks ignore; they enter no pixel metric."""
    mask_classes: tuple[str, ...] = ()
    """Names of the classes of defect that the masks tell apart; empty where they do not."""
    class_of: NDArray[np.uint8] | None = None
    """(N, H, W): 1 + index in ``mask_classes`` of the class of a pixel, 0 outside of masks; None without classes."""


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


def verdict_of(score: float, *, review: float | None, reject: float, refusal: str | None = None) -> Verdict:
    """NG above ``reject``, else REVIEW above ``review`` when there is one, else OK; none of them with a ``refusal``."""
    if not math.isfinite(score) or math.isnan(reject) or (review is not None and math.isnan(review)):
        raise DataError(f"The score is {score} and the limit {reject}: there is no verdict without two numbers.")
    if refusal is not None:
        return "CANNOT JUDGE"
    if score > reject:
        return "NG"
    return "REVIEW" if review is not None and score > review else "OK"


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
