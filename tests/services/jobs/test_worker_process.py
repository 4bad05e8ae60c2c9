"""Jobs in worker processes, as the app runs them: real processes, killed and left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import skrd4ad
from skrd4ad.services.access import Actor, acting_as
from skrd4ad.services.jobs import supervisor
from skrd4ad.services.jobs.outcome import APP_ENDED, PROCESS_DIED
from skrd4ad.services.jobs.process import NICENESS, this_process
from skrd4ad.services.jobs.queue import JobView, queue, reset_queue
from skrd4ad.services.jobs.worker import TICK_SECONDS
from skrd4ad.storage import jobs as job_rows
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.tables import JobWorker
from tests.limits import LONG
from tests.slow_worker import FOR_EVER, SLOW, SlowRequest


@pytest.fixture(autouse=True)
def real_workers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_WORKER", "app")
    monkeypatch.setattr(supervisor, "WORKER", "tests.slow_worker")


def until(read: Callable[[], JobView], holds: Callable[[JobView], bool]) -> JobView:
    deadline = time.monotonic() + LONG
    while not holds(view := read()):
        assert time.monotonic() < deadline, view
        time.sleep(0.02)
    return view


def running(job_id: str) -> JobView:
    """A job once its work has begun."""
    return until(lambda: queue().get(job_id), lambda view: bool(view.progress))


def workers() -> dict[str, JobWorker]:
    with workspace_database().read() as session:
        return {row.lane: row for row in job_rows.workers(session)}


def pid_of(worker: JobWorker) -> int:
    return int(worker.owner.rsplit(":", 2)[1])


def ends(pid: int) -> bool:
    """Whether a process ends within a while."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_a_job_runs_in_another_process_as_the_one_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKRD4AD_NICENESS")
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with acting_as(Actor("Ada", "engineer")):
        job_id = SLOW.submit(SlowRequest(name="mono", steps=4))
    view = queue().wait(job_id, LONG)
    assert view.result is not None
    assert view.result["pid"] != os.getpid()
    assert [view.result[name] for name in ("who", "role", "again")] == ["Ada", "engineer", False]
    if sys.platform == "linux":
        assert view.result["niceness"] == max(before, NICENESS)
    assert view.progress["words"] == "step 3"
    assert queue().points(job_id) == [{"step": step, "loss": 1 / (step + 1)} for step in range(4)]
    assert workers()["long"].supervisor == this_process()


def test_cancel_and_pause_reach_the_worker_soon() -> None:
    job_id = SLOW.submit(SlowRequest(name="endless", steps=FOR_EVER))
    running(job_id)

    def wish(action: Callable[[str], None], holds: Callable[[JobView], bool]) -> None:
        action(job_id)
        until(lambda: queue().get(job_id), holds)

    assert TICK_SECONDS <= 0.5, "a wish is to be followed within two seconds"
    wish(queue().pause, lambda view: view.paused)
    stood = queue().get(job_id).progress["words"]
    time.sleep(0.3)
    assert queue().get(job_id).progress["words"] == stood
    wish(queue().resume_paused, lambda view: not view.paused and view.progress["words"] != stood)
    wish(queue().cancel, lambda view: view.state == "cancelled")


def test_short_work_passes_long_work() -> None:
    long = SLOW.submit(SlowRequest(name="long", steps=FOR_EVER))
    running(long)
    behind = SLOW.submit(SlowRequest(name="behind"))
    short = SLOW.submit(SlowRequest(name="short"), lane="short")
    assert queue().wait(short, LONG).state == "done"
    assert (queue().get(long).state, queue().get(behind).state) == ("running", "queued")
    assert set(workers()) == {"long", "short"}


def test_a_killed_worker_leaves_its_job_interrupted_and_a_new_one_goes_on() -> None:
    lost, after = SLOW.submit(SlowRequest(name="a", steps=FOR_EVER)), SLOW.submit(SlowRequest(name="b"))
    running(lost)
    killed = pid_of(workers()["long"])
    os.kill(killed, signal.SIGKILL)
    view = queue().wait(lost, LONG)
    assert (view.state, view.error) == ("interrupted", PROCESS_DIED)
    done = queue().wait(after, LONG)
    assert done.result is not None
    assert done.result["pid"] != killed

    repeated = SLOW.repeat(lost)
    running(repeated)
    queue().cancel(repeated)
    with workspace_database().read() as session:
        assert job_rows.find_job(session, repeated).again


