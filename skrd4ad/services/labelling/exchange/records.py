"""What travels between the workspace and the formats: images with their revisions, and where files and masks are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data import rle
from skrd4ad.data.polygons import fill, fill_centres
from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.types import Split

Format = Literal["mvtec", "coco", "csv", "cvat", "label-studio", "yolo", "labelme", "via", "voc", "datumaro"]
FORMATS: dict[Format, str] = {
    "mvtec": "MVTec folders",
    "coco": "COCO",
    "csv": "CSV",
    "cvat": "CVAT",
    "label-studio": "Label Studio",
    "yolo": "YOLO polygons",
    "labelme": "labelme",
    "via": "VGG VIA",
    "voc": "Pascal VOC masks",
    "datumaro": "Datumaro",
}
WRITTEN: tuple[Format, ...] = ("mvtec", "coco", "csv", "cvat", "label-studio", "yolo")
"""Those of exports; all are read."""
Location = str | Path
"""Where a file of an import is: its name in a ZIP file, or its path on the disk, where it stays."""
Shape = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DrawnMask:
    """A mask as a file of labels holds it: the union of run lengths (see ``data.rle``) and polygons."""

    shape: Shape | None
    """None where the file does not tell: then it is that of the image."""
    runs: tuple[NDArray[np.int64], ...] = ()
    polygons: tuple[NDArray[np.float64], ...] = ()
    """Each (N, 2): x, y in pixels, (0, 0) the corner of the image."""
    relative: bool = False
    """Polygons are in shares of width and height."""
    through_centres: bool = False
    """Polygons run through the middles of the outermost pixels, which count, as contour tools trace them."""

    def mask(self) -> NDArray[np.bool_]:
        """(H, W); a DataError when the run lengths are not of this size."""
        assert self.shape is not None, "it is known once it was validated"
        mask = np.zeros(self.shape, bool)
        for counts in self.runs:
            mask |= rle.decode(counts, self.shape)
        for polygon in self.polygons:
            corners = polygon * self.shape[::-1] if self.relative else polygon
            mask |= fill_centres(corners, self.shape) if self.through_centres else fill(corners, self.shape)
        return mask


MaskSource = Location | DrawnMask
"""A mask of an import: the file it is in, or its pixels."""


def exported_values(revision: Revision, mask: object) -> dict[str, Any]:
    """A revision as an export holds it; ``mask`` is its mask in the form of the format, None for none."""
    return {
        "revision": revision.number,
        "label": revision.label,
        "defect_type": revision.defect_type,
        "mask": mask,
        "reviewer": revision.reviewer,
        "made_at": None if revision.made_at is None else revision.made_at.isoformat(),
        "comment": revision.comment,
        "undoes": revision.undoes,
    }


@dataclass(frozen=True, kw_only=True)
class ExportImage:
    """An image to export."""

    item: QueueItem
    file_name: str
    """In the export: safe on every system, and its stem is that of no other image."""
    split: Split | None
    """Where it stands in the export; None for an unsure one."""
    history: tuple[Revision, ...]


@dataclass(frozen=True, kw_only=True)
class ImportEntry:
    """An image that a file to import names."""

    where: str
    """Row or entry, for messages."""
    named: str
    location: Location | None
    digest: str
    """SHA-256 of the image; empty where the file does not give it, until it was validated."""
    name: str
    latest: Revision
    """What holds. ``mask_file`` of this and of the history is a key of ``ParsedLabels.masks``."""
    history: tuple[Revision, ...] = ()
    """All revisions, oldest first, where the file gives them."""
    split: Split | None = None
    known_type: str | None = None
    shape: Shape | None = None


class Problem(NamedTuple):
    """A row or file that cannot be imported, and why."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class ParsedLabels:
    """What a file or folder to import holds, and what is wrong with it."""

    format: Format
    entries: tuple[ImportEntry, ...] = ()
    masks: dict[str, MaskSource]
    """By the names that revisions have for them; once validated these are the hashes of their pixels."""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences on what was left out or understood in a certain way."""
