import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.errors import ConfigError, DataError, DocumentError, StorageError, TrainingError
from skrd4ad.services.access import Actor, acting, acting_as, acting_user
from skrd4ad.services.jobs import outcome
from skrd4ad.services.jobs.process import NICENESS
from skrd4ad.services.jobs.queue import JobHandle, JobQueue, JobView, queue, reset_queue
from skrd4ad.services.jobs.registry import KINDS
from skrd4ad.storage import jobs as job_rows
from skrd4ad.storage.database import Database, open_database
from skrd4ad.types import Role
from tests.limits import LONG


@pytest.fixture
def home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    opened = open_database()
    yield opened
    opened.close()


@pytest.fixture
def job_queue(database: Database) -> Iterator[JobQueue]:
    made = JobQueue(database, place="thread", tick_seconds=0.02)
    yield made
    made.close()


class Step:
    """Work that says when it began and ends when it is let go."""

    def __init__(self, result: Mapping[str, Any] | None = None) -> None:
        self.began = threading.Event()
        self.let_go = threading.Event()
        self.result = result or {}

    def __call__(self, handle: JobHandle) -> Mapping[str, Any]:
        self.began.set()
        while not self.let_go.wait(0.005):
            handle.check()
        return self.result


def submit(
    job_queue: JobQueue, work: Callable[[JobHandle], Mapping[str, Any]], title: str = "t", **request: Any
) -> str:
    return job_queue.submit(kind="train", title=title, request=request, work=work)


def until(read: Callable[[], JobView], holds: Callable[[JobView], bool]) -> JobView:
    deadline = time.monotonic() + LONG
    while not holds(view := read()):
        assert time.monotonic() < deadline, view
        time.sleep(0.01)
    return view


def test_a_job_goes_from_queued_to_done_with_its_result(job_queue: JobQueue) -> None:
    def work(handle: JobHandle) -> Mapping[str, Any]:
        for epoch in (1, 2):
            handle.point(epoch, {"loss": 1 / epoch})
            handle.report({"epoch": epoch})
        return {"folder": Path("m"), "loss": float("nan")}

    job_id = submit(job_queue, work, "mono", epochs=2)
    view = job_queue.wait(job_id, LONG)
    assert (view.kind, view.title, view.state, view.active) == ("train", "mono", "done", False)
    assert (view.request, view.progress) == ({"epochs": 2}, {"epoch": 2})
    assert view.result == {"folder": "m", "loss": None}
    assert (view.error, view.details) == (None, None)
    assert job_queue.points(job_id) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]
    assert view.started_at is not None
    assert view.finished_at is not None
    assert view.created_at <= view.started_at <= view.finished_at


def test_jobs_run_one_at_a_time_in_the_order_they_came(job_queue: JobQueue) -> None:
    running: list[str] = []
    order: list[str] = []

    def work(name: str) -> Callable[[JobHandle], Mapping[str, Any]]:
        def run(_: JobHandle) -> Mapping[str, Any]:
            running.append(name)
            order.append(name)
            assert running == [name]
            time.sleep(0.005)
            assert running == [name]
            running.remove(name)
            return {}

        return run

    first = Step()
    ids = [submit(job_queue, first), *(submit(job_queue, work(name)) for name in "bcd")]
    assert first.began.wait(LONG)
    assert [job_queue.get(job_id).position for job_id in ids] == [0, 1, 2, 3]
    assert [view.id for view in job_queue.active()] == ids
    assert [view.state for view in job_queue.active()] == ["running", "queued", "queued", "queued"]
    first.let_go.set()
    assert [job_queue.wait(job_id, LONG).state for job_id in ids] == ["done"] * 4
    assert order == ["b", "c", "d"]
    assert job_queue.active() == []
    assert [view.id for view in job_queue.list()] == ids[::-1]


def test_jobs_submitted_from_several_threads_all_run(job_queue: JobQueue) -> None:
    ids: list[str] = []

    def work(handle: JobHandle) -> Mapping[str, Any]:
        for step in range(5):
            handle.point(step, {"loss": 0.0})
        return {}

    def send() -> None:
        for _ in range(4):
            ids.append(submit(job_queue, work))
            job_queue.list()

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [job_queue.wait(job_id, LONG).state for job_id in ids] == ["done"] * 20
    assert all(len(job_queue.points(job_id)) == 5 for job_id in ids)


