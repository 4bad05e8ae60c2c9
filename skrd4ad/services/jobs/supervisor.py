"""Starts worker processes as jobs come, and takes over those that an app before it left."""

import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import get_args

import skrd4ad
from skrd4ad.errors import StorageError
from skrd4ad.paths import workspace
from skrd4ad.services.jobs.outcome import Outcome, interrupt_lost
from skrd4ad.services.jobs.process import is_alive, same_host, terminate, this_process
from skrd4ad.storage import jobs
from skrd4ad.storage.database import Database
from skrd4ad.storage.jobs import Lane
from skrd4ad.storage.tables import JobWorker, utc_now

WORKER = "skrd4ad.services.jobs.worker"
TICK_SECONDS = 1.0
STARTS = 3
"""Times that a worker may end without having come up; then the job that it was to run has failed."""
LOG_BYTES = 1_000_000
"""A log that is larger begins anew."""
END_SECONDS = 10.0

log = logging.getLogger(__name__)


class Supervisor:
    """A thread that keeps a worker process for every lane in which jobs wait. All is read from the database, so several
    apps on one workspace share their workers."""

    def __init__(self, database: Database, *, keep: bool) -> None:
        """Begin.

        Args:
            database: where the jobs live.
            keep: let workers go on when this process ends.
        """
        self._database = database
        self._me = this_process()
        self._tie = "" if keep else self._me
        self._children: dict[Lane, subprocess.Popen[bytes]] = {}
        self._failed: dict[Lane, int] = {}
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs-supervisor", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for jobs now."""
        self._wake.set()

    def close(self) -> None:
        """End, and with it the workers of this app, unless they are kept; what they ran is interrupted."""
        self._closed.set()
        self._wake.set()
        self._thread.join(END_SECONDS)
        if not self._tie:
            return
        for child in self._children.values():
            child.terminate()
        with suppress(StorageError), self._database.read() as session:
            for row in jobs.workers(session):  # those that it took over as well
                if row.supervisor == self._me and _is_alive(row):
                    terminate(row.owner)
        for child in self._children.values():
            with suppress(subprocess.TimeoutExpired):
                child.wait(END_SECONDS)
            child.kill()
            child.wait()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._look()
            except (StorageError, OSError) as error:
                log.warning("Jobs have to wait: %s", error)
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()

    def _look(self) -> None:
        with self._database.read() as session:
            workers = {row.lane: row for row in jobs.workers(session)}
            turns = {lane: jobs.next_job(session, lane) for lane in get_args(Lane)}
        if any(job is not None and job.owner for job in turns.values()):
            self._interrupt_lost()
        for lane, job in turns.items():
            worker = workers.get(lane)
            if worker is not None and _is_alive(worker):
                self._failed[lane] = 0
                self._take_over(worker)
            elif job is not None and not job.owner and not self._is_starting(lane):
                self._start(lane, job.id)

    def _interrupt_lost(self) -> None:
        now = utc_now()
        with self._database.read() as session:
            owners = {(job.owner, job.heartbeat_at) for job in jobs.active_jobs(session) if job.owner}
        if not all(is_alive(owner, heartbeat_at=at, now=now) for owner, at in owners):
            with self._database.write() as session:
                interrupt_lost(session)

    def _take_over(self, worker: JobWorker) -> None:
        """Tie a worker to this app, when the app that it belongs to has ended; or free it from this one."""
        owner = worker.supervisor
        belongs_to_other = owner not in ("", self._me) and is_alive(
            owner, heartbeat_at=worker.heartbeat_at, now=utc_now()
        )
        if owner != self._tie and not belongs_to_other and same_host(worker.owner):
            with self._database.write() as session:
                jobs.set_supervisor(session, worker.lane, owner=worker.owner, supervisor=self._tie)  # type: ignore[arg-type]

    def _is_starting(self, lane: Lane) -> bool:
        child = self._children.get(lane)
        if child is None:
            return False
        if child.poll() is None:
            return True
        del self._children[lane]
        if child.returncode:
            self._failed[lane] = self._failed.get(lane, 0) + 1
        return False

    def _start(self, lane: Lane, job_id: str) -> None:
        if self._failed.get(lane, 0) >= STARTS:
            self._failed[lane] = 0
            reason = f"The worker process does not start; the end of its log {log_file(lane)} says why: {_tail(lane)}"
            with self._database.write() as session:
                Outcome(state="failed", error=reason).store(session, job_id)
            return
        path = log_file(lane)
        if path.is_file() and path.stat().st_size > LOG_BYTES:
            path.unlink()
        root = str(Path(skrd4ad.__file__).parents[1])
        paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        with path.open("ab") as output:
            self._children[lane] = subprocess.Popen(
                [sys.executable, "-m", WORKER, lane, "--supervisor", self._tie],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": paths},
                start_new_session=True,  # Ctrl-C in the app's terminal is for the app
            )


def log_file(lane: Lane) -> Path:
    """Where the worker of a lane writes what it has to say."""
    return workspace() / f"worker-{lane}.log"


def _tail(lane: Lane) -> str:
    with suppress(OSError):
        return log_file(lane).read_text(encoding="utf-8", errors="replace")[-500:].strip()
    return "nothing"


def _is_alive(worker: JobWorker) -> bool:
    return is_alive(worker.owner, heartbeat_at=worker.heartbeat_at, now=utc_now())
