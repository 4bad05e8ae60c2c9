import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from skrd4ad.data.dataset import load_images
from skrd4ad.errors import ConfigError
from skrd4ad.export.benchmark import remembered
from skrd4ad.export.carried import why_no_graph
from skrd4ad.export.certificate import TOLERANCES, Tolerance
from skrd4ad.export.manifest import Precision
from skrd4ad.export.runtimes import RuntimeChoice
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import save_calibration
from skrd4ad.model_folder.info import CALIBRATION, GRAPH, ModelInfo
from skrd4ad.services.inspection import runtimes
from skrd4ad.services.inspection.runtimes import (
    Background,
    RuntimeRequest,
    _on_accelerator,
    measure_model,
    measured_text,
    open_predictor,
)
from skrd4ad.task import QUIET
from skrd4ad.types import DatasetClass
from tests.limits import LONG

pytestmark = pytest.mark.usefixtures("converted_once")


@pytest.fixture
def model(info: ModelInfo) -> ModelInfo:
    return info


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"runtime": "tensorrt"}, "'tensorrt'; allowed: auto, torch, openvino, onnxruntime"),
        ({"precision": "bf16"}, "name a runtime, such as openvino"),
        ({"runtime": "openvino", "device": "cuda"}, "only torch computes there"),
    ],
)
def test_what_does_not_go_together_is_refused(wish: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RuntimeRequest(**wish)  # type: ignore[arg-type]


@pytest.mark.slow
def test_auto_is_openvino_until_measured_and_then_the_fastest(
    model: ModelInfo, disc: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_predictor(model.folder, RuntimeRequest()).runtime == "torch"  # as the variable says
    monkeypatch.delenv("SKRD4AD_RUNTIME")
    assert open_predictor(model.folder, RuntimeRequest()).runtime == "openvino fp32"
    assert remembered(model) is None and why_no_graph(model) == ""
    measured = measure_model(Predictor.load(model.folder), disc)
    fastest = measured.fastest()
    opened = open_predictor(model.folder, RuntimeRequest())
    assert opened.runtime == fastest.text
    assert open_predictor(model.folder, RuntimeRequest(), exact=True).runtime == measured.fastest(exact=True).text
    assert open_predictor(model.folder, RuntimeRequest(runtime="torch")).runtime == "torch"
    images = load_images(disc.test[:3], 64)
    np.testing.assert_allclose(opened.batch(images).scores, Predictor.load(model.folder).batch(images).scores, rtol=0.1)


@pytest.mark.slow
def test_without_images_only_fp32_is_compared_on_made_up_ones(model: ModelInfo) -> None:
    measured = measure_model(Predictor.load(model.folder), None)
    assert measured.images == "8 made-up images"
    assert {each.choice.precision for each in measured.candidates} == {"fp32"}
    assert all(each.usable for each in measured.candidates)
    with pytest.raises(ConfigError, match="int8 needs the good training images"):
        measure_model(Predictor.load(model.folder), None, int8=True)


@pytest.mark.slow
def test_int8_is_measured_with_what_it_costs_and_never_chosen_by_itself(model: ModelInfo, disc: DatasetClass) -> None:
    measured = measure_model(Predictor.load(model.folder), disc, int8=True)
    (int8,) = (each for each in measured.candidates if each.choice == RuntimeChoice("openvino", "int8"))
    assert int8.certificate is not None and int8.milliseconds is not None
    assert int8.certificate.auroc_torch is not None and int8.certificate.auroc_export is not None
    assert int8.problem and measured.fastest() != int8.choice
    kept = remembered(model)
    assert kept is not None and int8 in kept.candidates
    assert open_predictor(model.folder, RuntimeRequest(runtime="openvino", precision="int8")).runtime == "openvino int8"


@pytest.mark.slow
def test_the_app_runs_on_torch_until_another_process_has_measured(
    model: ModelInfo, disc: DatasetClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SKRD4AD_RUNTIME", raising=False)
    started = tmp_path / "started"
    background = Background(lambda _: [sys.executable, "-c", f"open({str(started)!r}, 'a').write('x')"])
    assert background.choice_for(model) == (
        RuntimeChoice("torch"),
        "Runs on torch; looking for a faster runtime in the background.",
    )
    deadline = time.monotonic() + LONG
    while background._running is not None and background._running[1].poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    # it found nothing, and is not asked again
    assert background.choice_for(model) == (RuntimeChoice("torch"), "Runs on torch.")
    assert started.read_text() == "x"
    measured = measure_model(Predictor.load(model.folder), disc)
    assert background.choice_for(model) == (measured.fastest(), measured_text(measured))
    # a conversion that was thrown away is no reason to wait: the model was given a graph of its own
    shutil.rmtree(runtimes.runtime_cache())
    assert background.choice_for(model) == (RuntimeChoice("openvino"), "Runs on openvino fp32.")
    shutil.rmtree(model.folder / GRAPH)
    assert background.choice_for(model)[0] == RuntimeChoice("torch")


def test_a_server_can_be_told_what_to_use(model: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_RUNTIME", "onnxruntime")
    assert Background().choice_for(model) == (
        RuntimeChoice("onnxruntime"),
        "Runs on onnxruntime fp32, as SKRD4AD_RUNTIME says.",
    )
    monkeypatch.setenv("SKRD4AD_RUNTIME", "fast")
    with pytest.raises(ConfigError, match="'fast'; allowed"):
        Background().choice_for(model)


def test_the_graphics_card_that_is_not_there_is_named(model: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="finds none that it can use"):
        open_predictor(model.folder, RuntimeRequest(device="cuda"))


def test_a_smaller_type_on_a_device_must_change_no_verdict(
    model: ModelInfo, disc: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor stands in for the accelerator."""

    def opened(precision: Precision) -> Predictor:
        return _on_accelerator(model.folder, torch.device("cpu"), precision, data=disc, weights=None, task=QUIET)

    def allow(share: float) -> None:
        for precision in ("bf16", "fp16"):
            monkeypatch.setitem(TOLERANCES, precision, Tolerance(flips=share, score=share, auroc=share))

    # far above all scores, where no rounding makes another verdict
    assert model.calibration is not None
    far = replace(model.calibration, image_threshold=1e6, pixel_threshold=1e6, review_threshold=None)
    save_calibration(model.folder, far)
    assert opened("fp32").runtime == "torch fp32 on cpu"
    allow(1.0)
    assert opened("bf16").runtime == "torch bf16 on cpu"
    allow(0.0)
    with pytest.raises(ConfigError, match=r"'bf16' on cpu, and there .*Leave the precision out"):
        opened("bf16")
    allow(1.0)
    (model.folder / CALIBRATION).unlink()
    with pytest.raises(ConfigError, match="no limits, so nobody knows"):
        opened("fp16")


SEARCHING = """
import os, sys, time
from pathlib import Path
from skrd4ad.model_folder.info import read_info
from skrd4ad.services.inspection.runtimes import Background

lives = Path(sys.argv[2])
child = (
    "import sys, time; from skrd4ad.services.jobs.process import end_with_parent; end_with_parent(); "
    "time.sleep(0.3); open(sys.argv[1], 'w').close(); time.sleep(100_000)"
)
searching = Background(lambda _: [sys.executable, "-c", child, lives])
searching.choice_for(read_info(Path(sys.argv[1])))
while not lives.exists() and searching._running[1].poll() is None:
    time.sleep(0.05)
print(searching._running[1].pid, flush=True)
os._exit(0)
"""


def test_a_search_ends_with_the_process_that_began_it(info: ModelInfo, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SEARCHING, info.folder, tmp_path / "lives"]
    environment = {**os.environ, "SKRD4AD_RUNTIME": "auto"}
    begun = subprocess.run(command, capture_output=True, text=True, timeout=LONG, env=environment, check=True)
    assert (tmp_path / "lives").exists()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(begun.stdout)).wait(LONG)  # raises when it lives on
