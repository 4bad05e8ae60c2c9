import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skrd4ad.cli import main
from skrd4ad.model_folder.folder import read_info

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def folder(tiny_model: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model[0], tmp_path / "own" / "d" / "c" / "run"))


def test_a_rate_is_stored_with_its_promise(folder: Path, as_json: Run) -> None:
    code, document = as_json("calibrate", "--model", folder, "--rate", 0.3, "--review-rate", 0.6, "--who", "A. Mason")
    stored = document["calibration"]
    assert (code, stored["version"], stored["who"], stored["method"]) == (0, 2, "A. Mason", "split-conformal")
    assert stored["review_threshold"] < stored["image_threshold"]
    assert "at most 30.0 %" in document["promise"]
    assert document["interval"][0] < 0.3 < document["interval"][1]
    assert document["consequences"]["escapes"] is None
    assert not stored["test_fitted"]
    kept = read_info(folder).calibration
    assert kept is not None and kept.version == 2


def test_ways_that_need_defects_take_the_test_images_and_say_so(
    folder: Path, as_json: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = as_json("calibrate", "--model", folder, "--way", "f1")
    assert (code, document["calibration"]["test_fitted"]) == (0, True)
    assert document["consequences"]["escapes"] is not None
    costs = ["--escape-cost", "100", "--false-reject-cost", "2", "--review-cost", "1", "--defect-rate", "0.05"]
    assert main(["calibrate", "--model", str(folder), "--way", "cost", *costs]) == 0
    captured = capsys.readouterr()
    assert "version 3 [test-fitted]" in captured.out
    assert "Per 1000 parts, of which 50 defective" in captured.out
    assert "Test-fitted" in captured.err


def test_own_labelled_images_are_no_test_images(folder: Path, tiny_data: Path, tmp_path: Path, as_json: Run) -> None:
    own = tmp_path / "labelled"
    for kind, source in (("good", "good"), ("dent", "dent")):
        (own / kind).mkdir(parents=True)
        for path in (tiny_data / "machined_disc" / "test" / source).glob("*.png"):
            Image.open(path).transpose(Image.Transpose.ROTATE_90).save(own / kind / path.name)
    code, document = as_json("calibrate", "--model", folder, "--labelled", own, "--way", "balanced")
    assert (code, document["calibration"]["test_fitted"], document["calibration"]["n"]) == (0, False, 6)
    code, document = as_json(
        "calibrate", "--model", folder, "--labelled", tiny_data / "machined_disc", "--way", "balanced"
    )
    assert document["calibration"]["test_fitted"]


def test_normals_that_are_test_images_are_badged(folder: Path, tiny_data: Path, as_json: Run) -> None:
    good = tiny_data / "machined_disc" / "test" / "good"
    code, document = as_json("calibrate", "--model", folder, "--normals", good, "--rate", 0.3)
    assert (code, document["calibration"]["n"], document["calibration"]["test_fitted"]) == (0, 4, True)


def test_history_and_use(folder: Path, as_json: Run, capsys: pytest.CaptureFixture[str]) -> None:
    as_json("calibrate", "--model", folder, "--rate", 0.4, "--note", "after the new lamp")
    code, document = as_json("calibrate", "--model", folder, "--history")
    assert (code, document["current"], [v["version"] for v in document["versions"]]) == (0, 2, [1, 2])
    code, document = as_json("calibrate", "--model", folder, "--use", 1)
    assert (code, document["calibration"]["version"]) == (0, 1)
    assert main(["calibrate", "--model", str(folder), "--history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("* version 1")
    assert lines[1].startswith("  version 2")
    assert "(after the new lamp)" in lines[1]
    assert as_json("calibrate", "--model", folder, "--use", 9)[0] == 1


def test_predict_and_evaluate_name_the_calibration_and_predict_reviews(
    folder: Path, tiny_data: Path, tmp_path: Path, as_json: Run
) -> None:
    by_hand = ["--way", "manual", "--threshold", "99", "--review-threshold", "0.0001"]
    assert as_json("calibrate", "--model", folder, *by_hand)[0] == 0
    image = tiny_data / "machined_disc" / "test" / "good" / "000.png"
    _, document = as_json("predict", "--model", folder, image, "--out", tmp_path / "o")
    entry = document["images"][0]
    assert (document["calibration"], entry["calibration"], entry["verdict"]) == (2, 2, "REVIEW")
    _, document = as_json("predict", "--model", folder, image, "--out", tmp_path / "o", "--threshold", 99)
    assert (document["calibration"], document["images"][0]["calibration"]) == (None, None)
    _, document = as_json("evaluate", "--model", folder, "--data", tiny_data)
    assert document["calibration"] == 2


def test_ignored_regions_and_the_smallest_region_are_stored_and_stay(
    folder: Path, tmp_path: Path, as_json: Run
) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[:16] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    _, document = as_json("calibrate", "--model", folder, "--ignore", tmp_path / "mask.png", "--min-area", 5)
    stored = document["calibration"]
    assert (stored["ignore"], stored["min_area"], stored["n"]) == ("ignore-2.png", 5, 3)
    _, document = as_json("calibrate", "--model", folder, "--rate", 0.3)
    assert (document["calibration"]["ignore"], document["calibration"]["min_area"]) == ("ignore-2.png", 5)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "black.png")
    _, document = as_json("calibrate", "--model", folder, "--ignore", tmp_path / "black.png")
    assert (document["calibration"]["ignore"], document["calibration"]["min_area"]) == (None, 5)


@pytest.mark.parametrize(
    "options",
    [
        ["--way", "manual"],
        ["--way", "cost"],
        ["--way", "cost", "--escape-cost", "1"],
        ["--rate", "0"],
        ["--rate", "0.1", "--review-rate", "0.05"],
        ["--min-area", "0"],
        ["--way", "magic"],
        ["--history", "--use", "1"],
        ["--defect-rate", "2"],
    ],
)
def test_wrong_use_is_2_and_stores_nothing(folder: Path, as_json: Run, options: list[str]) -> None:
    code, document = as_json("calibrate", "--model", folder, *options)
    assert (code, list(document)) == (2, ["error"])
    assert read_info(folder).calibration_versions == 1
