"""From teacher and restored features to the anomaly map and the image score.

The published map is the blurred sum of the levels. A model with statistics of good images
(:mod:`skrd4ad.models.normality`) sums weighted z-scores instead.

Only operations that ONNX and OpenVINO know: the cosine is written out, and enlarging and blur are matrix products.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skrd4ad.models.normality import Normality, enlarged
from skrd4ad.types import ImageSize, height_width

SIGMA = 4.0
"""Of the Gaussian blur, in pixels of the map."""
_TRUNCATE = 4.0
_EPS = 1e-8


def restoration_distances(features: list[Tensor], restored: list[Tensor]) -> list[Tensor]:
    """1 − cos over channels, 0..2, of each level: (B, C_l, H_l, W_l) twice → (B, 1, H_l, W_l) float32, finest first."""
    distances = []
    for f, g in zip((f.float() for f in features), (g.float() for g in restored), strict=True):
        dot = (f * g).sum(dim=1, keepdim=True)
        norm_f, norm_g = ((x * x).sum(dim=1, keepdim=True).sqrt().clamp(min=_EPS) for x in (f, g))
        distances.append(1 - dot / (norm_f * norm_g))
    return distances


def level_maps(
    features: list[Tensor], restored: list[Tensor], *, size: ImageSize, normality: Normality | None = None
) -> Tensor:
    """The maps whose sum, blurred, is the anomaly map: (B, L, H, W) float32, bilinear with aligned corners.
    ``features`` and ``restored``: (B, C_l, H_l, W_l) each, finest first. ``size`` is that of the maps. Without
    ``normality`` the maps are 1 − cos over channels, 0..2, as published; with it weighted z-scores, and one level more
    with a memory bank."""
    distances = restoration_distances(features, restored)
    maps = distances if normality is None else normality(features, distances)
    levels = torch.cat([enlarged(each, height_width(size)) for each in maps], dim=1)
    return levels if normality is None else normality.counted(levels)


def anomaly_map(levels: Tensor, *, normality: Normality | None = None) -> Tensor:
    """Sum of the level maps, blurred: (B, L, H, W) → (B, H, W) float32, raw. The blur is Gaussian with sigma 4, cut at
    4 sigma. Beyond the border the published map is mirrored (SciPy's ``gaussian_filter``). With a memory bank it is 0
    there, the mean of good parts: a mirror would count what lies at the border twice."""
    summed = levels.float().sum(dim=1)
    mirrored = normality is None or normality.patches is None
    # int: while a model is traced for export, sides are tensors
    height, width = int(summed.shape[-2]), int(summed.shape[-1])
    down = torch.from_numpy(_blur_matrix(height, mirrored=mirrored)).to(summed.device)
    across = down if width == height else torch.from_numpy(_blur_matrix(width, mirrored=mirrored)).to(summed.device)
    return down @ summed @ across.T


def image_score(maps: Tensor) -> Tensor:
    """Maximum of each anomaly map: (B, H, W) → (B,)."""
    return maps.flatten(1).amax(dim=1)


@lru_cache(maxsize=8)
def _blur_matrix(size: int, *, mirrored: bool) -> NDArray[np.float32]:
    """(S, S) matrix whose product with a column blurs it; mirrored, its rows sum to 1."""
    radius = int(_TRUNCATE * SIGMA + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights /= weights.sum()
    positions = np.arange(size)[:, None] + offsets
    # mirrored with the border pixel repeated: … 1 0 | 0 1 2 … has period 2 S
    around = positions % (2 * size)
    sources = np.where(around < size, around, 2 * size - 1 - around)
    counts = np.ones(positions.shape, bool) if mirrored else (positions >= 0) & (positions < size)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], sources), weights * counts)
    return matrix.astype(np.float32)
