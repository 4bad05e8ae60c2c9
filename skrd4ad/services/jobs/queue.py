"""The background queue of a workspace: its state is in the database, for every tab and process to see and to steer."""

import atexit
import os
import threading
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from skrd4ad.errors import ConfigError, StorageError, TrainingError
from skrd4ad.services.access import acting, acting_user, job_role, require
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.outcome import interrupt_lost
from skrd4ad.services.jobs.registry import Work
from skrd4ad.services.jobs.supervisor import Supervisor
from skrd4ad.services.jobs.view import JobView, view_of
from skrd4ad.services.jobs.worker import WorkerThreads, work_of
from skrd4ad.storage import jobs
from skrd4ad.storage.database import Database, open_database
from skrd4ad.storage.jobs import JobState, Lane, Wish
from skrd4ad.storage.tables import Job

VARIABLE = "SKRD4AD_WORKER"
"""Environment variable that says where jobs run: one of :data:`PLACES`."""
PLACES = ("app", "keep", "thread")
"""In worker processes that end with the app, in those that go on without it, or in threads of this process (tests)."""
WAIT_SECONDS = 0.1
"""Between two looks at a job that is waited for."""

__all__ = ["JobHandle", "JobQueue", "JobView", "Work", "queue", "reset_queue"]

# inside the class, ``list`` is the method
JobViews = list[JobView]
Points = list[dict[str, Any]]


class JobQueue:
    """The queue as a process sees it. What waits is run by the worker of its lane, whichever process that is."""

    def __init__(self, database: Database, *, place: str | None = None, tick_seconds: float = 0.05) -> None:
        """Make a queue that starts no worker before :meth:`supervise` or the first job.

        Args:
            database: where the jobs live.
            place: one of ``PLACES``; None for what the environment says, else ``app``.
            tick_seconds: how often threads of this process look for jobs and wishes.

        Raises:
            ConfigError: the environment names a place that does not exist.
        """
        self._database = database
        self._place = place or os.environ.get(VARIABLE) or "app"
        if self._place not in PLACES:
            raise ConfigError(f"{VARIABLE} is {self._place!r}; allowed: {', '.join(PLACES)}.")
        self._tick = tick_seconds
        self._here: dict[str, Work] = {}
        self._starting = threading.Lock()
        self._workers: Supervisor | WorkerThreads | None = None
        self._closed = False

    def supervise(self) -> None:
        """From now on this process sees to it that there are workers for what waits."""
        with self._starting:
            if self._closed:
                raise StorageError("The job queue is closed; ask for a new one with queue().")
            if self._workers is None:
                if self._place == "thread":
                    self._workers = WorkerThreads(self._database, find=self._work_of, tick_seconds=self._tick)
                else:
                    self._workers = Supervisor(self._database, keep=self._place == "keep")
                    atexit.register(self._workers.close)

    def submit(
        self,
        *,
        kind: str,
        title: str,
        request: Mapping[str, Any],
        lane: Lane = "long",
        again: bool = False,
        work: Work | None = None,
    ) -> str:
        """Put a job at the end of its lane; returns its id.

        Args:
            kind: one of :data:`skrd4ad.services.jobs.registry.KINDS`.
            title: one line for people.
            request: all that is needed to do the work, and to submit it again after an interruption.
            lane: of each lane one job runs at a time.
            again: go on with what an earlier job of this request began.
            work: done in place of what the kind does; only where jobs run in threads of this process.

        Raises:
            AccessError: who acts may not start such jobs.
            DocumentError: the request has no JSON form.
            StorageError: the job cannot be stored.
        """
        require(job_role(kind), f"start the job {title!r}")
        self.supervise()
        job_id = uuid.uuid4().hex
        if work is not None:
            assert self._place == "thread", "another process cannot be given a function"
            self._here[job_id] = work
        self._add(job_id, kind=kind, title=title, request=request, lane=lane, again=again)
        assert self._workers is not None
        self._workers.wake()
        return job_id

    def announce(self, *, kind: str, title: str, request: Mapping[str, Any], lane: Lane, owner: str) -> JobHandle:
        """Put a job at the end of its lane that the process ``owner`` will run itself, when its turn has come.

        Raises:
            AccessError: who acts may not start such jobs.
            DocumentError: the request has no JSON form.
            StorageError: the job cannot be stored.
        """
        require(job_role(kind), f"start the job {title!r}")
        job_id = uuid.uuid4().hex
        self._add(job_id, kind=kind, title=title, request=request, lane=lane, owner=owner)
        return JobHandle(self._database, job_id)

    def cancel(self, job_id: str) -> None:
        """Take a waiting job out of the queue, or ask a running one to stop; nothing when it has ended.

        Raises:
            AccessError: who acts may not steer such jobs.
            StorageError: there is no such job.
        """
        self._require(job_id, "cancel")
        with self._database.write() as session:
            jobs.find_job(session, job_id)
            if not jobs.cancel_waiting(session, job_id):
                jobs.wish_of_running(session, job_id, "cancel")

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
            return view_of(jobs.find_job(session, job_id), jobs.queue_positions(session))

    def list(self, *, states: Collection[JobState] | None = None, limit: int = 50) -> JobViews:
        """Jobs of every process, newest first; of some states only when ``states`` is given."""
        with self._database.read() as session:
            positions = jobs.queue_positions(session)
            return [view_of(job, positions) for job in jobs.latest_jobs(session, states=states, limit=limit)]

    def active(self) -> JobViews:
        """Jobs of every process that run or wait, oldest first."""
        with self._database.read() as session:
            positions = jobs.queue_positions(session)
            return [view_of(job, positions) for job in jobs.active_jobs(session)]

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
            time.sleep(min(left, self._tick if self._place == "thread" else WAIT_SECONDS))
        return view

    def recover_interrupted(self) -> JobViews:
        """Mark the jobs of processes that died as interrupted, and return them; may be called at any time."""
        with self._database.write() as session:
            return [view_of(job, {}) for job in interrupt_lost(session)]

    def close(self) -> None:
        """End the workers that this process started, unless they are to be kept; what waits goes on waiting."""
        with self._starting:
            self._closed = True
        if self._workers is not None:
            self._workers.close()
            atexit.unregister(self._workers.close)

    def _add(self, job_id: str, **values: Any) -> None:
        with self._database.write() as session:
            jobs.add_job(session, job_id=job_id, who=acting_user(), role=acting().role, **values)

    def _work_of(self, job: Job) -> Work:
        return self._here.pop(job.id, None) or work_of(job)

    def _require(self, job_id: str, deed: str) -> None:
        job = self.get(job_id)
        require(job_role(job.kind), f"{deed} the job {job.title!r}")

    def _wish(self, job_id: str, wish: Wish) -> None:
        with self._database.write() as session:
            job = jobs.find_job(session, job_id)
            if not jobs.wish_of_running(session, job_id, wish):
                state = "being cancelled" if job.state == "running" else job.state
                raise TrainingError(f"The job {job.title!r} is {state}; only a running job can be paused or resumed.")


# The one mutable global of the package: workers outlive the reruns of a page, and all tabs share them.
_queue: tuple[Database, JobQueue] | None = None
_queue_lock = threading.Lock()


def queue() -> JobQueue:
    """The queue of this process; the first call opens the database and marks what dead processes left behind.

    Raises:
        ConfigError: the environment names a place for jobs that does not exist.
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
    """End the workers of this process and close its database; the next ``queue()`` starts afresh. For tests."""
    global _queue
    with _queue_lock:
        old, _queue = _queue, None
    if old is not None:
        database, ended = old
        ended.close()
        database.close()
