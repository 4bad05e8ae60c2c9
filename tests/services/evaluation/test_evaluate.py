import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skrd4ad.data.sources import open_dataset
from skrd4ad.documents import to_plain
from skrd4ad.errors import CheckpointError, ConfigError, DataError, DocumentError, StorageError, TrainingCancelled
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.metrics.bootstrap import bootstrap
from skrd4ad.metrics.curves import curves_of
from skrd4ad.metrics.evaluation import evaluate
from skrd4ad.model_folder.folder import METRICS, read_info, save_calibration
from skrd4ad.regions import score_under
from skrd4ad.services.evaluation import run
from skrd4ad.services.evaluation.evaluate import EVALUATION, EvaluationRequest, evaluate_class, find_evaluation
from skrd4ad.services.evaluation.result import MAPS, MASKS
from skrd4ad.services.evaluation.store import (
    IMAGES,
    SUMMARY,
    delete_evaluation,
    evaluations_folder,
    list_evaluations,
    load_evaluation,
)
from skrd4ad.services.jobs.queue import queue
from skrd4ad.task import Status, Task
from skrd4ad.types import DatasetClass
from tests.evaluation_world import EvaluationWorld, worse_copy
from tests.limits import LONG


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be computed."""
    monkeypatch.setattr(run, "open_predictor", lambda *_, **__: pytest.fail("a model was loaded"))


def request_of(world: EvaluationWorld, **changes: object) -> EvaluationRequest:
    values = {"model": str(world.first), "source": str(world.data_root), "class_name": "machined_disc"}
    return EvaluationRequest(**{**values, **changes})


def test_what_is_kept_is_what_the_engine_measures(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    fresh = evaluate_model(Predictor.load(evaluated.first), evaluated.data)
    assert stored.is_current
    assert stored.summary.metrics == fresh.metrics
    assert stored.summary.by_defect == fresh.by_defect
    assert stored.summary.intervals == bootstrap(fresh.data)
    assert np.array_equal(stored.maps(), fresh.data.maps)
    assert np.array_equal(stored.scores, fresh.data.scores)
    assert [image.path for image in stored.images] == [sample.path for sample in fresh.samples]
    assert stored.images[0].name == "test/good/000.png"
    for name, curve in curves_of(fresh.data).items():
        assert np.array_equal(stored.curves[name].x, curve.x)
        assert stored.curves[name].areas == curve.areas
    again = stored.evaluation_set()
    assert np.array_equal(again.masks, fresh.data.masks)
    assert evaluate(again) == fresh.metrics
    for image in stored.images:
        mask = fresh.data.masks[image.place]
        assert image.mask_area == (int(mask.sum()) if image.label else None)
        assert np.array_equal(stored.mask_of(image.place), mask)


def test_a_second_look_computes_nothing(evaluated: EvaluationWorld, no_model: None) -> None:
    found = evaluate_class(evaluated.first, evaluated.data, source=str(evaluated.data_root))
    assert found.summary.metrics == evaluated.stored().summary.metrics
    assert found.summary.source == str(evaluated.stored().summary.source)


def test_again_measures_although_it_is_known(evaluated: EvaluationWorld) -> None:
    before = evaluated.stored()
    steps: list[Status] = []
    found = evaluate_class(
        evaluated.first,
        evaluated.data,
        source=str(evaluated.data_root),
        again=True,
        task=Task(show=steps.append),
    )
    assert found.summary.key == before.summary.key
    assert found.summary.metrics == before.summary.metrics
    phases = [*dict.fromkeys(step.text.split()[0] for step in steps)]
    assert phases == ["loading", "scoring", "measuring", "intervals:", "storing"]
    shares = [step.share for step in steps]
    assert shares == sorted(shares)
    assert "scoring image 12 of 12" in [step.text for step in steps]


def test_limits_do_not_matter_but_what_counts_of_the_maps_does(evaluated: EvaluationWorld) -> None:
    info = evaluated.info()
    current = info.calibration
    assert current is not None
    other_limits = save_calibration(evaluated.first, replace(current, image_threshold=9.0, pixel_threshold=8.0))
    found = find_evaluation(other_limits, evaluated.data)
    assert found is not None and found.is_current

    other_surface = save_calibration(evaluated.first, replace(current, min_area=40))
    stale = find_evaluation(other_surface, evaluated.data)
    assert stale is not None and "smallest region" in stale.stale[0]
    fresh = evaluate_class(evaluated.first, evaluated.data, source=str(evaluated.data_root))
    assert fresh.is_current
    assert fresh.summary.key != stale.summary.key
    assert (fresh.summary.min_area, fresh.summary.metrics) == (40, stale.summary.metrics)
    for image in fresh.images:
        plane = np.array(fresh.maps()[image.place])
        assert image.verdict_score == score_under(plane, scoring_mask_of(other_surface)) < image.score


def test_ignored_pixels_are_left_out_and_kept_with_it(evaluated: EvaluationWorld) -> None:
    current = evaluated.info().calibration
    mask = np.zeros((64, 64), bool)
    mask[:30] = True
    save_calibration(evaluated.first, current, ignore_mask=mask)
    stored = evaluate_class(evaluated.first, evaluated.data, source=str(evaluated.data_root))
    assert stored.summary.ignores_pixels
    assert (stored.maps()[:, :30] == 0).all()
    assert np.array_equal(stored.evaluation_set().ignored, mask)
    assert evaluate(stored.evaluation_set()) == stored.summary.metrics


def _other_image(data: DatasetClass) -> None:
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(data.test[0].path)


def _other_mask(data: DatasetClass) -> None:
    path = next(sample.mask_path for sample in data.test if sample.mask_path)
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(path)


def _other_label(data: DatasetClass) -> None:
    path = data.test[0].path
    path.rename(data.root / "test" / data.defect_types[0] / "was_good.png")


def _less(data: DatasetClass) -> None:
    data.test[0].path.unlink()


@pytest.mark.parametrize("change", [_other_image, _other_mask, _other_label, _less])
def test_changed_data_makes_an_evaluation_stale(
    evaluated: EvaluationWorld, change: Callable[[DatasetClass], None], no_model: None
) -> None:
    assert evaluated.stored().is_current
    change(evaluated.data)
    stale = evaluated.stored()
    assert not stale.is_current
    assert "changed since" in stale.stale[0]
    assert len(stale.images) == 12  # what was measured is still there to look at


def test_what_another_version_measured_is_told_as_such(
    evaluated: EvaluationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skrd4ad.services.evaluation.key.FORMAT", 0)
    found = find_evaluation(evaluated.info(), evaluated.data)
    assert found is not None
    assert found.stale == ("Another version of this program measured this. Evaluate again.",)


def test_moved_data_and_models_are_recognised_by_their_contents(evaluated: EvaluationWorld, no_model: None) -> None:
    moved = evaluated.root / "elsewhere"
    evaluated.data_root.rename(moved)
    first = moved / "machined_disc" / "test" / "good" / "000.png"
    first.rename(first.with_name("zzz.png"))
    model = evaluated.first.rename(evaluated.first.with_name("renamed"))
    stored = find_evaluation(read_info(model), open_dataset(moved)[0])
    assert stored is not None and stored.is_current
    assert stored.summary.model_folder == model
    assert stored.images[0].path == first.with_name("zzz.png")
    assert all(
        image.path.is_file() and (image.mask_path is None or image.mask_path.is_file()) for image in stored.images
    )


def test_there_is_nothing_for_another_model_or_another_class(evaluated: EvaluationWorld, no_model: None) -> None:
    info = evaluated.info()
    assert find_evaluation(replace(info, digest="0" * 64), evaluated.data) is None
    other = replace(evaluated.data, name="other", samples=evaluated.data.samples[:-1])
    assert find_evaluation(info, other) is None


def _cut_maps(folder: Path) -> None:
    (folder / MAPS).write_bytes((folder / MAPS).read_bytes()[:-100])


def _other_maps(folder: Path) -> None:
    np.save(folder / MAPS, np.zeros((2, 64, 64), np.float32))


def _no_masks(folder: Path) -> None:
    (folder / MASKS).unlink()


def _no_images(folder: Path) -> None:
    (folder / IMAGES).unlink()


def _garbage(folder: Path) -> None:
    (folder / SUMMARY).write_bytes(b"\xff\xfe{")


def _a_list(folder: Path) -> None:
    (folder / SUMMARY).write_text("[]")


def _other_format(folder: Path) -> None:
    values = json.loads((folder / SUMMARY).read_text())
    (folder / SUMMARY).write_text(json.dumps({**values, "format": 99}))


def _unknown_metric(folder: Path) -> None:
    values = json.loads((folder / SUMMARY).read_text())
    values["metrics"]["odd"] = 1
    (folder / SUMMARY).write_text(json.dumps(values))


def _no_curve_points(folder: Path) -> None:
    values = json.loads((folder / IMAGES).read_text())
    values["curves"][0]["x"] = None
    (folder / IMAGES).write_text(json.dumps(values))


def _fewer_images(folder: Path) -> None:
    values = json.loads((folder / IMAGES).read_text())
    values["images"].pop()
    (folder / IMAGES).write_text(json.dumps(values))


DAMAGES = (_cut_maps, _other_maps, _no_masks, _no_images, _garbage, _a_list, _other_format, _unknown_metric,
           _no_curve_points, _fewer_images)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_evaluation_counts_as_missing(evaluated: EvaluationWorld, damage: Callable[[Path], None]) -> None:
    stored = evaluated.stored()
    damage(stored.folder)
    assert load_evaluation(stored.summary.key) is None
    assert find_evaluation(evaluated.info(), evaluated.data) is None
    assert find_evaluation(evaluated.info(evaluated.second), evaluated.data) is not None


def test_a_damaged_evaluation_is_measured_again(evaluated: EvaluationWorld) -> None:
    before = evaluated.stored()
    _cut_maps(before.folder)
    after = evaluate_class(evaluated.first, evaluated.data, source=str(evaluated.data_root))
    assert after.summary.metrics == before.summary.metrics
    assert after.maps().shape == (12, 64, 64)


def test_maps_that_vanish_while_they_are_looked_at_are_an_error_in_words(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    delete_evaluation(stored.summary.key)
    with pytest.raises(StorageError, match="Evaluate again"):
        stored.maps()


def test_a_write_that_fails_leaves_nothing_behind(evaluated: EvaluationWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    key = evaluated.stored().summary.key
    delete_evaluation(key)

    def full(*_args: object, **_settings: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skrd4ad.services.evaluation.store.np.save", full)
    with pytest.raises(StorageError, match="No space left"):
        evaluate_class(evaluated.first, evaluated.data, source=str(evaluated.data_root))
    assert [folder.name for folder in evaluations_folder().iterdir() if folder.is_dir()] == [
        evaluated.stored(evaluated.second).summary.key
    ]


def test_what_a_process_left_half_written_is_no_evaluation_and_goes_with_the_next(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    left = stored.folder.with_name(f".{stored.summary.key}.1234abcd")
    shutil.copytree(stored.folder, left)
    assert len(list_evaluations()) == 2
    evaluate_class(evaluated.first, evaluated.data, source=str(evaluated.data_root), again=True)
    assert not left.exists()
    assert len(list_evaluations()) == 2


def test_the_figures_of_the_own_test_set_are_stored_in_the_model_folder(evaluated: EvaluationWorld) -> None:
    metrics = read_info(evaluated.first).metrics
    stored = evaluated.stored()
    assert stored.summary.own_test_set
    assert metrics is not None
    assert metrics["image_auroc"] == stored.summary.metrics.image_auroc
    interval = stored.summary.intervals.intervals["aupro"]
    assert metrics["intervals"]["aupro"] == [interval.low, interval.high]
    assert metrics["protocol"] == stored.summary.protocol


def test_figures_of_other_data_are_not(evaluated: EvaluationWorld) -> None:
    other = evaluated.root / "incoming"
    shutil.copytree(evaluated.data_root, other)
    next((other / "machined_disc" / "test" / "good").iterdir()).unlink()
    (evaluated.first / METRICS).unlink(missing_ok=True)
    stored = evaluate_class(evaluated.first, open_dataset(other)[0], source=str(other))
    assert not stored.summary.own_test_set
    assert read_info(evaluated.first).metrics is None
    # and what belongs to the model is still found
    assert evaluated.stored().is_current


def test_a_plain_folder_with_labels_can_be_evaluated(evaluated: EvaluationWorld) -> None:
    plain = evaluated.root / "bench"
    test = evaluated.data_root / "machined_disc" / "test"
    for kind in ("good", "dent"):
        shutil.copytree(test / kind, plain / kind)
    data = open_dataset(plain)[0]
    stored = evaluate_class(evaluated.first, data, source=str(plain))
    assert {image.label for image in stored.images} == {0, 1}
    assert stored.summary.metrics.pixel_auroc is None
    assert not stored.has_masks
    assert stored.evaluation_set().masks is None
    with pytest.raises(StorageError):
        stored.packed_masks()


def test_evaluations_are_listed_by_class_and_newest_first_and_can_be_deleted(evaluated: EvaluationWorld) -> None:
    evaluate_class(evaluated.first, evaluated.data, source=str(evaluated.data_root), again=True)
    listed = list_evaluations()
    assert {summary.model_folder.name for summary in listed} == {"first", "second"}
    assert listed[0].created_at >= listed[1].created_at
    assert listed[0].size_bytes > 12 * 64 * 64 * 4
    assert listed[0].title.startswith("parts/machined_disc · efficientnet_lite0")
    delete_evaluation(listed[0].key)
    assert [summary.key for summary in list_evaluations()] == [listed[1].key]
    with pytest.raises(StorageError, match="no evaluation"):
        delete_evaluation(listed[0].key)


@pytest.mark.parametrize("key", ["", ".", "..", "../home", "/etc", "abc", "0" * 32])
def test_a_key_from_anywhere_opens_nothing_else(evaluated: EvaluationWorld, key: str) -> None:
    assert load_evaluation(key) is None
    with pytest.raises(StorageError):
        delete_evaluation(key)


def test_names_that_are_no_text_are_kept(evaluated: EvaluationWorld) -> None:
    good = evaluated.data_root / "machined_disc" / "test" / "good" / "000.png"
    odd = good.with_name("teil_\udcff.png")
    good.rename(odd)
    stored = evaluate_class(evaluated.first, evaluated.data, source=str(evaluated.data_root), again=True)
    again = load_evaluation(stored.summary.key)
    assert again is not None
    assert odd in [image.path for image in again.images]


def test_a_class_without_test_images_is_refused(evaluated: EvaluationWorld) -> None:
    empty = replace(evaluated.data, samples=evaluated.data.train)
    with pytest.raises(DataError, match="no test images"):
        evaluate_class(evaluated.first, empty, source="x")
    with pytest.raises(CheckpointError):
        evaluate_class(evaluated.root, evaluated.data, source="x")


def test_a_check_may_stop_it_and_nothing_is_kept(evaluated: EvaluationWorld) -> None:
    delete_evaluation(evaluated.stored().summary.key)
    phases: list[str] = []

    def stop() -> None:
        if phases and phases[-1].startswith("intervals"):
            raise TrainingCancelled("enough")

    with pytest.raises(TrainingCancelled):
        evaluate_class(
            evaluated.first,
            evaluated.data,
            source=str(evaluated.data_root),
            task=Task(show=lambda at: phases.append(at.text), check=stop),
        )
    assert find_evaluation(evaluated.info(), evaluated.data) is None


def test_evaluations_run_in_the_background_in_turn(evaluated: EvaluationWorld) -> None:
    third = evaluated.first.with_name("third")
    worse_copy(evaluated.second, third)
    jobs = [
        EVALUATION.submit(request_of(evaluated, model=str(third))),
        EVALUATION.submit(request_of(evaluated)),
        EVALUATION.submit(request_of(evaluated, class_name="bottle")),
    ]
    assert {job.id for job in EVALUATION.active()} <= set(jobs)
    first, known, failed = (queue().wait(job, LONG) for job in jobs)
    assert (first.state, first.error) == ("done", None)
    assert (first.result["reused"], known.result["reused"]) == (False, True)
    assert first.result["metrics"]["image_auroc"] is not None
    stored = load_evaluation(first.result["key"])
    assert stored is not None and stored.summary.model_folder == third
    assert (failed.state, "bottle" in failed.error) == ("failed", True)
    assert EVALUATION.active() == []


def test_the_same_request_waits_only_once_and_can_be_repeated(
    evaluated: EvaluationWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(evaluated, again=True)
    reached, go_on = threading.Event(), threading.Event()

    def slow(*_args: object, **settings: object) -> None:
        reached.set()
        go_on.wait(LONG)
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:  # the worker asks for wishes twice a second
            settings["task"].check()  # type: ignore[attr-defined]
            time.sleep(0.01)
        pytest.fail("it was not cancelled")

    monkeypatch.setattr("skrd4ad.services.evaluation.evaluate.measure", slow)
    job = EVALUATION.submit(request)
    assert reached.wait(LONG)
    assert EVALUATION.submit(request) == job
    with pytest.raises(ConfigError, match="cannot be repeated"):
        EVALUATION.repeat(job)
    queue().cancel(job)
    go_on.set()
    assert queue().wait(job, LONG).state == "cancelled"
    monkeypatch.undo()
    monkeypatch.setenv("SKRD4AD_HOME", str(evaluated.root / "home"))
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(evaluated.root))
    repeated = EVALUATION.repeat(job)
    assert queue().wait(repeated, LONG).state == "done"


def test_requests_survive_json_and_damaged_ones_are_refused(evaluated: EvaluationWorld) -> None:
    request = request_of(evaluated, layout="mvtec", weights="w.pth")
    assert EVALUATION.request_of(json.loads(json.dumps(to_plain(request)))) == request
    for damage in ({"odd": 1}, {"model": 3}, {"again": "yes"}):
        with pytest.raises(DocumentError, match="damaged"):
            EVALUATION.request_of({**to_plain(request), **damage})
    with pytest.raises(DocumentError, match="damaged"):
        EVALUATION.request_of({"model": "m"})
