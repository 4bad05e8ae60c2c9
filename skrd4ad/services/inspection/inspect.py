"""Looking at images with a trained model: verdicts, regions and files, for the command line and the app alike."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.read import read_image
from skrd4ad.errors import ConfigError, DataError, ImageError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.reference import read_reference
from skrd4ad.inference.scoring import Surface, without_small_regions
from skrd4ad.inference.tiling import Tiling
from skrd4ad.parallel import grouped, in_order
from skrd4ad.regions import region_mask
from skrd4ad.services.inspection.verdict import Limits, judge, limits_of
from skrd4ad.services.inspection.view import View, look_at
from skrd4ad.types import Prediction, Region, Verdict
from skrd4ad.visualize import overlay, resize_map

BATCH = 8
PIXELS_AT_ONCE = 16_000_000
"""Pixels of original images in a batch, and of those that wait for one; large photographs come in smaller batches."""
DECODERS = min(4, os.cpu_count() or 1)
LOOKERS = 2
"""Threads that look at batches: while one computes the network, the other judges what it found."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Inspection:
    """What a model says of one image, or why it cannot say anything."""

    name: str
    """Path or file name that was given."""
    image: NDArray[np.uint8] | None = None
    """(H, W, 3) RGB."""
    prediction: Prediction | None = None
    verdict: Verdict | None = None
    """None without a threshold."""
    score: float | None = None
    """The score that the verdict was made with: that of the pixels and regions which count. Without a threshold the
    raw score, which is always in ``prediction``."""
    threshold: float | None = None
    """NG above this score; None when the model has no calibration and no threshold was given."""
    review_threshold: float | None = None
    """REVIEW above this score; None when nothing is for review."""
    pixel_threshold: float | None = None
    """A pixel is defective above this; None without a threshold."""
    calibration: int | None = None
    """Version of the calibration that the verdict was made with; None for a threshold given by hand, or none."""
    judged_map: NDArray[np.float32] | None = None
    """Of the map's shape: the map with 0 where the calibration ignores it."""
    min_area: int = 1
    """Pixels of the map; a smaller region does not count."""
    heat_top: float | None = None
    """Score at which the heat map saturates; None without a threshold."""
    regions: tuple[Region, ...] = ()
    """Connected parts of the map above the pixel threshold that count, highest peak first, in pixels of the image."""
    view: str = ""
    """How the model saw the image: "resized whole", or such as "tiled 4x3 at 1:1"."""
    refusal: str | None = None
    """Why the verdict should not be trusted: "cannot judge: …", when the image is not like the training images; None
    when it is, or when the model does not know them. It stands beside the verdict and does not change it."""
    error: str | None = None
    """Why the image cannot be read; then all else is empty."""


def inspect_images(
    predictor: Predictor,
    sources: Iterable[tuple[str, Path | bytes | ImageError]],
    *,
    threshold: float | None = None,
    tiling: Tiling = "auto",
    batch: int = BATCH,
    check: Callable[[], None] | None = None,
) -> Iterator[Inspection]:
    """Inspections of images, in their order; an unreadable image gives one with its error.

    Decoding, the network and the judging overlap in a few threads. Memory stays constant: three batches at most are
    held, two of them looked at while the third is read.

    Regions are found on the map at the model's size, where they agree with the score, and their area, box and
    centroid are scaled to the image.

    Args:
        predictor: the model.
        sources: a name for each image, and its file or bytes, or why it could not be had.
        threshold: limit to use instead of the model's; nothing is for review then, and no calibration is named.
        tiling: whether large images are seen in tiles at the scale of the training images: by the rule of
            :func:`skrd4ad.inference.tiling.wants_tiles` (auto), always (on) or never (off). Regions to ignore were
            drawn on one field of view and are not used on tiles; each tile is one more chance of a false reject.
        batch: images the model looks at together, at most.
        check: called before each result is given, and between tiles, then from other threads; may raise to stop.

    Raises:
        ConfigError: the threshold is not a number, or the tiling is unknown.
        CheckpointError: the mask of ignored regions or the reference of the training images is missing or damaged.
    """
    limits = limits_of(predictor.info, threshold)
    if tiling not in get_args(Tiling):
        raise ConfigError(f"Tiling is {tiling!r}; allowed: {', '.join(get_args(Tiling))}.")
    reference = read_reference(predictor.info.folder)

    def look(decoded: list[_Decoded]) -> list[Inspection]:
        images = [each.image for each in decoded if each.image is not None]
        seen = iter(look_at(predictor, images, reference=reference, tiling=tiling, check=check) if images else ())
        return [
            Inspection(name=each.name, error=each.error)
            if each.image is None
            else _inspected(each.name, each.image, next(seen), limits)
            for each in decoded
        ]

    decoded = in_order(_decode, sources, workers=DECODERS, ahead=2 * batch, size=_bytes, most=3 * PIXELS_AT_ONCE)
    batches = grouped(decoded, most=batch, size=_bytes, room=3 * PIXELS_AT_ONCE)
    looks = in_order(look, batches, workers=LOOKERS, ahead=LOOKERS)
    return _checked((inspection for inspections in looks for inspection in inspections), check)


def overlay_of(inspection: Inspection) -> NDArray[np.uint8]:
    """The image with the heat of its map, (H, W, 3) RGB.

    Without a threshold there is no common scale: the heat then shows the upper half of this image's own scores, and
    no outlines.

    Raises:
        DataError: the image could not be read.
    """
    image, prediction = _seen(inspection)
    counted = counted_map(inspection)
    if counted is None or inspection.pixel_threshold is None or inspection.heat_top is None:
        return overlay(
            image, prediction.anomaly_map, threshold=prediction.score / 2, top=prediction.score, outlines=False
        )
    return overlay(image, counted, threshold=inspection.pixel_threshold, top=inspection.heat_top)


