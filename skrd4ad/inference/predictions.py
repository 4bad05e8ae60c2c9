"""What a model says of images: decode, resize or cut into tiles, network, map, score, guards, verdict.

This is the only loop over images: Inspect, Calibrate, Label, Evaluate and the command line all run it, so that a limit
and the scores held against it are taken in the same way.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.model_input import model_input, placed_mask
from skrd4ad.data.images.read import read_image
from skrd4ad.digests import content_digest, file_digest
from skrd4ad.errors import ConfigError, ImageError
from skrd4ad.inference.predict import Predictor, on_photograph
from skrd4ad.inference.reference import Reference, read_reference, refusal_of, refusal_of_tiles
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.inference.tiling import LARGER, Tiling, predict_tiled, tiles_look_better
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.parallel import cores, grouped, ordered_map
from skrd4ad.regions import ScoringMask, find_regions, muted_map, score_under, without_small_regions
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Levels, Outcome, Prediction, Region, Verdict, height_width, verdict_of

BATCH = 8
PIXELS_AT_ONCE = 16_000_000
"""Most pixels of original images in one batch; large photographs come in smaller batches."""
DECODERS = min(4, cores())
STREAMS = 2
"""Threads that take batches: while one runs the network, the other scores what it gave."""

NO_PART = (
    "cannot judge: no part found, which is the largest thing whose colour is not that of the image's border (each "
    "training image has one)"
)
NOT_FINITE = (
    "the model's map holds values that are not finite (NaN or infinity), so there is no score. Restore the model from "
    "a copy, or train it again."
)
Source = tuple[str, Path | bytes | ImageError]
"""Name of an image, and its file or bytes, or why it could not be had."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Limits:
    """What an image is held against: a model's calibration, or a threshold given by hand."""

    reject: float
    """A part is NG above this score."""
    review: float | None
    """A part is for REVIEW above this score; None for no review."""
    pixel: float
    """A pixel is defective above this."""
    heat_top: float
    """Score at which the heat map saturates."""
    mask: ScoringMask
    """Which pixels count; the calibration's also where the threshold is given by hand."""
    calibration: int | None
    """Version of the calibration; None when the threshold is given by hand."""

    def verdict(self, score: float, refusal: str | None = None) -> Verdict:
        """See :func:`skrd4ad.types.verdict_of`."""
        return verdict_of(score, review=self.review, reject=self.reject, refusal=refusal)


@dataclass(frozen=True, eq=False, kw_only=True)
class Inspection:
    """What a model says of one image, or why it cannot say anything."""

    name: str
    content: str | None = None
    """SHA-256 of the file; None when it could not be read."""
    image: NDArray[np.uint8] | None = None
    """(H, W, 3) RGB."""
    prediction: Prediction | None = None
    limits: Limits | None = None
    """What the verdict was made with; None for a model without a calibration when no threshold was given."""
    mask: ScoringMask = field(default_factory=ScoringMask)
    """Which pixels of the map counted; regions to ignore do not apply to an image seen in tiles."""
    scored_map: NDArray[np.float32] | None = None
    """Of the map's shape: the map with 0 where it is ignored."""
    score: float | None = None
    """Of the pixels and regions that count; the raw score is always in ``prediction``."""
    verdict: Verdict | None = None
    """None without limits."""
    regions: tuple[Region, ...] = ()
    """Connected parts of the map above the pixel limit that count, highest peak first, in pixels of the image."""
    error: str | None = None
    """Why the image cannot be read; then all else is empty."""

    @property
    def refusal(self) -> str | None:
        """Why the image cannot be judged; see :class:`skrd4ad.types.Prediction`."""
        return None if self.prediction is None else self.prediction.refusal

    @property
    def outcome(self) -> Outcome:
        """The verdict, or why there is none."""
        return "UNREADABLE" if self.error is not None else self.verdict or "NO LIMIT"

    @property
    def seen_whole(self) -> bool:
        """Whether the model saw the whole image, or the whole part, at once and not in tiles."""
        return self.prediction is not None and not self.prediction.in_tiles

    @property
    def counted_map(self) -> NDArray[np.float32] | None:
        """The scored map without regions that are too small to count; None without limits."""
        if self.scored_map is None or self.limits is None:
            return None
        return without_small_regions(self.scored_map, threshold=self.limits.pixel, min_area=self.mask.min_area)


