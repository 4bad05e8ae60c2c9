import getpass
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.cli import main
from skrd4ad.cli import train as train_command
from skrd4ad.model_folder.folder import read_info
from skrd4ad.services.history import HistoryFilter, history_page
from skrd4ad.task import Task

Run = Callable[..., tuple[int, Any]]
TINY = ("--epochs", 1, "--image-size", 64, "--batch-size", 4, "--holdout", 0.25)


def test_train_writes_a_measured_model_and_records_it(tiny_data: Path, tmp_path: Path, as_json: Run) -> None:
    code, document = as_json("train", "--data", tiny_data, "--class", "machined_disc", *TINY)
    (entry,) = document["models"]
    info = read_info(Path(entry["folder"]))
    assert code == 0
    assert info.folder.parent == tmp_path / "models" / "parts" / "machined_disc"
    assert (entry["class"], entry["metrics"]) == ("machined_disc", info.metrics)
    assert info.metrics is not None
    assert info.metrics["n_defect"] == 8
    assert info.calibration is not None
    assert entry["threshold"] == info.calibration.image_threshold
    (recorded,) = history_page(HistoryFilter()).entries
    assert (recorded.what, recorded.who, recorded.model_folder) == ("trained", getpass.getuser(), entry["folder"])


def test_options_take_the_place_of_the_presets(tiny_data: Path, tmp_path: Path, as_json: Run) -> None:
    options = ("--res", 1, "--loss", "mixed", "--rate", 0.5, "--seed", 3, "--learning-rate", 0.01)
    flags = ("--selection", "last", "--no-group-consistency", "--no-evaluate", "--out", tmp_path / "o")
    _, document = as_json("train", "--data", tiny_data, "--class", "all", *TINY, *options, *flags)
    info = read_info(Path(document["models"][0]["folder"]))
    assert info.train is not None
    assert (info.model.net, info.model.res, info.model.image_size) == ("efficientnet_lite0", 1, 64)
    assert (info.train.loss, info.train.rate, info.train.seed, info.train.learning_rate) == ("mixed", 0.5, 3, 0.01)
    assert (info.train.selection, info.train.group_consistency, info.metrics) == ("last", False, None)
    assert info.folder.is_relative_to(tmp_path / "o")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_precision_of_the_training_is_on_the_card(tiny_data: Path, as_json: Run, precision: str) -> None:
    options = ("--precision", precision, "--device", "cpu", "--loss", "position", "--no-evaluate")
    code, document = as_json("train", "--data", tiny_data, "--class", "machined_disc", *TINY, *options)
    info = read_info(Path(document["models"][0]["folder"]))
    assert code == 0 and info.train is not None
    assert (info.train.precision, info.train.loss) == (precision, "position")
    assert info.environment["training"] == f"{precision} on cpu"


def test_a_device_that_is_not_there_is_said(
    tiny_data: Path, tmp_path: Path, as_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, document = as_json("train", "--data", tiny_data, "--class", "machined_disc", *TINY, "--device", "cuda")
    assert code == 2
    assert "torch finds none that it can use" in document["error"]
    assert not list(tmp_path.rglob("model.safetensors"))


def test_text_names_the_folder_and_the_main_figures(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--data", str(tiny_data), "--class", "machined_disc", *map(str, TINY)]
    assert main(argv) == 0
    captured = capsys.readouterr()
    folder = captured.out.splitlines()[0].removeprefix("parts/machined_disc: ")
    assert read_info(Path(folder)).class_name == "machined_disc"
    assert "Image AUROC" in captured.out
    assert "AUPRO (paper protocol)" in captured.out
    assert "only 12 good images to train on" in captured.err


def test_data_that_would_make_figures_wrong_is_refused_unless_told_otherwise(
    tiny_data: Path, tmp_path: Path, as_json: Run
) -> None:
    root = tmp_path / "leaky"
    shutil.copytree(tiny_data, root)
    cls = root / "machined_disc"
    shutil.copy(cls / "train" / "good" / "000.png", cls / "test" / "good" / "900.png")
    argv = ("train", "--data", root, "--class", "machined_disc", *TINY, "--no-evaluate")
    code, document = as_json(*argv)
    assert code == 1
    assert "both in train and in test" in document["error"]
    assert not (tmp_path / "models").exists()
    assert as_json(*argv, "--skip-doctor")[0] == 0


def test_workspace_that_cannot_be_used_costs_the_record_only(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # a toolkit that another test has used may have left the root logger at errors
    caplog.set_level("WARNING", logger="skrd4ad")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SKRD4AD_DATABASE_URL", f"sqlite:///{tmp_path / 'file' / 'x.db'}")
    argv = ["train", "--data", str(tiny_data), "--class", "machined_disc", *map(str, TINY), "--no-evaluate"]
    assert main(argv) == 0
    assert "warning: the history does not tell that this was trained" in caplog.text


def test_ctrl_c_is_130_and_says_how_to_go_on(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch, as_json: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command, "train_class", interrupted)
    code, document = as_json("train", "--data", tiny_data, "--class", "all", *TINY)
    assert code == 130
    assert "--resume" in document["error"]


def test_resume_goes_on_after_the_last_full_epoch(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: Run
) -> None:
    argv = ("train", "--data", tiny_data, "--class", "machined_disc", *TINY, "--epochs", 3, "--no-evaluate")
    _, whole = as_json(*argv, "--out", tmp_path / "whole")
    original = train_command.train_class

    def interrupt(epoch: int, _: object) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    def stopping(*arguments: Any, **more: Any) -> Any:
        return original(*arguments, **{**more, "task": Task(point=interrupt)})

    monkeypatch.setattr(train_command, "train_class", stopping)
    assert as_json(*argv, "--out", tmp_path / "parts")[0] == 130
    monkeypatch.setattr(train_command, "train_class", original)
    _, resumed = as_json(*argv, "--out", tmp_path / "parts", "--resume")
    first, second = (read_info(Path(d["models"][0]["folder"])) for d in (whole, resumed))
    assert first.digest == second.digest
    assert [e["epoch"] for e in second.history] == [1, 2, 3]


def test_missing_weights_are_explained_without_a_traceback(tiny_data: Path, tmp_path: Path, as_json: Run) -> None:
    argv = ("train", "--data", tiny_data, "--class", "all", *TINY, "--net", "res18", "--weights", tmp_path / "no.pth")
    code, document = as_json(*argv)
    assert code == 1
    assert "No weights for ResNet-18" in document["error"]
    assert "--weights FILE" in document["error"]
