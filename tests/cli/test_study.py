"""A study by the command: parts drawn, photographed again with noise, judged, reported."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skrd4ad.metrics.gauge import gauge_study
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.types import DatasetClass
from tests.cli.test_report import text_of

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def table(tiny_data: Path, tmp_path: Path) -> Path:
    """Two good parts and two defective ones, twice by each of two operators, on two days."""
    rng = np.random.default_rng(1)
    test = tiny_data / "machined_disc" / "test"
    defects = sorted(path for path in test.glob("*/*.png") if path.parent.name != "good")
    rows = []
    for truth, files in (("good", sorted((test / "good").glob("*.png"))[:2]), ("defect", defects[:2])):
        for number, file in enumerate(files):
            pixels = np.array(Image.open(file).convert("RGB"), float)
            for operator in ("Anna", "Ben"):
                for day in ("Monday", "Tuesday"):
                    name = f"{truth}{number}-{operator}-{day}.png"
                    again = pixels + rng.normal(0, 2, pixels.shape)
                    Image.fromarray(np.clip(again, 0, 255).astype(np.uint8)).save(tmp_path / name)
                    part = {"file": name, "part": f"{truth} {number}", "operator": operator, "round": day}
                    rows.append(part | {"truth": truth, "reference": 10})
    with (tmp_path / "study.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "study.csv"


def test_a_study_tells_what_predict_says_of_the_same_photographs(
    tiny_model: tuple[Path, Path], table: Path, tmp_path: Path, as_json: Run
) -> None:
    pdf = tmp_path / "study.pdf"
    code, found = as_json("study", "--model", tiny_model[0], table, "--out", pdf)
    assert (code, found["photographs"], found["left_out"], found["why_not"]) == (0, 16, [], {})
    _, predicted = as_json("predict", "--model", tiny_model[0], tmp_path, "--out", tmp_path / "out")
    scores: dict[str, dict[str, list[float]]] = {}
    verdicts: dict[str, list[str]] = {}
    for image in predicted["images"]:
        part, operator, _ = Path(image["path"]).stem.split("-")
        scores.setdefault(part, {}).setdefault(operator, []).append(image["score"])
        verdicts.setdefault(part, []).append(image["verdict"])
    expected = gauge_study(scores)
    assert found["gauge"]["repeatability"] == pytest.approx(expected.repeatability, rel=1e-6)
    assert found["gauge"]["share"] == pytest.approx(expected.share, rel=1e-6)
    assert found["attribute"]["escaped"]["count"] == sum("OK" in verdicts[f"defect{number}"] for number in (0, 1))
    assert found["attribute"]["alarmed"]["count"] == sum("NG" in verdicts[f"good{number}"] for number in (0, 1))
    every = [score for of in scores.values() for values in of.values() for score in values]
    assert found["bias"]["mean"] == pytest.approx(np.mean(every) - 10, rel=1e-6)
    assert found["stability"]["rounds"] == ["Monday", "Tuesday"]
    said = text_of(pdf)
    for text in ("Measurement study", "Repeatability (EV)", "Kappa between", "good 0", "Round Monday", "Released by"):
        assert text in said


def test_a_photograph_that_cannot_be_read_is_named_and_the_rest_is_told(
    tiny_model: tuple[Path, Path], table: Path, tmp_path: Path, as_json: Run
) -> None:
    (tmp_path / "good1-Ben-Tuesday.png").write_bytes(b"nothing")
    html = tmp_path / "study.html"
    code, found = as_json("study", "--model", tiny_model[0], table, "--out", html)
    assert (code, found["photographs"], found["gauge"]) == (1, 15, None)
    assert "good1-Ben-Tuesday.png" in found["left_out"][0]
    assert "Part good 1 has 1 scores in the setting Ben" in found["why_not"]["gauge"]
    assert found["attribute"]["repeatable"]["total"] == 4
    assert "good1-Ben-Tuesday.png" in html.read_text(encoding="utf-8")


def test_names_from_a_table_are_text_in_the_report(
    tiny_model: tuple[Path, Path], table: Path, tmp_path: Path, as_json: Run
) -> None:
    table.write_text(table.read_text().replace("good 0", "<img src=x>"))
    html = tmp_path / "study.html"
    code, found = as_json("study", "--model", tiny_model[0], table, "--out", html)
    assert code == 0 and "<img src=x>" in json.dumps(found)
    assert "<img src=x>" not in html.read_text(encoding="utf-8")


def test_challenge_parts_are_judged_added_and_removed(info: ModelInfo, disc: DatasetClass, as_json: Run) -> None:
    code, _ = as_json("challenge", "--model", info.folder)
    assert code == 1  # there are none
    good = next(sample.path for sample in disc.test if sample.label == 0)
    code, found = as_json("challenge", "--model", info.folder, "--add", good, "--expect", "NG")
    assert (code, found["passed"], [part["expected"] for part in found["parts"]]) == (0, None, ["NG"])
    code, found = as_json("challenge", "--model", info.folder)
    [part] = found["parts"]
    assert (code, found["passed"]) == ((0, True) if part["verdict"] == "NG" else (1, False))
    code, found = as_json("challenge", "--model", info.folder, "--remove", part["name"])
    assert (code, found["parts"]) == (0, [])
