"""Cancel and pause are followed in every phase of every kind of job: at the first check after the wish, not later."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.digests import image_digest
from skrd4ad.export.manifest import ExportSettings
from skrd4ad.model_folder.folder import find_models, read_info
from skrd4ad.services.evaluation import evaluate, run
from skrd4ad.services.evaluation import key as evaluation_identity
from skrd4ad.services.evaluation.compare import COMPARISON, ComparisonRequest
from skrd4ad.services.evaluation.evaluate import EVALUATION, EvaluationRequest, evaluate_class
from skrd4ad.services.evaluation.store import list_evaluations
from skrd4ad.services.improve.retrain import TRAINING
from skrd4ad.services.inspection import runtimes
from skrd4ad.services.inspection.runtimes import Background
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.add_images import add_class
from skrd4ad.services.labelling.exchange.import_job import submit_preview
from skrd4ad.services.labelling.score_queue import submit_scoring
from skrd4ad.services.models.export_job import EXPORT, ExportRequest
from skrd4ad.services.models.exports import list_exports
from skrd4ad.services.training import TrainingRequest
from tests.limits import LONG

PHASES = {
    "train": ("reading", "epoch", "finishing", "loading", "scoring", "measuring", "intervals:", "storing"),
    "evaluate": ("loading", "scoring", "measuring", "intervals:", "storing"),
    "compare": ("comparing:",),
    "export": ("loading", "reading", "converting", "comparing"),
    "score": ("scoring",),
    "labels": ("checking",),
}


@pytest.fixture(autouse=True)
def world(tmp_path: Path, tiny_model: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one model and its images; gives the folder of all."""
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", f"{tmp_path}:{tiny_model[1]}")  # the export is checked on these
    shutil.copytree(tiny_model[0], tmp_path / "models" / "parts" / "machined_disc" / "tiny")
    shutil.copytree(tiny_model[1], tmp_path / "parts")
    return tmp_path


def submit(kind: str, world: Path) -> str:
    """Ask for a job of a kind; returns its id."""
    folder = world / "models" / "parts" / "machined_disc" / "tiny"
    info, data = read_info(folder), open_dataset(world / "parts")[0]
    if kind == "train":
        config = TrainConfig(epochs=2, batch_size=4, holdout=0.25)
        model = ModelConfig(image_size=64)
        return TRAINING.submit(
            TrainingRequest(source=str(data.root.parent), class_name=data.name, model=model, train=config)
        )
    if kind == "evaluate":
        return EVALUATION.submit(
            EvaluationRequest(model=str(folder), source=str(data.root.parent), class_name=data.name)
        )
    if kind == "compare":
        key = evaluate_class(folder, data, source=str(data.root.parent)).summary.key
        return COMPARISON.submit(ComparisonRequest(a=key, b=key))
    if kind == "export":
        return EXPORT.submit(ExportRequest(model=str(folder), settings=ExportSettings(format="openvino")))
    if kind == "score":
        add_class(info, data)
        job_id = submit_scoring(info)
        assert job_id is not None
        return job_id
    add_class(info, data)
    rows = "".join(f"{image_digest(path)},good\n" for path in (data.root / "test" / "good").iterdir())
    return submit_preview(info, f"sha256,label\n{rows}".encode(), name="labels.csv")


Wish = Callable[[str, str], None]
"""Called with the id of the running job and the phase that it has just reported."""


def at_each_phase(monkeypatch: pytest.MonkeyPatch, wish: Wish) -> list[str]:
    """Call ``wish`` in the job's thread at the first report of each phase; returns the first words of all reports."""
    reported: list[str] = []
    report = JobHandle.report

    def spy(handle: JobHandle, snapshot: Mapping[str, Any]) -> None:
        report(handle, snapshot)
        phase = str(snapshot["words"]).split()[0]
        is_new = phase not in reported
        reported.append(phase)
        if is_new:
            wish(handle.id, phase)
            while handle.wish != queue().get(handle.id).wish:  # until it has arrived here
                time.sleep(0.001)

    monkeypatch.setattr(JobHandle, "report", spy)
    return reported


