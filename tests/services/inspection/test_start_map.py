from dataclasses import replace
from pathlib import Path

import numpy as np

from skrd4ad.data.images.read import list_images, read_image
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import limits_of
from skrd4ad.model_folder.folder import read_info
from skrd4ad.regions import ScoringMask
from skrd4ad.services.inspection.inspect import start_map


def test_a_map_to_start_from_is_the_models_without_what_is_ignored(tiny_model: tuple[Path, Path]) -> None:
    folder, data = tiny_model
    image = read_image(list_images(data / "machined_disc" / "test" / "scratch")[0])
    predictor, limits = Predictor.load(folder), limits_of(read_info(folder))
    assert limits is not None
    whole = predictor.predict(image).anomaly_map
    without_limits = start_map(predictor, image, None)
    np.testing.assert_array_equal(without_limits.values, whole)
    assert without_limits.threshold is None

    left = np.zeros((10, 10), bool)
    left[:, :5] = True
    found = start_map(predictor, image, replace(limits, mask=ScoringMask(ignored=left)))
    half = whole.shape[1] // 2
    assert not found.values[:, :half].any()
    np.testing.assert_array_equal(found.values[:, half:], whole[:, half:])
    assert found.threshold == limits.pixel
