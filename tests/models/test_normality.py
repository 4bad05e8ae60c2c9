"""What is usual on good images, against NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.spatial.distance import cdist
from torch import Tensor

from skrd4ad.anomaly_map import anomaly_map, level_maps, restoration_distances
from skrd4ad.models.normality import Normality, centred_distances, patch_descriptors

CHANNELS, SIDES = (3, 4, 5), (16, 8, 4)


def made(seed: int, *, images: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, c, s, s, generator=generator) for c, s in zip(CHANNELS, SIDES, strict=True)]


def memory(patches: int = 6, *, floor: Tensor | None = None) -> Normality:
    generator = torch.Generator().manual_seed(9)
    wide = CHANNELS[0] + CHANNELS[1]
    return Normality(
        weights=torch.tensor([2.0, 1.0, 0.5, 0.25]),
        centre=torch.randn(wide, generator=generator),
        scale=torch.rand(wide, generator=generator) + 0.5,
        patches=torch.randn(patches, wide, generator=generator),
        usual=torch.rand(patches, 4, generator=generator) + 0.1,
        source=torch.arange(3 * patches).reshape(patches, 3),
        floor=floor,
    )


FLOOR = torch.tensor([0.3, 0.2, 0.1, 2.2])


def test_descriptors_average_both_levels_over_their_neighbourhood() -> None:
    features = made(1, images=1)
    described = patch_descriptors(features)[0].numpy()
    assert described.shape == (7, 8, 8)
    fine = uniform_filter(features[0][0].numpy(), size=(1, 3, 3), mode="constant")
    middle = uniform_filter(features[1][0].numpy(), size=(1, 3, 3), mode="constant")
    # inside, where no neighbour is missing
    np.testing.assert_allclose(described[3:, 1:-1, 1:-1], middle[:, 1:-1, 1:-1], atol=1e-6)
    halved = fine.reshape(3, 8, 2, 8, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(described[:3, 1:-1, 1:-1], halved[:, 1:-1, 1:-1], atol=1e-6)
    # in the corner only the neighbours that are there count
    assert described[3, 0, 0] == pytest.approx(features[1][0, 0, :2, :2].mean().item(), abs=1e-6)


def test_nearest_patch_is_that_of_an_exhaustive_search() -> None:
    normality, features = memory(), made(2)
    distance, place = normality.nearest(features)
    rows = normality.standardised(patch_descriptors(features)).permute(0, 2, 3, 1).reshape(-1, 7).numpy()
    assert normality.patches is not None
    expected = cdist(rows, normality.patches.numpy())
    np.testing.assert_array_equal(place.flatten().numpy(), expected.argmin(axis=1))
    np.testing.assert_allclose(distance.flatten().numpy(), expected.min(axis=1), rtol=1e-4)


def test_a_departure_is_zero_where_the_distance_is_usual() -> None:
    usual = torch.tensor([[[[0.04]], [[0.25]]]])
    calm, rough = centred_distances(usual, [torch.full((1, 1, 2, 2), 0.04), torch.full((1, 1, 1, 1), 0.35)])
    assert calm.shape == (1, 1, 2, 2) and calm.abs().max() == 0
    assert rough.item() == pytest.approx(0.1)


def test_levels_with_patches_follow_their_definition() -> None:
    normality, features, restored = memory(), made(3), made(4)
    levels = level_maps(features, restored, size=16, normality=normality)
    assert levels.shape == (2, 4, 16, 16)
    nearest, place = normality.nearest(features)
    assert normality.usual is not None
    # the middle level is on the grid of the patches: nothing is resized before it is made the size of the map
    middle = restoration_distances(features, restored)[1][:, 0].numpy()
    expected = normality.usual.numpy()[place.numpy(), 1]
    own = torch.from_numpy((middle - expected) / 1.0)
    large = torch.nn.functional.interpolate(own[:, None], size=(16, 16), mode="bilinear", align_corners=True)
    torch.testing.assert_close(levels[:, 1], large[:, 0].float(), rtol=1e-4, atol=1e-5)
    expected = normality.usual.numpy()[place.numpy(), 3]
    own = torch.from_numpy((nearest[:, 0].numpy() - expected) / 4.0)
    large = torch.nn.functional.interpolate(own[:, None], size=(16, 16), mode="bilinear", align_corners=True)
    torch.testing.assert_close(levels[:, 3], large[:, 0].float(), rtol=1e-4, atol=1e-5)


def test_with_a_floor_levels_count_above_it_and_the_coarsest_as_far_as_the_middle_one() -> None:
    features, restored = made(3), made(4)
    plain = level_maps(features, restored, size=16, normality=memory()).numpy()
    found = level_maps(features, restored, size=16, normality=memory(floor=FLOOR)).numpy()
    weights = memory().weights.numpy()
    above = np.maximum(plain - (weights * FLOOR.numpy())[:, None, None], 0)
    above[:, 2] = np.minimum(above[:, 2], above[:, 1])
    np.testing.assert_allclose(found, above, rtol=1e-4, atol=1e-5)
    for level in range(4):
        assert (found[:, level] == 0).any() and (found[:, level] > 0).any()
    assert (found[:, 2] < np.maximum(plain[:, 2] - 0.5 * 0.1, 0)).any()


def test_without_patches_levels_are_multiplied_by_their_weights() -> None:
    features, restored = made(3), made(4)
    spread = torch.tensor([0.5, 1.0, 2.0])
    published = level_maps(features, restored, size=16)
    scaled = level_maps(features, restored, size=16, normality=Normality(weights=1 / spread))
    torch.testing.assert_close(scaled, published / spread.view(1, 3, 1, 1))


def test_nothing_is_unusual_beyond_the_border_when_patches_are_compared() -> None:
    levels = torch.randn(2, 4, 40, 40, generator=torch.Generator().manual_seed(5))
    expected = [gaussian_filter(each, sigma=4, mode="constant") for each in levels.sum(1).numpy()]
    np.testing.assert_allclose(anomaly_map(levels, normality=memory()).numpy(), expected, atol=1e-5)
    mirrored = [gaussian_filter(each, sigma=4) for each in levels[:, :3].sum(1).numpy()]
    plain = Normality(weights=torch.ones(3))
    np.testing.assert_allclose(anomaly_map(levels[:, :3], normality=plain).numpy(), mirrored, atol=1e-5)


@pytest.mark.parametrize(
    "normality",
    [memory(), memory(floor=FLOOR), Normality(weights=torch.ones(3))],
    ids=["patches", "agreement", "spread"],
)
def test_tensors_make_the_same_again(normality: Normality) -> None:
    again = Normality.from_tensors(normality.state_dict())
    features, restored = made(6), made(7)
    torch.testing.assert_close(
        level_maps(features, restored, size=16, normality=again),
        level_maps(features, restored, size=16, normality=normality),
    )


@pytest.mark.parametrize("change", ["usual", "centre", "weights"])
def test_tensors_of_another_shape_are_refused(change: str) -> None:
    tensors = memory().state_dict()
    tensors[change] = tensors[change][:-1]
    with pytest.raises(RuntimeError, match="expected"):
        Normality.from_tensors(tensors)
    del tensors[change]
    with pytest.raises(RuntimeError, match="expected"):
        Normality.from_tensors(tensors)
