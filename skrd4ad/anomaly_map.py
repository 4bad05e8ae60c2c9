"""From teacher and restored features to the anomaly map and the image score.

Only operations that ONNX and OpenVINO know: the cosine is written out, and the blur is two matrix products.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

SIGMA = 4.0
"""Of the Gaussian blur, in pixels of the map."""
_TRUNCATE = 4.0
_EPS = 1e-8


def level_maps(features: list[Tensor], restored: list[Tensor], *, size: int) -> Tensor:
    """How far each position is from being restored, level by level.

    Args:
        features: the teacher's, (B, C_l, H_l, W_l) each, finest first.
        restored: the student's, same shapes.
        size: side S of the maps.

    Returns:
        (B, L, S, S) float32: 1 − cos over channels, 0..2, bilinear with aligned corners, not blurred.
    """
    maps = [
        F.interpolate(_cosine_distance(f, g), size=(size, size), mode="bilinear", align_corners=True)
        for f, g in zip(features, restored, strict=True)
    ]
    return torch.cat(maps, dim=1)


def _cosine_distance(f: Tensor, g: Tensor) -> Tensor:
    f, g = f.float(), g.float()
    dot = (f * g).sum(dim=1, keepdim=True)
    norm_f = (f * f).sum(dim=1, keepdim=True).sqrt().clamp(min=_EPS)
    norm_g = (g * g).sum(dim=1, keepdim=True).sqrt().clamp(min=_EPS)
    return 1 - dot / (norm_f * norm_g)


def anomaly_map(levels: Tensor) -> Tensor:
    """Sum of the level maps, blurred: (B, L, S, S) → (B, S, S) float32, raw, from 0 up.

    The blur is Gaussian with sigma 4, cut at 4 sigma, mirrored at the border (SciPy's ``gaussian_filter``).
    """
    summed = levels.float().sum(dim=1)
    # int: while a model is traced for export, sides are tensors
    blur = torch.from_numpy(_blur_matrix(int(summed.shape[-1]))).to(summed.device)
    return blur @ summed @ blur.T


def image_score(maps: Tensor) -> Tensor:
    """Maximum of each anomaly map: (B, S, S) → (B,)."""
    return maps.flatten(1).amax(dim=1)


@lru_cache(maxsize=8)
def _blur_matrix(size: int) -> NDArray[np.float32]:
    """(S, S) matrix whose product with a column blurs it; rows sum to 1."""
    radius = int(_TRUNCATE * SIGMA + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights /= weights.sum()
    # mirrored with the border pixel repeated: … 1 0 | 0 1 2 … has period 2 S
    positions = (np.arange(size)[:, None] + offsets) % (2 * size)
    sources = np.where(positions < size, positions, 2 * size - 1 - positions)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], sources), weights)
    return matrix.astype(np.float32)
