from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.cli import main
from skrd4ad.model_folder.info import ModelInfo

Run = Callable[..., tuple[int, Any]]
pytestmark = pytest.mark.usefixtures("converted_once")


@pytest.mark.slow
def test_runtimes_are_measured_and_then_used(
    info: ModelInfo, tiny_data: Path, tmp_path: Path, as_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SKRD4AD_RUNTIME")
    model, data = info.folder, tiny_data
    image = next((data / "machined_disc" / "test").rglob("*.png"))
    code, document = as_json("runtimes", "--model", model, "--data", data)
    fastest = document["fastest"]
    assert code == 0
    assert {"torch", "openvino", "onnxruntime"} <= {each["runtime"] for each in document["candidates"]}
    assert document["images"].endswith("test images of parts/machined_disc")

    predict = ["predict", "--model", model, image, "--out", tmp_path / "out"]
    expected = "torch" if fastest["runtime"] == "torch" else f"{fastest['runtime']} {fastest['precision']}"
    assert as_json(*predict)[1]["runtime"] == expected
    by_torch = as_json(*predict, "--runtime", "torch")[1]
    assert by_torch["runtime"] == "torch"
    by_onnx = as_json(*predict, "--runtime", "onnxruntime")[1]
    assert by_onnx["images"][0]["score"] == pytest.approx(by_torch["images"][0]["score"], rel=1e-4)


def test_wrong_use_is_answered(tiny_model: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    model, data = tiny_model
    common = ["predict", "--model", str(model), str(data), "--out", "unused"]
    for options, words in (
        (["--precision", "bf16"], "name a runtime"),
        (["--runtime", "onnxruntime", "--precision", "int8"], "allowed: torch in fp32"),
        (["--runtime", "openvino", "--device", "cuda"], "only torch computes there"),
    ):
        assert main([*common, *options]) == 2
        assert words in capsys.readouterr().err
