import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from skrd4ad.errors import StorageError, TrainingCancelled
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import limits_of
from skrd4ad.model_folder.folder import read_info, save_calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.inspection import predictions
from skrd4ad.services.inspection.inspect import inspect_images, png_bytes
from skrd4ad.services.inspection.predictions import PredictionStore
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.labelling import score_queue
from skrd4ad.services.labelling.add_images import add_class, add_files
from skrd4ad.services.labelling.annotate import decide
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.services.labelling.queue import filter_of
from skrd4ad.services.labelling.review import waiting_images
from skrd4ad.services.labelling.score_queue import (
    active_scoring,
    count_unscored,
    score_images,
    submit_scoring,
    up_to_date,
)
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.storage.predictions import without_score
from skrd4ad.storage.tables import StoredImage
from skrd4ad.task import Task
from skrd4ad.types import DatasetClass
from tests.label_world import page_of_queue
from tests.limits import LONG

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture(autouse=True)
def closed(any_database: str) -> Iterator[None]:
    yield
    workspace_database().close()


@pytest.fixture
def data(own_disc: DatasetClass) -> DatasetClass:
    return own_disc


def items_of(info: ModelInfo) -> dict[str, QueueItem]:
    now = read_info(info.folder)
    return {item.digest: item for item in page_of_queue(filter_of(now, limits_of(now)), limit=1000)[0]}


def rows_of(info: ModelInfo) -> list[StoredImage]:
    with workspace_database().read() as session:
        return list(session.scalars(without_score(info.dataset, info.class_name, info.digest, ())))


def run(info: ModelInfo, *, again: bool = False) -> dict[str, int]:
    job_id = submit_scoring(info, again=again)
    assert job_id is not None
    job = queue().wait(job_id, LONG)
    assert (job.state, job.kind) == ("done", "score"), job.error
    assert job.result is not None
    return job.result


def test_the_job_scores_what_has_no_score_as_the_inspect_page_does(info: ModelInfo, data: DatasetClass) -> None:
    add_class(info, data)
    assert count_unscored(info) == len(data.test)
    assert run(info) == {"scored": len(data.test), "unreadable": 0}
    items = list(items_of(info).values())
    seen = inspect_images(Predictor.load(info.folder), [(item.name, stored_path(item.file)) for item in items])
    for item, inspection in zip(items, seen, strict=True):
        assert item.score == pytest.approx(inspection.score)
        assert item.refusal == inspection.refusal
    assert count_unscored(info) == 0
    assert submit_scoring(info) is None
    assert waiting_images() == []  # nobody asked a person


def test_new_images_are_scored_alone_and_the_progress_is_told(
    info: ModelInfo, data: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_queue, "CHUNK", 5)
    monkeypatch.setattr(score_queue, "AT_ONCE", 2)
    add_class(info, data)
    run(info)
    before = {item.digest: item.score for item in items_of(info).values()}
    add_class(info, data, splits=("train",))
    job_id = submit_scoring(info)
    assert job_id is not None
    job = queue().wait(job_id, LONG)
    n = len(data.samples) - len(data.test)
    assert job.result == {"scored": n, "unreadable": 0}
    assert (job.progress["done"], job.progress["total"], job.progress["share"]) == (n, n, 1.0)
    assert job.progress["words"] == f"scoring image {n} of {n}"
    assert (job.progress["eta_seconds"], job.title) == (0.0, "machined_disc · scores of the queue")
    after = {item.digest: item.score for item in items_of(info).values()}
    assert len(after) == len(data.samples) and None not in after.values()
    assert {digest: after[digest] for digest in before} == before


def test_an_unreadable_image_gets_a_note_and_is_left_alone_until_it_is_tried_again(
    info: ModelInfo, data: DatasetClass
) -> None:
    added = add_class(info, data)
    gone, changed, cut = (sample.path for sample in data.test[:3])
    content = gone.read_bytes()
    gone.unlink()
    changed.write_bytes(png_bytes(np.zeros((8, 8, 3), np.uint8)))
    cut_content = png_bytes(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8))[:2000]
    cut.write_bytes(cut_content)
    add_files(info, [(cut.name, cut)])  # its header is fine
    assert run(info) == {"scored": len(data.test) - 3, "unreadable": 4}
    items = items_of(info)
    notes = [items[digest].note or "" for digest in added.digests[:3]]
    assert [words in note for words, note in zip(("any more", "changed", "changed"), notes, strict=True)] == [True] * 3
    assert sum(item.score is None for item in items.values()) == 4
    assert any(item.note and "damaged" in item.note for item in items.values())
    counts = page_of_queue(filter_of(info, None))[1]
    assert (counts.unscored, counts.unreadable) == (4, 4)
    assert submit_scoring(info) is None

    gone.write_bytes(content)
    assert submit_scoring(info) is None
    assert run(info, again=True) == {"scored": 1, "unreadable": 3}
    found = items_of(info)[added.digests[0]]
    assert (found.note, found.score is not None) == (None, True)


def test_scores_follow_a_calibration_that_counts_other_pixels(info: ModelInfo, data: DatasetClass) -> None:
    add_class(info, data)
    run(info)
    raw = {digest: item.score for digest, item in items_of(info).items()}
    first = info.calibration
    assert first is not None

    # another limit: the scores stay
    moved = save_calibration(info.folder, replace(first, image_threshold=9.0, pixel_threshold=9.0))
    assert count_unscored(moved) == 0
    assert {digest: item.score for digest, item in items_of(moved).items()} == raw

    # another surface: they are as good as none until they were taken again
    coarse = save_calibration(info.folder, replace(first, min_area=200))
    assert count_unscored(coarse) == len(data.test)
    assert {item.score for item in items_of(coarse).values()} == {None}
    run(coarse)
    seen = items_of(coarse)
    assert all(item.score is not None and item.score < (raw[digest] or 0) for digest, item in seen.items())

    # ignored regions, with everything at once and back again
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    ignoring = save_calibration(info.folder, first, ignore_mask=left)
    assert count_unscored(ignoring) == len(data.test)
    run(ignoring)
    assert count_unscored(ignoring) == 0
    assert count_unscored(coarse) == 0  # the folder says what counts, however old the reader's knowledge is


