"""The background queue: one heavy job at a time, its state in the database for every tab and process to see."""

import logging
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from skrd4ad.documents import to_plain
from skrd4ad.errors import SkrdError, StorageError, TrainingCancelled, TrainingError
from skrd4ad.services.access import bound, job_role, require
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.process import is_alive, lower_thread_priority, niceness, this_process
from skrd4ad.services.jobs.view import JobView, view_of
from skrd4ad.storage import history, jobs
from skrd4ad.storage.database import Database, open_database
from skrd4ad.storage.jobs import Ending, JobState, Wish
from skrd4ad.storage.tables import utc_now

Work = Callable[[JobHandle], Mapping[str, Any]]
"""Does the job and returns its result, which must have a JSON form."""

T = TypeVar("T")

LIGHT = frozenset({"labels", "compare-labels"})
"""Kinds of jobs that go one after the other in a queue of their own: they take little of the processor, and nobody is
to wait for the end of a training before labels come in or two models are compared on them."""

__all__ = ["JobHandle", "JobQueue", "JobView", "Work", "queue", "reset_queue"]

log = logging.getLogger(__name__)

# inside the class, ``list`` is the method
JobViews = list[JobView]
Points = list[dict[str, Any]]


class JobQueue:
    """Runs jobs one after the other in a daemon thread, in the order they came; light ones in another thread."""

    def __init__(self, database: Database, *, tick_seconds: float = 1.0) -> None:
        """Make an idle queue.

        Args:
            database: where the jobs live.
            tick_seconds: how often a sign of life and late progress are written, and wishes from other processes read.

        Raises:
            ConfigError: the environment asks for a niceness that does not exist.
        """
        self._database = database
        self._tick = tick_seconds
        self._niceness = niceness()
        self._owner = this_process()
        self._changed = threading.Condition()
        self._waiting: dict[bool, deque[tuple[JobHandle, Work]]] = {False: deque(), True: deque()}  # by: is it light
        self._handles: dict[str, JobHandle] = {}
        # a wish is stored and followed in one go, so that the heartbeat never follows one that is out of date
        self._wishing = threading.Lock()
        self._closed = threading.Event()
        self._threads: tuple[threading.Thread, ...] = ()

    def submit(self, *, kind: str, title: str, request: Mapping[str, Any], work: Work) -> str:
        """Put work at the end of the queue; returns the id of its job.

        Args:
            kind: ``train``, ``evaluate``, …; those in ``LIGHT`` do not wait for the others.
            title: one line for people.
            request: all that is needed to submit the same work again after an interruption.
            work: called in the queue's thread.

        Raises:
            AccessError: who acts may not start such jobs.
            DocumentError: the request has no JSON form.
            StorageError: the job cannot be stored.
        """
        require(job_role(kind), f"start the job {title!r}")
        handle = JobHandle(self._database, uuid.uuid4().hex)
        with self._changed:
            if self._closed.is_set():
                raise StorageError("The job queue is closed; ask for a new one with queue().")
            with self._database.write() as session:
                jobs.add_job(session, job_id=handle.id, kind=kind, title=title, request=request, owner=self._owner)
            self._handles[handle.id] = handle
            self._waiting[kind in LIGHT].append((handle, bound(work)))
            if not self._threads:
                self._start_threads()
            self._changed.notify_all()
        return handle.id

    def cancel(self, job_id: str) -> None:
        """Take a waiting job out of the queue, or ask a running one to stop; nothing when it has ended.

        Raises:
            AccessError: who acts may not steer such jobs.
            StorageError: there is no such job.
        """
        self._require(job_id, "cancel")
        self._cancel(job_id)

    def _cancel(self, job_id: str) -> None:
        with self._wishing:
            with self._database.write() as session:
                jobs.find_job(session, job_id)
                if not jobs.cancel_waiting(session, job_id):
                    jobs.wish_of_running(session, job_id, "cancel")
            self._follow(job_id, "cancel")
        with self._changed:
            self._changed.notify_all()

    def pause(self, job_id: str) -> None:
        """Ask a running job to wait at its next check.

        Raises:
            AccessError: who acts may not steer such jobs.
            StorageError: there is no such job.
            TrainingError: it does not run.
        """
        self._require(job_id, "pause")
        self._wish(job_id, "pause")

    def resume_paused(self, job_id: str) -> None:
        """Let a paused job go on.

        Raises:
            AccessError: who acts may not steer such jobs.
            StorageError: there is no such job.
            TrainingError: it does not run.
        """
        self._require(job_id, "go on with")
        self._wish(job_id, "run")

    def get(self, job_id: str) -> JobView:
        """A job as it stands.

        Raises:
            StorageError: there is no such job.
        """
        with self._database.read() as session:
            return view_of(jobs.find_job(session, job_id), jobs.queue_positions(session, beside=LIGHT))

    def list(self, *, states: Collection[JobState] | None = None, limit: int = 50) -> JobViews:
        """Jobs of every process, newest first; of some states only when ``states`` is given."""
        with self._database.read() as session:
            places = jobs.queue_positions(session, beside=LIGHT)
            return [view_of(job, places) for job in jobs.latest_jobs(session, states=states, limit=limit)]

    def active(self) -> JobViews:
        """Jobs of every process that run or wait, oldest first."""
        with self._database.read() as session:
            places = jobs.queue_positions(session, beside=LIGHT)
            return [view_of(job, places) for job in jobs.active_jobs(session)]

    def points(self, job_id: str) -> Points:
        """Curve of a job in the order of its points: ``{"step": …}`` and the values of each."""
        with self._database.read() as session:
            return jobs.job_points(session, job_id)

    def wait(self, job_id: str, timeout: float) -> JobView:
        """A job once it has ended, or as it stands after ``timeout`` seconds.

        Raises:
            StorageError: there is no such job.
        """
        deadline = time.monotonic() + timeout
        while (view := self.get(job_id)).active and (left := deadline - time.monotonic()) > 0:
            with self._changed:
                # jobs of other processes send no notice here, so look again soon
                self._changed.wait(min(left, 0.1))
        return view

    def recover_interrupted(self) -> JobViews:
        """Mark the active jobs of processes that died as interrupted, and return them; may be called at any time."""
        now = utc_now()
        with self._database.write() as session:
            lost = [
                job
                for job in jobs.active_jobs(session)
                if not is_alive(job.owner, heartbeat_at=job.heartbeat_at, now=now)
            ]
            for job in lost:
                if job.kind == "train" and job.state == "running":
                    history.append(
                        session,
                        what="training interrupted",
                        who="",
                        class_name=str(job.request.get("class_name", "")),
                        details={"job": job.id, "title": job.title},
                    )
                jobs.end_job(
                    session, job.id, "interrupted", error="The program ended before this job did. Start it again."
                )
            return [view_of(job, {}) for job in lost]

    def close(self) -> None:
        """Cancel this queue's jobs and end its threads; waits up to ten seconds for work that does not check."""
        with self._changed:
            self._closed.set()
            mine = [*self._handles]
            self._changed.notify_all()
        for job_id in mine:
            self._cancel(job_id)
        for thread in self._threads:
            thread.join(10)

    def _start_threads(self) -> None:
        self._threads = (
            threading.Thread(target=self._work_off, args=(False,), name="jobs", daemon=True),
            threading.Thread(target=self._work_off, args=(True,), name="jobs-light", daemon=True),
            threading.Thread(target=self._keep_alive, name="jobs-heartbeat", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    def _require(self, job_id: str, deed: str) -> None:
        job = self.get(job_id)
        require(job_role(job.kind), f"{deed} the job {job.title!r}")

    def _wish(self, job_id: str, wish: Wish) -> None:
        with self._wishing:
            with self._database.write() as session:
                job = jobs.find_job(session, job_id)
                if not jobs.wish_of_running(session, job_id, wish):
                    state = "being cancelled" if job.state == "running" else job.state
                    raise TrainingError(
                        f"The job {job.title!r} is {state}; only a running job can be paused or resumed."
                    )
            self._follow(job_id, wish)

    def _follow(self, job_id: str, wish: str) -> None:
        handle = self._handles.get(job_id)
        if handle is None:
            return  # it belongs to another process, which reads the wish at its next tick
        if wish == "cancel":
            handle.cancel()
        elif wish == "pause":
            handle.pause()
        else:
            handle.resume()

    def _work_off(self, light: bool) -> None:
        lower_thread_priority(self._niceness)
        waiting = self._waiting[light]
        while True:
            with self._changed:
                self._changed.wait_for(lambda: waiting or self._closed.is_set())
                if not waiting:
                    return
                handle, work = waiting.popleft()
            if self._insist(partial(jobs.start_job, job_id=handle.id)):
                outcome = _do(work, handle)
                handle.flush()
                self._insist(outcome.store)
            with self._changed:
                del self._handles[handle.id]
                self._changed.notify_all()

    def _insist(self, change: Callable[[Session], T]) -> T | None:
        """Make a change as soon as the database takes it; None when the queue is closed before."""
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
            with self._changed:
                handles = [*self._handles.values()]
            if not handles:
                continue
            try:
                with self._wishing:
                    with self._database.write() as session:
                        wishes = jobs.beat(session, [handle.id for handle in handles])
                    for job_id, wish in wishes.items():
                        self._follow(job_id, wish)
            except StorageError as error:
                log.warning("A sign of life was not stored: %s", error)
            for handle in handles:
                handle.flush()


@dataclass(frozen=True)
class _Outcome:
    job_id: str
    state: Ending
    result: dict[str, Any] | None = None
    error: str | None = None
    details: str | None = None

    def store(self, session: Session) -> None:
        jobs.end_job(session, self.job_id, self.state, result=self.result, error=self.error, details=self.details)


def _do(work: Work, handle: JobHandle) -> _Outcome:
    try:
        return _Outcome(handle.id, "done", result=to_plain(work(handle), infinite="null"))
    except TrainingCancelled:
        return _Outcome(handle.id, "cancelled")
    except SkrdError as error:
        return _Outcome(handle.id, "failed", error=str(error), details=traceback.format_exc())
    except (Exception, SystemExit) as error:
        # whatever the work does wrong ends this job, never the thread that the next ones wait for
        log.exception("Job %s failed", handle.id)
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _Outcome(handle.id, "failed", error=reason, details=traceback.format_exc())


# The one mutable global of the package: threads outlive the reruns of a page, and all tabs share them.
_queue: tuple[Database, JobQueue] | None = None
_queue_lock = threading.Lock()


def queue() -> JobQueue:
    """The queue of this process; the first call opens the database and marks what dead processes left behind.

    Raises:
        StorageError: the database cannot be opened.
    """
    global _queue
    with _queue_lock:
        if _queue is None:
            database = open_database()
            made = JobQueue(database)
            made.recover_interrupted()
            _queue = (database, made)
        return _queue[1]


def reset_queue() -> None:
    """Cancel all jobs of this process and close its database; the next ``queue()`` starts afresh. For tests."""
    global _queue
    with _queue_lock:
        old, _queue = _queue, None
    if old is not None:
        database, ended = old
        ended.close()
        database.close()