def counted_map(inspection: Inspection) -> NDArray[np.float32] | None:
    """(S, S): the map without what does not count: ignored pixels, and regions too small; None without a threshold."""
    if inspection.judged_map is None or inspection.pixel_threshold is None:
        return None
    return without_small_regions(
        inspection.judged_map, threshold=inspection.pixel_threshold, min_area=inspection.min_area
    )


def mask_of(inspection: Inspection) -> NDArray[np.uint8] | None:
    """Pixels of the image above the pixel threshold that count, (H, W) 0 or 255; None without a threshold.

    Raises:
        DataError: the image could not be read.
    """
    image, _ = _seen(inspection)
    counted = counted_map(inspection)
    if counted is None or inspection.pixel_threshold is None:
        return None
    scores = resize_map(counted, height=image.shape[0], width=image.shape[1])
    return region_mask(scores, inspection.pixel_threshold).astype(np.uint8) * 255


def write_outputs(inspection: Inspection, folder: Path, *, name: str) -> dict[str, Path]:
    """Write NAME_map.npy (float32, raw scores), NAME_overlay.png and, with a threshold, NAME_mask.png.

    Args:
        inspection: of an image that could be read.
        folder: made when missing.
        name: as :func:`skrd4ad.services.inspection.input_files.output_names` gives it; may contain sub-folders.

    Returns:
        Paths by kind: map, overlay, mask.

    Raises:
        DataError: a file cannot be written, or the image could not be read.
    """
    _, prediction = _seen(inspection)
    mask = mask_of(inspection)
    files = {"map": folder / f"{name}_map.npy", "overlay": folder / f"{name}_overlay.png"}
    try:
        files["map"].parent.mkdir(parents=True, exist_ok=True)
        np.save(files["map"], prediction.anomaly_map.astype(np.float32), allow_pickle=False)
        files["overlay"].write_bytes(png_bytes(overlay_of(inspection)))
        if mask is not None:
            files["mask"] = folder / f"{name}_mask.png"
            files["mask"].write_bytes(png_bytes(mask))
    except OSError as error:
        raise DataError(f"Results cannot be written to {folder}: {error}. Choose a folder you may write to.") from error
    return files


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """PNG file of an image, (H, W, 3) RGB or (H, W) grey."""
    _, encoded = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    return encoded.tobytes()


@dataclass(frozen=True, eq=False)
class _Decoded:
    name: str
    image: NDArray[np.uint8] | None
    error: str | None = None


def _bytes(decoded: _Decoded) -> int:
    return 0 if decoded.image is None else decoded.image.size


def _checked(inspections: Iterator[Inspection], check: Callable[[], None] | None) -> Iterator[Inspection]:
    for inspection in inspections:
        if check is not None:
            check()
        yield inspection


def _decode(item: tuple[str, Path | bytes | ImageError]) -> _Decoded:
    name, source = item
    try:
        if isinstance(source, ImageError):
            raise source
        return _Decoded(name, read_image(source, name=name))
    except ImageError as error:
        return _Decoded(name, None, str(error))


def _inspected(name: str, image: NDArray[np.uint8], view: View, limits: Limits | None) -> Inspection:
    seen = Inspection(
        name=name,
        image=image,
        prediction=view.prediction,
        score=view.prediction.score,
        view=view.words,
        refusal=view.refusal,
    )
    if limits is None:
        return seen
    if view.tiled:
        limits = replace(limits, surface=Surface(min_area=limits.surface.min_area))
    return _judged(seen, image, view.prediction, limits)


def _judged(seen: Inspection, image: NDArray[np.uint8], prediction: Prediction, limits: Limits) -> Inspection:
    judgement = judge(prediction.anomaly_map, limits)
    return replace(
        seen,
        verdict=judgement.verdict,
        score=judgement.score,
        threshold=limits.reject,
        review_threshold=limits.review,
        pixel_threshold=limits.pixel,
        calibration=limits.calibration,
        judged_map=judgement.judged_map,
        min_area=limits.surface.min_area,
        heat_top=limits.heat_top,
        regions=tuple(_scaled(region, prediction.anomaly_map, image) for region in judgement.regions),
    )


def _scaled(region: Region, plane: NDArray[np.float32], image: NDArray[np.uint8]) -> Region:
    """A region of the map in pixels of the image; a pixel's centre lies half a pixel from its edge in both."""
    height, width = image.shape[:2]
    across, down = width / plane.shape[1], height / plane.shape[0]
    x0, y0, x1, y1 = region.box
    return Region(
        area=max(1, round(region.area * across * down)),
        peak=region.peak,
        mean=region.mean,
        box=(math.floor(x0 * across), math.floor(y0 * down), math.ceil(x1 * across), math.ceil(y1 * down)),
        centroid=((region.centroid[0] + 0.5) * across - 0.5, (region.centroid[1] + 0.5) * down - 0.5),
    )


def _seen(inspection: Inspection) -> tuple[NDArray[np.uint8], Prediction]:
    if inspection.image is None or inspection.prediction is None:
        raise DataError(f"{inspection.name} could not be read, so there is nothing to show: {inspection.error}")
    return inspection.image, inspection.prediction
