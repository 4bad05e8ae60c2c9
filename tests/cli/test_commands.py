import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import skrd4ad
from skrd4ad.cli import COMMANDS, MODULES, main, published_main
from skrd4ad.data.images.read import read_image
from skrd4ad.data.sources import open_dataset
from skrd4ad.documents import to_plain
from skrd4ad.format import OUTCOME_TITLES
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import GUARDS_OFF, ModelInfo
from skrd4ad.services.evaluation.evaluate import find_evaluation
from skrd4ad.services.evaluation.store import delete_evaluation

Run = Callable[..., tuple[int, Any]]
ROOT = Path(__file__).parents[2]


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    script = (
        "import sys; from skrd4ad.cli import main; main(['--help']); "
        "print([name for name in ('torch', 'numpy', 'cv2', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *help_lines, imported = done.stdout.splitlines()
    assert imported == "[]"
    listed = {words[0] for line in help_lines if line.startswith("    ") and (words := line.split())}
    assert set(COMMANDS) <= listed


def test_every_module_with_options_is_a_command() -> None:
    folder = ROOT / "skrd4ad" / "cli"
    files = [path for path in folder.rglob("*.py") if "def add_options" in path.read_text()]
    found = {".".join(path.relative_to(folder).with_suffix("").parts) for path in files}
    assert found == {MODULES.get(name, name) for name in COMMANDS}


def test_module_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "skrd4ad", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{skrd4ad.__version__}\n", "")


@pytest.mark.parametrize(
    "command", sorted({*COMMANDS} - {"labels"} | {"labels export", "labels import", "labels dataset"})
)
def test_help_of_each_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    help_text = capsys.readouterr().out
    assert f"example:\n  skrd4ad {command} " in help_text
    assert "--json" in help_text


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["fly"],
        ["train"],
        ["doctor", "--data", "x", "--layout", "odd"],
        ["demo", "x", "--size", "63"],
        ["demo", "x", "--train", "many"],
        ["train", "--data", "synthetic", "--class", "all", "--epochs", "0"],
        ["import-rd4ad", "x.pth", "--net", "res18", "--res", "4"],
    ],
)
def test_wrong_use_is_2_with_a_message_and_a_document(argv: list[str], as_json: Run) -> None:
    code, document = as_json(*argv)
    assert code == 2
    assert list(document) == ["error"]


def test_wrong_use_without_json_leaves_standard_output_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "x"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--class" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("command", [["doctor"], ["train", "--epochs", "1"]])
def test_unknown_class_is_wrong_use_and_names_those_there_are(
    command: list[str], tiny_data: Path, as_json: Run
) -> None:
    code, document = as_json(*command, "--data", tiny_data, "--class", "bottle")
    assert code == 2
    assert "machined_disc" in document["error"]


def test_missing_folder_is_1_in_words(tmp_path: Path, as_json: Run) -> None:
    code, document = as_json("doctor", "--data", tmp_path / "missing")
    assert code == 1
    assert "There is no folder" in document["error"]


def test_demo_writes_a_set_that_the_doctor_passes(tmp_path: Path, as_json: Run) -> None:
    sizes = ["--train", 20, "--test-good", 1, "--per-defect", 1, "--size", 64]
    code, document = as_json("demo", tmp_path / "d", "--classes", "woven_fabric", *sizes)
    assert code == 0
    assert document["folder"] == str(tmp_path / "d")
    assert [(c["class"], c["train"], c["test"]) for c in document["classes"]] == [("woven_fabric", 20, 5)]
    code, report = as_json("doctor", "--data", tmp_path / "d", "--image-size", 64)
    assert (code, report["ok"], report["classes"][0]["train_good"]) == (0, True, 20)


