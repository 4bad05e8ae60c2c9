"""Works the jobs of one lane off, one at a time: a process of its own beside the app, or a thread of this one.

As a process it is ``python -m skrd4ad.services.jobs.worker LANE``. It finds what to do in the database and says there
how far it is; nothing else goes between it and the app.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar, get_args

from sqlalchemy.orm import Session

from skrd4ad.errors import SkrdError, StorageError
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.outcome import APP_ENDED, asked_by, do, failure, interrupt, interrupt_lost
from skrd4ad.services.jobs.process import (
    is_alive,
    lower_process_priority,
    lower_thread_priority,
    niceness,
    this_process,
)
from skrd4ad.services.jobs.registry import Work, find_work
from skrd4ad.storage import jobs
from skrd4ad.storage.database import Database, open_database
from skrd4ad.storage.jobs import Lane
from skrd4ad.storage.tables import Job, JobWorker, utc_now

TICK_SECONDS = 0.5
"""How often wishes are read, and an idle worker looks for a job."""
BEAT_SECONDS = 5.0
"""Between two signs of life."""
IDLE_SECONDS = 120.0
"""A process without a job for so long ends, and gives its memory back."""
ORPHAN_SECONDS = 3.0
"""For another app on the same workspace to take over the worker of one that ended."""

T = TypeVar("T")
WorkOf = Callable[[Job], Work]

log = logging.getLogger(__name__)


def work_of(job: Job) -> Work:
    """What a job does, by its kind.

    Raises:
        SkrdError: its kind is not known, or its request is damaged.
    """
    return find_work(job.kind, job.request, again=job.again)


class Worker:
    """Runs the jobs of a lane in the thread that calls :meth:`run`; another thread follows wishes and says it lives."""

    def __init__(
        self,
        database: Database,
        lane: Lane,
        *,
        find: WorkOf = work_of,
        supervisor: str = "",
        tick_seconds: float = TICK_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Make an idle worker.

        Args:
            database: where the jobs live.
            lane: the queue it works off.
            find: what a job does.
            supervisor: the process it ends with, as long as nobody else takes it over; empty for none.
            tick_seconds: how often wishes are read and jobs looked for.
            idle_seconds: without a job, until it ends.

        Raises:
            ConfigError: the environment asks for a niceness that does not exist.
        """
        self._database = database
        self._lane = lane
        self._find = find
        self._supervisor = supervisor
        self._tick = tick_seconds
        self._idle = idle_seconds
        self._niceness = niceness()
        self._me = this_process()
        self._handle: JobHandle | None = None
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._beaten_at = time.monotonic()

    def run(self) -> None:
        """Work jobs off until there has been none for a while; returns at once when the lane has another worker."""
        if not self._insist(self._take_lane):
            return
        threading.Thread(target=self._keep_alive, name=f"jobs-{self._lane}-heartbeat", daemon=True).start()
        lower_thread_priority(self._niceness)
        idle_since = time.monotonic()
        while not self._closed.is_set() and time.monotonic() - idle_since < self._idle:
            if (job := self._next()) is not None:
                self._do(job)
                idle_since = time.monotonic()
            else:
                self._wake.wait(self._tick)
                self._wake.clear()
        self._closed.set()
        with suppress(StorageError), self._database.write() as session:
            jobs.drop_worker(session, self._lane, owner=self._me)

    def wake(self) -> None:
        """Look for a job now."""
        self._wake.set()

    def close(self) -> None:
        """End after the job that runs, which is asked to stop."""
        self._closed.set()
        self._wake.set()
        if (handle := self._handle) is not None:
            handle.cancel()

    def interrupt(self, reason: str) -> None:
        """Mark the job that runs as interrupted, in place of its end: the process ends now."""
        self._closed.set()
        handle = self._handle
        with suppress(StorageError):
            if handle is not None:
                handle.flush()
            with self._database.write() as session:
                jobs.drop_worker(session, self._lane, owner=self._me)
                if handle is not None and (job := jobs.find_job(session, handle.id)).state == "running":
                    interrupt(session, job, reason)

    def is_orphaned(self) -> bool:
        """Whether the process that it ends with has ended.

        Raises:
            StorageError: the database cannot be read.
        """
        row = self._row()
        if row is None or row.owner != self._me or not row.supervisor:
            return False
        return not _is_alive(row.supervisor, row)

    def _take_lane(self, session: Session) -> bool:
        other = next((row for row in jobs.workers(session) if row.lane == self._lane), None)
        if other is not None and other.owner != self._me and _is_alive(other.owner, other):
            return False
        jobs.set_worker(session, self._lane, owner=self._me, supervisor=self._supervisor)
        return True

    def _row(self) -> JobWorker | None:
        with self._database.read() as session:
            return next((row for row in jobs.workers(session) if row.lane == self._lane), None)

    def _next(self) -> Job | None:
        """The next job of the lane, running from now on; None while there is none or another process has its turn."""
        with suppress(StorageError):  # said by the heartbeat
            with self._database.read() as session:
                if (first := jobs.next_job(session, self._lane)) is None or first.owner == self._me:
                    return None
            return self._insist(self._claim)
        return None

    def _claim(self, session: Session) -> Job | None:
        interrupt_lost(session)
        job = jobs.next_job(session, self._lane)
        if job is None or job.owner or not jobs.start_job(session, job.id, owner=self._me):
            return None
        return job

    def _do(self, job: Job) -> None:
        handle = self._handle = JobHandle(self._database, job.id)
        if self._closed.is_set():
            handle.cancel()
        try:
            outcome = do(self._find(job), handle, who=asked_by(job))
        except SkrdError as error:
            outcome = failure(error)
        handle.flush()
        self._insist(lambda session: outcome.store(session, job.id))
        self._handle = None

    def _insist(self, change: Callable[[Session], T]) -> T | None:
        """Make a change as soon as the database takes it; None when the worker is closed before."""
        while True:
            try:
                with self._database.write() as session:
                    return change(session)
            except StorageError as error:
                log.error("A job's state was not stored, trying again: %s", error)
            if self._closed.wait(self._tick):
                return None

    def _keep_alive(self) -> None:
        while not self._closed.wait(self._tick):
            beat = time.monotonic() - self._beaten_at >= min(BEAT_SECONDS, 10 * self._tick)
            try:
                if (handle := self._handle) is not None:
                    handle.pulse(beat=beat)
                if beat:
                    with self._database.write() as session:
                        jobs.beat_worker(session, self._lane, owner=self._me)
                    self._beaten_at = time.monotonic()
            except StorageError as error:
                log.warning("A sign of life was not stored: %s", error)


