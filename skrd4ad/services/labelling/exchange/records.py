"""What travels between the workspace and the formats: images, and what was decided on them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data import rle
from skrd4ad.data.polygons import fill
from skrd4ad.storage.annotations import Label
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.types import Split

Format = Literal["mvtec", "coco", "csv"]
FORMATS: dict[Format, str] = {"mvtec": "MVTec folders", "coco": "COCO", "csv": "CSV"}
"""Formats, and what people call them."""

Place = str | Path
"""Where a file of an import is: its name in a ZIP file, or its path on the disk, where it stays."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A mask as a COCO file holds it: the union of run lengths (see ``data.rle``) and polygons."""

    shape: tuple[int, int]
    """Height and width."""
    runs: tuple[NDArray[np.int64], ...] = ()
    polygons: tuple[NDArray[np.float64], ...] = ()
    """Each (N, 2): x, y."""

    def mask(self) -> NDArray[np.bool_]:
        """(H, W).

        Raises:
            DataError: the run lengths are not of this size.
        """
        mask = np.zeros(self.shape, bool)
        for counts in self.runs:
            mask |= rle.decode(counts, self.shape)
        for polygon in self.polygons:
            mask |= fill(polygon, self.shape)
        return mask


MaskRef = Place | Drawn
"""A mask: the file it is in, or its pixels. Of a checked import: the hash of its pixels (text)."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """One decision on an image."""

    label: Label
    defect_type: str | None = None
    mask: MaskRef | None = None
    comment: str = ""
    reviewer: str = ""
    """Empty where a file does not tell."""
    made_at: datetime | None = None
    revision: int = 0
    undoes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """An image to export."""

    item: QueueItem
    file_name: str
    """In the export: safe on every system, and its stem is that of no other image."""
    split: Split | None
    """Where it stands in the export; None for an unsure one."""
    history: tuple[Said, ...]
    """All decisions, oldest first; masks as files below the workspace folder."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """An image that a file to import tells of."""

    where: str
    """Row or entry, for messages."""
    named: str
    """The file as the row names it."""
    place: Place | None
    """Where that file is; None when it is not there."""
    digest: str | None
    """SHA-256 of the image, where the file tells."""
    name: str
    """Name of the image."""
    said: Said
    """What holds."""
    history: tuple[Said, ...] = ()
    """All decisions, oldest first, where the file tells."""
    split: Split | None = None
    known_type: str | None = None
    """What the data set itself says of the image."""
    shape: tuple[int, int] | None = None
    """Height and width that the file gives."""


@dataclass(frozen=True)
class Problem:
    """A row or file that cannot be imported, and why."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a file or folder to import holds."""

    format: Format
    found: tuple[Found, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    """Sentences on what was left out or understood in a certain way."""
