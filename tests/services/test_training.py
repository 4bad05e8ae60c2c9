import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.digests import file_digest
from skrd4ad.documents import to_plain
from skrd4ad.errors import ConfigError, DataError, DocumentError, SkrdError, StorageError, TrainingCancelled
from skrd4ad.files import write_json
from skrd4ad.inference.reference import read_reference
from skrd4ad.model_folder.folder import find_models, read_info
from skrd4ad.model_folder.unfinished import unfinished_runs
from skrd4ad.services.access import acting_as
from skrd4ad.services.evaluation.evaluate import evaluate_class, find_evaluation
from skrd4ad.services.evaluation.store import list_evaluations
from skrd4ad.services.history import HistoryFilter, details_of, history_page, verify_history
from skrd4ad.services.improve.retrain import TRAINING
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.training import TrainingRequest, train_class
from skrd4ad.task import Task
from skrd4ad.types import DatasetClass
from tests.limits import LONG


@pytest.fixture(autouse=True)
def world(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", f"{tmp_path}:{tiny_data}")
    return tmp_path


@pytest.fixture
def request_(tiny_data: Path) -> TrainingRequest:
    return TrainingRequest(
        source=str(tiny_data),
        class_name="machined_disc",
        model=ModelConfig(image_size=64),
        train=TrainConfig(epochs=2, batch_size=4, holdout=0.25),
    )


@pytest.fixture
def data(tiny_data: Path) -> DatasetClass:
    return open_dataset(tiny_data)[0]


def recorded() -> list[tuple[str, str | None, str]]:
    """What happened, why, and to which model folder, newest first."""
    entries = history_page(HistoryFilter()).entries
    return [(entry.what, details_of(entry).get("error"), entry.model_folder) for entry in entries]


def stop_after_one_epoch() -> Task:
    """Ends the work at the first check after the first epoch."""
    stop: list[int] = []

    def check() -> None:
        if stop:
            raise TrainingCancelled("Stopped on request.")

    return Task(check=check, point=lambda epoch, _: stop.append(epoch))


def test_a_request_survives_its_json_form(request_: TrainingRequest) -> None:
    asked = replace(request_, weights="w.pth", layout="mvtec", evaluate=False)
    assert TRAINING.request_of(json.loads(json.dumps(to_plain(asked)))) == asked


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"train": {"epochs": 0}},
        {"model": {"net": "resnet99"}},
        {"colour": "red"},
    ],
)
def test_a_damaged_request_is_refused(request_: TrainingRequest, change: dict[str, Any]) -> None:
    with pytest.raises(DocumentError):
        TRAINING.request_of({**to_plain(request_), **change})


def test_a_request_without_a_class_is_refused(request_: TrainingRequest) -> None:
    values = to_plain(request_)
    del values["class_name"]
    with pytest.raises(DocumentError, match="is damaged: "):
        TRAINING.request_of(values)


def test_a_training_is_in_the_history_with_all_that_was_asked_and_measured(
    data: DatasetClass, request_: TrainingRequest, world: Path
) -> None:
    with acting_as("Ada"):
        info = train_class(data, request_, out=world / "models")
    (entry,) = history_page(HistoryFilter()).entries
    assert (entry.what, entry.who, entry.dataset, entry.class_name) == ("trained", "Ada", "parts", "machined_disc")
    assert (entry.model_folder, entry.model_digest) == (str(info.folder), info.digest)
    details = details_of(entry)
    asked = json.loads(json.dumps(to_plain(request_)))
    assert details["config"] == {"model": asked["model"], "train": asked["train"]}
    assert (details["source"], details["metrics"]) == (request_.source, info.metrics)
    assert entry.at[:19] >= details["started_at"][:19]
    assert verify_history().problem == ""
    assert info.metrics is not None
    assert read_info(info.folder).metrics == info.metrics
    assert 0 <= info.metrics["image_auroc"] <= 1


