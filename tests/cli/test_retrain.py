from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.cli import main
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from tests.loop_world import label_sample, part

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def old(info: ModelInfo) -> ModelInfo:
    return info


def test_a_model_is_retrained_with_labels_and_compared(old: ModelInfo, more_parts: Path, as_json: Run) -> None:
    for sample in (others := part(more_parts)).train + others.test:
        label_sample(old, sample)
    code, found = as_json("retrain", "--model", old.folder, "--epochs", 1, "--learning-rate", 0.001)
    assert code == 0
    new = read_info(Path(found["model"]))
    assert new.train is not None and (new.train.epochs, new.train.learning_rate) == (1, 0.001)
    assert new.data["started_from"]["digest"] == old.digest and found["start_from"] == str(old.folder)
    plan, both = found["plan"], found["comparison"]
    assert (plan["own"], plan["own_held_out"], plan["tests"]) == (12, 3, 0)
    assert plan["learn"] + plan["limits"] + plan["compare"] == 30
    for side in ("old", "new"):
        assert (both[side]["n_good"], both[side]["n_defect"]) == (plan["compare"], 8)
        assert 0 <= both[side]["image_auroc"] <= 1
        assert both[side]["pixel_auroc"] is not None and both[side]["aupro"] is not None
    assert both["left_out"] == plan["learn"] + plan["limits"]
    assert both["image_auroc_difference"]["a"] == both["old"]["image_auroc"]


def test_the_table_names_both_models(old: ModelInfo, more_parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sample in part(more_parts).train:
        label_sample(old, sample)
    assert main(["retrain", "--model", str(old.folder), "--epochs", "1"]) == 0
    out, err = capsys.readouterr()
    assert "Image AUROC" in out and "The old model stays in use" in out
    assert "learning from 9 training images of the model" in err


def test_without_labels_nothing_is_trained(old: ModelInfo, as_json: Run) -> None:
    code, found = as_json("retrain", "--model", old.folder)
    assert code == 1 and "Label more good images" in found["error"]
    assert [path.name for path in old.folder.parent.iterdir()] == ["run"]


def test_train_goes_on_from_a_model_with_its_settings(old: ModelInfo, tiny_data: Path, as_json: Run) -> None:
    code, found = as_json(
        "train", "--data", tiny_data, "--class", "machined_disc", "--start-from", old.folder, "--skip-doctor"
    )
    assert code == 0
    new = read_info(Path(found["models"][0]["folder"]))
    assert new.model == old.model and new.train is not None and old.train is not None
    assert (new.train.epochs, new.train.learning_rate) == (1, pytest.approx(0.4 * old.train.learning_rate))
    assert new.data["started_from"] == {"run": "run", "digest": old.digest}
    assert new.history[0]["loss"] < old.history[-1]["loss"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--image-size", 128), "same design"),
        (("--preset", "fast"), "not allowed with argument"),
        (("--start-from", "nowhere"), "no model folder"),
    ],
)
def test_a_start_that_cannot_be_is_refused(
    old: ModelInfo, tiny_data: Path, as_json: Run, options: tuple[object, ...], words: str
) -> None:
    start = () if "--start-from" in options else ("--start-from", old.folder)
    code, found = as_json("train", "--data", tiny_data, "--class", "machined_disc", *start, *options, "--skip-doctor")
    assert code in (1, 2) and words in found["error"]
