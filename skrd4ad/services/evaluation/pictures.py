"""The parts that show on the first screen what a model does: which test images, and their heat."""

import io
import logging

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.data.images.read import read_image
from skrd4ad.errors import CheckpointError, DataError
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.pictures import PicturedPart, write_pictures
from skrd4ad.regions import find_regions
from skrd4ad.services.access import needs
from skrd4ad.services.evaluation.result import EvaluatedImage, StoredEvaluation
from skrd4ad.types import GOOD
from skrd4ad.visualize import heat_index, heat_table

log = logging.getLogger(__name__)

DEFECTS = 2
LONGER_SIDE = 480
"""Pixels of a photograph that is kept."""
HEAT_SIDE = 256
_QUALITY = 85
EDGE = 0.05
"""Of a side: heat so near to it may come from what surrounds the part."""
LARGEST_SHARE = 0.2
"""Of a picture: heat that covers more shows no place."""


@needs("engineer", "evaluate a model")
def draw_pictures(stored: StoredEvaluation) -> tuple[PicturedPart, ...]:
    """Keep a good part and up to two defects of an evaluation in the folder of its model; none without limits.

    The good part is the middle one by score of those that pass. The defects are rejected ones whose regions fit their
    masks best or, where there are no masks, are few and small; they are of two types where there are two. They are
    chosen to show the map, not to say how good it is: that is what the figures are for.
    """
    calibration, _ = stored.limits()
    if calibration is None:
        return ()
    good = [i for i in range(len(stored.images)) if _passes(stored.images[i], calibration)]
    good.sort(key=lambda i: stored.images[i].score)
    chosen = [*good[len(good) // 2 : len(good) // 2 + 1], *_defects(stored, calibration)]
    files: dict[str, bytes] = {}
    parts = []
    for number, index in enumerate(chosen, start=1):
        try:
            parts.append(_part(stored, index, calibration, f"{number}", files))
        except (DataError, OSError):  # the file is gone meanwhile: one picture less
            continue
    try:
        write_pictures(stored.summary.model_folder, parts, files)
    except (CheckpointError, OSError):  # nobody may write there: the figures stand all the same
        log.warning("The pictures of %s cannot be kept", stored.summary.model_folder, exc_info=True)
    return tuple(parts)


def _passes(image: EvaluatedImage, calibration: Calibration) -> bool:
    return image.label == 0 and not image.refused and calibration.verdict(image.verdict_score) == "OK"


def _defects(stored: StoredEvaluation, calibration: Calibration) -> list[int]:
    fits: dict[int, float] = {}
    for index, image in enumerate(stored.images):
        if image.label == 1 and not image.refused and calibration.verdict(image.verdict_score) == "NG":
            fits[index] = _fit(stored, index, calibration)
    best = sorted((index for index in fits if fits[index] > 0), key=lambda index: -fits[index])
    first = best[:1]
    others = [index for index in best[1:] if stored.images[index].defect_type != stored.images[first[0]].defect_type]
    return [*first, *(others or best[1:])][:DEFECTS]


def _fit(stored: StoredEvaluation, index: int, calibration: Calibration) -> float:
    """How well the regions of a map tell where the defect is, from 0."""
    scores, mask = stored.map_of(index), stored.mask_of(index)
    above = scores > np.float64(calibration.pixel_threshold)
    if mask is not None:
        return float((above & mask).sum() / max(1, (above | mask).sum()))
    share = float(above.mean())
    regions = find_regions(scores, calibration.pixel_threshold)
    if not 0 < share <= LARGEST_SHARE:
        return 0.0
    height, width = scores.shape
    x, y = EDGE * width, EDGE * height
    boxes = [region.box for region in regions]
    at_edge = any(x0 < x or y0 < y or x1 > width - x or y1 > height - y for x0, y0, x1, y1 in boxes)
    return float(scores.max()) / calibration.image_threshold / len(regions) * (1 - share) / (4 if at_edge else 1)


def _part(
    stored: StoredEvaluation, index: int, calibration: Calibration, number: str, files: dict[str, bytes]
) -> PicturedPart:
    image, summary = stored.images[index], stored.summary
    path, heat = stored.file_of(index), f"{number}-heat.png"
    # what is drawn into the workspace may not be there where the model goes; what is installed is
    embedded = summary.source == "elpv"
    photograph = image.path.relative_to(summary.root).as_posix() if embedded else f"{number}.jpg"
    if not embedded:
        files[photograph] = _photograph(read_image(path))
    files[heat] = _heat(stored.map_of(index), calibration)
    return PicturedPart(
        name=path.name,
        photograph=photograph,
        embedded=embedded,
        heat=heat,
        score=image.verdict_score,
        truth=GOOD if image.label == 0 else image.defect_type,
        calibration=calibration.version,
    )


def _photograph(image: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(image)
    picture.thumbnail((LONGER_SIDE, LONGER_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _heat(scores: NDArray[np.float32], calibration: Calibration) -> bytes:
    scale = HEAT_SIDE / max(scores.shape)
    size = (max(1, round(scores.shape[1] * scale)), max(1, round(scores.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    plane = np.asarray(cv2.resize(scores, size, interpolation=way), np.float32)
    rows = heat_index(plane, threshold=calibration.image_threshold, top=calibration.heat_top)
    buffer = io.BytesIO()
    Image.fromarray(heat_table("inferno")[rows]).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