def until(job_id: str, reached: Callable[[JobView], bool]) -> JobView:
    deadline = time.monotonic() + LONG
    while not reached(job := queue().get(job_id)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return job


@pytest.mark.parametrize("kind", PHASES)
def test_a_pause_holds_in_every_phase(kind: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[str] = []
    reported = at_each_phase(monkeypatch, lambda job_id, _: queue().pause(job_id))
    job_id = submit(kind, world)
    while (job := until(job_id, lambda job: job.paused or not job.active)).active:
        paused.append(reported[-1])
        queue().resume_paused(job_id)
        until(job_id, lambda job: not job.paused or not job.active)
    assert (job.state, job.error) == ("done", None)
    assert tuple(paused) == PHASES[kind]


@pytest.mark.parametrize(
    ("kind", "phase"),
    [
        (kind, phase)
        for kind, phases in PHASES.items()
        for phase in phases
        # a child process starts for each of these, so one phase that asks nobody and one that does are enough
        if kind != "export" or phase in ("reading", "comparing")
    ],
)
def test_a_cancel_ends_every_phase(kind: str, phase: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancel(job_id: str, reached: str) -> None:
        if reached == phase:
            queue().cancel(job_id)

    models, evaluations = len([*find_models(world / "models")]), 1 if kind == "compare" else 0
    reported = at_each_phase(monkeypatch, cancel)
    job = queue().wait(submit(kind, world), LONG)
    assert (job.state, job.error) == ("cancelled", None)
    assert reported.index(phase) == len(reported) - 1, "the work went on after the wish"
    if kind != "train":
        assert len([*find_models(world / "models")]) == models
    assert len(list_evaluations()) == evaluations
    assert list_exports(read_info(world / "models" / "parts" / "machined_disc" / "tiny")) == []


def test_files_are_read_one_at_a_time_with_a_check_after_each(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    arrived = threading.Event()
    original = evaluation_identity.image_digest

    def spy(path: Path) -> str:
        read.append(path)
        if len(read) == 3:
            (running,) = queue().active()
            queue().cancel(running.id)
            assert arrived.wait(LONG)
        return original(path)

    cancel = JobHandle.cancel
    monkeypatch.setattr(JobHandle, "cancel", lambda handle: (cancel(handle), arrived.set()))
    monkeypatch.setattr(evaluation_identity, "image_digest", spy)
    assert queue().wait(submit("evaluate", world), LONG).state == "cancelled"
    assert len(read) == 3


def test_a_search_for_a_runtime_delays_no_job(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_RUNTIME", "auto")
    monkeypatch.setattr(runtimes, "measure", lambda *_, **__: pytest.fail("measured in the app's process"))
    monkeypatch.setattr("skrd4ad.export.write.convert_scoring", lambda *_, **__: pytest.fail("converted there"))
    asked: list[Path] = []
    background = Background(lambda folder: asked.append(folder) or [sys.executable, "-c", ""])
    monkeypatch.setattr(evaluate, "background", lambda: background)
    job = queue().wait(submit("evaluate", world), LONG)
    assert (job.state, job.error) == ("done", None)
    assert asked == [world / "models" / "parts" / "machined_disc" / "tiny"]
    assert background._running is not None and background._running[1].wait(LONG) == 0


def test_a_model_that_takes_forever_to_open_does_not_hold_a_cancelled_job(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, opened = threading.Event(), threading.Event()

    def open_slowly(*_: object, **__: object) -> None:
        opened.set()
        released.wait(LONG)

    monkeypatch.setattr(run, "open_predictor", open_slowly)
    job_id = submit("evaluate", world)
    assert opened.wait(LONG)
    queue().cancel(job_id)
    try:
        assert queue().wait(job_id, LONG).state == "cancelled"
    finally:
        released.set()
