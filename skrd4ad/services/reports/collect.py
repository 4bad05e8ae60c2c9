"""The report of a batch: what it shows, gathered from inspections one at a time.

A report keeps numbers of every part, and pictures of the worst only (:data:`PICTURED`), as JPEG of at most
:data:`PICTURE_SIDE` pixels; so its memory does not depend on the size of the photographs, and barely on their number.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from pathlib import PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

import skrd4ad
from skrd4ad.errors import ConfigError
from skrd4ad.inference.predictions import Inspection
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.inspection.inspect import overlay_of
from skrd4ad.types import OUTCOMES, Outcome, Pitch, Region, is_tiled, pitch_xy

PICTURED = 60
"""Parts shown with pictures, unless another number is asked for: NG by falling score, REVIEW, CANNOT JUDGE."""
PICTURE_SIDE = 480
"""Longest side in pixels of a picture."""
REGIONS_SHOWN = 5
"""Regions listed beside a picture; the others are counted."""
JPEG_QUALITY = 88

NEEDS_A_LOOK: tuple[Outcome, ...] = ("NG", "REVIEW", "CANNOT JUDGE")
"""Outcomes of parts that are shown with pictures, in their order."""


@dataclass(frozen=True, kw_only=True)
class PartPictures:
    """A part as it was photographed and with its anomaly map, both JPEG."""

    photo: bytes
    overlay: bytes
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """One line of the report."""

    number: int
    name: str
    outcome: Outcome
    score: float | None = None
    limit: float | None = None
    """NG above this."""
    review_limit: float | None = None
    """REVIEW above this; None when nothing is for review."""
    calibration: int | None = None
    """Version of the calibration; None for a limit given by hand, or none."""
    reason: str = ""
    """Why there is no verdict."""
    view: str = ""
    regions: tuple[Region, ...] = ()
    """The first :data:`REGIONS_SHOWN` of a part with pictures, in pixels of the image; empty otherwise."""
    region_count: int = 0
    area: int = 0
    """Of all regions, in pixels of the image."""
    pictures: PartPictures | None = None


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """Everything a report says; the PDF and the HTML page are two ways to write it down."""

    title: str
    batch: str
    who: str
    created_at: datetime
    parts: tuple[Part, ...]
    model: ModelInfo
    calibration: Calibration | None
    """The model's current one; every part names the version that its verdict was made with."""
    mm_per_pixel: Pitch | None
    folder: str
    """Folder that all the parts' names start with; names are shown without it."""
    software: str

    @property
    def counts(self) -> dict[Outcome, int]:
        """Parts by outcome."""
        found = Counter(part.outcome for part in self.parts)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    @property
    def judged(self) -> int:
        """Parts that have a verdict."""
        return sum(self.counts[outcome] for outcome in ("NG", "REVIEW", "OK"))

    @property
    def pictured(self) -> tuple[Part, ...]:
        """Parts with pictures: NG by falling score, then REVIEW, then CANNOT JUDGE."""
        return tuple(sorted((part for part in self.parts if part.pictures), key=_severity, reverse=True))

    @property
    def without_pictures(self) -> int:
        """Parts that need a look but are beyond the cap, in the table only."""
        return sum(self.counts[outcome] for outcome in NEEDS_A_LOOK) - len(self.pictured)

    @property
    def tiled(self) -> bool:
        """Whether a part was seen in tiles, each of which is one more chance of a false reject."""
        return any(is_tiled(part.view) for part in self.parts)

    @property
    def limit_by_hand(self) -> bool:
        """Whether a verdict was made with a limit given by hand, so that no calibration answers for it."""
        return any(part.limit is not None and part.calibration is None for part in self.parts)

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions of the calibration that verdicts were made with."""
        return tuple(sorted({part.calibration for part in self.parts if part.calibration is not None}))


def collect_report(
    inspections: Iterable[Inspection],
    *,
    model: ModelInfo,
    title: str = "Inspection report",
    batch: str = "",
    who: str = "",
    mm_per_pixel: Pitch | None = None,
    pictured: int = PICTURED,
    created_at: datetime | None = None,
) -> BatchReport:
    """Report of inspections made with ``model``, in the order of the parts; each is looked at once and let go.

    Args:
        batch: station, batch or order, in free words.
        who: the one who answers for the inspection.
        mm_per_pixel: millimetres a pixel of the images, one number or (x, y), for lengths and areas; pixels without it.
        pictured: parts shown with pictures, at most.
        created_at: moment of the report, with its time zone; default now.
    """
    if mm_per_pixel is not None:
        pitch_xy(mm_per_pixel)
    if pictured < 0:
        raise ConfigError(f"The number of parts with pictures is {pictured}; allowed: 0 or more.")
    parts: list[Part] = []
    worst: list[tuple[tuple[int, float, int], Part]] = []
    for number, inspection in enumerate(inspections, start=1):
        part = _part(inspection, number)
        parts.append(part)
        if part.outcome not in NEEDS_A_LOOK:
            continue
        rank = _severity(part)
        if len(worst) < pictured:
            heapq.heappush(worst, (rank, _with_pictures(part, inspection)))
        elif worst and rank > worst[0][0]:
            heapq.heapreplace(worst, (rank, _with_pictures(part, inspection)))
    for _, part in worst:
        parts[part.number - 1] = part
    folder = _shared_folder([part.name for part in parts])
    if folder:
        parts = [replace(part, name=str(PurePath(part.name).relative_to(folder))) for part in parts]
    return BatchReport(
        title=title,
        batch=batch,
        who=who,
        created_at=created_at or datetime.now().astimezone(),
        parts=tuple(parts),
        model=model,
        calibration=model.calibration,
        mm_per_pixel=mm_per_pixel,
        folder=folder,
        software=f"SK-RD4AD Studio {skrd4ad.__version__}",
    )


def _part(inspection: Inspection, number: int) -> Part:
    prediction, limits = inspection.prediction, inspection.limits
    if inspection.error is not None or prediction is None:
        return Part(number=number, name=inspection.name, outcome="UNREADABLE", reason=inspection.error or "")
    return Part(
        number=number,
        name=inspection.name,
        outcome=inspection.outcome,
        score=inspection.score,
        limit=None if limits is None else limits.reject,
        review_limit=None if limits is None else limits.review,
        calibration=None if limits is None else limits.calibration,
        reason=inspection.refusal or "",
        view=prediction.view,
        region_count=len(inspection.regions),
        area=sum(region.area for region in inspection.regions),
    )


def _severity(part: Part) -> tuple[int, float, int]:
    """Rank by which parts get pictures: the outcome, then the score, then the earlier part."""
    urgency = -NEEDS_A_LOOK.index(part.outcome)
    return urgency, -math.inf if part.score is None else part.score, -part.number


def _with_pictures(part: Part, inspection: Inspection) -> Part:
    if inspection.image is None:
        return part
    photo = _smaller(inspection.image)
    height, width = photo.shape[:2]
    return replace(
        part,
        regions=inspection.regions[:REGIONS_SHOWN],
        pictures=PartPictures(
            photo=_jpeg(photo),
            overlay=_jpeg(overlay_of(replace(inspection, image=photo))),
            width=width,
            height=height,
        ),
    )


def _smaller(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with no side above :data:`PICTURE_SIDE`; small images stay as they are."""
    height, width = image.shape[:2]
    factor = PICTURE_SIDE / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return encoded.tobytes()


def _shared_folder(names: Sequence[str]) -> str:
    """Deepest folder that all names lie in; empty when there is none."""
    levels = zip(*(PurePath(name).parent.parts for name in names), strict=False)
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    return str(PurePath(*shared)) if shared else ""
