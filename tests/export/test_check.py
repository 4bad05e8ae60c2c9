import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from skrd4ad.data.dataset import load_images
from skrd4ad.errors import CheckpointError, DataError, TrainingCancelled
from skrd4ad.export import graph, optional_dependencies
from skrd4ad.export.certificate import (
    CERTIFICATE,
    TOLERANCES,
    Certificate,
    Tolerance,
    read_certificate,
    write_certificate,
)
from skrd4ad.export.check import CheckImages, check_export, compare, given_images, images_of
from skrd4ad.export.manifest import Export, ExportLimits, ExportSettings, read_export
from skrd4ad.export.runtimes import ExportedModel, Verdicts
from skrd4ad.export.write import export_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.model_folder.folder import save_calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.task import Status, Task
from skrd4ad.types import DatasetClass

FP32 = TOLERANCES["fp32"]
LOOSE = Tolerance(flips=0.01, score=1.0, auroc=0.01)


@dataclass
class Told:
    """A runtime whose scores are told beforehand; its maps are flat."""

    scores: list[float]
    image_size: int = 64
    levels: None = None
    alignment: None = None

    def batch(self, images: NDArray[np.uint8]) -> Verdicts:
        now, self.scores = self.scores[: len(images)], self.scores[len(images) :]
        values = np.array(now, np.float32)
        return Verdicts(maps=np.broadcast_to(values[:, None, None], (len(now), 64, 64)).copy(), scores=values)


@pytest.fixture
def predictor(trained: ModelInfo) -> Predictor:
    return Predictor.load(trained.folder)


@pytest.fixture
def export(tiny_export: Path, tmp_path: Path) -> Export:
    return read_export(Path(shutil.copytree(tiny_export, tmp_path / "export")))


@pytest.fixture
def ten(disc: DatasetClass) -> CheckImages:
    """Four good images, then six defective ones."""
    good = [sample for sample in disc.test if sample.label == 0]
    return CheckImages((*good, *[sample for sample in disc.test if sample.label == 1][:6]), "ten images")


def limits(*, reject: float, review: float | None = None) -> ExportLimits:
    calibration = replace(calibrate([reject], data="d", who="w"), review_threshold=review)
    return ExportLimits.of(calibration, ignored_pixels=0)


def told(expected: list[float], given: list[float], images: CheckImages, **options: object) -> Certificate:
    values = {"limits": limits(reject=1.0), "tolerance": LOOSE, **options}
    return compare(Told(expected), Told(given), images, **values)  # type: ignore[arg-type]


def test_a_faithful_export_passes_with_its_figures(predictor: Predictor, export: Export, disc: DatasetClass) -> None:
    steps: list[Status] = []
    certificate = check_export(export, predictor, images_of(disc), threads=1, task=Task(show=steps.append))
    n = len(disc.test)
    assert (certificate.passed, certificate.problems, certificate.verdict_flips) == (True, (), 0)
    assert (certificate.images, certificate.good, certificate.defective) == (n, 4, n - 4)
    assert certificate.data == f"{n} test images of parts/machined_disc"
    assert (steps[-1].text, steps[-1].share) == (f"comparing image {n} of {n}", 1.0)
    pixels, labels = load_images(disc.test, 64), [sample.label for sample in disc.test]
    right, found = predictor.batch(pixels), ExportedModel(export, threads=1).batch(pixels)
    assert certificate.auroc_torch == pytest.approx(roc_auc_score(labels, right.scores))
    assert certificate.auroc_export == pytest.approx(roc_auc_score(labels, found.scores))
    assert certificate.score_difference == pytest.approx(np.abs(right.scores - found.scores).max(), abs=2e-6)
    assert certificate.map_difference == pytest.approx(np.abs(right.maps - found.maps).max(), abs=5e-6)
    assert 0 < certificate.mean_map_difference <= certificate.map_difference < 1e-4  # type: ignore[operator]
    assert certificate.scale == predictor.info.calibration.image_threshold  # type: ignore[union-attr]
    assert {"processor", "torch", "onnxruntime"} == set(certificate.environment)
    assert read_certificate(export) == certificate
    assert "0 verdicts differ" in certificate.text


@pytest.mark.slow
def test_a_broken_graph_fails(
    predictor: Predictor, disc: DatasetClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "anomaly_map", lambda levels, **_: levels.sum(dim=1))  # without the blur
    export = export_model(predictor, ExportSettings(format="openvino", batch=1), out=tmp_path / "out")
    certificate = check_export(export, predictor, images_of(disc, most=4), threads=1)
    assert not certificate.passed
    assert "a score differs by" in certificate.problems[0]
    assert "failed" in certificate.text
    assert json.loads((export.folder / CERTIFICATE).read_text(encoding="utf-8"))["passed"] is False


def test_flipped_verdicts_above_the_allowed_share_fail(ten: CheckImages) -> None:
    expected = [0.5, 0.5, 0.5, 0.9, 1.2, 1.5, 1.5, 1.5, 1.5, 1.5]
    given = [0.5, 0.5, 0.5, 1.1, 0.9, 1.5, 1.5, 1.5, 1.5, 1.5]
    found = told(expected, given, ten)
    assert (found.verdict_flips, found.ties, found.passed) == (2, 0, False)
    assert "2 of 10 verdicts differ; allowed: a share of 0.01" in found.problems
    lenient = replace(LOOSE, flips=0.2, auroc=1.0)
    assert told(expected, given, ten, tolerance=lenient).problems == ()
    assert told(expected, given, ten, limits=None).verdict_flips is None


def test_review_is_a_verdict_of_its_own(ten: CheckImages) -> None:
    both = limits(reject=1.0, review=0.8)
    found = told([0.5, 0.79, *[1.5] * 8], [0.5, 0.81, *[1.5] * 8], ten, limits=both)
    assert found.verdict_flips == 1


