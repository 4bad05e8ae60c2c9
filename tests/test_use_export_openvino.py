"""The example in docs/ for OpenVINO runs an export as a stranger would: without this package."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.data.images.read import list_images, read_image
from skrd4ad.inference.predict import Predictor
from skrd4ad.regions import ScoringMask, score_under
from tests.limits import LONG

EXAMPLE = Path(__file__).parents[1] / "docs" / "use_export_openvino.py"


def run(folder: Path, images: list[Path]) -> dict[Path, tuple[float, str]]:
    """Score and verdict by image."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(folder), *map(str, images)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    parts = [line.rpartition(": highest of the map ") for line in done.stdout.splitlines()]
    return {Path(path): (float(rest.split(", ")[0]), rest.split(", ", 1)[1]) for path, _, rest in parts}


@pytest.fixture
def images(tiny_data: Path) -> list[Path]:
    return [path for kind in sorted((tiny_data / "machined_disc" / "test").iterdir()) for path in list_images(kind)]


def test_it_does_without_the_package() -> None:
    nodes = ast.walk(ast.parse(EXAMPLE.read_text(encoding="utf-8")))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"json", "sys", "numpy", "openvino"}


def test_its_scores_and_verdicts_are_those_of_the_program(
    tiny_openvino: Path, tiny_model: tuple[Path, Path], images: list[Path]
) -> None:
    predictor = Predictor.load(tiny_model[0])
    calibration = predictor.info.calibration
    assert calibration is not None
    found = run(tiny_openvino, images)
    assert len(found) == len(images)
    for path in images:
        score = predictor.predict(read_image(path)).score
        assert found[path][0] == pytest.approx(score, abs=1e-4)
        if abs(score - calibration.image_threshold) > 1e-4:
            assert found[path][1] == calibration.verdict(score)


def test_small_regions_do_not_count_and_without_limits_there_is_no_verdict(
    tiny_openvino: Path, tiny_model: tuple[Path, Path], images: list[Path], tmp_path: Path
) -> None:
    predictor = Predictor.load(tiny_model[0])
    maps = {path: predictor.predict(read_image(path)).anomaly_map for path in images}
    scores = {path: score_under(plane, ScoringMask(min_area=40)) for path, plane in maps.items()}
    ranked = sorted(scores.values())
    # between scores, so that all three verdicts occur and rounding decides none
    low, high = (float(np.mean(ranked[at : at + 2])) for at in (len(ranked) // 3, 2 * len(ranked) // 3))
    expected = {path: "NG" if score > high else "REVIEW" if score > low else "OK" for path, score in scores.items()}
    assert set(expected.values()) == {"OK", "REVIEW", "NG"}

    folder = Path(shutil.copytree(tiny_openvino, tmp_path / "export"))
    values = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    values["limits"].update(min_area=40, review_threshold=low, image_threshold=high)
    (folder / "manifest.json").write_text(json.dumps(values), encoding="utf-8")
    assert {path: verdict for path, (_, verdict) in run(folder, images).items()} == expected
    (folder / "manifest.json").write_text(json.dumps({**values, "limits": None}), encoding="utf-8")
    assert {verdict for _, verdict in run(folder, images[:1]).values()} == {"no limits, so no verdict"}