def limits_of(info: ModelInfo, threshold: float | None = None) -> Limits | None:
    """The limits of a model's calibration; None when it has none and no threshold is given. ``threshold``: NG above
    this score, in place of the calibration's thresholds; then nothing is for review."""
    calibration, mask = info.calibration, scoring_mask_of(info)
    if threshold is None:
        if calibration is None:
            return None
        return Limits(
            reject=calibration.image_threshold,
            review=calibration.review_threshold,
            pixel=calibration.pixel_threshold,
            heat_top=calibration.heat_top,
            mask=mask,
            calibration=calibration.version,
        )
    if not math.isfinite(threshold):
        raise ConfigError(f"The threshold is {threshold}; allowed: any finite number, in the unit of the scores.")
    if calibration is not None and calibration.heat_top > threshold:
        top = calibration.heat_top
    else:  # beyond the calibration's scale, it goes on by the threshold's own size
        top = 2 * threshold if threshold > 0 else threshold + 1
    return Limits(reject=threshold, review=None, pixel=threshold, heat_top=top, mask=mask, calibration=None)


def predict_images(
    predictor: Predictor,
    sources: Iterable[Source],
    *,
    limits: Limits | None,
    mask: ScoringMask | None = None,
    tiling: Tiling = "auto",
    batch: int = BATCH,
    task: Task = QUIET,
) -> Iterator[Inspection]:
    """Inspections of images, in their order; an unreadable image gives one with its error.

    Decoding, the network and the scoring overlap in a few threads; at most three batches are in memory. ``limits`` give
    verdicts and regions, None scores alone; ``mask`` says which pixels count in the scores, None takes that of the
    limits. ``task`` is checked before each result is given and, from other threads, between tiles.
    """
    if tiling not in get_args(Tiling):
        raise ConfigError(f"Tiling is {tiling!r}; allowed: {', '.join(get_args(Tiling))}.")
    mask = mask or (ScoringMask() if limits is None else limits.mask)
    reference = read_reference(predictor.info.folder)
    decode_one = partial(decode, levels=predictor.info.levels)

    def inspect(decoded: list[Inspection]) -> list[Inspection]:
        return inspect_batch(
            predictor, decoded, limits=limits, mask=mask, reference=reference, tiling=tiling, task=task
        )

    def inspections() -> Iterator[Inspection]:
        decoded = ordered_map(
            decode_one, sources, workers=DECODERS, ahead=2 * batch, size=_bytes, most=3 * PIXELS_AT_ONCE
        )
        batches = grouped(decoded, most=batch, size=_bytes, room=3 * PIXELS_AT_ONCE)
        for inspected in ordered_map(inspect, batches, workers=STREAMS, ahead=STREAMS):
            for inspection in inspected:
                task.check()
                yield inspection

    return inspections()


def inspect_batch(
    predictor: Predictor,
    decoded: Sequence[Inspection],
    *,
    limits: Limits | None,
    mask: ScoringMask,
    reference: Reference | None,
    tiling: Tiling = "auto",
    task: Task = QUIET,
) -> list[Inspection]:
    """Inspections of images that :func:`decode` gave, in their order; arguments as for :func:`predict_images`."""
    images = [each.image for each in decoded if each.image is not None]
    predictions = iter(predict_batch(predictor, images, reference=reference, tiling=tiling, task=task))
    return [each if each.image is None else _scored(each, next(predictions), limits, mask) for each in decoded]


def predict_batch(
    predictor: Predictor,
    images: Sequence[NDArray[np.uint8]],
    *,
    reference: Reference | None,
    tiling: Tiling = "auto",
    task: Task = QUIET,
) -> list[Prediction]:
    """Predictions for images, (H, W, 3) RGB each, in their order; those seen whole go through the network together.
    ``reference``: of the model; without it no image is refused, and none is tiled unless asked for."""
    in_tiles = [wants_tiles(predictor, image, reference, tiling=tiling) for image in images]
    size, alignment = predictor.image_size, predictor.info.alignment
    seen = [model_input(image, size, alignment) for image, tiled in zip(images, in_tiles, strict=True) if not tiled]
    if seen:
        maps = predictor.batch(np.stack([pixels for pixels, _ in seen]))
    rows = itertools.count()
    predictions = []
    for image, tiled in zip(images, in_tiles, strict=True):
        refusal = None
        if tiled:
            # without a reference nobody knows the scale of the training: then one pixel for a pixel
            height, width = height_width(size)
            tile_pixels = (width, height) if reference is None else (reference.width, reference.height)
            prediction, embeddings, tiles = predict_tiled(
                predictor, image, tile_pixels=tile_pixels, task=Task(check=task.check)
            )
            if reference is not None:
                refusal = refusal_of_tiles(tiles, embeddings, reference)
        else:
            row = next(rows)
            pixels, aligned = seen[row]
            prediction = on_photograph(maps.prediction(row), aligned)
            if alignment is not None and aligned is None:
                refusal = NO_PART
            elif reference is not None:
                refusal = refusal_of(image, maps.embeddings[row], reference, resized=pixels, aligned=aligned)
        predictions.append(replace(prediction, refusal=refusal))
    return predictions


