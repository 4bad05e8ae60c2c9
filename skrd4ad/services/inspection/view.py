"""How a model looks at images: whole or in tiles, and whether they are like those it was trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from skrd4ad.data.images.read import resize_image
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.reference import Reference
from skrd4ad.inference.tiling import Tiling, predict_tiled, tile_pixels_of, wants_tiles
from skrd4ad.services.inspection.guards import check as compare
from skrd4ad.services.inspection.guards import check_tiles
from skrd4ad.types import Prediction

WHOLE = "resized whole"


@dataclass(frozen=True, eq=False)
class View:
    """What a model saw of one image."""

    prediction: Prediction
    words: str
    """"resized whole", or such as "tiled 4x3 at 1:1"."""
    tiled: bool
    refusal: str | None
    """Why the image cannot be judged; None when it can, and for models without a reference."""


def look_at(
    predictor: Predictor,
    images: Sequence[NDArray[np.uint8]],
    *,
    reference: Reference | None,
    tiling: Tiling,
    check: Callable[[], None] | None = None,
) -> list[View]:
    """Views of images, (H, W, 3) RGB each, in their order; those that are seen whole go through the model together.

    Args:
        predictor: the model.
        images: of any sizes.
        reference: of the model; without it no image is refused, and none is tiled unless asked for.
        tiling: see :func:`skrd4ad.inference.tiling.wants_tiles`.
        check: called between batches of tiles; may raise to stop.

    Raises:
        ConfigError: ``tiling`` is unknown.
    """
    views: dict[int, View] = {}
    whole: list[int] = []
    for place, image in enumerate(images):
        if wants_tiles(predictor, image, reference, tiling=tiling):
            views[place] = _tiled(predictor, image, reference, check)
        else:
            whole.append(place)
    if whole:
        seen = _whole(predictor, [images[place] for place in whole], reference)
        views |= dict(zip(whole, seen, strict=True))
    return [views[place] for place in range(len(images))]


def _whole(predictor: Predictor, images: list[NDArray[np.uint8]], reference: Reference | None) -> list[View]:
    resized = [resize_image(image, predictor.image_size) for image in images]
    found = predictor.batch(torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in resized]))
    refusals = [
        None if reference is None else compare(image, embedding, reference, resized=small).refusal
        for image, embedding, small in zip(images, found.embeddings, resized, strict=True)
    ]
    return [
        View(
            Prediction(anomaly_map=found.maps[place], level_maps=found.levels[place], score=float(found.scores[place])),
            WHOLE,
            tiled=False,
            refusal=refusal,
        )
        for place, refusal in enumerate(refusals)
    ]


def _tiled(
    predictor: Predictor,
    image: NDArray[np.uint8],
    reference: Reference | None,
    check: Callable[[], None] | None,
) -> View:
    size = predictor.image_size
    tile_pixels = (size, size) if reference is None else tile_pixels_of(reference)
    found = predict_tiled(predictor, image, tile_pixels=tile_pixels, check=check)
    return View(
        found.prediction,
        found.grid.words,
        tiled=True,
        refusal=None if reference is None else check_tiles(found.tiles, found.embeddings, reference).refusal,
    )