def test_a_repeated_job_goes_on_with_what_was_begun() -> None:
    first = SLOW.submit(SlowRequest(name="a"))
    queue().wait(first, LONG)
    view = queue().wait(SLOW.repeat(first), LONG)
    assert view.result is not None
    assert view.result["again"] is True


def test_a_kind_that_nobody_knows_is_a_failure_with_a_reason() -> None:
    view = queue().wait(queue().submit(kind="paint", title="t", request={}), LONG)
    assert view.state == "failed"
    assert view.error is not None
    assert "kind 'paint'" in view.error


def test_a_worker_that_does_not_start_is_a_failure_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "WORKER", "tests.no_such_worker")
    view = queue().wait(SLOW.submit(SlowRequest(name="a")), LONG)
    assert view.state == "failed"
    assert view.error is not None
    assert "worker-long.log" in view.error
    assert "No module named tests.no_such_worker" in view.error


class OtherApp:
    """Another app on the workspace, with a job that runs for ever and one that waits."""

    def __init__(self, place: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(Path(skrd4ad.__file__).parents[1]), "SKRD4AD_WORKER": place}
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "tests.slow_worker", "app"]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)
        assert self.process.stdout is not None
        self.running, self.waiting = self.process.stdout.readline().split()
        running(self.running)
        self.worker = pid_of(workers()["long"])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def other_app(request: pytest.FixtureRequest) -> Iterator[OtherApp]:
    app = OtherApp(getattr(request, "param", "app"))
    yield app
    app.process.kill()
    app.process.communicate()
    if psutil.pid_exists(app.worker):
        os.kill(app.worker, signal.SIGKILL)


def test_a_worker_ends_with_its_app_and_what_waited_runs_at_the_next_start(other_app: OtherApp) -> None:
    reset_queue()  # this process only looks
    other_app.kill()
    assert ends(other_app.worker)
    view = queue().get(other_app.running)
    assert (view.state, view.error) == ("interrupted", APP_ENDED)
    assert queue().get(other_app.waiting).state == "queued"
    queue().supervise()
    assert queue().wait(other_app.waiting, LONG).state == "done"


@pytest.mark.parametrize("other_app", ["keep"], indirect=True)
def test_a_kept_worker_outlives_its_app_and_the_next_one_takes_it_over(other_app: OtherApp) -> None:
    other_app.kill()
    before = queue().get(other_app.running).progress["done"]
    until(lambda: queue().get(other_app.running), lambda view: view.progress["done"] > before + 500)
    assert workers()["long"].supervisor == ""
    queue().supervise()
    deadline = time.monotonic() + LONG
    while workers()["long"].supervisor != this_process():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    queue().cancel(other_app.running)
    view = queue().wait(other_app.waiting, LONG)
    assert view.result is not None
    assert view.result["pid"] == other_app.worker
    reset_queue()  # it ends with this app now
    assert ends(other_app.worker)


def test_a_worker_whose_app_dies_goes_on_under_another_one(other_app: OtherApp) -> None:
    queue().supervise()
    other_app.kill()
    deadline = time.monotonic() + LONG
    while workers()["long"].supervisor != this_process():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert queue().get(other_app.running).state == "running"


def test_two_apps_have_one_queue(any_database: str, request: pytest.FixtureRequest) -> None:
    other_app: OtherApp = request.getfixturevalue("other_app")
    mine = SLOW.submit(SlowRequest(name="third"))
    assert [(job.title, job.state, job.position) for job in queue().active()] == [
        ("first", "running", 0),
        ("second", "queued", 1),
        ("third", "queued", 2),
    ]
    queue().cancel(other_app.running)
    results = [queue().wait(job_id, LONG).result for job_id in (other_app.waiting, mine)]
    assert [None if result is None else result["pid"] for result in results] == [other_app.worker] * 2
