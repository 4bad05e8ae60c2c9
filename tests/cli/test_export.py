import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skrd4ad.cli import main
from skrd4ad.files import LOCK
from skrd4ad.model_folder.folder import read_info

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def model(tmp_path: Path, tiny_model: tuple[Path, Path]) -> Path:
    return Path(shutil.copytree(tiny_model[0], tmp_path / "models" / "parts" / "machined_disc" / "tiny"))


@pytest.mark.slow
def test_fp16_takes_half_the_room_and_passes(model: Path, tiny_export: Path, tmp_path: Path, as_json: Run) -> None:
    out = tmp_path / "line 3" / "disc"
    options = ("--precision", "fp16", "--batch", 2, "--out", out, "--threads", 1, "--max-flips", 0)
    code, document = as_json("export", "--model", model, *options)
    assert (code, document["passed"], document["folder"]) == (0, True, str(out))
    certificate = json.loads((out / "certificate.json").read_text(encoding="utf-8"))
    assert certificate == document["certificate"]
    assert certificate["data"].endswith("test images of parts/machined_disc")
    assert 0 < certificate["score_difference"] < 0.02 * certificate["scale"]
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == document["manifest"]
    assert (manifest["batch"], manifest["input"]["shape"]) == (2, [2, 64, 64, 3])
    assert (out / "model.onnx").stat().st_size < 0.6 * (tiny_export / "model.onnx").stat().st_size


@pytest.mark.usefixtures("quick_onnx")
def test_a_failed_comparison_is_the_answer_no(
    model: Path, tiny_data: Path, as_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skrd4ad.export.runtimes.ExportedModel.batch", lambda _, images: _Zero(len(images)))
    code, document = as_json("export", "--model", model, "--data", tiny_data, "--class", "machined_disc")
    assert (code, document["passed"]) == (1, False)
    assert document["certificate"]["problems"]
    assert Path(document["folder"]).parent == model / "exports"


class _Zero:
    def __init__(self, n: int) -> None:
        self.maps, self.scores = np.zeros((n, 64, 64), np.float32), np.zeros(n, np.float32)


@pytest.mark.usefixtures("quick_onnx")
def test_images_can_be_given_and_text_is_the_folder_and_one_line(
    model: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tiny_data / "machined_disc" / "test" / "good"
    assert main(["export", "--model", str(model), "--images", str(images), str(images / "000.png")]) == 0
    folder, words = capsys.readouterr().out.splitlines()
    assert (Path(folder) / "certificate.json").is_file()
    assert words.strip().startswith("passed, 5 images, largest score difference ")


@pytest.mark.usefixtures("quick_onnx")
def test_without_images_the_export_is_not_checked(model: Path, as_json: Run) -> None:
    config = model / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**values, "data": {}}), encoding="utf-8")
    code, document = as_json("export", "--model", model)
    assert (code, document["passed"], document["certificate"]) == (0, None, None)
    assert document["words"].startswith("not checked: ")
    code, document = as_json("export", "--model", model, "--format", "openvino", "--precision", "int8")
    assert code == 2
    assert "good training images" in document["error"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--precision", "int8"), "openvino in fp32, fp16, bf16, int8"),
        (("--batch", "0"), "a whole number from 1 to 256"),
        (("--max-flips", "2"), "a share from 0 to 1"),
        (("--images", "/nowhere"), "nowhere"),
        (("--data", "DATA", "--class", "moon"), "The class is 'moon'"),
    ],
)
def test_wrong_use_is_answered(
    model: Path, tiny_data: Path, as_json: Run, options: tuple[str, ...], error: str
) -> None:
    code, document = as_json("export", "--model", model, *(str(o).replace("DATA", str(tiny_data)) for o in options))
    assert code in (1, 2)
    assert error in document["error"]
    assert not (model / "exports").exists()


def test_a_bundle_goes_out_and_comes_back(model: Path, tmp_path: Path, as_json: Run) -> None:
    code, document = as_json("bundle", "--model", model, "--out", tmp_path)
    file = Path(document["file"])
    assert (code, file) == (0, tmp_path / "parts-machined_disc-tiny.skrd4ad.zip")
    assert document["bytes"] == file.stat().st_size
    assert set(document["manifest"]["parts"]) == {path.name for path in model.iterdir()} - {LOCK}
    digest = read_info(model).digest
    code, document = as_json("import-bundle", file, "--out", tmp_path / "other")
    assert (code, document["existed"], document["digest"]) == (0, False, digest)
    assert read_info(Path(document["folder"])).digest == digest
    code, document = as_json("import-bundle", file)
    assert (code, document["existed"], document["folder"]) == (0, True, str(model))


def test_a_tampered_bundle_is_refused_by_name(model: Path, tmp_path: Path, as_json: Run) -> None:
    file = tmp_path / "disc.zip"
    as_json("bundle", "--model", model, "--out", file)
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(
                name, content.replace(b"threshold", b"threshole") if name == "calibration.json" else content
            )
    code, document = as_json("import-bundle", file, "--out", tmp_path / "other")
    assert code == 1
    assert "the part calibration.json was changed" in document["error"]
    assert not list((tmp_path / "other").rglob("*.json"))


def test_a_bundle_in_words(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "disc.zip"
    assert main(["bundle", "--model", str(model), "--out", str(file)]) == 0
    assert "5 parts, " in capsys.readouterr().out
    assert main(["import-bundle", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(model)
    assert "there already" in captured.err
