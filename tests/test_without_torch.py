"""Inspection where torch cannot be imported says and writes what it does where it can."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from skrd4ad.cli import main
from skrd4ad.digests import file_digest
from skrd4ad.errors import CheckpointError
from skrd4ad.export.carried import require_sound_graph, why_no_graph
from skrd4ad.export.manifest import MANIFEST, read_export
from skrd4ad.export.sessions import open_session
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.bundle import import_bundle, write_bundle
from skrd4ad.model_folder.info import GRAPH, ModelInfo, read_info
from skrd4ad.services.inspection.runtimes import RuntimeRequest, open_predictor
from skrd4ad.services.models.library import import_model_bundle
from tests.limits import LONG

ROOT = Path(__file__).parents[1]
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""
COMMANDS = """
import io, json
from contextlib import redirect_stderr, redirect_stdout
from skrd4ad.cli import main

answers = []
for argv in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as problem:
        code = main(argv)
    answers.append((code, printed.getvalue(), problem.getvalue()))
print(json.dumps(answers))
"""
MODULES = (
    *(
        "cli.predict",
        "cli.report",
        "cli.calibrate",
        "cli.line.watch",
        "cli.studio.history",
        "cli.studio.roles",
        "cli.doctor",
    ),
    *("cli.evaluate", "cli.compare", "cli.labels", "cli.models.list", "cli.models.pack", "cli.models.import_bundle"),
    *("services.inspection.inspect", "services.inspection.runtimes", "services.watching.watcher", "services.training"),
    *("services.reports.collect", "services.calibration.calibrate", "services.improve.retrain"),
    *("cli.score", "cluster.score", "cluster.parts"),
    *("serve.app", "serve.server", "cli.line.serve", "cli.line.keys"),
    *("ui.job_cards", "ui.sidebar", "ui.inspect.page", "ui.label.page", "ui.evaluate.page", "ui.models.page"),
)


@pytest.fixture(autouse=True)
def by_its_own_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SKRD4AD_RUNTIME")
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path))


@pytest.fixture
def images(tiny_data: Path, tmp_path: Path) -> Path:
    """Good and defective parts, one out of focus, one three times as large, and a file that is no image."""
    folder = Path(shutil.copytree(tiny_data / "machined_disc" / "test", tmp_path / "images"))
    image = cv2.imread(str(folder / "good" / "000.png"))
    cv2.imwrite(str(folder / "blurred.png"), cv2.GaussianBlur(image, (0, 0), 4))
    cv2.imwrite(str(folder / "large.png"), np.tile(image, (3, 3, 1)))
    (folder / "broken.png").write_bytes(b"no")
    return folder


def called(tmp_path: Path, *commands: Sequence[object]) -> list[tuple[int, Any, str]]:
    """Exit code, JSON document and standard error of commands, one after the other in a process without torch."""
    given = json.dumps([[*map(str, argv), "--json"] for argv in commands])
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER + COMMANDS, given],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    return [(code, json.loads(document), problem) for code, document, problem in json.loads(done.stdout)]


def change_weights(graph: Path) -> None:
    """Make the largest constant of a graph half as large again."""
    layers = ElementTree.parse(graph / "model.xml").iter("layer")
    constants = [layer.find("data") for layer in layers if layer.get("type") == "Const"]
    found = [data for data in constants if data is not None and data.get("element_type") == "f32"]
    largest = max(found, key=lambda data: int(data.get("size", 0)))
    start, size = int(largest.get("offset", 0)), int(largest.get("size", 0))
    weights = np.fromfile(graph / "model.bin", np.uint8)
    weights[start : start + size] = (weights[start : start + size].copy().view(np.float32) * 1.5).view(np.uint8)
    weights.tofile(graph / "model.bin")
    reseal(graph)


def reseal(graph: Path) -> None:
    """Let the manifest name the weights that are there now; there is no certificate of them."""
    manifest = json.loads((graph / MANIFEST).read_text())
    manifest["files"]["model.bin"]["sha256"] = file_digest(graph / "model.bin")
    (graph / MANIFEST).write_text(json.dumps(manifest))
    (graph / "certificate.json").unlink()


@pytest.mark.slow
def test_commands_say_and_write_what_they_do_with_torch(
    with_graph: ModelInfo, loaded_once: None, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, model = tmp_path / "batch.html", ["--model", with_graph.folder]
    look = ["predict", images, *model, "--out"]
    predicted, reported, watched = called(
        tmp_path,
        [*look, tmp_path / "without"],
        ["report", images, *model, "--out", tmp_path / "batch.pdf", "--html", page],
        ["watch", images, *model, "--once"],
    )
    code, found, _ = predicted
    expected_code = main([*map(str, look), str(tmp_path / "with"), "--runtime", "torch", "--json"])
    expected = json.loads(capsys.readouterr().out)
    assert (found["runtime"], expected["runtime"]) == ("openvino fp32", "torch")
    assert code == expected_code == 1 and found["counts"] == expected["counts"]
    assert found["counts"]["CANNOT JUDGE"] and found["counts"]["UNREADABLE"] and found["counts"]["NG"]
    for one, other in zip(found["images"], expected["images"], strict=True):
        for name in ("path", "verdict", "view", "refusal", "error", "threshold"):
            assert one[name] == other[name]
        assert (one["score"] or 0) == pytest.approx(other["score"] or 0, rel=1e-4)
        assert one["files"].keys() == other["files"].keys()
        if one["files"]:
            maps = [np.load(each["files"]["map"]) for each in (one, other)]
            np.testing.assert_allclose(*maps, rtol=1e-3, atol=1e-4)
    assert any(each["view"].startswith("tiled") for each in found["images"])

    code, document, problem = reported
    assert code == 0, problem
    assert document["counts"] == found["counts"] and page.stat().st_size > 1000
    code, document, problem = watched
    assert (code, document["counts"]) == (1, found["counts"]), problem
    assert scores_of(document) == scores_of(found)


def scores_of(document: dict[str, Any]) -> dict[str, float | None]:
    """By the name of the file, which tells those outside the folders of good parts apart."""
    return {Path(each["path"]).name: each["score"] for each in document["images"] if "good" not in each["path"]}


@pytest.mark.slow
def test_limits_are_chosen_and_a_model_without_a_graph_says_what_to_do(
    with_graph: ModelInfo, tiny_data: Path, images: Path, tmp_path: Path
) -> None:
    model = ["--model", with_graph.folder]
    ((code, _, problem),) = called(tmp_path, ["calibrate", *model, "--normals", images / "good", "--who", "W"])
    assert code == 0, problem
    assert read_info(with_graph.folder).calibration_versions == 2
    shutil.rmtree(with_graph.folder / GRAPH)
    predicted, trained = called(
        tmp_path,
        ["predict", images, *model, "--out", tmp_path / "out"],
        ["train", "--data", tiny_data, "--class", "machined_disc", "--out", tmp_path],
    )
    for code, document, words in (
        (predicted[0], predicted[1], ["no converted graph", "skrd4ad runtimes"]),
        (trained[0], trained[1], ["Training needs the Python package torch"]),
    ):
        assert code == 2 and all(word in document["error"] for word in words)


def test_no_module_that_inspects_needs_torch(tmp_path: Path) -> None:
    script = f"{BLOCKER}\nimport importlib\nfor name in {MODULES}: importlib.import_module('skrd4ad.' + name)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr


def test_the_start_imports_nothing_that_is_slow(tmp_path: Path) -> None:
    slow = ("torch", "torchvision", "openvino", "onnxruntime", "pandas", "scipy", "sklearn", "streamlit", "plotly")
    commands = (["--help"], ["--version"], ["models"], ["history"], ["roles"])
    script = (
        f"import sys; from skrd4ad.cli import main; [main(each) for each in {commands}]; "
        f"sys.exit(' '.join(name for name in {slow} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr


def test_a_graph_that_is_damaged_or_of_another_model_is_none(with_graph: ModelInfo) -> None:
    folder = with_graph.folder / GRAPH
    assert why_no_graph(with_graph) == ""
    manifest = (folder / MANIFEST).read_text()
    for old, new, words in (
        (with_graph.digest, "0" * 64, "certificate of another export"),
        ('"graph_version": 4', '"graph_version": 3', "certificate of another export"),
    ):
        (folder / MANIFEST).write_text(manifest.replace(old, new))
        assert words in why_no_graph(with_graph)
    (folder / MANIFEST).write_text(manifest)
    (folder / "certificate.json").unlink()
    assert "not compared with the model" in why_no_graph(with_graph)
    (folder / "model.bin").write_bytes(b"damaged")
    assert "changed or damaged" in why_no_graph(with_graph)


@pytest.mark.slow
def test_a_model_of_before_is_converted_once_and_keeps_it(
    with_graph: ModelInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Path(shutil.move(with_graph.folder / GRAPH, tmp_path / GRAPH))
    made: list[Path] = []

    def convert(predictor: Predictor, *_: object, out: Path, **__: object) -> object:
        made.append(out)
        return read_export(shutil.copytree(kept, out))

    monkeypatch.setattr("skrd4ad.export.keep.convert_scoring", convert)
    for _ in range(2):
        assert open_predictor(with_graph.folder, RuntimeRequest()).runtime == "openvino fp32"
    assert len(made) == 1 and why_no_graph(with_graph) == ""


@pytest.mark.slow
def test_a_graph_that_does_not_say_the_same_is_made_once_and_never_used(
    with_graph: ModelInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Path(shutil.move(with_graph.folder / GRAPH, tmp_path / GRAPH))
    made: list[Path] = []

    def convert(predictor: Predictor, *_: object, out: Path, **__: object) -> object:
        made.append(out)
        shutil.copytree(kept, out)
        change_weights(out)
        return read_export(out)

    monkeypatch.setattr("skrd4ad.export.keep.convert_scoring", convert)
    for _ in range(2):
        assert open_predictor(with_graph.folder, RuntimeRequest()).runtime == "torch"
    assert len(made) == 1 and "does not say the same as torch" in why_no_graph(with_graph)


def test_what_was_compiled_is_not_used_for_other_weights(with_graph: ModelInfo, home: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    first = open_predictor(with_graph.folder, RuntimeRequest()).predict(image).score
    (compiled,) = (home / "cache" / "compiled").iterdir()
    assert any(compiled.iterdir())
    assert open_predictor(with_graph.folder, RuntimeRequest()).predict(image).score == first
    # what is kept is damaged: it is compiled again
    for file in compiled.iterdir():
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[:100])
    assert open_predictor(with_graph.folder, RuntimeRequest()).predict(image).score == first
    # other weights under the same name, in the same folder of what was compiled
    folder = with_graph.folder / GRAPH
    change_weights(folder)
    run = open_session(read_export(folder), threads=1, cache=compiled)
    assert float(run(image[None])["score"][0]) != first


def test_a_bundle_carries_the_graph_and_refuses_one_with_values_that_are_no_numbers(
    with_graph: ModelInfo, tmp_path: Path
) -> None:
    bundle = tmp_path / "disc.skrd4ad.zip"
    assert f"{GRAPH}/model.bin" in write_bundle(with_graph.folder, bundle).parts
    found = import_model_bundle(bundle, out=tmp_path / "into").info
    assert why_no_graph(found) == ""
    assert import_bundle(bundle, out=tmp_path / "into").existed

    folder = with_graph.folder / GRAPH
    weights = bytearray((folder / "model.bin").read_bytes())
    weights[-4000:] = np.full(1000, np.nan, np.float32).tobytes()
    (folder / "model.bin").write_bytes(weights)
    reseal(folder)
    with pytest.raises(CheckpointError, match="not finite"):
        require_sound_graph(with_graph.folder)
    write_bundle(with_graph.folder, bundle)
    with pytest.raises(CheckpointError, match="not finite"):
        import_model_bundle(bundle, out=tmp_path / "other")
    assert not [*(tmp_path / "other").rglob("model.bin")]
