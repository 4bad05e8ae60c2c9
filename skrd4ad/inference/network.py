"""Maps and scores by torch, from arrays to arrays."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skrd4ad.anomaly_map import anomaly_map, image_score, level_maps
from skrd4ad.inference.maps import Look, Maps
from skrd4ad.models.devices import TYPES, DevicePrecision, ahead_on
from skrd4ad.models.normality import Normality
from skrd4ad.models.skrd import SKRD4AD
from skrd4ad.types import ImageSize

Network = Callable[[Tensor], tuple[list[Tensor], list[Tensor]]]
"""Teacher and student somewhere: what :class:`skrd4ad.models.skrd.SKRD4AD` gives of images (B, 3, H, W)."""


def tensor_of(images: NDArray[np.uint8]) -> Tensor:
    """Images (B, H, W, 3) as a tensor (B, 3, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def pooled(features: Tensor) -> NDArray[np.float32]:
    """Embeddings (B, C) of images from the teacher's coarsest features (B, C, h, w): their mean over the image."""
    return features.float().mean(dim=(2, 3)).cpu().numpy()


def maps_of(
    features: list[Tensor], restored: list[Tensor], *, size: ImageSize, normality: Normality | None = None
) -> Maps:
    """Maps and scores from teacher and restored features; ``normality`` is the model's."""
    levels = level_maps(features, restored, size=size, normality=normality)
    maps = anomaly_map(levels, normality=normality)
    return Maps(
        levels=levels.cpu().numpy(),
        maps=maps.cpu().numpy(),
        scores=image_score(maps).cpu().numpy(),
        embeddings=pooled(features[-1]),
    )


def by_network(network: Network, *, size: ImageSize, normality: Normality | None) -> Look:
    """Maps by teacher and student, and by torch in ordinary memory from there on. Arguments as for :func:`maps_of`."""

    def look(images: NDArray[np.uint8]) -> Maps:
        with torch.inference_mode():
            features, restored = network(tensor_of(images))
            return maps_of(features, restored, size=size, normality=normality)

    return look


def on_device(model: SKRD4AD, device: torch.device, *, size: ImageSize, precision: DevicePrecision = "fp32") -> Look:
    """Maps and scores by a model on an accelerator; only they come back. The convolutions compute in ``precision``, all
    behind the features in float32; fp32 is IEEE single precision, not a card's TF32."""
    # a copy: what looks inside the model goes on doing so in ordinary memory
    there = copy.deepcopy(model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def look(images: NDArray[np.uint8]) -> Maps:
        ahead = ahead_on(tensor_of(images), device)
        reduced = torch.autocast(device.type, TYPES[precision], enabled=precision != "fp32")
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False), reduced:
            features, restored = there(ahead)
        with torch.inference_mode():
            wide = [[level.float() for level in levels] for levels in (features, restored)]
            return maps_of(*wide, size=size, normality=there.normality)

    return look
