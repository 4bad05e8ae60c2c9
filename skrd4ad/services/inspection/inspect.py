"""Inspections for the command line and the app: verdicts, and the files, records and table rows made of them."""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import DataError
from skrd4ad.files import new_file
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import (
    BATCH,
    Inspection,
    Limits,
    Source,
    counted_map_of,
    limits_of,
    predict_batch,
    predict_images,
)
from skrd4ad.inference.reference import read_reference
from skrd4ad.inference.tiling import Tiling
from skrd4ad.regions import region_mask
from skrd4ad.services.access import needs
from skrd4ad.services.inspection.input_files import distinct
from skrd4ad.services.inspection.predictions import PredictionStore
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Pitch, Prediction, Region, pitch_xy
from skrd4ad.visualize import overlay, resize_map

T = TypeVar("T")


@needs("inspector", "inspect images")
def inspect_images(
    predictor: Predictor,
    sources: Iterable[Source],
    *,
    threshold: float | None = None,
    tiling: Tiling = "auto",
    batch: int = BATCH,
    task: Task = QUIET,
) -> Iterator[Inspection]:
    """Inspections of images, in their order, whose scores are kept; an unreadable image gives one with its error.

    With ``threshold`` in place of the model's limits nothing is for review, and no calibration is named.
    """
    limits = limits_of(predictor.info, threshold)
    found = predict_images(predictor, sources, limits=limits, tiling=tiling, batch=batch, task=task)
    if tiling != "auto":
        return found
    store = PredictionStore(predictor.info, None if limits is None else limits.mask, runtime=predictor.runtime)
    return store.recorded(found)


@dataclass(frozen=True, eq=False)
class StartMap:
    """An anomaly map to take the first outline of a defect from."""

    values: NDArray[np.float32]
    """(h, w), raw scores; 0 where the image is ignored."""
    threshold: float | None
    """A pixel is defective above this; None without limits."""


def start_map(predictor: Predictor, image: NDArray[np.uint8], limits: Limits | None) -> StartMap:
    """The map of an image, (H, W, 3) RGB of any size, seen as on the Inspect page."""
    [prediction] = predict_batch(predictor, [image], reference=read_reference(predictor.info.folder))
    if limits is None:
        return StartMap(prediction.anomaly_map, None)
    return StartMap(counted_map_of(prediction, limits.mask, image.shape), limits.pixel)


def overlay_of(inspection: Inspection) -> NDArray[np.uint8]:
    """The image with the heat of its map, (H, W, 3) RGB.

    Without limits there is no common scale: the heat then shows the upper half of this image's own scores, and no
    outlines.
    """
    image, prediction = _readable(inspection)
    counted, limits = inspection.counted_map, inspection.limits
    if counted is None or limits is None:
        top = prediction.score
        return overlay(image, prediction.anomaly_map, threshold=top / 2, top=top, outlines=False)
    return overlay(image, counted, threshold=limits.pixel, top=limits.heat_top)


def mask_of(inspection: Inspection) -> NDArray[np.uint8] | None:
    """Pixels of the image above the pixel limit that count, (H, W) 0 or 255; None without limits."""
    image, _ = _readable(inspection)
    counted, limits = inspection.counted_map, inspection.limits
    if counted is None or limits is None:
        return None
    scores = resize_map(counted, height=image.shape[0], width=image.shape[1])
    return region_mask(scores, limits.pixel).astype(np.uint8) * 255


