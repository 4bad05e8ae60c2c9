"""What is usual on good images: how far from restored each level is there, and what their patches look like."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skrd4ad.models.resampling import enlarged

PREFIX = "normality."
"""Of the names of its tensors in ``model.safetensors``."""
_PATCHES = "patches"


def patch_descriptors(features: list[Tensor]) -> Tensor:
    """What a place of the image looks like: the two finest levels around it, on the grid of the second.

    Each level is averaged over 3x3 positions, so that a small shift of the part changes little.

    Args:
        features: the teacher's, (B, C_l, H_l, W_l) each, finest first.

    Returns:
        (B, C_1 + C_2, H_2, W_2) float32.
    """
    fine, middle = (
        F.avg_pool2d(level.float(), 3, stride=1, padding=1, count_include_pad=False) for level in features[:2]
    )
    ratio = fine.shape[-1] // middle.shape[-1]
    return torch.cat([F.avg_pool2d(fine, ratio) if ratio > 1 else fine, middle], dim=1)


class Normality(nn.Module):
    """Turns distances into departures from what is usual. Its buffers are fitted on good training images only.

    Without patches it multiplies each level by its weight, a share over its spread on good images, so that no level
    decides because it is noisy. With patches (retrieval, as in PatchCore, arXiv 2106.08265) it also finds the good
    patch that is nearest to each place: the distance to it becomes one more level, and what is usual at patches like it
    is subtracted, so that a place where good parts are hard to restore needs more to stand out than a calm one.

    With a floor as well, departures below it count as nothing, so that what is a little nearer to usual than usual
    does not make up for a defect beside it; and the coarsest level, whose cells reach far beyond a defect, counts at no
    place more than the middle one: both must see something there.
    """

    weights: Tensor
    """(M,): factor of each level, above 0; M is L, or L + 1 with patches."""
    centre: Tensor | None
    scale: Tensor | None
    patches: Tensor | None
    """(K, D): standardised descriptors of good patches."""
    usual: Tensor | None
    """(K, M): mean distance of good patches near each of them, by level; of the nearest patch the mean of all."""
    floor: Tensor | None
    """(M,): departure of each level below which nothing counts; only with patches."""
    source: Tensor | None
    """(K, 3) int64: place of the training image that each patch is from, and its row and column on the grid there."""

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
        """Take what was fitted.

        Args:
            weights: (M,), above 0.
            centre: (D,), mean of the descriptors of good patches; given with all up to ``source``, or none is.
            scale: (D,), their standard deviation.
            patches: (K, D).
            usual: (K, M).
            source: (K, 3).
            floor: (M,).
        """
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.register_buffer(_PATCHES, patches)
        self.register_buffer("usual", usual)
        self.register_buffer("source", source)
        self.register_buffer("floor", floor)

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "Normality":
        """From the tensors of a state dict.

        Raises:
            RuntimeError: names or shapes are not those of one.
        """
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
            raise RuntimeError(f"what is usual on good images has the shapes {shapes}; expected {names}")
        return Normality(**given)

    @property
    def has_patches(self) -> bool:
        """Whether places are compared with patches of good images."""
        return self.patches is not None

    def forward(self, features: list[Tensor], distances: list[Tensor]) -> list[Tensor]:
        """How far each place departs from what is usual, by level and weighted.

        Args:
            features: the teacher's, finest first.
            distances: (B, 1, H_l, W_l) of each level, as :func:`skrd4ad.anomaly_map.restoration_distances` gives them.

        Returns:
            As the distances, and with patches one more, (B, 1, H_2, W_2). Without patches from 0 up; with them around 0
            for good parts.
        """
        if self.patches is None:
            return [distance * weight for distance, weight in zip(distances, self.weights, strict=True)]
        assert self.usual is not None
        nearest, place = self.nearest(features)
        departures = departures_from(self.usual[place].permute(0, 3, 1, 2), [*distances, nearest])
        return [departure * weight for departure, weight in zip(departures, self.weights, strict=True)]

    def counted(self, levels: Tensor) -> Tensor:
        """What counts of the levels of :meth:`forward`, made the size of the map: all, or with a floor what the class
        says; (B, M, S, S) both."""
        if self.floor is None:
            return levels
        above = (levels - (self.floor * self.weights).view(1, -1, 1, 1)).relu()
        fine, middle, coarse, nearest = above.split(1, dim=1)
        return torch.cat([fine, middle, torch.minimum(coarse, middle), nearest], dim=1)

    def nearest(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Distance of each place from the nearest good patch, and which that is.

        Returns:
            (B, 1, H_2, W_2) float32, and (B, H_2, W_2) int64: its place among the patches.
        """
        assert self.patches is not None, "only with patches"
        described = self.standardised(patch_descriptors(features))
        batch, channels, height, width = described.shape
        rows = described.permute(0, 2, 3, 1).reshape(-1, channels)
        # how near the nearest is is computed anew: a difference of large sums is rough in bf16
        order = torch.addmm((self.patches * self.patches).sum(1), rows, self.patches.T, alpha=-2)
        # the first of the least; argmin says the same, and is many times as slow in OpenVINO
        count = len(self.patches)
        place = torch.where(order == order.amin(1, keepdim=True), torch.arange(count), count - 1).amin(1)
        nearest = (rows - self.patches[place]).square().sum(dim=1).sqrt()
        return nearest.reshape(batch, 1, height, width), place.reshape(batch, height, width)

    def standardised(self, descriptors: Tensor) -> Tensor:
        """Descriptors (B, D, h, w) in units of their spread over good patches."""
        assert self.centre is not None and self.scale is not None, "only with patches"
        return (descriptors - self.centre.view(1, -1, 1, 1)) / self.scale.view(1, -1, 1, 1)


def squared_distances(rows: Tensor, others: Tensor) -> Tensor:
    """Squared Euclidean distances of (N, D) from (K, D): (N, K), a little below 0 where rounding has it so."""
    # one matrix product with a bias: nothing of the size (N, K) is gone over twice
    nearness = torch.addmm((others * others).sum(1), rows, others.T, alpha=-2)
    return nearness.add_((rows * rows).sum(1, keepdim=True))


def departures_from(usual: Tensor, distances: list[Tensor]) -> list[Tensor]:
    """Distances less what is usual.

    Args:
        usual: (B, M, h, w).
        distances: M of (B, 1, H_l, W_l).
    """
    return [d - enlarged(usual[:, n : n + 1], (int(d.shape[-2]), int(d.shape[-1]))) for n, d in enumerate(distances)]
