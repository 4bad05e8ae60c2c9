import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.errors import DataError, StorageError, TrainingCancelled
from skrd4ad.services.jobs import turn as turns
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.queue import JobView, queue
from skrd4ad.services.jobs.turn import Turn, own_turn
from skrd4ad.task import QUIET, Status, Task
from tests.limits import LONG
from tests.slow_worker import SLOW, SlowRequest


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TICK_SECONDS", 0.02)


class Command:
    """A command in a thread: what it said, and the turn it has."""

    def __init__(self, name: str = "command", *, now: bool = False) -> None:
        self.said: list[str] = []
        self.shown: list[str] = []
        self.has_turn, self.let_go = threading.Event(), threading.Event()
        self.error: BaseException | None = None
        self._name, self._now = name, now
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        task = Task(show=lambda at: self.shown.append(at.text))
        try:
            with own_turn(SLOW, SlowRequest(name=self._name), task=task, say=self.said.append, now=self._now) as turn:
                self.has_turn.set()
                self._work(turn)
        except (TrainingCancelled, DataError) as error:
            self.error = error

    def _work(self, turn: Turn) -> None:
        turn.task.report(1, 2, "half")
        while not self.let_go.wait(0.005):
            turn.task.report(1, 2, "half")
        turn.result = {"folder": Path("m")}

    def end(self) -> None:
        self._thread.join(LONG)
        assert not self._thread.is_alive()


def job_named(title: str) -> JobView | None:
    return next((job for job in queue().list() if job.title == title), None)


def wait_for(title: str, state: str) -> JobView:
    deadline = time.monotonic() + LONG
    while (job := job_named(title)) is None or job.state != state:
        assert time.monotonic() < deadline, job
        time.sleep(0.01)
    return job


def test_a_command_waits_for_the_job_that_runs_and_the_next_job_for_the_command() -> None:
    began, let_go = threading.Event(), threading.Event()

    def work(job: JobHandle) -> Mapping[str, Any]:
        began.set()
        assert let_go.wait(LONG)
        return {}

    queue().submit(kind="train", title="training", request={}, work=work)
    assert began.wait(LONG)
    command = Command()
    assert wait_for("command", "queued").position == 1
    after = queue().submit(kind="train", title="after", request={}, work=lambda _: {})
    while not command.said:
        time.sleep(0.01)
    assert not command.has_turn.is_set()
    let_go.set()
    assert command.has_turn.wait(LONG)
    (line,) = command.said
    assert line.startswith("Waiting for 'training', which comes first in the queue of the workspace; --now")
    assert queue().get(after).state == "queued"
    command.let_go.set()
    command.end()
    ended = wait_for("command", "done")
    assert (ended.result, ended.progress["words"]) == ({"folder": "m"}, "half")
    assert "half" in command.shown
    assert queue().wait(after, LONG).state == "done"


def test_a_command_is_paused_and_cancelled_from_the_app() -> None:
    command = Command()
    job = wait_for("command", "running")
    queue().pause(job.id)
    while not queue().get(job.id).paused:
        time.sleep(0.01)
    queue().cancel(job.id)
    command.end()
    assert isinstance(command.error, TrainingCancelled)
    assert queue().get(job.id).state == "cancelled"


def test_a_command_that_is_taken_out_of_the_queue_ends() -> None:
    first = Command("first")
    assert first.has_turn.wait(LONG)
    second = Command("second")
    queue().cancel(wait_for("second", "queued").id)
    second.end()
    assert isinstance(second.error, TrainingCancelled)
    assert not second.has_turn.is_set()
    first.let_go.set()
    first.end()


def test_a_command_that_fails_says_why_in_the_app() -> None:
    with (
        pytest.raises(DataError),
        own_turn(SLOW, SlowRequest(name="command"), task=QUIET, say=pytest.fail),
    ):
        raise DataError("No images in /data.")
    job = wait_for("command", "failed")
    assert job.error == "No images in /data."


def test_now_goes_beside_what_runs_and_is_not_in_the_queue() -> None:
    first = Command("first")
    assert first.has_turn.wait(LONG)
    shown: list[Status] = []
    with own_turn(SLOW, SlowRequest(name="second"), task=Task(show=shown.append), say=pytest.fail, now=True) as turn:
        turn.task.report(1, 1)
    assert len(shown) == 1
    assert job_named("second") is None
    first.let_go.set()
    first.end()


def test_a_database_that_cannot_be_used_does_not_keep_a_command_from_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full(*_: object) -> Any:
        raise StorageError("disk full")
        yield

    said: list[str] = []
    queue()
    monkeypatch.setattr("skrd4ad.storage.database.Database.write", full)
    with own_turn(SLOW, SlowRequest(name="command"), task=QUIET, say=said.append) as turn:
        turn.task.report(1, 1)
    assert len(said) == 1
    assert said[0].endswith("disk full")
