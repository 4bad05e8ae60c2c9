"""Line scans, ten times as long as high, from the doctor to an export that runs without the program."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skrd4ad.config import PRESETS, TrainConfig
from skrd4ad.data.images.read import list_images, read_image
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.export.manifest import ExportSettings
from skrd4ad.export.write import export_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import predict_images
from skrd4ad.model_folder.folder import read_info, save_calibration
from skrd4ad.services.datasets import preflight
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.inspection.predictions import ImageFile, PredictionStore
from skrd4ad.training.train import train
from skrd4ad.types import DatasetClass
from tests.test_use_export import run as run_onnx
from tests.test_use_export_openvino import run as run_openvino

HEIGHT, WIDTH = 100, 1000
SIZE = (96, 832)


@pytest.fixture
def strip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetClass:
    """Eight good scans to learn from; to test on two good ones and two with a dark spot of 40 x 20 pixels."""
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path))
    rng = np.random.default_rng(5)
    root, wave = tmp_path / "strips" / "strip", 120 + 30 * np.sin(np.arange(WIDTH) / 30)
    for folder, count in (("train/good", 8), ("test/good", 2), ("test/spot", 2)):
        for number in range(count):
            pixels = np.clip(rng.normal(wave, 4, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
            mask = np.zeros_like(pixels)
            mask[50:70, 700 : 740 if folder == "test/spot" else 700] = 255
            pixels[mask > 0] = 10
            files = [(root / folder / f"{number}.png", pixels)]
            files += [(root / "ground_truth/spot" / f"{number}_mask.png", mask)] if mask.any() else []
            for file, values in files:
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(file)
    return find_classes(root.parent)[0]


@pytest.mark.slow
def test_line_scans_keep_their_shape_all_the_way(strip: DatasetClass, tmp_path: Path) -> None:
    report = preflight([strip], image_size=None)
    assert report.ok and report.classes[0].image_size == SIZE
    assert "1.2 pixels in x and 1.04 in y" in next(f.message for f in report.findings if f.code == "shape")

    model = replace(PRESETS["fast"].model, image_size=SIZE)
    config = TrainConfig(epochs=2, batch_size=3, holdout=0.25, seed=1)
    info = train(strip, model=model, config=config, out=tmp_path / "out", source=str(strip.root.parent))
    assert info.calibration is not None and read_info(info.folder).model == model
    # a region to ignore and a smallest region, so that what counts is a rectangle as well
    ignored = np.zeros((HEIGHT, WIDTH), bool)
    ignored[:, :100] = True
    info = save_calibration(info.folder, replace(info.calibration, min_area=2), ignore_mask=ignored)

    predictor = Predictor.load(info.folder)
    stored = evaluate_class(info.folder, strip, source=str(strip.root.parent))
    assert stored.maps().shape == (4, *SIZE) and stored.evaluation_set().masks is not None
    assert stored.summary.document()["image_size"] == SIZE
    for index, image in enumerate(stored.images):
        if image.label:
            plane, mask = stored.map_of(index), stored.mask_of(index)
            assert mask is not None and mask.shape == SIZE and plane[mask].max() == plane.max()
            assert image.mask_area == pytest.approx(40 * 20 * SIZE[0] * SIZE[1] / (HEIGHT * WIDTH), rel=0.05)

    spot = strip.root / "test" / "spot" / "0.png"
    (found,) = predict_images(predictor, [("0.png", spot)], limits=None)
    assert found.prediction is not None and found.prediction.anomaly_map.shape == SIZE
    assert found.seen_whole and "wrong shape" not in str(found.refusal)
    store = PredictionStore(info)
    list(store.predictions([ImageFile(str(found.content), "0.png", lambda: spot)], lambda: predictor, keep_maps=True))
    kept = store.map_of(str(found.content))
    assert kept is not None and kept.shape == SIZE

    images = [path for folder in ("good", "spot") for path in list_images(strip.root / "test" / folder)]
    images = [path.rename(path.with_stem(f"{path.parent.name}-{path.stem}")) for path in images]
    onnx = export_model(predictor, ExportSettings(), out=tmp_path / "onnx")
    openvino = export_model(predictor, ExportSettings(format="openvino", batch=1), out=tmp_path / "openvino")
    by_onnx, by_openvino = run_onnx(onnx.main_file, images), run_openvino(openvino.folder, images)
    for path in images:
        plane = predictor.predict(read_image(path)).anomaly_map.copy()
        plane[:, : -(-100 * SIZE[1] // WIDTH)] = 0
        assert by_onnx[path.name][0] == pytest.approx(plane.max(), abs=1e-4)
        assert by_openvino[path][0] == pytest.approx(plane.max(), abs=1e-4)