def test_a_calibration_that_comes_meanwhile_is_followed(
    info: ModelInfo, data: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_queue, "CHUNK", 3)
    add_class(info, data)
    first = info.calibration
    assert first is not None
    original = score_queue.score_images
    rounds: list[int | None] = []

    def score_and_calibrate(predictor: Predictor, images: list[StoredImage], **values: object) -> object:
        looks = original(predictor, images, **values)  # type: ignore[arg-type]
        rounds.append(predictor.info.calibration.version if predictor.info.calibration else None)
        if len(rounds) == 1:
            save_calibration(info.folder, replace(first, min_area=50))
        return looks

    monkeypatch.setattr(score_queue, "score_images", score_and_calibrate)
    run(info)
    assert rounds[0] == 1 and set(rounds[1:]) == {2}
    assert count_unscored(info) == 0
    assert all(item.score is not None for item in items_of(info).values())


def test_one_job_a_model_is_enough_and_it_can_be_cancelled(
    info: ModelInfo, data: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_class(info, data)
    monkeypatch.setattr(score_queue, "AT_ONCE", 1)
    original = PredictionStore.predictions
    job_ids: list[str] = []

    def predict_then_cancel(*arguments: object, **values: object) -> Iterator[object]:
        for index, found in enumerate(original(*arguments, **values)):  # type: ignore[arg-type]
            if index == 2:
                job_ids.append(str(submit_scoring(info)))  # no second one
                queue().cancel(job_ids[0])
                deadline = time.monotonic() + LONG
                while time.monotonic() < deadline:  # the worker asks for wishes twice a second
                    values["task"].check()  # type: ignore[attr-defined]
                    time.sleep(0.01)
            yield found

    monkeypatch.setattr(PredictionStore, "predictions", predict_then_cancel)
    assert active_scoring(info) is None
    job_id = submit_scoring(info)
    assert job_id is not None
    assert queue().wait(job_id, LONG).state == "cancelled"
    assert job_ids == [job_id]
    assert active_scoring(info) is None
    assert count_unscored(info) == len(data.test) - 2  # what was looked at before is kept


def test_what_is_not_ok_goes_to_review_when_it_is_asked_for(info: ModelInfo, data: DatasetClass) -> None:
    add_class(info, data)
    first = info.calibration
    assert first is not None
    predictor = Predictor.load(info.folder)
    plain = score_images(predictor, rows_of(info))
    middle = float(np.median([look.said.score for look in plain if look.said is not None]))
    save_calibration(info.folder, replace(first, image_threshold=middle, pixel_threshold=middle, review_threshold=None))
    predictor = up_to_date(predictor)
    looks = score_images(predictor, rows_of(info), to_review=True)
    doubtful = {look.digest for look in looks if look.doubtful}
    above = {look.digest for look in looks if look.said is not None and look.said.score > middle}
    assert above and above <= doubtful
    assert len(waiting_images()) == len(doubtful)
    sent = filter_of(predictor.info, limits_of(predictor.info))
    assert {item.digest for item in page_of_queue(replace(sent, only_sent=True))[0]} == doubtful
    (decided, *_) = page_of_queue(replace(sent, only_sent=True))[0]
    decide(decided, "good", reviewer="Ada")
    assert len(waiting_images()) == len(doubtful) - 1
    score_images(predictor, rows_of(info), to_review=True)
    assert len(waiting_images()) == len(doubtful) - 1  # what a person decided is not asked again


def test_a_score_that_is_no_number_is_a_note(
    info: ModelInfo, data: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_class(info, replace(data, samples=data.test[:1]))
    original = predictions.predict_images

    def broken(*arguments: object, **values: object) -> Iterator[object]:
        for found in original(*arguments, **values):  # type: ignore[arg-type]
            yield replace(found, score=float("nan"))

    monkeypatch.setattr(predictions, "predict_images", broken)
    assert run(info) == {"scored": 0, "unreadable": 1}
    (item,) = items_of(info).values()
    assert item.score is None and item.note is not None and "no number" in item.note


def test_a_stop_keeps_what_was_looked_at(info: ModelInfo, data: DatasetClass) -> None:
    add_class(info, data)
    done: list[int] = []

    def check() -> None:
        if 9 in done:  # images are looked at in groups of eight
            raise TrainingCancelled("Stopped on request.")

    with pytest.raises(TrainingCancelled):
        score_images(
            Predictor.load(info.folder), rows_of(info), task=Task(show=lambda at: done.append(at.done), check=check)
        )
    assert sum(item.score is not None for item in items_of(info).values()) == 9


def test_a_database_that_fails_is_an_error_of_the_job(
    info: ModelInfo, data: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_class(info, data)

    def fail(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(score_queue, "save_predictions", fail)
    job_id = submit_scoring(info)
    assert job_id is not None
    job = queue().wait(job_id, LONG)
    assert (job.state, job.error) == ("failed", "the disk is full")


def test_another_model_in_the_folder_is_loaded(info: ModelInfo) -> None:
    predictor = Predictor.load(info.folder)
    assert up_to_date(predictor).model is predictor.model
    older = Predictor(predictor.model, replace(predictor.info, digest="0" * 64))
    assert up_to_date(older).info.digest == info.digest
