from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from skrd4ad.anomaly_map import anomaly_map
from skrd4ad.data.dataset import load_images
from skrd4ad.data.images.read import read_image
from skrd4ad.inference.predict import Predictor
from skrd4ad.types import DatasetClass


def test_one_image_and_a_batch_of_it_are_the_same_bit_for_bit(predictor: Predictor, disc: DatasetClass) -> None:
    sample = disc.test[0]
    one = predictor.predict(read_image(sample.path))
    batch = predictor.batch(load_images([sample], 64))
    assert np.array_equal(one.anomaly_map, batch.maps[0])
    assert np.array_equal(one.level_maps, batch.levels[0])
    assert one.score == float(batch.scores[0])


def test_the_neighbours_in_a_batch_do_not_matter(predictor: Predictor, disc: DatasetClass) -> None:
    images = load_images(disc.test, 64)
    together = predictor.batch(images)
    for index in range(len(images)):
        alone = predictor.batch(images[index : index + 1])
        assert alone.maps[0] == pytest.approx(together.maps[index], abs=1e-5)


def test_shapes_types_and_the_order_of_magnitude(predictor: Predictor, disc: DatasetClass) -> None:
    found = predictor.batch(load_images(disc.test, 64))
    n = len(disc.test)
    assert (found.maps.shape, found.levels.shape, found.scores.shape) == ((n, 64, 64), (n, 3, 64, 64), (n,))
    assert {found.maps.dtype, found.levels.dtype, found.scores.dtype} == {np.dtype(np.float32)}
    assert found.levels.min() >= -1e-5
    assert found.levels.max() <= 2 + 1e-5


def test_the_score_is_the_maximum_of_the_map(predictor: Predictor, disc: DatasetClass) -> None:
    found = predictor.batch(load_images(disc.test, 64))
    assert np.array_equal(found.scores, found.maps.max(axis=(1, 2)))
    one = predictor.predict(read_image(disc.test[0].path))
    assert one.score == one.anomaly_map.max()


def test_the_map_is_the_sum_of_its_levels_blurred(predictor: Predictor, disc: DatasetClass) -> None:
    one = predictor.predict(read_image(disc.test[0].path))
    assert anomaly_map(torch.from_numpy(one.level_maps)[None])[0].numpy() == pytest.approx(one.anomaly_map, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (300, 7), (64, 64)])
def test_an_image_of_any_size_gets_a_map_of_the_models_size(predictor: Predictor, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert predictor.predict(image).anomaly_map.shape == (64, 64)


def test_four_threads_see_what_one_sees(predictor: Predictor, disc: DatasetClass) -> None:
    images = [read_image(sample.path) for sample in disc.test]
    alone = [predictor.predict(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(predictor.predict, images * 4))
    for index, found in enumerate(together):
        expected = alone[index % len(images)]
        assert np.array_equal(found.anomaly_map, expected.anomaly_map)
        assert np.array_equal(found.level_maps, expected.level_maps)


def test_predicting_changes_nothing_in_the_model(predictor: Predictor, disc: DatasetClass) -> None:
    before = {name: tensor.clone() for name, tensor in predictor.model.state_dict().items()}
    predictor.batch(load_images(disc.test, 64))
    assert all(torch.equal(before[name], tensor) for name, tensor in predictor.model.state_dict().items())
