import json
from pathlib import Path

import pytest

from skrd4ad.cli import main
from skrd4ad.model_folder.info import ModelInfo

pytestmark = pytest.mark.usefixtures("converted_once")


@pytest.mark.slow
def test_runtimes_are_measured_and_then_used(
    info: ModelInfo,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SKRD4AD_RUNTIME")
    model, data = info.folder, tiny_data
    image = next((data / "machined_disc" / "test").rglob("*.png"))
    assert main(["runtimes", "--model", str(model), "--data", str(data), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    fastest = document["fastest"]
    assert {"torch", "openvino", "onnxruntime"} <= {each["runtime"] for each in document["candidates"]}
    assert document["images"].endswith("test images of parts/machined_disc")

    predict = ["predict", "--model", str(model), str(image), "--json", "--out"]
    assert main([*predict, str(tmp_path / "auto")]) == 0
    said = json.loads(capsys.readouterr().out)
    expected = "torch" if fastest["runtime"] == "torch" else f"{fastest['runtime']} {fastest['precision']}"
    assert said["runtime"] == expected
    assert main([*predict, str(tmp_path / "torch"), "--runtime", "torch"]) == 0
    by_torch = json.loads(capsys.readouterr().out)
    assert by_torch["runtime"] == "torch"
    assert main([*predict, str(tmp_path / "onnx"), "--runtime", "onnxruntime"]) == 0
    by_onnx = json.loads(capsys.readouterr().out)
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
