"""Normalisation by the good training images: the spread of each level, and a memory bank of their patches."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

PREFIX = "normality."
"""Of the names of its tensors in ``model.safetensors``."""
_PATCHES = "patches"


def patch_descriptors(features: list[Tensor]) -> Tensor:
    """(B, C_1 + C_2, H_2, W_2) float32: the two finest levels, joined on the grid of the second. ``features``: the
    teacher's, (B, C_l, H_l, W_l) each, finest first. Each level is averaged over 3x3 positions, so that a small shift
    of the part changes little."""
    fine, middle = (
        F.avg_pool2d(level.float(), 3, stride=1, padding=1, count_include_pad=False) for level in features[:2]
    )
    ratio = fine.shape[-1] // middle.shape[-1]
    return torch.cat([F.avg_pool2d(fine, ratio) if ratio > 1 else fine, middle], dim=1)


class Normality(nn.Module):
    """Turns restoration distances into weighted z-scores. Its buffers are fitted on good training images only.

    Without a memory bank each level is multiplied by its weight, a share over its standard deviation on good images, so
    that no level decides because it is noisy. With a memory bank of patches (PatchCore, arXiv 2106.08265) the distance
    to the nearest patch becomes one more level, and from each level the mean distance of good patches like it is
    subtracted: a position where good parts are hard to restore needs a larger distance to stand out.

    With a floor as well, z-scores below it become 0, so that negative ones do not cancel a defect beside them in the
    blur; and the coarsest level, whose cells reach far beyond a defect, is clipped to the middle level.
    """

    weights: Tensor
    """(M,): factor of each level, above 0; M is L, or L + 1 with a memory bank."""
    centre: Tensor | None
    scale: Tensor | None
    patches: Tensor | None
    """(K, D): the memory bank, standardised descriptors of good patches."""
    usual: Tensor | None
    """(K, M): mean distance of good patches near each of them, by level; of the nearest patch the mean of all."""
    floor: Tensor | None
    """(M,): threshold of each level, before its weight, below which it is 0; only with a memory bank."""
    source: Tensor | None
    """(K, 3) int64: index of the training image that each patch is from, and its row and column on the grid there."""

    def __init__(
        self,
        *,
        weights: Tensor,
        centre: Tensor | None = None,
        scale: Tensor | None = None,
        patches: Tensor | None = None,
        usual: Tensor | None = None,
        source: Tensor | None = None,
        floor: Tensor | None = None,
    ) -> None:
        """``centre`` and ``scale``: (D,) mean and standard deviation of the descriptors of good patches. All from
        ``centre`` to ``source`` are given, or none is."""
        super().__init__()
        given = {"weights": weights, "centre": centre, "scale": scale, _PATCHES: patches}
        for name, tensor in (given | {"usual": usual, "source": source, "floor": floor}).items():
            self.register_buffer(name, tensor)

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "Normality":
        """From the tensors of a state dict."""
        given = dict(tensors)
        count = 3 if _PATCHES not in given else 4
        try:
            k, d = given[_PATCHES].shape if _PATCHES in given else (0, 0)
            names: dict[str, tuple[int, ...]] = {"weights": (count,)}
            if k:
                names |= {"centre": (d,), "scale": (d,), _PATCHES: (k, d), "usual": (k, count), "source": (k, 3)}
                names |= {"floor": (count,)} if "floor" in given else {}
            shapes = {name: tuple(tensor.shape) for name, tensor in given.items()}
        except (ValueError, KeyError) as error:
            raise RuntimeError(f"the patches of good images are damaged: {error}") from error
        if shapes != names:
            raise RuntimeError(f"the statistics of good images have the shapes {shapes}; expected {names}")
        if wrong := [n for n, tensor in given.items() if tensor.is_floating_point() == (n == "source")]:
            raise RuntimeError(f"the statistics of good images {wrong[0]} are of {given[wrong[0]].dtype}")
        return Normality(**given)

    def forward(self, features: list[Tensor], distances: list[Tensor]) -> list[Tensor]:
        """Weighted z-scores of each level, shaped as the distances; with a memory bank one more, (B, 1, H_2, W_2).

        ``features``: the teacher's, finest first. ``distances``: (B, 1, H_l, W_l) of each level, as
        :func:`skrd4ad.anomaly_map.restoration_distances` gives them. Without a memory bank the result is 0 or more;
        with one it is around 0 for good parts.
        """
        if self.patches is None:
            return [distance * weight for distance, weight in zip(distances, self.weights, strict=True)]
        assert self.usual is not None
        nearest, index = self.nearest(features)
        centred = centred_distances(self.usual[index].permute(0, 3, 1, 2), [*distances, nearest])
        return [level * weight for level, weight in zip(centred, self.weights, strict=True)]

    def counted(self, levels: Tensor) -> Tensor:
        """Levels (B, M, H, W) of :meth:`forward` at the size of the map, with the floor and the clipping where there is
        a floor; same shape."""
        if self.floor is None:
            return levels
        above = (levels - (self.floor * self.weights).view(1, -1, 1, 1)).relu()
        fine, middle, coarse, nearest = above.split(1, dim=1)
        return torch.cat([fine, middle, torch.minimum(coarse, middle), nearest], dim=1)

    def nearest(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Distance of each position to the nearest patch, (B, 1, H_2, W_2) float32, and its index, (B, H_2, W_2)."""
        assert self.patches is not None, "only with patches"
        described = self.standardised(patch_descriptors(features))
        batch, channels, height, width = described.shape
        rows = described.permute(0, 2, 3, 1).reshape(-1, channels)
        # only the index comes from this: a difference of large sums is too rough for the distance in bf16
        order = torch.addmm((self.patches * self.patches).sum(1), rows, self.patches.T, alpha=-2)
        # the first of the smallest; argmin gives the same, and is many times as slow in OpenVINO
        count = len(self.patches)
        numbers = torch.arange(count, device=order.device)
        index = torch.where(order == order.amin(1, keepdim=True), numbers, count - 1).amin(1)
        nearest = (rows - self.patches[index]).square().sum(dim=1).sqrt()
        return nearest.reshape(batch, 1, height, width), index.reshape(batch, height, width)

    def standardised(self, descriptors: Tensor) -> Tensor:
        """Descriptors (B, D, h, w) less their mean over good patches, over their standard deviation there."""
        assert self.centre is not None and self.scale is not None, "only with patches"
        return (descriptors - self.centre.view(1, -1, 1, 1)) / self.scale.view(1, -1, 1, 1)


def squared_distances(rows: Tensor, others: Tensor) -> Tensor:
    """Squared Euclidean distances of (N, D) from (K, D): (N, K), a little below 0 where rounding makes them so."""
    # one matrix product with a bias: one pass over the (N, K) numbers
    nearness = torch.addmm((others * others).sum(1), rows, others.T, alpha=-2)
    return nearness.add_((rows * rows).sum(1, keepdim=True))


def centred_distances(means: Tensor, distances: list[Tensor]) -> list[Tensor]:
    """Distances (B, 1, H_l, W_l) of M levels less their means (B, M, h, w), which are enlarged to each level."""
    return [d - enlarged(means[:, n : n + 1], (int(d.shape[-2]), int(d.shape[-1]))) for n, d in enumerate(distances)]


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
