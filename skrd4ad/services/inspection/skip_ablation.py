"""What the skip connections add: anomaly maps of the same student with some of them cut."""

import copy
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.model_input import model_input
from skrd4ad.inference.predict import Predictor, on_photograph

if TYPE_CHECKING:
    from skrd4ad.models.skrd import Decoder

CUT_NOTE = "the same student with its skips cut; a model trained without skips is RD4AD and is trained separately"
"""To be shown beside the maps: a student that has learnt with skips is at a disadvantage without them."""


def skip_text(skips: int) -> str:
    """Name of a view: "no skip", "1 skip", "2 skips"."""
    return {0: "no skip", 1: "1 skip"}.get(skips, f"{skips} skips")


def skip_ablation(predictor: Predictor, image: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
    """Anomaly maps of an image, (H, W, 3) RGB of any size, by the number of skip connections left: none to all.

    The image is seen at once, not in tiles, and teacher and bottleneck run once. Each map is that of a prediction, in
    the unit of the model's own, which is the one with all skips. The predictor is left as it is, so that other threads
    may use it meanwhile.
    """
    student = predictor.model.student  # brings torch with it, which nobody needs before
    import torch

    from skrd4ad.inference.network import maps_of, tensor_of

    seen, aligned = model_input(image, predictor.image_size, predictor.info.alignment)
    pixels = tensor_of(seen[None])
    with torch.inference_mode():
        features = predictor.model.teacher(pixels)
        embedding = student.bn(features)
        restored = {
            skips: _cut(student.decoder, skips)(embedding, features) for skips in range(student.decoder.skips + 1)
        }
        size, normality = predictor.image_size, predictor.model.normality
        return {
            skips: on_photograph(
                maps_of(features, own, size=size, normality=normality).prediction(0), aligned
            ).anomaly_map
            for skips, own in restored.items()
        }


def _cut(decoder: "Decoder", skips: int) -> "Decoder":
    """The decoder with fewer skips; a shallow copy shares the weights, but not the number of skips."""
    shortened = copy.copy(decoder)
    shortened.skips = skips
    return shortened
