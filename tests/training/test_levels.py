"""A class that a camera of more than 8 bit took: its levels go with the model wherever it reads images."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file

from skrd4ad.config import TrainConfig
from skrd4ad.data.doctor.examine import examine
from skrd4ad.data.images.read import read_image
from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import ConfigError
from skrd4ad.export.manifest import ExportSettings, read_export
from skrd4ad.export.write import export_model
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import predict_images
from skrd4ad.model_folder.bundle import import_bundle, write_bundle
from skrd4ad.model_folder.card import model_card
from skrd4ad.model_folder.folder import WEIGHTS
from skrd4ad.model_folder.info import CONFIG, ModelInfo, read_info
from skrd4ad.training.train import train
from skrd4ad.training.warm_start import WarmStart
from skrd4ad.types import DatasetClass, Levels
from tests.model_fixtures import SMALL

OF_CAMERA = Levels(300, 300 + 3 * 255)
CONFIG_OF_BOTH = TrainConfig(epochs=2, batch_size=4, holdout=0.25)
"""That of ``tiny_model``."""


def at_depth(data: DatasetClass) -> DatasetClass:
    """The class with the same pictures as the camera gives them: 300 is black, 1065 white."""
    for sample in data.samples:
        tifffile.imwrite(
            sample.path.with_suffix(".tif"), read_image(sample.path).astype(np.uint16) * 3 + 300, photometric="rgb"
        )
        sample.path.unlink()
    return open_dataset(data.root.parent)[0]


@pytest.fixture(scope="session")
def camera(shared, tiny_data: Path) -> DatasetClass:
    return open_dataset(
        shared("camera", lambda root: at_depth(open_dataset(Path(shutil.copytree(tiny_data, root / "parts")))[0]))
        / "parts"
    )[0]


@pytest.fixture(scope="session")
def deep_model(shared, camera: DatasetClass) -> ModelInfo:
    def fill(root: Path) -> None:
        options = {"config": CONFIG_OF_BOTH, "levels": OF_CAMERA}
        train(camera, model=SMALL, out=root, source=str(camera.root.parent), **options)

    return read_info(next(shared("deep-models", fill).glob("*/*/*/config.json")).parent)


def test_with_its_levels_a_deep_class_is_its_8_bit_copy(
    deep_model: ModelInfo, camera: DatasetClass, tiny_model: tuple[Path, Path], disc: DatasetClass
) -> None:
    assert deep_model.levels == OF_CAMERA
    assert "shown from 300 (black) to 1065 (white)" in model_card(deep_model)
    first, second = (load_file(folder / WEIGHTS) for folder in (deep_model.folder, tiny_model[0]))
    assert all(torch.equal(first[name], second[name]) for name in second)
    deep, shallow = (Predictor.load(folder) for folder in (deep_model.folder, tiny_model[0]))
    measured, known = evaluate_model(deep, camera), evaluate_model(shallow, disc)
    np.testing.assert_array_equal(measured.verdict_scores, known.verdict_scores)
    [inspection] = predict_images(deep, [("part", camera.test[0].path)], limits=None)
    assert inspection.image is not None
    np.testing.assert_array_equal(inspection.image, read_image(disc.test[0].path))


def test_the_levels_are_in_bundle_and_export_and_kept_by_what_goes_on(
    deep_model: ModelInfo, camera: DatasetClass, tmp_path: Path, quick_onnx: None
) -> None:
    write_bundle(deep_model.folder, tmp_path / "model.zip")
    imported = import_bundle(tmp_path / "model.zip", out=tmp_path / "models")
    assert read_info(imported.info.folder).levels == OF_CAMERA
    export = export_model(Predictor.load(deep_model.folder), ExportSettings(), out=tmp_path / "export")
    assert read_export(export.folder).manifest.levels == OF_CAMERA
    start = WarmStart(folder=deep_model.folder, learn=camera.train[:8], held_out=camera.train[8:])
    options = {"model": SMALL, "config": CONFIG_OF_BOTH, "source": "", "start": start, "out": tmp_path / "more"}
    assert train(camera, **options).levels == OF_CAMERA
    with pytest.raises(ConfigError, match=r"levels are 0 .*has 300 .*keeps them"):
        train(camera, levels=Levels(0, 4095), **options)


def test_without_levels_given_they_are_those_of_the_training_images(camera: DatasetClass, tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, batch_size=4, holdout=0.25)
    found = train(camera, model=SMALL, config=config, out=tmp_path, source="")
    assert found.levels is not None
    assert 0 <= found.levels.black < 400 and 700 < found.levels.white < 1200


def test_an_epoch_that_is_chosen_on_the_test_set_is_measured_with_the_levels(
    camera: DatasetClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def measured(predictor: Predictor, data: DatasetClass, **options):
        seen.append(predictor.info.levels)
        return evaluate_model(predictor, data, **options)

    monkeypatch.setattr("skrd4ad.training.loop.evaluate_model", measured)
    config = TrainConfig(epochs=1, batch_size=4, holdout=0.25, selection="test", evaluate_every=1)
    train(camera, model=SMALL, config=config, out=tmp_path, source="", levels=OF_CAMERA)
    assert seen == [OF_CAMERA]


def test_a_model_of_8_bit_says_nothing_of_levels(tiny_model: tuple[Path, Path]) -> None:
    assert read_info(tiny_model[0]).levels is None
    assert '"levels"' not in (tiny_model[0] / CONFIG).read_text()


def test_the_doctor_tells_of_depth(camera: DatasetClass, tmp_path: Path) -> None:
    codes = {each.code: each for each in examine([camera], image_size=64).findings}
    assert "images above 8 bit shown from" in codes["levels"].message
    assert not {"few-greys", "beyond-levels", "mixed-depth"} & set(codes)

    codes = {each.code: each for each in examine([camera], image_size=64, levels=Levels(0, 65535)).findings}
    assert "only 4 of 256 grey levels" in codes["few-greys"].message
    codes = {each.code: each for each in examine([camera], image_size=64, levels=Levels(300, 500)).findings}
    assert codes["beyond-levels"].count == len(camera.samples)

    root = Path(shutil.copytree(camera.root, tmp_path / "parts" / camera.name))
    bright = next((root / "test" / "good").iterdir())
    tifffile.imwrite(bright, np.full((64, 64, 3), 4000, np.uint16), photometric="rgb")
    shallow = root / "train" / "good" / "8.png"
    from PIL import Image

    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(shallow)
    codes = {each.code: each for each in examine(open_dataset(root.parent), image_size=64).findings}
    assert codes["beyond-levels"].paths == (bright,)
    assert codes["mixed-depth"].paths == (shallow,)
