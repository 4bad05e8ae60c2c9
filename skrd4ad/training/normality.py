"""Fitting what is usual on good images, from the training images alone: held-out images stay for the thresholds."""

import torch
from torch import Tensor
from torch.nn import functional as F

from skrd4ad.anomaly_map import restoration_distances
from skrd4ad.config import Fusion, ModelConfig
from skrd4ad.inference.feature_cache import FeatureCache
from skrd4ad.models.normality import Normality, centred_distances, patch_descriptors, squared_distances
from skrd4ad.models.skrd import Student
from skrd4ad.task import QUIET, Task

PATCHES = 3000
POOL = 40_000
"""Patches they are chosen from, at most, drawn evenly from all training images."""
IMAGES = 160
"""Training images that usual distances are measured on, at most."""
NEIGHBOURS = 8
"""Good patches whose mean distance is usual at a kept patch."""
SHARES = {"normal": (1.0, 1.0, 0.5, 3.0), "agreement": (1.5, 1.0, 1.0, 3.5)}
"""Of the levels, finest first, and of the patches in the map, by fusion: a coarse cell has a large halo; the second
opinion has about as much to say as the student."""
FLOOR = 0.5
"""With agreement: standard deviations of a level's departures on good images below which a departure is nothing."""
_PROJECTED = 256
"""Random directions in which longer descriptors are compared while patches are chosen; those of the Lites are not."""
_BATCH = 16
_CHUNK = 256
_FAR = 1024
"""Points that are farthest from the chosen ones and are looked at before all others."""


def fit_normality(
    student: Student,
    learning: FeatureCache,
    *,
    model: ModelConfig,
    seed: int,
    bank: Normality | None = None,
    task: Task = QUIET,
) -> Normality | None:
    """What is usual on the training images, as the model's settings ask for it; None for the published map.

    The same seed gives the same patches. The student is put into evaluation mode. ``bank``: that of
    :func:`memory_bank` for the same images and seed, where it was made already.
    """
    if model.fusion == "sum":
        return None
    student.eval()
    with torch.inference_mode():
        images = _evenly(len(learning), IMAGES)
        if not model.retrieval:
            spread = _spread(_distances(student, learning, images, task=task))
            shares = torch.tensor(SHARES["normal"][: len(spread)], device=spread.device)
            return Normality(weights=(shares / spread).clone())
        bank = bank or memory_bank(learning, seed=seed, task=task)
        distances = _distances(student, learning, images, task=task)
        described, nearest, index = _compared(bank, learning, images, task=task)
        on_grid = torch.cat([_on_grid(level, nearest.shape[-2:]) for level in distances], dim=1)
        assert bank.patches is not None
        usual = _usual_at(bank.patches, described, _rows(on_grid), task=task)
        return _weighted(bank, usual, distances, nearest, index, shares=SHARES[model.fusion], fusion=model.fusion)


def fit_first_look(bank: Normality, learning: FeatureCache, *, fusion: Fusion, task: Task = QUIET) -> Normality:
    """What is usual on the training images when the memory bank alone decides: the student's levels weigh nothing."""
    with torch.inference_mode():
        images = _evenly(len(learning), IMAGES)
        _, nearest, index = _compared(bank, learning, images, task=task)
        assert bank.patches is not None
        usual, silent = nearest.new_zeros(len(bank.patches), 3), [torch.zeros_like(nearest)] * 3
        return _weighted(bank, usual, silent, nearest, index, shares=(0.0, 0.0, 0.0, 1.0), fusion=fusion)


def memory_bank(learning: FeatureCache, *, seed: int, task: Task = QUIET) -> Normality:
    """Patches of the training images, as far apart as can be, with nothing weighted yet. No student takes part."""
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        pool, origin = _pooled_descriptors(learning, generator=generator, task=task)
        centre, scale = pool.mean(0), pool.std(0).clamp(min=1e-6)
        pool = (pool - centre) / scale
        chosen = farthest_points(pool, PATCHES, generator=generator, task=task)
        return Normality(
            weights=torch.ones(4),
            centre=centre,
            scale=scale,
            patches=pool[chosen],
            usual=torch.zeros(len(chosen), 4),
            source=origin[chosen],
        ).to(learning.device)


