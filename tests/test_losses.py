import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from skrd4ad.config import Loss, TrainConfig
from skrd4ad.losses import distillation_loss, group_consistency, total_loss

SHAPES = ((3, 4, 8, 8), (3, 6, 4, 4), (3, 10, 2, 2))


def drawn(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


F_, G_ = drawn(0), drawn(1)


def cosine_by_hand(f: Tensor, g: Tensor) -> float:
    a, b = (t.numpy().reshape(len(t), -1).astype(np.float64) for t in (f, g))
    return float(np.mean(1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)))


def mse_by_hand(f: NDArray[np.float64], g: NDArray[np.float64]) -> float:
    return float(((f - g) ** 2).mean())


def doubled_by_hand(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bilinear, aligned corners, to twice the sides: position i of the output lies at i (n - 1) / (2 n - 1)."""
    n = x.shape[-1]
    at = np.arange(2 * n) * (n - 1) / (2 * n - 1)
    low = np.minimum(at.astype(int), n - 2)
    weight = np.zeros((2 * n, n))
    weight[np.arange(2 * n), low] = 1 - (at - low)
    weight[np.arange(2 * n), low + 1] = at - low
    return np.asarray(weight @ x @ weight.T)


COSINE = sum(cosine_by_hand(f, g) for f, g in zip(F_, G_, strict=True))
MSE = sum(mse_by_hand(f.double().numpy(), g.double().numpy()) for f, g in zip(F_, G_, strict=True))


@pytest.mark.parametrize(("kind", "expected"), [("cosine", COSINE), ("mse", MSE), ("mixed", (COSINE + MSE) / 2)])
def test_distillation_loss_is_its_formula(kind: Loss, expected: float) -> None:
    assert distillation_loss(F_, G_, kind=kind).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["cosine", "mse", "mixed"])
def test_perfect_restoration_costs_nothing(kind: Loss) -> None:
    assert distillation_loss(F_, F_, kind=kind).item() == pytest.approx(0, abs=1e-5)
    assert group_consistency(F_, F_).item() == 0


def test_cosine_ignores_scale_and_mse_does_not() -> None:
    scaled = [3 * g for g in G_]
    assert distillation_loss(F_, scaled, kind="cosine").item() == pytest.approx(COSINE, rel=1e-5)
    assert distillation_loss(F_, scaled, kind="mse").item() > 2 * MSE


def test_cosine_is_one_per_image_not_per_position() -> None:
    """Positions that are restored in the wrong place cost: the flattened cosine sees them."""
    f = torch.zeros(1, 1, 2, 2)
    g = torch.zeros(1, 1, 2, 2)
    f[0, 0, 0, 0], g[0, 0, 1, 1] = 1, 1
    assert distillation_loss([f], [g], kind="cosine").item() == 1


def test_group_consistency_is_its_formula() -> None:
    f1, f2, f3 = (t.double().numpy() for t in F_)
    g1, g2, g3 = (t.double().numpy() for t in G_)
    coarse = abs(mse_by_hand(doubled_by_hand(f3), doubled_by_hand(g3)) - mse_by_hand(f2, g2))
    fine = abs(mse_by_hand(doubled_by_hand(f2), doubled_by_hand(g2)) - mse_by_hand(f1, g1))
    assert group_consistency(F_, G_).item() == pytest.approx(coarse + fine, rel=1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.005, 2.0])
def test_total_loss_adds_the_weighted_consistency(rate: float) -> None:
    expected = COSINE + rate * group_consistency(F_, G_).item()
    assert total_loss(F_, G_, config=TrainConfig(rate=rate)).item() == pytest.approx(expected, rel=1e-5)


def test_total_loss_without_consistency_is_the_distillation_loss() -> None:
    config = TrainConfig(rate=2.0, group_consistency=False, loss="mse")
    assert total_loss(F_, G_, config=config).item() == pytest.approx(MSE, rel=1e-5)


def test_gradients_reach_every_restored_level() -> None:
    restored = [g.clone().requires_grad_() for g in G_]
    total_loss(F_, restored, config=TrainConfig()).backward()
    assert all(g.grad is not None and bool(g.grad.abs().sum() > 0) for g in restored)


def test_unequal_number_of_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        distillation_loss(F_, G_[:2], kind="cosine")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["cosine", "mse", "mixed", "position"])
@pytest.mark.parametrize("sides", [((8, 8), (4, 4), (2, 2)), ((9, 5), (4, 3), (1, 1))])
def test_values_and_gradients_are_those_of_the_formulas_in_float64(
    kind: Loss, sides: tuple[tuple[int, int], ...], dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(3)
    shapes = [(3, channels, *side) for channels, side in zip((4, 6, 10), sides, strict=True)]
    f, g = ([torch.randn(shape, generator=generator).to(dtype) for shape in shapes] for _ in "fg")
    config = TrainConfig(loss=kind, rate=0.7)
    exact = [x.double().requires_grad_() for x in g]
    expected = loss_by_the_book([x.double() for x in f], exact, kind=kind, rate=0.7)
    for memory in (torch.contiguous_format, torch.channels_last):
        given = [x.clone(memory_format=memory).requires_grad_() for x in g]
        found = total_loss([x.contiguous(memory_format=memory) for x in f], given, config=config)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        found.backward()
        for ours, theirs in zip(given, torch.autograd.grad(expected, exact, retain_graph=True), strict=True):
            assert ours.grad is not None and ours.grad.dtype == dtype
            scale = theirs.abs().max().item()
            assert (ours.grad.double() - theirs).abs().max().item() < scale * torch.finfo(dtype).eps * 4


def loss_by_the_book(f: list[Tensor], g: list[Tensor], *, kind: Loss, rate: float) -> Tensor:
    """The formulas, operation by operation."""
    total = torch.zeros((), dtype=f[0].dtype)
    for a, b in zip(f, g, strict=True):
        cosine = (1 - F.cosine_similarity(a.flatten(1), b.flatten(1))).mean()
        mse, position = F.mse_loss(b, a), (1 - (a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)).mean()
        total = total + {"cosine": cosine, "mse": mse, "mixed": (cosine + mse) / 2, "position": position}[kind]
    for fine in (0, 1):
        size = tuple(f[fine].shape[-2:])
        coarse = [F.interpolate(x[fine + 1], size=size, mode="bilinear", align_corners=True) for x in (f, g)]
        total = total + rate * (F.mse_loss(*coarse) - F.mse_loss(g[fine], f[fine])).abs()
    return total


def test_an_image_that_is_restored_to_nothing_has_a_finite_gradient() -> None:
    restored = [torch.zeros_like(g).requires_grad_() for g in G_]
    total_loss(F_, restored, config=TrainConfig()).backward()
    assert all(g.grad is not None and bool(g.grad.isfinite().all()) for g in restored)
