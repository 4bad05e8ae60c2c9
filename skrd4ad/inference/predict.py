"""A trained model ready to look at images, by whatever runtime."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.find_part import AlignedImage
from skrd4ad.data.images.model_input import model_input
from skrd4ad.inference.maps import Look, Maps
from skrd4ad.model_folder.info import ModelInfo, read_info, require_own_weights
from skrd4ad.models.installed import require_torch
from skrd4ad.task import QUIET, Task
from skrd4ad.types import ImageSize, Prediction

if TYPE_CHECKING:
    from skrd4ad.models.skrd import SKRD4AD


class Predictor:
    """A trained model ready to look at images. Safe to share between threads: nothing in it changes."""

    def __init__(
        self,
        model: "SKRD4AD | None",
        info: ModelInfo,
        *,
        look: Look | None = None,
        runtime: str = "torch",
        weights: Path | None = None,
    ) -> None:
        """``model``: teacher and student in torch; None to read them from the folder when they are asked for, with the
        teacher's ``weights``. ``look`` computes maps and scores, the model itself when it is None; ``runtime`` names
        what computes."""
        self.info = info
        self.runtime = runtime
        self._load: Callable[[], SKRD4AD]
        if model is None:
            self._load = cache(lambda: _network_of(info.folder, weights=weights))
        else:
            network = model.eval()
            self._load = lambda: network
        self._look = look or self._by_torch()

    @staticmethod
    def load(folder: Path, *, weights: Path | None = None, task: Task = QUIET) -> "Predictor":
        """Predictor of a model folder by torch, the reference that other runtimes are compared with."""
        require_torch("Running a model by torch")
        from skrd4ad.model_folder.network import load_model

        return Predictor(*load_model(folder, weights=weights, task=task))

    @staticmethod
    def lazy(folder: Path, *, weights: Path | None = None) -> "Predictor":
        """Predictor of a model folder whose network is read when it is first asked for.

        Raises:
            CheckpointError: the folder is damaged.
        """
        info = read_info(folder)
        require_own_weights(info)
        return Predictor(None, info, weights=weights)

    def with_info(self, info: ModelInfo) -> "Predictor":
        """The same network with what is known of the model now, its calibration above all."""
        other = copy.copy(self)
        other.info = info
        return other

    def computed_by(self, look: Look, *, runtime: str) -> "Predictor":
        """The same model by another runtime; the network stays at hand for what looks inside it."""
        other = copy.copy(self)
        other._look, other.runtime = look, runtime
        return other

    @property
    def model(self) -> "SKRD4AD":
        """Teacher and student in torch, for what looks inside them or converts them.

        Raises:
            ConfigError: torch is not installed.
        """
        return self._load()

    @property
    def image_size(self) -> ImageSize:
        """Of the images and maps."""
        return self.info.model.image_size

    def batch(self, images: NDArray[np.uint8]) -> Maps:
        """Maps of images that have the model's size: (B, H, W, 3) RGB."""
        return self._look(images)

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        """Prediction for one image of any size: (H, W, 3) uint8 RGB, resized or aligned to the model's size."""
        pixels, aligned = model_input(image, self.image_size, self.info.alignment)
        return on_photograph(self.batch(pixels[None]).prediction(0), aligned)

    def _by_torch(self) -> Look:
        load, size = self._load, self.image_size
        own = cache(lambda: _look_of(load(), size=size))
        return lambda images: own()(images)


def on_photograph(prediction: Prediction, aligned: AlignedImage | None) -> Prediction:
    """What is said of an aligned image, over the whole photograph; the same where it was seen whole."""
    if aligned is None:
        return prediction
    plane = aligned.on_photograph(prediction.anomaly_map)
    return replace(
        prediction,
        anomaly_map=plane,
        level_maps=np.stack([aligned.on_photograph(level) for level in prediction.level_maps]),
        score=float(plane.max()),
        view=f"cropped to the part, turned by {aligned.turned:.0f}°" if aligned.turned else "cropped to the part",
        frame=aligned.frame,
    )


def _network_of(folder: Path, *, weights: Path | None) -> "SKRD4AD":
    require_torch("Looking inside a model")
    from skrd4ad.model_folder.network import load_model

    return load_model(folder, weights=weights)[0]


def _look_of(model: "SKRD4AD", *, size: ImageSize) -> Look:
    from skrd4ad.inference.network import by_network

    return by_network(model, size=size, normality=model.normality)
