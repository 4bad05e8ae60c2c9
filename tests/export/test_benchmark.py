from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.errors import CheckpointError, DependencyError
from skrd4ad.export import benchmark
from skrd4ad.export.benchmark import Candidate, Measured, measure, remembered
from skrd4ad.export.certificate import TOLERANCES, Certificate
from skrd4ad.export.check import images_of
from skrd4ad.export.runtimes import RuntimeChoice
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.types import DatasetClass

pytestmark = pytest.mark.usefixtures("converted_once")

TORCH, OPENVINO, BF16, INT8 = (
    RuntimeChoice("torch"),
    RuntimeChoice("openvino"),
    RuntimeChoice("openvino", "bf16"),
    RuntimeChoice("openvino", "int8"),
)


def candidate(choice: RuntimeChoice, milliseconds: float | None, problem: str = "") -> Candidate:
    return Candidate(choice=choice, milliseconds=milliseconds, certificate=None, problem=problem)


def measured(*candidates: Candidate) -> Measured:
    return Measured(candidates=candidates, images="none", calibration=1, environment={})


def test_the_fastest_that_says_the_same_is_chosen() -> None:
    found = measured(
        candidate(TORCH, 30.0), candidate(OPENVINO, 10.0), candidate(BF16, 7.0), candidate(INT8, 5.0, "its verdicts")
    )
    assert found.fastest() == BF16
    assert found.fastest(exact=True) == OPENVINO
    assert measured(candidate(TORCH, 30.0), candidate(OPENVINO, None, "is not installed")).fastest() == TORCH
    assert measured(candidate(TORCH, 9.0), candidate(OPENVINO, 10.0)).fastest() == TORCH


def test_what_was_measured_survives_the_file_and_damage_is_named() -> None:
    found = measured(candidate(TORCH, 30.0), candidate(OPENVINO, 10.0), candidate(BF16, None, "3 verdicts differ"))
    assert Measured.from_plain(found.to_plain(), "it") == found
    for broken in ({**found.to_plain(), "format": 9}, {**found.to_plain(), "candidates": []}, {"format": 1}):
        with pytest.raises(CheckpointError, match=r"it (is damaged|has the format)"):
            Measured.from_plain(broken, "it")


@pytest.mark.slow
def test_a_model_is_measured_once_for_each_calibration(
    trained: ModelInfo, disc: DatasetClass, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.load(trained.folder)
    assert remembered(trained) is None
    found = measure(predictor, images_of(disc, most=6))
    by_choice = {each.choice: each for each in found.candidates}
    assert set(by_choice) >= {TORCH, OPENVINO, RuntimeChoice("onnxruntime")}
    assert all(each.milliseconds is not None and each.milliseconds > 0 for each in found.candidates)
    for choice in (OPENVINO, RuntimeChoice("onnxruntime")):
        certificate = by_choice[choice].certificate
        assert certificate is not None and certificate.passed and certificate.images == 6
    assert remembered(trained) == found
    assert trained.calibration is not None
    assert remembered(replace(trained, calibration=replace(trained.calibration, version=2))) is None
    assert remembered(replace(trained, digest="of another model")) is None
    monkeypatch.setattr(benchmark.optional_dependencies, "processor_name", lambda: "another processor")
    assert remembered(trained) is None


@pytest.mark.slow
def test_a_damaged_memory_counts_as_none(trained: ModelInfo, disc: DatasetClass, home: Path) -> None:
    measure(Predictor.load(trained.folder), images_of(disc, most=2), precisions=())
    (file,) = (home / "cache" / "runtimes").glob("*.json")
    file.write_text("{")
    assert remembered(trained) is None


@pytest.mark.slow
def test_a_runtime_that_is_not_installed_does_not_stop_the_others(
    trained: ModelInfo, disc: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise DependencyError("onnxruntime is not there")

    monkeypatch.setattr("skrd4ad.export.optional_dependencies.onnxruntime", missing)
    found = {each.choice: each for each in measure(Predictor.load(trained.folder), images_of(disc, most=2)).candidates}
    assert found[RuntimeChoice("onnxruntime")].problem == "onnxruntime is not there"
    assert not found[RuntimeChoice("onnxruntime")].usable and found[OPENVINO].usable


def certificate(flips: int | None, problems: tuple[str, ...] = ()) -> Certificate:
    return Certificate(
        images=8,
        data="",
        good=0,
        defective=0,
        scale=1.0,
        score_difference=0.0,
        mean_score_difference=0.0,
        map_difference=0.0,
        mean_map_difference=0.0,
        verdict_flips=flips,
        ties=0,
        auroc_torch=None,
        auroc_export=None,
        tolerance=TOLERANCES["bf16"],
        problems=problems,
    )


def test_less_than_fp32_is_chosen_only_where_every_verdict_agrees() -> None:
    calibration = calibrate([1.0, 2.0], data="two", who="tests")
    limits = benchmark.ExportLimits.of(calibration, ignored_pixels=0)
    problem = benchmark._problem
    assert problem(BF16, certificate(0), limits) == ""
    assert problem(BF16, certificate(1), limits) == "1 verdicts differ"
    assert "nobody knows" in problem(BF16, certificate(None), None)
    assert problem(OPENVINO, certificate(None), None) == ""
    assert problem(OPENVINO, certificate(0, ("broken",)), limits) == "broken"
    assert "only when it is named" in problem(INT8, certificate(0), limits)
