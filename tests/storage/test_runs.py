from pathlib import Path

import pytest

from skrd4ad.errors import StorageError
from skrd4ad.storage import jobs, runs
from skrd4ad.storage.database import Database
from skrd4ad.storage.tables import Job, Run

CONFIG = {"model": {"net": "res18", "res": 3}, "train": {"epochs": 2}}


def start(database: Database, dataset: str, class_name: str, job_id: str | None = None) -> int:
    with database.write() as session:
        return runs.add_run(
            session, dataset=dataset, class_name=class_name, config=CONFIG, folder=Path("m"), job_id=job_id
        )


def test_a_run_keeps_what_was_asked_and_how_it_ended(database: Database) -> None:
    run_id = start(database, "elpv", "mono")
    with database.write() as session:
        runs.end_run(session, run_id, "done", metrics={"image_auroc": 0.9})
    with database.read() as session:
        (run,) = runs.latest_runs(session)
    assert (run.id, run.state, run.config, run.folder, run.metrics, run.error) == (
        run_id,
        "done",
        CONFIG,
        "m",
        {"image_auroc": 0.9},
        None,
    )
    assert run.finished_at is not None
    assert run.finished_at >= run.started_at


def test_latest_runs_are_newest_first_filtered_and_limited(database: Database) -> None:
    first = start(database, "elpv", "mono")
    second = start(database, "elpv", "poly")
    third = start(database, "mvtec", "mono")
    with database.read() as session:
        assert [run.id for run in runs.latest_runs(session)] == [third, second, first]
        assert [run.id for run in runs.latest_runs(session, limit=1)] == [third]
        assert [run.id for run in runs.latest_runs(session, dataset="elpv")] == [second, first]
        assert [run.id for run in runs.latest_runs(session, class_name="mono")] == [third, first]
        assert [run.id for run in runs.latest_runs(session, dataset="elpv", class_name="mono")] == [first]


def test_only_running_runs_of_the_named_jobs_are_interrupted(database: Database) -> None:
    with database.write() as session:
        for name in "ab":
            jobs.add_job(session, job_id=name, kind="train", title=name, request={}, owner="h:1:2.00")
    ended, lost, other, free = (start(database, "d", "c", job_id) for job_id in ("a", "a", "b", None))
    with database.write() as session:
        runs.end_run(session, ended, "failed", error="disk full")
        runs.interrupt_runs(session, ["a"])
    with database.read() as session:
        states = {run.id: run.state for run in runs.latest_runs(session)}
    assert states == {ended: "failed", lost: "interrupted", other: "running", free: "running"}


def test_a_run_outlives_its_job(database: Database) -> None:
    with database.write() as session:
        jobs.add_job(session, job_id="a", kind="train", title="a", request={}, owner="h:1:2.00")
    run_id = start(database, "d", "c", "a")
    with database.write() as session:
        session.delete(session.get_one(Job, "a"))
    with database.read() as session:
        assert session.get_one(Run, run_id).job_id is None


def test_an_unknown_run_is_named(database: Database) -> None:
    with pytest.raises(StorageError, match="no run 7"), database.write() as session:
        runs.end_run(session, 7, "done")
