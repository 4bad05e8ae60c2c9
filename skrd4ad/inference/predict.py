"""Anomaly maps and scores from a trained model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skrd4ad.anomaly_map import anomaly_map, image_score, level_maps
from skrd4ad.data.images.read import resize_image
from skrd4ad.inference.reference import pooled
from skrd4ad.model_folder.folder import load_model
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.normality import Normality
from skrd4ad.models.skrd import SKRD4AD
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Prediction


@dataclass(frozen=True, eq=False)
class Maps:
    """Predictions of a batch of B images at the model's image size S."""

    levels: NDArray[np.float32]
    """(B, L, S, S), finest level first, then that of the nearest good patches where the model has one; not blurred."""
    maps: NDArray[np.float32]
    """(B, S, S)."""
    scores: NDArray[np.float32]
    """(B,)."""
    embeddings: NDArray[np.float32]
    """(B, C): the teacher's coarsest features, averaged over the image; what kind of part it shows."""

    def prediction(self, row: int) -> Prediction:
        """What is said of one image."""
        return Prediction(anomaly_map=self.maps[row], level_maps=self.levels[row], score=float(self.scores[row]))


def maps_of(features: list[Tensor], restored: list[Tensor], *, size: int, normality: Normality | None = None) -> Maps:
    """Maps and scores from teacher and restored features; ``normality`` is the model's."""
    levels = level_maps(features, restored, size=size, normality=normality)
    maps = anomaly_map(levels, normality=normality)
    return Maps(
        levels=levels.cpu().numpy(),
        maps=maps.cpu().numpy(),
        scores=image_score(maps).cpu().numpy(),
        embeddings=pooled(features[-1]),
    )


Look = Callable[[Tensor], Maps]
"""Maps of images (B, 3, S, S) uint8 RGB by some runtime."""
Network = Callable[[Tensor], tuple[list[Tensor], list[Tensor]]]
"""Teacher and student somewhere: what :class:`skrd4ad.models.skrd.SKRD4AD` gives of images (B, 3, S, S)."""


def by_network(network: Network, *, size: int, normality: Normality | None) -> Look:
    """Maps by teacher and student, and by torch in ordinary memory from there on. Arguments as for :func:`maps_of`."""

    def look(images: Tensor) -> Maps:
        with torch.inference_mode():
            features, restored = network(images)
            return maps_of(features, restored, size=size, normality=normality)

    return look


class Predictor:
    """A trained model ready to look at images. Safe to share between threads: nothing in it changes."""

    def __init__(self, model: SKRD4AD, info: ModelInfo, *, look: Look | None = None, runtime: str = "torch") -> None:
        """``look`` computes maps and scores, the model itself when it is None; ``runtime`` names what computes."""
        self.model = model.eval()
        self.info = info
        self._look = look or by_network(self.model, size=self.image_size, normality=model.normality)
        self.runtime = runtime

    @staticmethod
    def load(folder: Path, *, weights: Path | None = None, task: Task = QUIET) -> "Predictor":
        """Predictor of a model folder."""
        return Predictor(*load_model(folder, weights=weights, task=task))

    def with_info(self, info: ModelInfo) -> "Predictor":
        """The same network with what is known of the model now, its calibration above all."""
        return Predictor(self.model, info, look=self._look, runtime=self.runtime)

    @property
    def image_size(self) -> int:
        """Side S of the images and maps."""
        return self.info.model.image_size

    def batch(self, images: Tensor) -> Maps:
        """Maps of images that have the model's size: (B, 3, S, S) uint8 RGB."""
        return self._look(images)

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        """Prediction for one image of any size: (H, W, 3) uint8 RGB, resized to the model's size."""
        pixels = torch.from_numpy(resize_image(image, self.image_size)).permute(2, 0, 1)[None]
        return self.batch(pixels).prediction(0)