def test_doctor_says_no_when_a_training_image_is_also_a_test_image(
    tiny_data: Path, tmp_path: Path, as_json: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "leaky"
    shutil.copytree(tiny_data, root)
    cls = root / "machined_disc"
    shutil.copy(cls / "train" / "good" / "000.png", cls / "test" / "good" / "900.png")
    code, report = as_json("doctor", "--data", root)
    assert (code, report["ok"]) == (1, False)
    assert report["findings"][0]["code"] == "duplicate-train-test"
    assert main(["doctor", "--data", str(root)]) == 1
    assert "Not ready" in capsys.readouterr().out


def test_evaluate_gives_the_figures_of_the_engine_and_keeps_them(
    tiny_model: tuple[Path, Path], as_json: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tiny_model
    data = open_dataset(root)[0]
    code, document = as_json("evaluate", "--model", folder, "--data", root)
    found = evaluate_model(Predictor.load(folder), data)
    names = ("dataset", "class_name", "image_size", "vanished_regions", "test_selected", "calibration", "protocol")
    expected = to_plain(found.metrics) | {name: getattr(found, name) for name in names}
    expected |= {"vanished": list(found.vanished), "left_out": found.left_out}
    by_defect = to_plain(found.by_defect)
    assert code == 0
    assert {key: document[key] for key in expected} == expected
    assert set(document) - set(expected) == {
        "at_limits",
        "why_no_limits",
        "by_defect",
        "by_mask_class",
        "authors",
        "intervals",
        "bootstrap",
        "evaluated_at",
    }
    for name, figures in by_defect.items():
        intervals = document["by_defect"][name].pop("intervals")
        assert document["by_defect"][name] == figures
        assert intervals["image_auroc"][0] <= figures["image_auroc"] <= intervals["image_auroc"][1]
    # the Evaluate page shows the same, and nobody measures it twice
    stored = find_evaluation(read_info(folder), data)
    assert stored is not None and stored.summary.document()["intervals"] == document["intervals"]
    with monkeypatch.context() as patch:
        patch.setattr("skrd4ad.services.evaluation.run.evaluate_model", lambda *_, **__: pytest.fail("measured again"))
        assert as_json("evaluate", "--model", folder, "--data", root)[1]["evaluated_at"] == document["evaluated_at"]
    delete_evaluation(stored.summary.key)


def test_evaluate_counts_what_predict_says_at_the_models_own_limits(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, data = tiny_model
    root = Path(shutil.copytree(data, tmp_path / "with_a_dark_one"))
    dark = root / "machined_disc" / "test" / "good" / "900.png"
    Image.new("RGB", (64, 64), (2, 2, 2)).save(dark)
    code, document = as_json("evaluate", "--model", folder, "--data", root)
    test = root / "machined_disc" / "test"
    types = sorted(each.name for each in test.iterdir())
    verdicts = {
        name: [
            each["verdict"]
            for each in as_json("predict", "--model", folder, test / name, "--out", tmp_path / name)[1]["images"]
        ]
        for name in types
    }
    good, defects = verdicts.pop("good"), [each for of_type in verdicts.values() for each in of_type]
    found = document["at_limits"]
    assert (code, document["why_no_limits"], found["version"]) == (0, "", 1)
    counted = {name: (found[name]["count"], found[name]["total"]) for name in OUTCOME_TITLES}
    assert counted == {
        "false_rejects": (good.count("NG"), len(good)),
        "escapes": (defects.count("OK"), len(defects)),
        "for_review": ((good + defects).count("REVIEW"), len(good + defects)),
        "cannot_judge": ((good + defects).count("CANNOT JUDGE"), len(good + defects)),
    }
    assert good[-1] == "CANNOT JUDGE"
    assert {name: each["escapes"] for name, each in found["by_defect"].items()} == {
        name: of_type.count("OK") for name, of_type in verdicts.items()
    }
    assert main(["evaluate", "--model", str(folder), "--data", str(root)]) == 0
    count = found["cannot_judge"]["count"]
    assert f"Cannot judge            {count} of {len(good + defects)}   " in capsys.readouterr().out


def test_evaluate_measures_again_when_asked(
    tiny_model: tuple[Path, Path], as_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, root = tiny_model
    as_json("evaluate", "--model", folder, "--data", root)
    measured: list[Path] = []

    def watched(predictor: Predictor, *arguments: Any, **options: Any) -> Any:
        measured.append(predictor.info.folder)
        return evaluate_model(predictor, *arguments, **options)

    monkeypatch.setattr("skrd4ad.services.evaluation.run.evaluate_model", watched)
    assert as_json("evaluate", "--model", folder, "--data", root, "--fresh")[0] == 0
    assert measured == [folder]


def test_evaluate_takes_the_models_class_of_several_and_refuses_to_guess(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run
) -> None:
    folder, data = tiny_model
    root = tmp_path / "several"
    for name in ("machined_disc", "other", "third"):
        shutil.copytree(data / "machined_disc", root / name)
    code, document = as_json("evaluate", "--model", folder, "--data", root)
    assert (code, document["class_name"]) == (0, "machined_disc")
    assert as_json("evaluate", "--model", folder, "--data", root, "--class", "other")[1]["class_name"] == "other"
    assert as_json("evaluate", "--model", folder, "--data", root, "--class", "all")[0] == 2
    shutil.rmtree(root / "machined_disc")
    code, document = as_json("evaluate", "--model", folder, "--data", root)
    assert code == 2
    assert "other, third" in document["error"]


def test_evaluate_stores_the_figures_only_when_asked(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run
) -> None:
    folder = tmp_path / "models" / "d" / "c" / "run"
    shutil.copytree(tiny_model[0], folder)
    as_json("evaluate", "--model", folder, "--data", tiny_model[1])
    assert as_json("models")[1]["models"][0]["metrics"] is None
    _, document = as_json("evaluate", "--model", folder, "--data", tiny_model[1], "--save")
    of_limits = ("at_limits", "why_no_limits")  # change with the next calibration, and are not kept with the model
    figures = {name: value for name, value in document.items() if name not in of_limits}
    assert as_json("models")[1]["models"][0]["metrics"] == figures


def test_predict_scores_images_writes_files_and_reports_the_unreadable(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run
) -> None:
    folder, root = tiny_model
    images = tmp_path / "in"
    shutil.copytree(root / "machined_disc" / "test", images)
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    missing = tmp_path / "missing.png"
    out = images / "results"
    code, document = as_json("predict", "--model", folder, images, missing, "--out", out)
    entries = document["images"]
    assert (code, document["model"], len(entries)) == (1, str(folder), 4 + 8 + 2)
    unreadable = [e for e in entries if e["error"]]
    assert [Path(e["path"]).name for e in unreadable] == ["broken.png", "missing.png"]
    assert all(e["score"] is None and e["files"] == {} for e in unreadable)
    read = [e for e in entries if not e["error"]]
    assert len({file for e in read for file in e["files"].values()}) == 3 * len(read)
    threshold = Predictor.load(folder).info.calibration
    assert threshold is not None
    for entry in read:
        plane = np.load(entry["files"]["map"])
        assert entry["score"] == pytest.approx(float(plane.max()))
        assert entry["verdict"] == ("NG" if entry["score"] > threshold.image_threshold else "OK")
        assert read_image(Path(entry["files"]["overlay"])).shape == (64, 64, 3)
    again = as_json("predict", "--model", folder, images, missing, "--out", out)[1]
    assert [e["path"] for e in again["images"]] == [e["path"] for e in entries]


def test_predict_threshold_decides_and_regions_follow(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run
) -> None:
    folder, root = tiny_model
    image = root / "machined_disc" / "test" / "good" / "000.png"
    _, low = as_json("predict", "--model", folder, image, "--out", tmp_path / "o", "--threshold", "0")
    _, high = as_json("predict", "--model", folder, image, "--out", tmp_path / "o", "--threshold", "9")
    assert [(e["verdict"], e["threshold"], len(e["regions"])) for e in low["images"]] == [("NG", 0.0, 1)]
    assert low["images"][0]["regions"][0]["box"] == [0, 0, 64, 64]
    assert [(e["verdict"], e["threshold"], e["regions"]) for e in high["images"]] == [("OK", 9.0, [])]
    assert as_json("predict", "--model", folder, image, "--out", tmp_path / "o", "--threshold", "nan")[0] == 2


def test_predict_is_1_when_an_image_cannot_be_read(tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    code, document = as_json("predict", "--model", tiny_model[0], tmp_path / "notes.txt", "--out", tmp_path / "o")
    assert (code, len(document["images"])) == (1, 1)
    assert "not an image" in document["images"][0]["error"]


def test_predict_prints_one_line_an_image_for_people(
    tiny_model: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tiny_model
    image = root / "machined_disc" / "test" / "good" / "000.png"
    assert main(["predict", "--model", str(folder), str(image), str(tmp_path / "x.png"), "--out", str(tmp_path)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[0] in ("OK", "NG")
    assert second.startswith("unreadable")


def test_models_lists_usable_and_damaged_folders(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "some"
    for name in ("a", "b"):
        shutil.copytree(tiny_model[0], root / "parts" / "machined_disc" / name)
    (root / "parts" / "machined_disc" / "b" / "config.json").write_text("{")
    code, document = as_json("models", "--out", root)
    assert code == 1
    usable, damaged = document["models"]
    assert (Path(usable["folder"]).name, usable["class"], usable["error"]) == ("a", "machined_disc", None)
    assert (usable["threshold"] or 0) > 0
    assert Path(damaged["folder"]).name == "b"
    assert "config.json cannot be read" in damaged["error"]
    capsys.readouterr()
    assert main(["models", "--out", str(root)]) == 1
    *_, line = capsys.readouterr().out.splitlines()
    assert line.startswith(f"damaged: {root / 'parts' / 'machined_disc' / 'b'}: ")
    assert "config.json cannot be read" in line


def test_models_and_predict_say_when_guards_are_off(
    info: ModelInfo, tiny_data: Path, as_json: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tiny_data / "machined_disc" / "test" / "good" / "000.png"
    look = ["predict", str(image), "--model", str(info.folder), "--out", str(info.folder.parent / "o")]
    root = info.folder.parents[2]
    assert as_json("models", "--out", root)[1]["models"][0]["guards"] is True
    assert main(look) == 0 and GUARDS_OFF not in capsys.readouterr().err
    (info.folder / "reference.json").unlink()
    assert as_json("models", "--out", root)[1]["models"][0]["guards"] is False
    assert main(["models", "--out", str(root)]) == 0 and GUARDS_OFF in capsys.readouterr().out
    assert main(look) == 0 and GUARDS_OFF in capsys.readouterr().err


def test_no_models_is_an_empty_list(as_json: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json("models") == (0, {"models": []})
    assert main(["models"]) == 0
    assert "There are no models in" in capsys.readouterr().err


def test_damaged_model_is_1_in_words(tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run) -> None:
    folder = tmp_path / "m"
    shutil.copytree(tiny_model[0], folder)
    (folder / "model.safetensors").write_bytes(b"gone")
    code, document = as_json("predict", "--model", folder, tmp_path, "--out", tmp_path / "o")
    assert code == 1
    assert "changed or damaged" in document["error"]


def broken_program(*_: object, **__: object) -> None:
    raise TypeError("a number is\nno text")


@pytest.mark.parametrize("argv", [["models"], ["models", "--debug"], ["--debug", "models"]])
def test_an_error_in_the_program_is_one_line_and_a_traceback_only_when_asked_for(
    argv: list[str], as_json: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("skrd4ad.services.models.list.find_models", broken_program)
    message = "skrd4ad models: an error in the program: TypeError: a number is no text. "
    assert main(argv) == 1
    *traceback, said = capsys.readouterr().err.splitlines()
    assert said.startswith(message)
    assert ("broken_program" in "".join(traceback)) == ("--debug" in argv)
    assert bool(traceback) == ("--debug" in argv)
    code, document = as_json(*argv)
    assert (code, document) == (1, {"error": said})


def test_a_command_that_cannot_be_imported_is_one_line(
    as_json: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("skrd4ad.cli.models.list", "skrd4ad.cli.paper"):
        monkeypatch.setitem(sys.modules, name, None)
    code, document = as_json("models")
    assert (code, list(document)) == (1, ["error"])
    assert document["error"].startswith("skrd4ad models: an error in the program: ModuleNotFoundError: ")
    assert published_main(["--data_path", "x"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("main.py: an error in the program: ModuleNotFoundError: ")
    assert line.endswith("Run it again with --debug, and report it.")


def test_debug_shows_where_a_user_error_came_from_and_keeps_its_exit_code(
    tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--debug", "doctor", "--data", str(tiny_data), "--class", "none of them"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert shown.splitlines()[-1].startswith("The class is 'none of them'")


def test_reader_that_goes_away_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody_reads:
        monkeypatch.setattr(sys, "stdout", nobody_reads)
        assert main(["models", "--json"]) == 1
        monkeypatch.undo()
    assert capsys.readouterr().err.startswith("There are no models")
