"""Training losses of the student. All features are lists over levels, finest first: (B, C_l, H_l, W_l)."""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from skrd4ad.config import Loss, TrainConfig
from skrd4ad.models.normality import enlarging_matrix

_LEAST = 1e-16
"""Lower bound of a sum of squares in a denominator."""
Size = tuple[int, int]


@dataclass(frozen=True)
class _Level:
    """Terms of the losses of one level, scalars."""

    cosine: Tensor
    """Mean over the images of 1 − cos(flatten(f), flatten(g))."""
    mse: Tensor
    """Mean of (f − g)²."""
    enlarged_mse: Tensor
    """Mean of up(f − g)², where up enlarges to the next finer level; 0 for the finest level."""


class _SumsOfLevel(torch.autograd.Function):
    """Sums of f g, f², g² an image, (B,) each, of (f − g)² and of up(f − g)², and their gradient in g.

    Autograd, formula by formula, makes some thirty passes, a third of them at the size of the finer level. Enlarging is
    linear and the same in rows and columns: with U its matrix of one side, the sum of up(e)² is Σ e · (K e K) with
    K = UᵀU, which has the size of the coarse level; rectangles have one K a side.
    """

    @staticmethod
    def forward(ctx: Any, f: Tensor, g: Tensor, fine: Size | None) -> tuple[Tensor, ...]:
        f, wide = _channels_last(f), _channels_last(g)
        error = f - wide
        spread = None if fine is None else _by_kernels(error, fine)
        enlarged = error.new_zeros(()) if spread is None else _dots(error, spread).sum()
        ctx.save_for_backward(f, wide, *([] if spread is None else [spread]))
        ctx.type = g.dtype
        return _dots(f, wide), _dots(f, f), _dots(wide, wide), _dots(error, error).sum(), enlarged

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        f, g, *spread = ctx.saved_tensors
        of_fg, _, of_gg, of_error, of_enlarged = gradients
        in_images = (-1, 1, 1, 1)
        in_g = torch.mul(g, (2 * (of_gg + of_error)).view(in_images))
        in_g.addcmul_(f, (of_fg - 2 * of_error).view(in_images))
        if spread:
            in_g.addcmul_(spread[0], -2 * of_enlarged)
        return None, in_g.permute(0, 3, 1, 2).to(ctx.type), None


def _channels_last(level: Tensor) -> Tensor:
    """(B, H, W, C) float32: a view of features with channels last, as training has them."""
    return level.detach().permute(0, 2, 3, 1).float()


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """(B,) sums of a b; the processor's dot product is many times as fast as a product and its sum, and as exact."""
    return torch.stack([torch.dot(x, y) for x, y in zip(a.flatten(1), b.flatten(1), strict=True)])


def _by_kernels(error: Tensor, fine: Size) -> Tensor:
    """K e K, with the kernel of each side, of errors (B, H, W, C)."""
    rows, columns = (_enlarging_kernel(*sides).to(error.device) for sides in zip(error.shape[1:3], fine, strict=True))
    high = torch.matmul(rows, error.flatten(2)).view(error.shape)
    return torch.matmul(columns, high)


@lru_cache
def _enlarging_kernel(side: int, fine: int) -> Tensor:
    """UᵀU (side, side) of enlarging from ``side`` to ``fine`` pixels."""
    matrix = enlarging_matrix(side, fine)
    return torch.from_numpy((matrix.T @ matrix).astype(np.float32))


def _levels(features: list[Tensor], restored: list[Tensor], *, enlarged: bool) -> list[_Level]:
    """``enlarged``: whether the enlarged errors of the coarse levels are asked for."""
    levels = []
    for index, (f, g) in enumerate(zip(features, restored, strict=True)):
        fine: Size | None = tuple(features[index - 1].shape[-2:]) if enlarged and index else None  # type: ignore[assignment]
        fg, ff, gg, error, up = _SumsOfLevel.apply(f, g, fine)
        cosine = (1 - fg / (ff.clamp_min(_LEAST) * gg.clamp_min(_LEAST)).sqrt()).mean()
        levels.append(_Level(cosine, error / f.numel(), up / (len(f) * f.shape[1] * math.prod(fine or (1, 1)))))
    return levels


def distillation_loss(features: list[Tensor], restored: list[Tensor], *, kind: Loss) -> Tensor:
    """Distance of restored from teacher features, summed over the levels: a scalar, 0 for perfect restoration.

    ``cosine`` is mean_b [1 − cos(flatten(f_l), flatten(g_l))], one cosine an image and level; ``mse`` the mean
    squared difference; ``mixed`` half of each (the published ``--L2`` 0, 1, 2). ``position`` is the mean over images
    and positions of 1 − cos over the channels, as in the anomaly map.
    """
    if kind == "position":
        pairs = zip(features, restored, strict=True)
        return torch.stack([(1 - F.cosine_similarity(f.float(), g.float(), dim=1)).mean() for f, g in pairs]).sum()
    return _distillation(_levels(features, restored, enlarged=False), kind)


def _distillation(levels: list[_Level], kind: Loss) -> Tensor:
    cosine, mse = {"cosine": (1.0, 0.0), "mse": (0.0, 1.0), "mixed": (0.5, 0.5)}[kind]
    return torch.stack([cosine * level.cosine + mse * level.mse for level in levels]).sum()


def group_consistency(features: list[Tensor], restored: list[Tensor]) -> Tensor:
    """Difference between the errors of neighbouring levels, a scalar from 0 up: balances the levels against each other.
    Sum over neighbours of |MSE(up(f_(l+1)), up(g_(l+1))) − MSE(f_l, g_l)|, where ``up`` is bilinear to the finer
    level's size with aligned corners."""
    return _consistency(_levels(features, restored, enlarged=True))


def _consistency(levels: list[_Level]) -> Tensor:
    pairs = itertools.pairwise(levels)
    return torch.stack([(coarse.enlarged_mse - fine.mse).abs() for fine, coarse in pairs]).sum()


def total_loss(features: list[Tensor], restored: list[Tensor], *, config: TrainConfig) -> Tensor:
    """Distillation loss, plus ``rate`` times the group consistency when the config asks for it. Features may be of
    float32 or bfloat16; sums and gradients are computed in float32. Only ``restored`` gets a gradient."""
    levels = _levels(features, restored, enlarged=config.group_consistency)
    by_position = config.loss == "position"
    loss = distillation_loss(features, restored, kind="position") if by_position else _distillation(levels, config.loss)
    if config.group_consistency:
        loss = loss + config.rate * _consistency(levels)
    return loss
