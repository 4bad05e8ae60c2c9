"""What the student learns by. All features are lists over levels, finest first: (B, C_l, H_l, W_l)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from skrd4ad.config import Loss, TrainConfig


def distillation_loss(features: list[Tensor], restored: list[Tensor], *, kind: Loss) -> Tensor:
    """Distance of restored from teacher features, summed over the levels.

    ``cosine`` is mean_b [1 − cos(flatten(f_l), flatten(g_l))], one cosine an image and level; ``mse`` the mean
    squared difference; ``mixed`` half of each (the published ``--L2`` 0, 1, 2).

    Returns:
        Scalar, 0 for perfect restoration.
    """
    losses = [_level_loss(f, g, kind) for f, g in zip(features, restored, strict=True)]
    return torch.stack(losses).sum()


def _level_loss(f: Tensor, g: Tensor, kind: Loss) -> Tensor:
    if kind == "cosine":
        return _cosine_loss(f, g)
    if kind == "mse":
        return F.mse_loss(g, f)
    return 0.5 * _cosine_loss(f, g) + 0.5 * F.mse_loss(g, f)


def _cosine_loss(f: Tensor, g: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(f.flatten(1), g.flatten(1))).mean()


def group_consistency(features: list[Tensor], restored: list[Tensor]) -> Tensor:
    """Difference between the errors of neighbouring levels, so that no level is learned at another's expense.

    Sum over neighbours of |MSE(up(f_(l+1)), up(g_(l+1))) − MSE(f_l, g_l)|, where ``up`` is bilinear to the finer
    level's size with aligned corners.

    Returns:
        Scalar from 0 up.
    """
    errors = []
    for fine in range(len(features) - 1):
        size = features[fine].shape[-2:]
        coarse_error = F.mse_loss(_resized(restored[fine + 1], size), _resized(features[fine + 1], size))
        errors.append((coarse_error - F.mse_loss(restored[fine], features[fine])).abs())
    return torch.stack(errors).sum()


def _resized(feature: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(feature, size=tuple(size), mode="bilinear", align_corners=True)


def total_loss(features: list[Tensor], restored: list[Tensor], *, config: TrainConfig) -> Tensor:
    """Distillation loss, plus ``rate`` times the group consistency when the config asks for it."""
    loss = distillation_loss(features, restored, kind=config.loss)
    if config.group_consistency:
        loss = loss + config.rate * group_consistency(features, restored)
    return loss