def test_what_a_training_measured_is_what_the_evaluate_page_finds(
    data: DatasetClass, request_: TrainingRequest, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = train_class(data, request_, out=world / "models")
    stored = find_evaluation(info, data)
    assert stored is not None and stored.is_current
    assert stored.summary.document() == info.metrics
    assert info.metrics["intervals"]["image_auroc"] is not None
    monkeypatch.setattr("skrd4ad.services.evaluation.evaluate.measure", lambda *_, **__: pytest.fail("measured twice"))
    evaluate_class(info.folder, data, source=request_.source)


def test_a_training_that_leaves_no_unseen_test_image_measures_nothing_and_says_so(
    data: DatasetClass, request_: TrainingRequest, world: Path
) -> None:
    first = train_class(data, replace(request_, evaluate=False), out=world / "models")
    # its records say that it has learnt from every test image: so has any training that goes on from it
    config = first.folder / "config.json"
    values = json.loads(config.read_text())
    values["data"]["started_from"] = {"run": "former", "digest": "0" * 64}
    values["data"]["learnt"] = sorted(file_digest(s.path) for s in (*data.train, *data.test))
    values["data"]["held_out"] = []
    config.write_text(json.dumps(values))
    again = replace(
        request_, start_from=str(first.folder), train=replace(request_.train, holdout=0.0, selection="last")
    )
    job = queue().wait(TRAINING.submit(again), LONG)
    assert (job.state, job.error) == ("done", None)
    assert job.result is not None and job.result["metrics"] is None
    assert job.result["not_measured"].startswith("All 12 test images of machined_disc are ones that this model was")
    assert list_evaluations() == []


def test_a_training_without_a_database_or_an_evaluation_makes_only_the_model(
    data: DatasetClass,
    request_: TrainingRequest,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("SKRD4AD_DATABASE_URL", f"sqlite:///{world}/missing/x.db")
    info = train_class(data, replace(request_, evaluate=False), out=world / "models")
    assert info.metrics is None
    assert list(find_models(world / "models")) == [info.folder]
    assert "the history does not tell that this was trained: parts machined_disc" in caplog.text


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (DataError("No images."), "failed", "No images."),
        (ValueError("odd"), "failed", "ValueError: odd"),
        (TrainingCancelled("Stopped."), "cancelled", "Stopped."),
        (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt: "),
    ],
)
def test_a_failure_is_recorded_and_goes_on_upwards(
    data: DatasetClass,
    request_: TrainingRequest,
    world: Path,
    error: BaseException,
    state: str,
    reason: str,
) -> None:
    def stop() -> None:
        raise error

    with pytest.raises(type(error)):
        train_class(data, request_, out=world / "models", task=Task(check=stop))
    assert recorded() == [(f"training {state}", reason, "")]


def test_a_model_whose_evaluation_failed_stays_and_is_known(
    data: DatasetClass, request_: TrainingRequest, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError("The test images cannot be read.")

    monkeypatch.setattr("skrd4ad.services.training.evaluate_class", fail)
    with pytest.raises(DataError):
        train_class(data, request_, out=world / "models")
    (folder,) = find_models(world / "models")
    assert recorded() == [("training failed", "The test images cannot be read.", str(folder))]


def test_a_resumed_training_trains_only_what_is_left(
    data: DatasetClass, request_: TrainingRequest, world: Path
) -> None:
    out = world / "models"
    with pytest.raises(TrainingCancelled):
        train_class(data, request_, out=out, task=stop_after_one_epoch())
    assert list(find_models(out)) == []
    epochs: list[int] = []
    info = train_class(
        data,
        request_,
        out=out,
        resume=True,
        task=Task(point=lambda epoch, _: epochs.append(epoch)),
    )
    assert epochs == [2]
    assert [entry["epoch"] for entry in info.history] == [1, 2]
    assert [what for what, _, _ in recorded()] == ["trained", "training cancelled"]


KILLED = """
import os, signal, sys
from pathlib import Path
import skrd4ad.services.training as training
from skrd4ad import documents
from skrd4ad.data.sources import open_dataset

training.give_graph = lambda *_, **__: "not converted in tests"
training.evaluate_class = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
request = documents.decode(documents.read_values(Path(sys.argv[1])), training.TrainingRequest, what="request")
training.train_class(open_dataset(Path(request.source))[0], request, out=Path(sys.argv[2]))
"""


def test_a_training_that_was_killed_in_its_evaluation_is_not_listed_and_goes_on_with_the_evaluation(
    data: DatasetClass, request_: TrainingRequest, world: Path
) -> None:
    out = world / "models"
    write_json(world / "request.json", request_)
    killed = subprocess.run([sys.executable, "-c", KILLED, world / "request.json", out], timeout=LONG, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(find_models(out)) == []
    (run,) = unfinished_runs(out / "parts" / "machined_disc")
    assert read_reference(run) is not None and read_info(run).metrics is None
    trained = file_digest(run / "model.safetensors")

    info = train_class(
        data, request_, out=out, resume=True, task=Task(point=lambda *_: pytest.fail("it is trained already"))
    )
    assert list(find_models(out)) == [info.folder] == [run]
    assert info.metrics is not None and file_digest(run / "model.safetensors") == trained
    assert unfinished_runs(run.parent) == [] and not [*run.parent.glob("*.training.safetensors")]


def test_a_background_training_leaves_its_model_its_curve_and_its_figures(request_: TrainingRequest) -> None:
    job = queue().wait(TRAINING.submit(request_), LONG)
    assert (job.state, job.error) == ("done", None)
    assert job.result is not None
    assert read_info(Path(job.result["folder"])).metrics == job.result["metrics"]
    assert [point["step"] for point in queue().points(job.id)] == [1, 2]
    assert TRAINING.request_of(job.request) == request_
    assert [what for what, _, _ in recorded()] == ["trained"]


def test_a_background_training_reads_nothing_outside_the_data_roots(
    request_: TrainingRequest, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(world))
    job = queue().wait(TRAINING.submit(request_), LONG)
    assert job.state == "failed"
    assert job.error is not None
    assert "outside the folders" in job.error


def test_a_job_whose_data_is_gone_fails_with_a_reason(request_: TrainingRequest, world: Path, tiny_data: Path) -> None:
    copy = Path(shutil.copytree(tiny_data, world / "data"))
    (copy / "machined_disc").rename(copy / "renamed")
    job = queue().wait(TRAINING.submit(replace(request_, source=str(copy))), LONG)
    assert (job.state, job.error) == (
        "failed",
        f"The class machined_disc is not in {copy} any more; there are: renamed.",
    )


def test_a_job_that_ended_early_goes_on_from_its_last_epoch(
    request_: TrainingRequest, data: DatasetClass, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingCancelled):
        train_class(data, request_, out=world / "models", task=stop_after_one_epoch())

    def fail(*_: object, **__: object) -> None:
        raise SkrdError("A power cut.")

    with monkeypatch.context() as patched:
        patched.setattr("skrd4ad.training.train.train", fail)
        lost = queue().wait(TRAINING.submit(request_), LONG)
    assert lost.state == "failed"
    again = queue().wait(TRAINING.repeat(lost.id), LONG)
    assert again.state == "done"
    assert [point["step"] for point in queue().points(again.id)] == [2]


def test_only_a_training_that_ended_can_be_resumed(request_: TrainingRequest) -> None:
    other = queue().submit(kind="evaluate", title="figures", request={}, work=lambda _: {})
    queue().wait(other, LONG)
    with pytest.raises(ConfigError, match="'figures'"):
        TRAINING.repeat(other)
    with pytest.raises(StorageError):
        TRAINING.repeat("nobody")
