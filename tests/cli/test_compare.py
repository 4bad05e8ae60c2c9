from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.cli import main
from skrd4ad.metrics.bootstrap import METRIC_NAMES, REPLICATES, bootstrap
from skrd4ad.services.evaluation import run
from tests.evaluation_world import worse_copy

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def second(tiny_model: tuple[Path, Path], tmp_path: Path) -> Path:
    target = tmp_path / "parts" / "machined_disc" / "second"
    worse_copy(tiny_model[0], target)
    return target


def test_two_models_are_compared_in_one_document(
    tiny_model: tuple[Path, Path], second: Path, as_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, data = tiny_model
    before = sorted(path.name for path in first.iterdir())
    code, found = as_json("compare", "--model", first, "--model", second, "--data", data)
    assert code == 0
    assert set(found["differences"]) == set(METRIC_NAMES)
    for name, difference in found["differences"].items():
        assert difference["difference"] == found["b"]["metrics"][name] - found["a"]["metrics"][name]
        assert difference["interval"]["low"] <= difference["interval"]["high"]
    assert (found["n_good"], found["n_defect"], found["only_a"], found["only_b"]) == (4, 8, 0, 0)
    assert found["settings"] == [{"name": "Seed", "a": "111", "b": "7"}]
    assert [found[side]["model"] for side in "ab"] == [str(first), str(second)]
    # a comparison changes no model
    assert sorted(path.name for path in first.iterdir()) == before

    # what was measured is kept: nothing is scored again
    monkeypatch.setattr(run, "open_predictor", lambda *_, **__: pytest.fail("a model was loaded"))
    assert as_json("compare", "--model", first, "--model", second, "--data", data) == (0, found)


def test_the_text_has_a_line_for_each_figure(
    tiny_model: tuple[Path, Path], second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, data = tiny_model
    argv = ["compare", "--model", first, "--model", second, "--data", data, "--class", "machined_disc"]
    assert main([*map(str, argv)]) == 0
    said = capsys.readouterr().out
    for words in ("B less A", "Image AUROC", "AUPRO (FPR to 0.05)", "AUPRO (paper protocol)", "95 % interval",
                  "4 good and 8 defective", "verdicts differ", "Seed: 111 | 7", "by chance"):  # fmt: skip
        assert words in said


@pytest.mark.parametrize("times", [1, 3])
def test_a_comparison_needs_two_models(tiny_model: tuple[Path, Path], as_json: Run, times: int) -> None:
    model, data = tiny_model
    code, found = as_json("compare", *(["--model", model] * times), "--data", data)
    assert code == 2
    assert "give it twice" in found["error"]


def test_no_model_folder_and_an_unknown_class_are_errors_in_words(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run
) -> None:
    model, data = tiny_model
    code, found = as_json("compare", "--model", model, "--model", tmp_path, "--data", data)
    assert (code, "no model folder" in found["error"]) == (1, True)
    code, found = as_json("compare", "--model", model, "--model", model, "--data", data, "--class", "bottle")
    assert (code, "machined_disc" in found["error"]) == (2, True)


def test_evaluate_gives_intervals_beside_the_figures(
    tiny_model: tuple[Path, Path], as_json: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bootstrap.__kwdefaults__, "replicates", REPLICATES)
    model, data = tiny_model
    code, found = as_json("evaluate", "--model", model, "--data", data)
    assert code == 0
    assert set(found["intervals"]) == set(METRIC_NAMES)
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] <= high
    assert found["bootstrap"]["replicates"] == 1000
    assert set(found["bootstrap"]["bin_errors"]) == set(METRIC_NAMES)
    assert main(["evaluate", "--model", str(model), "--data", str(data)]) == 0
    said = capsys.readouterr().out
    low, high = found["intervals"]["aupro"]
    assert f"AUPRO (FPR to 0.30)     {found['aupro']:.4f}   95 % {low:.4f} to {high:.4f}" in said
