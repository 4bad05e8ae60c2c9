"""The good patch that a place was compared with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.images.read import read_image
from skrd4ad.inference.predict import Predictor
from skrd4ad.services.inspection.nearest_patch import nearest_patch
from skrd4ad.training.train import train
from skrd4ad.types import DatasetClass


@pytest.fixture(scope="module")
def data(disc: DatasetClass) -> DatasetClass:
    return disc


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory, data: DatasetClass) -> Predictor:
    """Of a model with patches."""
    info = train(
        data,
        model=ModelConfig(image_size=64, fusion="normal", retrieval=True),
        config=TrainConfig(epochs=1, batch_size=4, holdout=0.25),
        out=tmp_path_factory.mktemp("models"),
        source="tests",
    )
    return Predictor.load(info.folder)


def test_a_training_image_is_nearest_to_itself(predictor: Predictor, data: DatasetClass) -> None:
    """All patches of so few images are kept, so those learnt from find themselves, at the place that was asked for."""
    found_themselves = 0
    for sample in data.train:
        image = read_image(sample.path)
        found = nearest_patch(predictor, image, data, peak=(0.6, 0.3))
        assert found is not None
        if found.path == sample.path and found.distance < 1e-2:
            found_themselves += 1
            assert found.box == found.good_box
            x0, y0, x1, y1 = found.box
            height, width = image.shape[:2]
            assert x0 <= 0.6 * width < x1 and y0 <= 0.3 * height < y1
    assert found_themselves == predictor.info.data["n_train"]


@pytest.mark.parametrize("peak", [(0.0, 0.0), (0.999, 0.999)])
def test_surroundings_stay_inside_the_image(
    predictor: Predictor, data: DatasetClass, peak: tuple[float, float]
) -> None:
    image = np.tile(read_image(data.test[0].path), (2, 3, 1))
    found = nearest_patch(predictor, image, data, peak=peak)
    assert found is not None
    for (x0, y0, x1, y1), picture in ((found.box, image), (found.good_box, read_image(found.path))):
        assert 0 <= x0 < x1 <= picture.shape[1] and 0 <= y0 < y1 <= picture.shape[0]
    assert found.distance >= 0 and found.usual > 0


def test_nothing_is_shown_when_the_training_images_are_gone(predictor: Predictor, data: DatasetClass) -> None:
    image = read_image(data.test[0].path)
    assert nearest_patch(predictor, image, replace(data, samples=data.test), peak=(0.5, 0.5)) is None


def test_a_model_without_patches_has_nothing_to_show(tiny_model: tuple[Path, Path], data: DatasetClass) -> None:
    assert nearest_patch(Predictor.load(tiny_model[0]), read_image(data.test[0].path), data, peak=(0.5, 0.5)) is None
