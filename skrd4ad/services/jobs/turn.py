"""A command's turn: it does its work itself, in the queue of the workspace like any job."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from skrd4ad.documents import to_plain
from skrd4ad.errors import StorageError, TrainingCancelled
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.services.jobs.outcome import Outcome, failure, interrupt_lost
from skrd4ad.services.jobs.process import this_process
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.worker import TICK_SECONDS
from skrd4ad.storage import jobs
from skrd4ad.storage.database import Database, workspace_database
from skrd4ad.storage.jobs import Lane
from skrd4ad.task import Status, Task

R = TypeVar("R")
BEAT_TICKS = 10


@dataclass
class Turn:
    """What a command holds while it works."""

    task: Task
    """Shows on the command line and in the app, and is paused or cancelled from there."""
    result: Mapping[str, Any] = field(default_factory=dict)
    """To be filled: the result of the job, as its kind has it."""


@contextmanager
def own_turn(
    kind: JobKind[R],
    request: R,
    *,
    task: Task,
    say: Callable[[str], None],
    now: bool = False,
    lane: Lane | None = None,
) -> Iterator[Turn]:
    """Wait until nothing else runs in the lane of a kind, then let the block work as that job.

    Where the database cannot be used that is said, and the block works all the same.

    Args:
        kind: whose lane and name it takes.
        request: what it does.
        task: of the command line.
        say: takes a line for people.
        now: do not wait, and do not show it in the app.
        lane: another one than that of the kind; in ``cluster`` nothing waits, as other machines do the work.

    Raises:
        TrainingCancelled: somebody took it out of the queue.
    """
    lane = lane or kind.lane
    handle = None if now else _announced(kind, request, lane, say)
    if handle is None:
        yield Turn(task)
        return
    database, ended = workspace_database(), threading.Event()
    threading.Thread(target=_keep_alive, args=(handle, ended), name="turn-heartbeat", daemon=True).start()
    turn = Turn(_both(task, handle.task))
    outcome: Outcome | None = None
    try:
        _wait(database, handle, lane, say)
        yield turn
        outcome = Outcome(state="done", result=to_plain(turn.result, infinite="null"))
    except BaseException as error:
        outcome = failure(error)
        raise
    finally:
        ended.set()
        handle.flush()
        with suppress(StorageError), database.write() as session:
            if outcome is not None:
                outcome.store(session, handle.id)


def _announced(kind: JobKind[R], request: R, lane: Lane, say: Callable[[str], None]) -> JobHandle | None:
    try:
        return queue().announce(
            kind=kind.name,
            title=kind.title(request),
            request=to_plain(request),
            lane=lane,
            owner=this_process(),
        )
    except StorageError as error:
        say(f"warning: this is not in the queue of the workspace, and does not wait for what runs there. {error}")
        return None


def _wait(database: Database, handle: JobHandle, lane: Lane, say: Callable[[str], None]) -> None:
    if lane == "cluster":
        with database.write() as session:
            jobs.start_job(session, handle.id, owner=this_process())
        return
    said = ""
    while True:
        with database.read() as session:
            first, is_active = jobs.next_job(session, lane), jobs.wish_of(session, handle.id) is not None
        if not is_active:
            raise TrainingCancelled("Taken out of the queue.")
        assert first is not None
        if first.id == handle.id:
            with database.write() as session:
                first = jobs.next_job(session, lane)
                if first is not None and first.id == handle.id and jobs.start_job(session, first.id, owner=first.owner):
                    return
        elif first.title != said:
            said = first.title
            say(f"Waiting for {said!r}, which comes first in the queue of the workspace; --now does not wait.")
        with database.write() as session:
            interrupt_lost(session)
        time.sleep(TICK_SECONDS)


def _keep_alive(handle: JobHandle, ended: threading.Event) -> None:
    ticks = 0
    while not ended.wait(TICK_SECONDS):
        ticks += 1
        with suppress(StorageError):
            handle.pulse(beat=ticks % BEAT_TICKS == 0)


def _both(here: Task, job: Task) -> Task:
    def show(status: Status) -> None:
        here.show(status)
        job.show(status)

    def check() -> None:
        here.check()
        job.check()

    def point(step: int, values: Mapping[str, Any]) -> None:
        here.point(step, values)
        job.point(step, values)

    return replace(here, show=show, check=check, point=point)
