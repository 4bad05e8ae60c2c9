"""The example in docs/ runs an export as a stranger would: without this package."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import tifffile

from skrd4ad.data.images import read_pixels as reader
from skrd4ad.data.images.read import read_image
from skrd4ad.documents import to_plain
from skrd4ad.inference.predict import Predictor
from skrd4ad.regions import ScoringMask, score_under
from skrd4ad.types import Levels
from tests.limits import LONG

EXAMPLE = Path(__file__).parents[1] / "docs" / "use_export.py"


def run(model: Path, images: list[Path]) -> dict[str, tuple[float, str]]:
    """Score and verdict by the name of the image."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), str(model), *map(str, images)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        cwd=model.parent,
    )
    assert done.returncode == 0, done.stderr
    parts = [line.rpartition(": highest of the map ") for line in done.stdout.splitlines()]
    return {Path(path).name: (float(rest.split(", ")[0]), rest.split(", ")[1]) for path, _, rest in parts}


@pytest.fixture
def images(tiny_data: Path, tmp_path: Path) -> list[Path]:
    """Parts of other sizes than the model's, each under a name of its own."""
    paths = []
    for kind in sorted((tiny_data / "machined_disc" / "test").iterdir()):
        image = read_image(kind / "000.png")
        path = tmp_path / f"{kind.name}.png"
        cv2.imwrite(str(path), cv2.resize(image, (150, 90), interpolation=cv2.INTER_CUBIC)[..., ::-1])
        paths.append(path)
    return paths


def test_it_is_a_screen_of_onnxruntime_and_numpy() -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert names == {"json", "sys", "numpy", "onnxruntime", "pathlib", "PIL", "read_pixels", "find_part", "types"}


def test_its_scores_and_verdicts_are_those_of_the_program(
    tiny_export: Path, tiny_model: tuple[Path, Path], images: list[Path]
) -> None:
    predictor = Predictor.load(tiny_model[0])
    calibration = predictor.info.calibration
    assert calibration is not None
    found = run(tiny_export / "model.onnx", images)
    assert len(found) == len(images) >= 4
    for path in images:
        score = predictor.predict(read_image(path)).score
        assert found[path.name] == (pytest.approx(score, abs=1e-4), calibration.verdict(score))


def test_small_regions_review_and_a_fixed_batch_count_as_in_the_program(
    tiny_export: Path, tiny_model: tuple[Path, Path], images: list[Path], tmp_path: Path
) -> None:
    predictor = Predictor.load(tiny_model[0])
    maps = {path.name: predictor.predict(read_image(path)).anomaly_map for path in images}
    surface = ScoringMask(min_area=40)
    scores = {name: score_under(plane, surface) for name, plane in maps.items()}
    # between the scores, so that all three verdicts occur
    low, high = np.quantile(list(scores.values()), [0.3, 0.7])
    expected = {name: "NG" if score > high else "REVIEW" if score > low else "OK" for name, score in scores.items()}
    assert set(expected.values()) == {"OK", "REVIEW", "NG"}
    assert any(plane.max() > high and expected[name] != "NG" for name, plane in maps.items())

    model = onnx.load(tiny_export / "model.onnx")
    (entry,) = model.metadata_props
    facts = json.loads(entry.value)
    facts["limits"].update(min_area=40, review_threshold=float(low), image_threshold=float(high))
    entry.value = json.dumps({**facts, "batch": 2})
    onnx.save(model, tmp_path / "changed.onnx")
    shutil.copy(tiny_export / "read_pixels.py", tmp_path)
    assert {name: verdict for name, (_, verdict) in run(tmp_path / "changed.onnx", images).items()} == expected


def test_without_limits_there_is_no_verdict(tiny_export: Path, images: list[Path], tmp_path: Path) -> None:
    shutil.copy(tiny_export / "model.onnx", tmp_path)
    shutil.copy(tiny_export / "read_pixels.py", tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    (entry,) = model.metadata_props
    entry.value = json.dumps({**json.loads(entry.value), "limits": None})
    onnx.save(model, tmp_path / "model.onnx")
    assert {verdict for _, verdict in run(tmp_path / "model.onnx", images[:1]).values()} == {"no limits"}


def test_images_above_8_bit_are_read_with_the_levels_of_the_model(
    tiny_export: Path, tiny_model: tuple[Path, Path], tmp_path: Path
) -> None:
    levels = Levels(300, 1199)
    model = onnx.load(tiny_export / "model.onnx")
    (entry,) = model.metadata_props
    entry.value = json.dumps({**json.loads(entry.value), "levels": to_plain(levels)})
    onnx.save(model, tmp_path / "model.onnx")
    shutil.copy(tiny_export / "read_pixels.py", tmp_path)
    camera = np.random.default_rng(3).integers(300, 1200, (80, 70)).astype(np.uint16)
    images = [tmp_path / name for name in ("grey.png", "planes.tif", "thermal.tif")]
    cv2.imwrite(str(images[0]), camera)
    tifffile.imwrite(images[1], np.stack([camera, camera // 2, camera]), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(images[2], camera.astype(np.float32))
    found = run(tmp_path / "model.onnx", images)
    predictor = Predictor.load(tiny_model[0])
    for path in images:
        score = predictor.predict(read_image(path, levels=levels)).score
        assert found[path.name][0] == pytest.approx(score, abs=1e-4)
    assert abs(found["grey.png"][0] - predictor.predict(read_image(images[0])).score) > 1e-3, "the levels tell"


def test_an_export_carries_the_reader_of_the_program(tiny_export: Path, tiny_openvino: Path) -> None:
    for folder in (tiny_export, tiny_openvino):
        assert (folder / "read_pixels.py").read_bytes() == Path(reader.__file__).read_bytes()