def test_a_running_job_is_cancelled_at_its_next_check_and_the_next_one_runs(job_queue: JobQueue) -> None:
    first, second = Step(), Step()
    cancelled, kept = submit(job_queue, first), submit(job_queue, second)
    assert first.began.wait(LONG)
    job_queue.cancel(cancelled)
    assert job_queue.wait(cancelled, LONG).state == "cancelled"
    second.let_go.set()
    assert job_queue.wait(kept, LONG).state == "done"


def test_work_that_ends_well_in_spite_of_a_late_cancel_is_done(job_queue: JobQueue) -> None:
    began, let_go = threading.Event(), threading.Event()

    def work(handle: JobHandle) -> Mapping[str, Any]:
        began.set()
        assert let_go.wait(LONG)
        while not handle.cancelled:
            time.sleep(0.001)
        return {"cancelled": True}

    job_id = submit(job_queue, work)
    assert began.wait(LONG)
    job_queue.cancel(job_id)
    assert job_queue.get(job_id).wish == "cancel"
    assert job_queue.get(job_id).state == "running"
    let_go.set()
    view = job_queue.wait(job_id, LONG)
    assert (view.state, view.result) == ("done", {"cancelled": True})


def test_a_waiting_job_is_cancelled_at_once_and_never_starts(job_queue: JobQueue) -> None:
    first, second, third = Step(), Step(), Step()
    ids = [submit(job_queue, work) for work in (first, second, third)]
    assert first.began.wait(LONG)
    assert job_queue.get(ids[2]).position == 2
    job_queue.cancel(ids[1])
    assert job_queue.get(ids[1]).state == "cancelled"
    assert job_queue.get(ids[2]).position == 1
    for step in (first, second, third):
        step.let_go.set()
    assert job_queue.wait(ids[2], LONG).state == "done"
    assert not second.began.is_set()
    assert job_queue.get(ids[1]).started_at is None


def test_cancelling_an_ended_job_changes_nothing(job_queue: JobQueue) -> None:
    job_id = submit(job_queue, lambda _: {"x": 1})
    before = job_queue.wait(job_id, LONG)
    job_queue.cancel(job_id)
    assert job_queue.get(job_id) == before


def test_a_paused_job_waits_says_so_and_goes_on(job_queue: JobQueue) -> None:
    steps = 0
    began, stop = threading.Event(), threading.Event()

    def work(handle: JobHandle) -> Mapping[str, Any]:
        nonlocal steps
        handle.report({"epoch": 7})
        while not stop.is_set():
            began.set()
            handle.check()
            steps += 1
            time.sleep(0.001)
        return {}

    job_id = submit(job_queue, work)
    assert began.wait(LONG)
    job_queue.pause(job_id)
    view = until(lambda: job_queue.get(job_id), lambda view: view.paused)
    assert (view.state, view.progress) == ("running", {"epoch": 7, "paused": True})
    before = steps
    time.sleep(0.05)
    assert steps == before
    job_queue.resume_paused(job_id)
    view = until(lambda: job_queue.get(job_id), lambda view: not view.paused)
    assert view.progress == {"epoch": 7}
    stop.set()
    assert job_queue.wait(job_id, LONG).state == "done"
    assert steps > before


def test_a_paused_job_can_be_cancelled(job_queue: JobQueue) -> None:
    step = Step()
    job_id = submit(job_queue, step)
    assert step.began.wait(LONG)
    job_queue.pause(job_id)
    until(lambda: job_queue.get(job_id), lambda view: view.paused)
    job_queue.cancel(job_id)
    view = job_queue.wait(job_id, LONG)
    assert (view.state, view.paused) == ("cancelled", False)


def test_only_a_running_job_can_be_paused(job_queue: JobQueue) -> None:
    first, second = Step(), Step()
    running, waiting = submit(job_queue, first, "one"), submit(job_queue, second, "two")
    assert first.began.wait(LONG)
    with pytest.raises(TrainingError, match="The job 'two' is queued; only a running job"):
        job_queue.pause(waiting)
    first.let_go.set()
    job_queue.wait(running, LONG)
    with pytest.raises(TrainingError, match="The job 'one' is done"):
        job_queue.resume_paused(running)
    second.let_go.set()


