"""What a model computes of images, whatever computes it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skrd4ad.types import Prediction


@dataclass(frozen=True, eq=False)
class Maps:
    """Predictions of a batch of B images at the model's image size, H x W."""

    levels: NDArray[np.float32]
    """(B, L, H, W), finest level first, then that of the nearest good patches where the model has one; not blurred."""
    maps: NDArray[np.float32]
    """(B, H, W)."""
    scores: NDArray[np.float32]
    """(B,)."""
    embeddings: NDArray[np.float32]
    """(B, C): the teacher's coarsest features, averaged over the image; what kind of part it shows."""

    def prediction(self, row: int) -> Prediction:
        """What is said of one image."""
        return Prediction(anomaly_map=self.maps[row], level_maps=self.levels[row], score=float(self.scores[row]))


Look = Callable[[NDArray[np.uint8]], Maps]
"""Maps of images (B, H, W, 3) RGB by some runtime."""
