import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F

from skrd4ad.anomaly_map import anomaly_map, image_score, level_maps
from skrd4ad.types import ImageSize, height_width


def drawn(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, c, s, s, generator=generator) for c, s in ((4, 16), (6, 8), (10, 4))]


@pytest.mark.parametrize("size", [32, 64, (32, 80)])
def test_level_maps_are_upsampled_cosine_distances(size: ImageSize) -> None:
    features, restored = drawn(0), drawn(1)
    maps = level_maps(features, restored, size=size)
    assert maps.shape == (2, 3, *height_width(size))
    for level, (f, g) in enumerate(zip(features, restored, strict=True)):
        distance = 1 - nn.CosineSimilarity()(f, g)
        expected = F.interpolate(distance[:, None], size=size, mode="bilinear", align_corners=True)[:, 0]
        torch.testing.assert_close(maps[:, level], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e6])
def test_cosine_distance_of_tiny_huge_and_zero_features_is_finite_and_torchs(scale: float) -> None:
    features, restored = [f * scale for f in drawn(0)], drawn(1)
    maps = level_maps(features, restored, size=16)
    assert torch.isfinite(maps).all()
    torch.testing.assert_close(maps[:, 0], 1 - F.cosine_similarity(features[0], restored[0]), atol=1e-5, rtol=0)


def test_perfect_and_opposite_restoration_are_the_ends_of_the_range() -> None:
    features = drawn(0)
    assert level_maps(features, features, size=16).abs().max() < 1e-5
    opposite = level_maps(features, [-f for f in features], size=16)
    torch.testing.assert_close(opposite, torch.full_like(opposite, 2.0), atol=1e-5, rtol=0)


def test_half_precision_features_are_compared_in_float32() -> None:
    halves = [f.half() for f in drawn(0)], [g.half() for g in drawn(1)]
    maps = level_maps(*halves, size=16)
    assert maps.dtype == torch.float32
    exact = level_maps([f.float() for f in halves[0]], [g.float() for g in halves[1]], size=16)
    assert torch.equal(maps, exact)


@pytest.mark.parametrize("size", [8, 20, 64, 256, (20, 64), (96, 8)])
def test_anomaly_map_is_the_sum_blurred_as_scipy_does(size: ImageSize) -> None:
    levels = torch.rand(2, 3, *height_width(size), generator=torch.Generator().manual_seed(0)) * 2
    expected = np.stack([gaussian_filter(one, sigma=4) for one in levels.sum(1).numpy()])
    np.testing.assert_allclose(anomaly_map(levels).numpy(), expected, atol=1e-5)


def test_blur_of_one_position_near_a_corner_mirrors_there() -> None:
    levels = torch.zeros(1, 1, 64, 64)
    levels[0, 0, 1, 2] = 100
    blurred = anomaly_map(levels)[0].numpy()
    np.testing.assert_allclose(blurred, gaussian_filter(levels[0, 0].numpy(), sigma=4), atol=1e-5)
    assert blurred.sum() == pytest.approx(100, rel=1e-5)


def test_constant_map_stays_constant_and_scores_its_value() -> None:
    maps = anomaly_map(torch.full((2, 3, 64, 64), 0.25))
    torch.testing.assert_close(maps, torch.full((2, 64, 64), 0.75), atol=1e-5, rtol=0)
    torch.testing.assert_close(image_score(maps), torch.tensor([0.75, 0.75]), atol=1e-5, rtol=0)


def test_image_score_is_the_maximum_of_its_own_map() -> None:
    maps = torch.zeros(3, 8, 8)
    maps[0, 2, 3], maps[2, 7, 7] = 1.5, 2.5
    assert image_score(maps).tolist() == [1.5, 0.0, 2.5]


def test_maps_made_in_inference_mode_do_not_spoil_later_gradients() -> None:
    with torch.inference_mode():
        anomaly_map(torch.rand(1, 1, 24, 24))
    levels = torch.rand(1, 1, 24, 24, requires_grad=True)
    anomaly_map(levels).sum().backward()
    assert levels.grad is not None
    assert torch.isfinite(levels.grad).all()


def test_golden_values() -> None:
    """A change of these numbers is a change of every score and threshold stored so far."""
    ramp = torch.linspace(0, 1, 2 * 4 * 4).view(1, 2, 4, 4)
    features, restored = [(7 * ramp).sin()], [(5 * ramp).cos()]
    maps = anomaly_map(level_maps(features, restored, size=32))
    assert maps[0, ::16, ::16].flatten().tolist() == pytest.approx([0.21514, 0.06107, 0.14538, 0.28608], abs=2e-4)
    assert image_score(maps).item() == pytest.approx(1.4148, abs=2e-4)