@pytest.mark.parametrize("action", ["cancel", "pause", "resume_paused", "get"])
def test_an_unknown_job_is_named(job_queue: JobQueue, action: str) -> None:
    with pytest.raises(StorageError, match="no job 'nobody'"):
        getattr(job_queue, action)("nobody")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DataError("No images in /data. Choose another folder."), "No images in /data. Choose another folder."),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (MemoryError(), "MemoryError"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_failure_keeps_its_reason_and_its_traceback_and_the_next_job_runs(
    job_queue: JobQueue, error: BaseException, reason: str
) -> None:
    def fail(handle: JobHandle) -> Mapping[str, Any]:
        handle.report({"epoch": 1})
        handle.report({"epoch": 2})
        raise error

    failed, after = submit(job_queue, fail), submit(job_queue, lambda _: {})
    view = job_queue.wait(failed, LONG)
    assert (view.state, view.error, view.result) == ("failed", reason, None)
    assert view.details is not None
    assert "in fail" in view.details
    assert view.progress == {"epoch": 2}
    assert job_queue.wait(after, LONG).state == "done"


def test_a_result_that_cannot_be_stored_is_a_failure_with_a_reason(job_queue: JobQueue) -> None:
    view = job_queue.wait(submit(job_queue, lambda _: {"model": object()}), LONG)
    assert view.state == "failed"
    assert view.error is not None
    assert view.error.startswith("The value at model is a object")


def test_a_request_that_cannot_be_stored_is_refused_and_leaves_no_job(job_queue: JobQueue) -> None:
    with pytest.raises(DocumentError, match="The value at model"):
        submit(job_queue, lambda _: {}, model=object())
    assert job_queue.list() == []


def test_the_end_of_a_job_is_stored_even_when_the_database_refuses_at_first(
    job_queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = 2

    def refuse_twice(*args: Any, **values: Any) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise StorageError("disk full")
        original(*args, **values)

    original = job_rows.end_job
    monkeypatch.setattr(job_rows, "end_job", refuse_twice)
    assert job_queue.wait(submit(job_queue, lambda _: {"x": 1}), LONG).result == {"x": 1}
    assert refusals == 0


def test_wait_gives_the_job_as_it_stands_when_time_is_up(job_queue: JobQueue) -> None:
    step = Step()
    job_id = submit(job_queue, step)
    assert step.began.wait(LONG)
    assert job_queue.wait(job_id, 0).state == "running"


def test_a_long_step_keeps_its_heartbeat_and_its_last_snapshot_is_written(
    job_queue: JobQueue, database: Database
) -> None:
    began, let_go = threading.Event(), threading.Event()

    def work(handle: JobHandle) -> Mapping[str, Any]:
        handle.report({"step": 1})
        handle.report({"step": 2})  # held back: it comes too soon after the first
        began.set()
        assert let_go.wait(LONG)
        return {}

    job_id = submit(job_queue, work)
    assert began.wait(LONG)
    until(lambda: job_queue.get(job_id), lambda view: view.progress == {"step": 2})

    def heartbeat() -> Any:
        with database.read() as session:
            return job_rows.find_job(session, job_id).heartbeat_at

    before = heartbeat()
    until(lambda: job_queue.get(job_id), lambda _: heartbeat() > before)
    let_go.set()


def test_the_queue_of_a_process_is_one_and_a_reset_starts_afresh(home: Path) -> None:
    first = queue()
    assert queue() is first
    step = Step()
    job_id = submit(first, step)
    assert step.began.wait(LONG)
    reset_queue()
    second = queue()
    assert second is not first
    assert second.get(job_id).state == "cancelled"
    with pytest.raises(StorageError, match="queue is closed"):
        submit(first, step)


def test_threads_that_ask_for_the_queue_at_once_get_the_same_one(home: Path) -> None:
    start = threading.Barrier(4)
    found: list[JobQueue] = []

    def ask() -> None:
        start.wait()
        found.append(queue())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len({id(one) for one in found}) == 1


def test_a_job_of_a_silent_host_is_interrupted_and_one_of_a_speaking_host_is_not(
    job_queue: JobQueue, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as session:
        for name in ("silent", "speaking", "waiting"):
            job_rows.add_job(session, job_id=name, kind="train", title=name, request={})
        for name in ("silent", "speaking"):
            job_rows.start_job(session, name, owner=f"{name}-host:1:2.00")
    later = outcome.utc_now() + timedelta(seconds=61)
    monkeypatch.setattr(outcome, "utc_now", lambda: later)
    monkeypatch.setattr("skrd4ad.storage.jobs.utc_now", lambda: later)
    with database.write() as session:
        job_rows.beat(session, "speaking")
    assert [view.id for view in job_queue.recover_interrupted()] == ["silent"]
    assert [job_queue.get(name).state for name in ("silent", "speaking", "waiting")] == [
        "interrupted",
        "running",
        "queued",
    ]


def test_a_job_that_another_host_took_for_dead_stops(job_queue: JobQueue, database: Database) -> None:
    step = Step()
    job_id = submit(job_queue, step)
    assert step.began.wait(LONG)
    with database.write() as session:
        job_rows.end_job(session, job_id, "interrupted", error="silent")
    after = Step()
    submit(job_queue, after)
    assert after.began.wait(LONG)
    after.let_go.set()


def test_lanes_do_not_wait_for_each_other(job_queue: JobQueue) -> None:
    training, short, labels = Step(), Step(), Step()
    ids = [
        job_queue.submit(kind="train", title="t", request={}, lane=lane, work=step)
        for lane, step in (("long", training), ("short", short), ("labels", labels))
    ]
    for step in (training, short, labels):
        assert step.began.wait(LONG)
    assert [view.lane for view in job_queue.active()] == ["long", "short", "labels"]
    for step in (training, short, labels):
        step.let_go.set()
    assert [job_queue.wait(job_id, LONG).state for job_id in ids] == ["done"] * 3


@pytest.mark.parametrize("role", ["engineer", "admin"])
def test_the_work_is_done_under_the_name_and_role_of_who_asked_for_it(job_queue: JobQueue, role: Role) -> None:
    with acting_as(Actor("Ada", role)):
        job_id = submit(job_queue, lambda _: {"who": acting_user(), "role": acting().role})
    assert job_queue.wait(job_id, LONG).result == {"who": "Ada", "role": role}


def test_a_role_that_does_not_exist_may_do_nothing(database: Database) -> None:
    with database.write() as session:
        job_rows.add_job(session, job_id="odd", kind="train", title="t", request={}, role="boss")  # type: ignore[arg-type]
        job = job_rows.find_job(session, "odd")
        assert outcome.asked_by(job) == Actor(None, "viewer")
        job_rows.cancel_waiting(session, "odd")


def test_a_kind_that_nobody_knows_is_a_failure_with_a_reason(job_queue: JobQueue) -> None:
    view = job_queue.wait(job_queue.submit(kind="paint", title="t", request={}), LONG)
    assert view.state == "failed"
    assert view.error is not None
    assert "kind 'paint', which this version does not know; known: train, evaluate" in view.error


def test_a_request_that_is_damaged_is_a_failure_with_a_reason(job_queue: JobQueue) -> None:
    view = job_queue.wait(job_queue.submit(kind="compare", title="t", request={"a": 5}), LONG)
    assert view.state == "failed"
    assert view.error is not None
    assert "The request of the job 'compare'" in view.error


def test_every_kind_is_found_by_its_name() -> None:
    for name, place in KINDS.items():
        module, _, attribute = place.partition(":")
        assert getattr(import_module(module), attribute).name == name


def test_looking_at_the_queue_imports_no_network() -> None:
    code = "import sys, skrd4ad.services.jobs.queue, skrd4ad.services.jobs.kind; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_place_for_jobs_that_does_not_exist_is_an_error_that_says_what_is_allowed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKRD4AD_WORKER", "moon")
    with pytest.raises(ConfigError, match="SKRD4AD_WORKER is 'moon'; allowed: app, keep, thread"):
        JobQueue(database)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own here")
@pytest.mark.parametrize(("wanted", "extra"), [("", NICENESS), ("3", 3), ("0", 0)])
def test_a_job_gives_way_to_the_pages_and_so_do_the_threads_it_starts(
    database: Database, monkeypatch: pytest.MonkeyPatch, wanted: str, extra: int
) -> None:
    monkeypatch.setenv("SKRD4AD_NICENESS", wanted)
    found: list[int] = []

    def note() -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def work(handle: JobHandle) -> Mapping[str, Any]:
        note()
        started = threading.Thread(target=note)
        started.start()
        started.join()
        return {}

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    job_queue = JobQueue(database, place="thread", tick_seconds=0.02)
    job_queue.wait(submit(job_queue, work), LONG)
    job_queue.close()
    assert found == [max(before, extra)] * 2
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


@pytest.mark.parametrize("wanted", ["20", "-5", "low", "1.5"])
def test_a_niceness_that_does_not_exist_is_an_error_that_says_what_is_allowed(
    database: Database, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    monkeypatch.setenv("SKRD4AD_NICENESS", wanted)
    with pytest.raises(ConfigError, match=f"SKRD4AD_NICENESS is '{wanted}'.*0 .*19"):
        JobQueue(database, place="thread").supervise()
