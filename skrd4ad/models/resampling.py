"""Bilinear enlarging as matrix products: linear, the same in rows and columns, and quick in every runtime."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@lru_cache(maxsize=32)
def enlarging_matrix(side: int, fine: int) -> NDArray[np.float64]:
    """(fine, side): its product with a column of ``side`` values enlarges it, bilinear with aligned corners."""
    at = np.arange(fine) * (side - 1) / max(fine - 1, 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(side)), 0)


def enlarged(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Planes (…, h, w) float32 at another size (…, H, W), as ``interpolate`` with ``bilinear`` and aligned corners."""
    # int: while a model is traced for export, sides are tensors
    sides = (int(planes.shape[-2]), int(planes.shape[-1]))
    if sides == size:
        return planes
    rows, columns = (
        torch.from_numpy(enlarging_matrix(*each).astype(np.float32)).to(planes.device)
        for each in zip(sides, size, strict=True)
    )
    return rows @ planes @ columns.T
