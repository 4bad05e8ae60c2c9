"""Where a drawing may start: the anomaly map of an image, without what the calibration ignores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.reference import read_reference
from skrd4ad.inference.scoring import muted_map
from skrd4ad.services.inspection.verdict import Limits
from skrd4ad.services.inspection.view import look_at


@dataclass(frozen=True, eq=False)
class StartMap:
    """A map to take regions from."""

    values: NDArray[np.float32]
    """(h, w), raw scores; 0 where the image is ignored."""
    threshold: float | None
    """A pixel is defective above this; None without limits."""


def start_map(predictor: Predictor, image: NDArray[np.uint8], limits: Limits | None) -> StartMap:
    """The map of an image, seen as on the Inspect page.

    Args:
        image: (H, W, 3) RGB, of any size.
        limits: of the model; None for a model without a calibration.
    """
    [view] = look_at(predictor, [image], reference=read_reference(predictor.info.folder), tiling="auto")
    values = view.prediction.anomaly_map
    if limits is None:
        return StartMap(values, None)
    # regions to ignore were drawn on the whole field of view
    return StartMap(values if view.tiled else muted_map(values, limits.surface), limits.pixel)
