"""What the work of a background job holds: it reports through it, and asks it whether to stop or to wait."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from skrd4ad.documents import to_plain
from skrd4ad.errors import StorageError, TrainingCancelled
from skrd4ad.storage import jobs
from skrd4ad.storage.database import Database
from skrd4ad.task import Status, Task

REPORT_SECONDS = 0.25
"""Progress goes to the database at most this often; what comes in between is written with the next one."""

log = logging.getLogger(__name__)


class JobHandle:
    """One job as its work sees it. The work runs in one thread; the queue steers it from others."""

    def __init__(self, database: Database, job_id: str) -> None:
        self.id = job_id
        self._database = database
        self._cancelled = threading.Event()
        self._going = threading.Event()
        self._going.set()
        self._writing = threading.Lock()
        self._latest: dict[str, Any] = {}
        self._snapshot: dict[str, Any] | None = None
        self._points: list[tuple[int, dict[str, Any]]] = []
        self._written_at = -REPORT_SECONDS

    @property
    def cancelled(self) -> bool:
        """Whether the user asked for an end."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Go on, or wait here while the user wants a pause; call it often, at a place where stopping is harmless.

        Raises:
            TrainingCancelled: the user asked for an end.
        """
        if not self._going.is_set():
            self._note({**self._latest, "paused": True})
            self.flush()
            self._going.wait()
            self._note(self._latest)
            self.flush()
        if self.cancelled:
            raise TrainingCancelled("Stopped on request. What was finished before is kept.")

    @property
    def task(self) -> Task:
        """What the work reports to and asks."""
        return Task(show=self._show, check=self.check, point=self.point)

    def report(self, snapshot: Mapping[str, Any]) -> None:
        """Show ``snapshot`` as the job's progress, in place of the one before.

        Raises:
            DocumentError: a value has no JSON form.
        """
        self._latest = to_plain(snapshot, infinite="null")
        self._note(self._latest)
        self._flush_when_due()

    def _show(self, status: Status) -> None:
        record = {} if status.record is None else asdict(status.record)
        told = {name: getattr(status, name) for name in ("done", "total", "share", "eta_seconds")}
        self.report({**record, **told, "words": status.text})

    def point(self, step: int, values: Mapping[str, float]) -> None:
        """Append a point to the job's curve; numbers that are not finite become gaps.

        Raises:
            DocumentError: a value has no JSON form.
        """
        with self._writing:
            self._points.append((step, to_plain(values, infinite="null")))
        self._flush_when_due()

    @property
    def wish(self) -> str:
        """What the user wants: run, pause or cancel."""
        return "cancel" if self.cancelled else "run" if self._going.is_set() else "pause"

    def follow(self, wish: str) -> None:
        """Do what the user wants: run, pause or cancel."""
        {"run": self.resume, "pause": self.pause, "cancel": self.cancel}[wish]()

    def pulse(self, *, beat: bool) -> None:
        """Follow what the database says is wished, and write late progress and, for ``beat``, a sign of life.

        A job that is not active there any more, because another machine took its process for dead, is cancelled.

        Raises:
            StorageError: the database cannot be used.
        """
        if beat:
            with self._database.write() as session:
                jobs.beat(session, self.id)
        with self._database.read() as session:
            self.follow(jobs.wish_of(session, self.id) or "cancel")
        self.flush()

    def cancel(self) -> None:
        """Ask the work to stop at its next check."""
        self._cancelled.set()
        self._going.set()

    def pause(self) -> None:
        """Ask the work to wait at its next check."""
        if not self.cancelled:
            self._going.clear()

    def resume(self) -> None:
        """Let the work go on."""
        self._going.set()

    def flush(self) -> None:
        """Write what was reported and not written yet.

        A failure is logged and the values are kept for the next time: work of hours does not end because its
        progress could not be shown.
        """
        with self._writing:
            self._written_at = time.monotonic()
            if self._snapshot is None and not self._points:
                return
            try:
                with self._database.write() as session:
                    jobs.save_progress(session, self.id, snapshot=self._snapshot, points=self._points)
            except StorageError as error:
                log.warning("The progress of job %s was not stored: %s", self.id, error)
                return
            self._snapshot = None
            self._points = []

    def _note(self, snapshot: dict[str, Any]) -> None:
        with self._writing:
            self._snapshot = snapshot

    def _flush_when_due(self) -> None:
        if time.monotonic() - self._written_at >= REPORT_SECONDS:
            self.flush()