def test_a_flip_on_the_limit_itself_is_counted_and_not_held_against_the_export(ten: CheckImages) -> None:
    expected = [1.0, 0.5, 0.5, 0.5, *[1.5] * 6]
    found = told(expected, [1.0000005, *expected[1:]], ten, tolerance=FP32)
    assert (found.verdict_flips, found.ties, found.passed) == (1, 1, True)
    beside = told([0.9999, *expected[1:]], [1.0001, *expected[1:]], ten, tolerance=FP32)
    assert (beside.verdict_flips, beside.ties, beside.passed) == (1, 0, False)


def test_a_lower_auroc_fails(ten: CheckImages) -> None:
    expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6]
    found = told(expected, [*expected[:3], 0.55, *expected[4:]], ten, tolerance=LOOSE)
    assert found.auroc_torch == 1.0
    assert found.auroc_export == pytest.approx(23 / 24)
    assert found.problems == ("the AUROC is lower by 0.0417; allowed: 0.01",)


def test_a_score_that_is_no_number_fails(ten: CheckImages) -> None:
    found = told([0.5] * 10, [0.5] * 9 + [float("nan")], ten)
    assert (found.passed, found.score_difference, found.auroc_export) == (False, None, None)
    assert "not a number" in found.problems[0]
    assert Certificate.from_plain(json.loads(json.dumps(found.to_plain())), "it") == found


def test_without_limits_differences_are_shares_of_the_usual_score(ten: CheckImages) -> None:
    found = told([2.0] * 10, [2.0] * 9 + [2.01], ten, limits=None, tolerance=FP32)
    assert found.scale == 2.0
    assert found.problems == ("a score differs by 0.01; allowed: 0.002, which is 0.001 of the scale",)


def test_images_without_labels_have_no_auroc(disc: DatasetClass) -> None:
    images = given_images([sample.path for sample in disc.test])
    n = len(disc.test)
    found = told([0.5] * n, [0.5] * n, images)
    assert (found.good, found.defective, found.auroc_torch) == (0, 0, None)
    assert found.data == f"{n} images given"
    with pytest.raises(DataError, match="no images to compare"):
        given_images([])


def test_the_images_of_a_class_are_its_tests_or_else_its_good_training_images(disc: DatasetClass) -> None:
    n = len(disc.test)
    few = images_of(disc, most=3)
    assert few.text == f"3 of {n} test images of parts/machined_disc"
    assert [few.samples[0], few.samples[-1]] == [disc.test[0], disc.test[-1]]
    untested = replace(disc, samples=disc.train)
    assert images_of(untested).text == "12 good training images of parts/machined_disc"
    with pytest.raises(DataError, match="no images"):
        images_of(replace(disc, samples=()))


def test_the_calibration_of_the_export_counts_and_not_the_current_one(
    predictor: Predictor, export: Export, ten: CheckImages
) -> None:
    mask = np.ones((64, 64), bool)
    mask[:8] = False
    save_calibration(predictor.info.folder, calibrate([9.0], data="d", who="w"), ignore_mask=mask)
    now = Predictor.load(predictor.info.folder)
    certificate = check_export(export, now, ten, threads=1)
    assert certificate.passed
    assert certificate.scale == predictor.info.calibration.image_threshold  # type: ignore[union-attr]


def test_an_export_of_another_model_is_refused(predictor: Predictor, export: Export, ten: CheckImages) -> None:
    other = Predictor(predictor.model, replace(predictor.info, digest="0" * 64))
    with pytest.raises(CheckpointError, match="made from another model"):
        check_export(export, other, ten)
    assert not (export.folder / CERTIFICATE).exists()


def test_bf16_is_never_passed_by_a_processor_that_cannot_compute_it(
    predictor: Predictor, tiny_openvino: Path, ten: CheckImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the files of an export in bf16 are those of fp32; only what OpenVINO is told differs
    folder = Path(shutil.copytree(tiny_openvino, tmp_path / "bf16"))
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    (folder / "manifest.json").write_text(text.replace('"precision": "fp32"', '"precision": "bf16"'), encoding="utf-8")
    export = read_export(folder)
    assert export.manifest.to_plain()["compile"] == {"INFERENCE_PRECISION_HINT": "bf16"}
    monkeypatch.setattr(optional_dependencies, "computes_bf16", lambda: False)
    certificate = check_export(export, predictor, ten, threads=1)
    assert "does not compute in bf16" in certificate.problems[-1]


def test_a_check_can_be_stopped_and_then_leaves_no_certificate(
    predictor: Predictor, export: Export, ten: CheckImages
) -> None:
    def stop() -> None:
        raise TrainingCancelled("stop")

    with pytest.raises(TrainingCancelled):
        check_export(export, predictor, ten, task=Task(check=stop))
    assert read_certificate(export) is None


def test_the_allowed_share_of_flips_can_be_given(predictor: Predictor, export: Export, ten: CheckImages) -> None:
    certificate = check_export(export, predictor, ten, max_flips=0.25, threads=1)
    assert certificate.tolerance == replace(FP32, flips=0.25)


def test_a_certificate_that_was_edited_or_belongs_elsewhere_is_refused(export: Export, ten: CheckImages) -> None:
    failed = told([0.5] * 10, [1.5] * 10, ten)
    write_certificate(export, failed)
    with pytest.raises(CheckpointError, match="certificate of another export"):
        read_certificate(export)
    path = export.folder / CERTIFICATE
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"passed": false', '"passed": true'), encoding="utf-8")
    with pytest.raises(CheckpointError, match="it says passed and names problems"):
        read_certificate(export)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="has the format null; this version reads 1"):
        read_certificate(export)