@needs("inspector", "keep what was inspected")
def write_outputs(inspection: Inspection, folder: Path, *, name: str) -> dict[str, Path]:
    """Write NAME_map.npy (float32, raw scores), NAME_overlay.png and, with a threshold, NAME_mask.png.

    ``name`` may contain sub-folders; the folder is made when missing. Returns the paths by kind: map, overlay, mask.
    """
    _, prediction = _readable(inspection)
    mask = mask_of(inspection)
    scores = io.BytesIO()
    np.save(scores, prediction.anomaly_map.astype(np.float32), allow_pickle=False)
    contents = {"map.npy": scores.getvalue(), "overlay.png": png_bytes(overlay_of(inspection))}
    contents |= {} if mask is None else {"mask.png": png_bytes(mask)}
    files = {kind: folder / f"{name}_{kind}" for kind in contents}
    for kind, content in contents.items():
        with new_file(files[kind], durable=False, error=DataError) as temporary:
            temporary.write_bytes(content)
    return {kind.partition(".")[0]: file for kind, file in files.items()}


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """PNG file of an image, (H, W, 3) RGB or (H, W) grey."""
    _, encoded = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    return encoded.tobytes()


def masks_archive(
    inspections: Iterable[Inspection], *, names: Sequence[str], report: Callable[[Iterable[Inspection]], T]
) -> tuple[T, bytes]:
    """What ``report`` makes of the inspections, and a ZIP file with overlay, mask and raw map of each.

    Every inspection is taken once. Unreadable images have no files; without a threshold there are no masks. Files are
    named by ``names``, one an image, with their folders.
    """
    content = io.BytesIO()
    stems = distinct(_stem(name) for name in names)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:

        def kept() -> Iterator[Inspection]:
            for stem, inspection in zip(stems, inspections, strict=True):
                if inspection.prediction is not None:
                    archive.writestr(f"{stem}_overlay.png", png_bytes(overlay_of(inspection)))
                    if (mask := mask_of(inspection)) is not None:
                        archive.writestr(f"{stem}_mask.png", png_bytes(mask))
                    scores = io.BytesIO()
                    np.save(scores, inspection.prediction.anomaly_map, allow_pickle=False)
                    archive.writestr(f"{stem}_map.npy", scores.getvalue())
                yield inspection

        made = report(kept())
    return made, content.getvalue()


def to_record(inspection: Inspection, *, mm_per_pixel: Pitch | None = None) -> dict[str, Any]:
    """JSON-ready form; with a scale, in mm per pixel, regions have area_mm2, box_mm and centroid_mm too."""
    prediction, limits = inspection.prediction, inspection.limits
    return {
        "path": inspection.name,
        "score": inspection.score,
        "raw_score": None if prediction is None else prediction.score,
        "verdict": inspection.verdict,
        "threshold": None if limits is None else limits.reject,
        "review_threshold": None if limits is None else limits.review,
        "calibration": None if limits is None else limits.calibration,
        "view": "" if prediction is None else prediction.view,
        "refusal": inspection.refusal,
        "regions": [_region_record(region, mm_per_pixel) for region in inspection.regions],
        "error": inspection.error,
    }


def _region_record(region: Region, mm_per_pixel: Pitch | None) -> dict[str, Any]:
    record = asdict(region)
    if mm_per_pixel is None:
        return record
    x, y = pitch_xy(mm_per_pixel)
    return record | {
        "area_mm2": region.area * (x * y),
        "box_mm": tuple(edge * mm for edge, mm in zip(region.box, (x, y, x, y), strict=True)),
        "centroid_mm": (region.centroid[0] * x, region.centroid[1] * y),
    }


def image_row(inspection: Inspection) -> dict[str, Any]:
    """One row of a table of images."""
    record = to_record(inspection)
    regions = record.pop("regions")
    return {**record, "regions": len(regions), "area": sum(region["area"] for region in regions)}


def _readable(inspection: Inspection) -> tuple[NDArray[np.uint8], Prediction]:
    if inspection.image is None or inspection.prediction is None:
        raise DataError(f"{inspection.name} could not be read, so there is nothing to show: {inspection.error}")
    return inspection.image, inspection.prediction


def _stem(name: str) -> str:
    """Name without suffix; a path keeps its folders, without leading anywhere else."""
    parts = name.replace("\\", "/").rsplit(".", 1)[0].split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..")) or "image"