def _is_alive(process: str, row: JobWorker) -> bool:
    return is_alive(process, heartbeat_at=row.heartbeat_at, now=utc_now())


class WorkerThreads:
    """A worker for each lane in threads of this process."""

    def __init__(self, database: Database, *, find: WorkOf, tick_seconds: float) -> None:
        self._workers = [
            Worker(database, lane, find=find, tick_seconds=tick_seconds, idle_seconds=float("inf"))
            for lane in get_args(Lane)
        ]
        self._threads = [threading.Thread(target=each.run, name="jobs", daemon=True) for each in self._workers]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for jobs now."""
        for worker in self._workers:
            worker.wake()

    def close(self) -> None:
        """Cancel what runs; waits up to ten seconds for work that does not check."""
        for worker in self._workers:
            worker.close()
        for thread in self._threads:
            thread.join(10)


def main() -> None:
    """Work off the lane that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lane", choices=get_args(Lane))
    parser.add_argument("--supervisor", default="", metavar="HOST:PID:START", help="process that it ends with")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    if sys.platform != "linux" and niceness() > 0:
        lower_process_priority()
    worker = Worker(open_database(), given.lane, supervisor=given.supervisor)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    threading.Thread(target=_end_with_app, args=(worker, stopped), daemon=True).start()
    worker.run()


def _end_with_app(worker: Worker, stopped: threading.Event) -> NoReturn:
    """End the process when it is told to, or when its app has ended and no other has taken it over."""
    alone_since: float | None = None
    while not stopped.wait(TICK_SECONDS):
        with suppress(StorageError):
            alone_since = (alone_since or time.monotonic()) if worker.is_orphaned() else None
        if alone_since is not None and time.monotonic() - alone_since > ORPHAN_SECONDS:
            break
    worker.interrupt(APP_ENDED)
    os._exit(0)  # the work may be anywhere, also in native code


if __name__ == "__main__":
    main()
