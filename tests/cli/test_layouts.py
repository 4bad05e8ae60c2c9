"""What a user says of a folder on the command line, and what the doctor asks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from skrd4ad.cli import main
from skrd4ad.model_folder.card import model_card
from skrd4ad.model_folder.folder import read_info
from tests.data.published_trees import SIDE, TREES, mask, picture

Run = Callable[..., tuple[int, Any]]
TINY = (
    "--epochs",
    1,
    "--image-size",
    64,
    "--batch-size",
    4,
    "--holdout",
    0.25,
    "--retrieval",
    "off",
    "--fusion",
    "sum",
)


@pytest.fixture
def zones(tmp_path: Path) -> Path:
    """Own folder whose masks lie in a folder that no one would guess."""
    for number in range(8):
        picture(tmp_path / f"parts/serie/{number}.png")
    for number in range(10, 12):
        picture(tmp_path / f"parts/riss/{number}.png")
        mask(tmp_path / f"parts/zones/{number}.png", value=85)
    return tmp_path / "parts"


def test_names_that_are_said_are_recorded_and_open_the_data_again(zones: Path, as_json: Run) -> None:
    code, document = as_json("doctor", "--data", zones, "--good", "serie")
    assert code == 1 and "mask-as-picture" in {f["code"] for f in document["findings"]}
    said = ("--good", "serie", "--masks", "zones", "--mask-values", "85=riss")
    code, document = as_json("doctor", "--data", zones, *said)
    assert code == 0
    (summary,) = document["classes"]
    assert (summary["train_good"], summary["test_defects"], summary["masks"]) == (6, {"riss": 2}, 2)
    code, document = as_json("train", "--data", zones, "--class", "all", *said, *TINY)
    info = read_info(Path(document["models"][0]["folder"]))
    assert code == 0 and info.data["layout"] == "folder?good=serie&masks=zones&mask_values=85%3Driss"
    assert info.metrics is not None and info.metrics["n_masks"] == 2
    # the model knows its data without being told again
    assert as_json("calibrate", "--model", info.folder, "--min-area", 2)[0] == 0


def test_nothing_is_trained_on_a_doubt_unless_it_is_insisted_on(
    zones: Path, as_json: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ("train", "--data", zones, "--class", "all", "--good", "serie", "--no-evaluate", *TINY)
    code, document = as_json(*train)
    assert code == 1 and "--yes insists" in document["error"] and "--masks NAME" in document["error"]
    code, document = as_json(*train, "--yes")
    info = read_info(Path(document["models"][0]["folder"]))
    assert code == 0 and "Trained although the doctor asks: 2 pictures of at most 3 levels" in info.data["note"]
    assert "Trained although the doctor asks" in model_card(info)


def test_an_error_that_is_no_question_cannot_be_insisted_on(zones: Path, as_json: Run) -> None:
    (zones / "serie" / "broken.png").write_bytes(b"?")
    code, document = as_json("train", "--data", zones, "--class", "all", "--good", "serie", "--yes", *TINY)
    assert code == 1 and "--skip-doctor" in document["error"] and "--yes" not in document["error"]


def test_values_of_masks_that_make_no_sense_are_refused(zones: Path, as_json: Run) -> None:
    code, document = as_json("doctor", "--data", zones, "--mask-values", "white")
    assert code == 1 and "VALUE=MEANING" in document["error"]


def test_private_images_of_ad2_are_written_as_its_server_takes_them(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run, loaded_once: None
) -> None:
    root = next(tree for tree in TREES if tree.layout == "mvtec-ad2").draw(tmp_path)
    out = tmp_path / "submission"
    submit = ("predict", "--model", tiny_model[0], "--out", out, "--ad2-submission")
    code, document = as_json(*submit, root / "can")
    assert (code, document["images"]) == (0, 4)
    names = {p.relative_to(out).with_suffix("").as_posix(): p for p in out.rglob("*.*")}
    parts = ("test_private/000_regular", "test_private/001_regular", "test_private_mixed/000_mixed")
    assert {f"{kind}/can/{part}" for kind in ("anomaly_images", "anomaly_images_thresholded") for part in parts} < {
        *names
    }
    scores = tifffile.imread(names[f"anomaly_images/can/{parts[0]}"])
    marked = np.asarray(Image.open(names[f"anomaly_images_thresholded/can/{parts[0]}"]))
    calibration = read_info(tiny_model[0]).calibration
    assert calibration is not None
    assert (scores.dtype, scores.shape, marked.dtype, marked.shape) == (
        np.float16,
        (SIDE, SIDE),
        np.uint8,
        (SIDE, SIDE),
    )
    clear = np.abs(scores.astype(float) - calibration.pixel_threshold) > 0.01
    np.testing.assert_array_equal((marked == 255)[clear], (scores > calibration.pixel_threshold)[clear])
    code, document = as_json(*submit, root)
    assert code == 1 and "test_private" in document["error"]
    assert main([*map(str, submit), str(root / "can"), str(root)]) == 2
