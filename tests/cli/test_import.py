from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skrd4ad.cli import main
from skrd4ad.config import ModelConfig
from skrd4ad.data.images.read import read_image
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import read_info
from skrd4ad.models.skrd import build_student
from tests.model_fixtures import build_model

Run = Callable[..., tuple[int, Any]]
CONFIG = ModelConfig(net="res18", res=2, image_size=64)


def published(path: Path) -> Path:
    """A checkpoint as the original code writes it."""
    state = build_student(CONFIG, seed=5).state_dict()
    parts = {
        part: {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}
        for part in ("bn", "decoder")
    }
    torch.save(parts, path)
    return path


def test_imported_checkpoint_predicts_as_the_network_it_holds(
    tmp_path: Path, tiny_data: Path, res18_weights: Path, as_json: Run
) -> None:
    file = published(tmp_path / "bottle.pth")
    options = ("--net", "res18", "--res", 2, "--image-size", 64, "--weights", res18_weights)
    code, document = as_json("import-rd4ad", file, *options, "--dataset", "mvtec")
    assert (code, document["dataset"], document["class"]) == (0, "mvtec", "bottle")
    folder = Path(document["folder"])
    info = read_info(folder)
    assert folder.parent == tmp_path / "models" / "mvtec" / "bottle"
    assert (info.model, info.train, info.calibration, info.origin) == (CONFIG, None, None, "imported from bottle.pth")
    image = tiny_data / "machined_disc" / "test" / "good" / "000.png"
    options = ("--weights", res18_weights, "--out", tmp_path / "o")
    code, document = as_json("predict", "--model", folder, image, *options)
    (entry,) = document["images"]
    assert (code, entry["verdict"], entry["threshold"], entry["regions"]) == (0, None, None, [])
    network = build_model(CONFIG, weights=res18_weights, seed=5)
    expected = Predictor(network, info).predict(read_image(image))
    np.testing.assert_allclose(np.load(entry["files"]["map"]), expected.anomaly_map, atol=1e-5)
    _, document = as_json("predict", "--model", folder, image, *options, "--threshold", entry["score"] / 2)
    assert document["images"][0]["verdict"] == "NG"


def test_decoder_alone_is_refused_and_leaves_nothing(tmp_path: Path, res18_weights: Path, as_json: Run) -> None:
    file = published(tmp_path / "seg1.pth")
    torch.save(torch.load(file, weights_only=True)["decoder"], file)
    code, document = as_json("import-rd4ad", file, "--net", "res18", "--res", 2, "--weights", res18_weights)
    assert code == 1
    assert "holds only the decoder" in document["error"]
    assert not (tmp_path / "models").exists()


def test_text_is_the_folder_and_a_word_on_thresholds(
    tmp_path: Path, res18_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["import-rd4ad", str(published(tmp_path / "c.pth")), "--net", "res18", "--res", "2"]
    assert main([*argv, "--weights", str(res18_weights), "--image-size", "64"]) == 0
    captured = capsys.readouterr()
    assert read_info(Path(captured.out.strip())).class_name == "c"
    assert "no thresholds" in captured.err and "import it with --res 3" in captured.err


def test_a_file_of_the_original_code_has_two_skips_unless_it_is_said_otherwise(
    tmp_path: Path, res18_weights: Path, as_json: Run
) -> None:
    options = ("--net", "res18", "--image-size", 64, "--weights", res18_weights)
    _, document = as_json("import-rd4ad", published(tmp_path / "bottle.pth"), *options)
    assert read_info(Path(document["folder"])).model.skips == 2
