from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.errors import DocumentError, StorageError, TrainingCancelled
from skrd4ad.services.jobs import handle as job_handle
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.storage import jobs
from skrd4ad.storage.database import Database, open_database
from tests.limits import LONG


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(job_handle, "time", clock)
    return clock


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    with opened.write() as session:
        jobs.add_job(session, job_id="a", kind="train", title="a", request={}, owner="h:1:2.00")
    yield opened
    opened.close()


def stored(database: Database) -> tuple[dict[str, Any], list[int]]:
    with database.read() as session:
        return jobs.find_job(session, "a").progress, [point["step"] for point in jobs.job_points(session, "a")]


def test_reports_are_written_four_times_a_second_at_most(database: Database, clock: Clock) -> None:
    handle = JobHandle(database, "a")
    written = []
    for step in range(17):  # every 1/16 s for one second
        handle.report({"step": step})
        if (progress := stored(database)[0]) not in written:
            written.append(progress)
        clock.now += 1 / 16
    assert [progress["step"] for progress in written] == [0, 4, 8, 12, 16]


def test_what_was_held_back_is_written_by_a_flush_and_no_point_is_lost(database: Database, clock: Clock) -> None:
    handle = JobHandle(database, "a")
    for step in range(5):
        handle.point(step, {"loss": 1.0})
        handle.report({"step": step})
    assert stored(database) == ({}, [0])
    handle.flush()
    assert stored(database) == ({"step": 4}, [0, 1, 2, 3, 4])
    handle.flush()
    assert stored(database) == ({"step": 4}, [0, 1, 2, 3, 4])


def test_work_goes_on_when_its_progress_cannot_be_stored_and_it_is_stored_later(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @contextmanager
    def full(_: Database) -> Iterator[None]:
        raise StorageError("disk full")
        yield

    handle = JobHandle(database, "a")
    with monkeypatch.context() as patch, caplog.at_level("WARNING", logger="skrd4ad"):
        patch.setattr(Database, "write", full)
        handle.point(1, {"loss": 1.0})
        clock.now += 1
        handle.report({"step": 1})
    assert caplog.text.count("disk full") == 2
    clock.now += 1
    handle.point(2, {"loss": 0.5})
    assert stored(database) == ({"step": 1}, [1, 2])


def test_a_snapshot_is_kept_as_it_was_when_reported(database: Database, clock: Clock) -> None:
    handle = JobHandle(database, "a")
    handle.report({})
    classes = ["mono"]
    handle.report({"classes": classes})
    classes.append("poly")
    handle.flush()
    assert stored(database)[0] == {"classes": ["mono"]}


def test_a_snapshot_without_json_form_is_the_fault_of_the_work(database: Database) -> None:
    with pytest.raises(DocumentError, match="The value at model is a object"):
        JobHandle(database, "a").report({"model": object()})


def test_check_raises_only_after_cancel_also_when_paused_before(database: Database) -> None:
    handle = JobHandle(database, "a")
    handle.check()
    assert not handle.cancelled
    handle.pause()
    handle.cancel()
    assert handle.cancelled
    handle.pause()  # too late: a cancelled job must not hang
    with ThreadPoolExecutor(1) as pool:
        checked = pool.submit(handle.check)
        try:
            with pytest.raises(TrainingCancelled):
                checked.result(timeout=LONG)
        finally:
            handle.resume()