def _compared(bank: Normality, learning: FeatureCache, images: Tensor, *, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Descriptors (P, D) of all places of some training images, and for each image, (N, 1, h, w) and (N, h, w), the
    distance and index of the nearest patch that another image has given."""
    described, nearest, index = [], [], []
    assert bank.patches is not None and bank.source is not None
    for indices in images.split(_BATCH):
        task.check()
        rows = bank.standardised(patch_descriptors(learning.batch(indices)))
        least, patch = _nearest_of_others(rows, bank.patches, bank.source, indices)
        described.append(_rows(rows))
        nearest.append(least)
        index.append(patch)
    return torch.cat(described), torch.cat(nearest), torch.cat(index)


def _weighted(
    bank: Normality,
    usual: Tensor,
    distances: list[Tensor],
    nearest: Tensor,
    index: Tensor,
    *,
    shares: tuple[float, ...],
    fusion: Fusion,
) -> Normality:
    """The bank with the usual distances (K, 3) of the student's levels, and each level in units of its spread."""
    # a kept patch that lies alone would have a large distance as its usual one, and defects are nearest to just those
    usual = torch.cat([usual, nearest.mean().expand(len(usual), 1)], dim=1)
    expected = usual[index].permute(0, 3, 1, 2)
    spread = _spread(centred_distances(expected, [*distances, nearest]))
    fitted = {
        **bank.state_dict(),
        "weights": torch.tensor(shares, device=spread.device) / spread,
        "usual": usual,
        **({"floor": FLOOR * spread} if fusion == "agreement" else {}),
    }
    # copies: tensors of inference mode cannot be trained beside
    return Normality.from_tensors({name: tensor.clone() for name, tensor in fitted.items()})


def farthest_points(points: Tensor, count: int, *, generator: torch.Generator, task: Task = QUIET) -> Tensor:
    """Indices (min(N, count),) int64 of points (N, D): each next one is the farthest from those before.

    The greedy k-centre selection of PatchCore (arXiv 2106.08265); on a random projection of long points, as there.
    """
    directions = torch.randn(points.shape[1], _PROJECTED, generator=generator).to(points.device)
    low = points @ directions if points.shape[1] > _PROJECTED else points
    squares, count = (low * low).sum(1), min(len(low), count)
    least = torch.full((len(low),), float("inf"), device=low.device)
    chosen, fresh = [0], [0]
    while len(chosen) < count:
        for part, known in zip(low.split(_FAR), least.split(_FAR), strict=True):
            task.check()
            torch.minimum(known, squared_distances(part, low[fresh]).amin(1), out=known)
        # a copy of a chosen point is not farther than itself
        least[chosen] = -float("inf")
        # distances only shrink: while the farthest of these is beyond all others, no other needs to be looked at
        near, index = least.topk(min(_FAR, len(low)))
        rows, of_rows, others, fresh = low[index], squares[index], near[-1].item(), []
        while len(chosen) + len(fresh) < count:
            task.check()
            far = int(near.argmax())
            if fresh and len(index) < len(low) and near[far].item() <= others:
                break
            fresh.append(int(index[far]))
            near = torch.minimum(near, of_rows + of_rows[far] - 2 * rows @ rows[far])
            near[far] = -float("inf")
        chosen += fresh
    return torch.tensor(chosen)


def _pooled_descriptors(learning: FeatureCache, *, generator: torch.Generator, task: Task) -> tuple[Tensor, Tensor]:
    """Descriptors (P, D) of patches of all training images, and image, row and column (P, 3) of each."""
    pool: list[Tensor] = []
    origin: list[Tensor] = []
    for indices in torch.arange(len(learning)).split(_BATCH):
        task.check()
        described = patch_descriptors(learning.batch(indices))
        width = described.shape[3]
        share = max(1, min(described[0, 0].numel(), POOL // len(learning)))
        for image, rows in zip(indices, described.flatten(2), strict=True):
            drawn = torch.randperm(rows.shape[1], generator=generator)[:share]
            pool.append(rows[:, drawn].T)
            origin.append(torch.stack([image.expand(share), drawn // width, drawn % width], dim=1))
    kept = torch.randperm(sum(map(len, pool)), generator=generator)[:POOL]
    return torch.cat(pool)[kept], torch.cat(origin)[kept]


def _distances(student: Student, learning: FeatureCache, images: Tensor, *, task: Task) -> list[Tensor]:
    """(N, 1, H_l, W_l) of each level on some training images."""
    batches = []
    for indices in images.split(_BATCH):
        task.check()
        features = [level.float() for level in learning.batch(indices)]
        batches.append(restoration_distances(features, student(features)))
    return [torch.cat(level) for level in zip(*batches, strict=True)]


def _nearest_of_others(described: Tensor, patches: Tensor, source: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (B, 1, h, w) and index (B, h, w) of the nearest patch that another image has given. An image to come has
    given none either."""
    grid = described.shape[-2:]
    own = images.to(source.device).repeat_interleave(grid.numel())[:, None] == source[:, 0]
    squared = squared_distances(_rows(described), patches).masked_fill(own, float("inf"))
    least, index = squared.min(dim=1)
    # all patches may be of the one image there is
    least = torch.where(least.isfinite(), least, 0.0)
    return least.clamp(min=0).sqrt().reshape(len(images), 1, *grid), index.reshape(len(images), *grid)


def _usual_at(patches: Tensor, rows: Tensor, values: Tensor, *, task: Task) -> Tensor:
    """(K, M): mean of the values (P, M) of the good patches (P, D) that are nearest to each kept one."""
    near = min(NEIGHBOURS, len(rows))
    means = []
    for part in patches.split(_CHUNK):
        task.check()
        means.append(values[squared_distances(part, rows).topk(near, dim=1, largest=False).indices].mean(dim=1))
    return torch.cat(means)


def _on_grid(level: Tensor, grid: torch.Size) -> Tensor:
    size = (grid[0], grid[1])
    if level.shape[-1] > grid[1]:
        return F.adaptive_avg_pool2d(level, size)
    if level.shape[-1] == grid[1]:
        return level
    return F.interpolate(level, size=size, mode="bilinear", align_corners=True)


def _spread(levels: list[Tensor]) -> Tensor:
    """(M,): standard deviation of each level over all positions."""
    return torch.stack([level.std() for level in levels]).clamp(min=1e-6)


def _rows(maps: Tensor) -> Tensor:
    """(B, C, h, w) → (B h w, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _evenly(count: int, most: int) -> Tensor:
    """Up to ``most`` indices of ``count``, evenly apart."""
    return torch.unique(torch.linspace(0, count - 1, min(count, most)).round().long())