def wants_tiles(
    predictor: Predictor, image: NDArray[np.uint8], reference: Reference | None, *, tiling: Tiling = "auto"
) -> bool:
    """Whether an image, (H, W, 3) RGB, is to be seen in tiles at the scale of the training images.

    ``auto``: when the size of the training images is known, the shorter side of the image is more than ``LARGER``
    times theirs, and tiles look more like them to the teacher than the whole image does; never where the model looks at
    the part alone. So a large photograph of a surface is tiled, and a part that is merely photographed with more pixels
    is not. Each tile is one more chance of a false reject.
    """
    if tiling != "auto" or reference is None or predictor.info.alignment is not None:
        return tiling == "on"
    is_larger = min(image.shape[:2]) > LARGER * min(reference.width, reference.height)
    return is_larger and tiles_look_better(predictor, image, reference)


def decode(source: Source, *, levels: Levels | None) -> Inspection:
    """An image with nothing said of it yet, or why it cannot be read; ``levels``: of the model."""
    name, given = source
    try:
        if isinstance(given, ImageError):
            raise given
        content = content_digest(given) if isinstance(given, bytes) else file_digest(given, error=ImageError)
        return Inspection(name=name, content=content, image=read_image(given, name=name, levels=levels))
    except ImageError as error:
        return Inspection(name=name, error=str(error))


def under_limits(inspection: Inspection, limits: Limits | None) -> Inspection:
    """The same image held against other limits, without asking the model again."""
    if inspection.prediction is None:
        return inspection
    decoded = Inspection(name=inspection.name, content=inspection.content, image=inspection.image)
    return _scored(decoded, inspection.prediction, limits, ScoringMask() if limits is None else limits.mask)


def _bytes(decoded: Inspection) -> int:
    return 0 if decoded.image is None else decoded.image.size


def _scored(decoded: Inspection, prediction: Prediction, limits: Limits | None, mask: ScoringMask) -> Inspection:
    """The inspection of a decoded image with its score and, where there are limits, verdict and regions."""
    if not np.isfinite(prediction.anomaly_map).all():
        return Inspection(name=decoded.name, content=decoded.content, error=f"{decoded.name}: {NOT_FINITE}")
    if prediction.in_tiles:
        mask = ScoringMask(min_area=mask.min_area)  # regions to ignore were drawn on one field of view
    assert decoded.image is not None
    scored = counted_map_of(prediction, mask, decoded.image.shape)
    score = score_under(scored, ScoringMask(min_area=mask.min_area))
    inspection = replace(decoded, prediction=prediction, limits=limits, mask=mask, scored_map=scored, score=score)
    if limits is None:
        return replace(inspection, verdict="CANNOT JUDGE") if prediction.refusal else inspection
    # found on the map, where they agree with the score, and then scaled to the image
    regions = find_regions(scored, limits.pixel, min_area=mask.min_area)
    return replace(
        inspection,
        verdict=limits.verdict(score, prediction.refusal),
        regions=tuple(_in_image(region, scored.shape, decoded.image.shape) for region in regions),
    )


def counted_map_of(prediction: Prediction, mask: ScoringMask, image: tuple[int, ...]) -> NDArray[np.float32]:
    """The map of an image, of height and width ``image``, with 0 where it is ignored: nowhere in tiles, and where the
    model looked at the part, on the part."""
    plane = prediction.anomaly_map
    ignored = ignored_of(prediction, mask, image, plane.shape)
    return muted_map(plane, replace(mask, ignored=ignored))


def ignored_of(
    prediction: Prediction, mask: ScoringMask, image: tuple[int, ...], size: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """Pixels of an image, of height and width ``image``, that are ignored, as a mask of any size; None when nothing is.
    ``size``: of the map, which a mask on the part gets."""
    if mask.ignored is None or prediction.in_tiles:
        return None
    return mask.ignored if prediction.frame is None else placed_mask(mask.ignored, prediction.frame, image, size)


def _in_image(region: Region, of_map: tuple[int, ...], of_image: tuple[int, ...]) -> Region:
    """A region of the map in pixels of the image; a pixel's centre lies half a pixel from its edge in both."""
    across, down = of_image[1] / of_map[1], of_image[0] / of_map[0]
    x0, y0, x1, y1 = region.box
    x, y = region.centroid
    return replace(
        region,
        area=max(1, round(region.area * across * down)),
        box=(math.floor(x0 * across), math.floor(y0 * down), math.ceil(x1 * across), math.ceil(y1 * down)),
        centroid=((x + 0.5) * across - 0.5, (y + 0.5) * down - 0.5),
    )
