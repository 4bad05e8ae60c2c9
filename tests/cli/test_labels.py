import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.cli import main
from tests.label_world import files_of, item, other_workspace
from tests.label_world import fill_workspace as fill

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def labelled(home: Path) -> None:
    fill()


def test_labels_go_out_and_come_back_unchanged(
    labelled: None, as_json: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    code, said = as_json("labels", "export", "parts/disc", "--format", "coco", "--polygons", "--unsure", "--out", out)
    assert (code, said["out"], said["images"], said["masks"], said["unsure"]) == (0, str(out), 19, 6, 1)
    assert said["left_out"] == {"unsure": 0, "undecided": 1, "missing": [], "unusable": []}
    with other_workspace(tmp_path / "other", monkeypatch):
        code, said = as_json("labels", "import", out, "parts/disc", "--reviewer", "B")
        assert (code, said["kinds"], said["images"], said["format"]) == (0, {"new": 19}, 19, "coco")
        again = tmp_path / "again"
        assert (
            main(["labels", "export", "parts/disc", "--format", "coco", "--polygons", "--unsure", "--out", str(again)])
            == 0
        )
    assert files_of(again) == files_of(out)


def test_a_dry_run_says_all_and_writes_nothing(
    labelled: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["labels", "export", "parts/disc", "--format", "mvtec", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "18 images: 12 good, 6 defects; 5 masks." in said
    assert "Left out: 1 unsure." in said
    table = tmp_path / "t.csv"
    table.write_text("file,label\ngood 1.png,defect\ngood 2.png,good\ngood 3.png,bad\n", encoding="utf-8")
    assert main(["labels", "import", str(table), "parts/disc", "--reviewer", "B", "--dry-run"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "1 the same; 1 different: yours stay.\n"
    assert "wrong: t.csv, line 4: the label is 'bad'" in captured.err
    assert item("good 1.png").label == "good"


def test_what_is_wrong_stops_an_import_and_what_differs_is_taken_only_when_asked(
    labelled: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,label\ngood 1.png,defect\ngood 3.png,bad\n", encoding="utf-8")
    command = ["labels", "import", str(table), "parts/disc", "--reviewer", "B"]
    assert main(command) == 1
    assert "so nothing was imported" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 0
    assert item("good 1.png").label == "good"
    assert main([*command, "--skip-bad", "--take", "theirs"]) == 0
    assert "1 different: theirs are taken." in capsys.readouterr().out
    assert item("good 1.png").label == "defect"
    assert (item("good 1.png").latest.reviewer, item("good 1.png").latest.number) == ("B", 2)


def test_labels_become_a_data_set_that_doctor_reads(labelled: None, as_json: Run, home: Path) -> None:
    code, said = as_json("labels", "dataset", "parts/disc", "labelled-1", "--test-share", "0.3")
    assert (code, said["images"]) == (0, 18)
    assert said["good_train"] + said["good_test"] == 12
    assert Path(said["out"]).parent == (home / "labelled").resolve()
    code, report = as_json("doctor", "--data", said["out"], "--image-size", "64")
    assert code == 0, json.dumps(report)


def test_a_zip_is_replaced_and_a_folder_is_not(
    labelled: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for _ in range(2):
        assert main(["labels", "export", "parts/disc", "--format", "csv", "--out", str(tmp_path / "l.zip")]) == 0
    assert main(["labels", "export", "parts/disc", "--format", "csv", "--out", str(tmp_path)]) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "wrong"),
    [
        (["export", "disc", "--format", "csv", "--dry-run"], 2, "allowed: DATASET/CLASS"),
        (["export", "parts/disc", "--format", "csv"], 2, "Say where with --out"),
        (["export", "parts/bolt", "--format", "csv", "--dry-run"], 1, "there are: parts/disc"),
        (["export", "parts/disc", "--format", "mvtec", "--labels-only", "--dry-run"], 2, "choose COCO or CSV"),
        (["export", "parts/disc", "--format", "csv", "--test-share", "1", "--dry-run"], 2, "from 0 to under 1"),
        (["dataset", "parts/disc", "a/b"], 2, "cannot be called"),
        (["import", "nowhere.zip", "parts/disc", "--reviewer", "B"], 1, "There is no nowhere.zip"),
    ],
)
def test_wrong_use_is_said(
    labelled: None, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, wrong: str
) -> None:
    assert main(["labels", *arguments]) == code
    assert wrong in capsys.readouterr().err
