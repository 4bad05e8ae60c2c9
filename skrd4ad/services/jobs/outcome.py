"""How jobs end, and what becomes of those whose process ended before them."""

import logging
import traceback
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from skrd4ad.documents import to_plain
from skrd4ad.errors import SkrdError, TrainingCancelled
from skrd4ad.services.access import ROLES, Actor, acting_as
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.process import is_alive
from skrd4ad.services.jobs.registry import Work
from skrd4ad.storage import history, jobs
from skrd4ad.storage.jobs import Ending
from skrd4ad.storage.tables import Job, utc_now

APP_ENDED = "The app ended before this job did. Start it again; a training goes on from its last epoch."
PROCESS_DIED = (
    "The process that ran this job ended before it: it was killed, or the machine stopped or ran out of memory. Start "
    "it again; a training goes on from its last epoch."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended."""

    state: Ending
    result: dict[str, Any] | None = None
    error: str | None = None
    details: str | None = None

    def store(self, session: Session, job_id: str) -> None:
        """Write it into the job's row."""
        jobs.end_job(session, job_id, self.state, result=self.result, error=self.error, details=self.details)


def asked_by(job: Job) -> Actor:
    """Who asked for a job, with the role that they had then; a role that does not exist may do nothing."""
    role = next((each for each in ROLES if each == job.role), ROLES[0])
    return Actor(job.who or None, role)


def do(work: Work, handle: JobHandle, *, who: Actor) -> Outcome:
    """Do the work of a job as who asked for it; whatever goes wrong is its outcome."""
    try:
        with acting_as(who):
            return Outcome(state="done", result=to_plain(work(handle), infinite="null"))
    except (Exception, SystemExit) as error:
        # whatever the work does wrong ends this job, never the thread that the next ones wait for
        if not isinstance(error, SkrdError):
            log.exception("Job %s failed", handle.id)
        return failure(error)


def failure(error: BaseException) -> Outcome:
    """Outcome of work that raised; called where the error is handled."""
    if isinstance(error, TrainingCancelled | KeyboardInterrupt):
        return Outcome(state="cancelled")
    if isinstance(error, SkrdError):
        return Outcome(state="failed", error=str(error), details=traceback.format_exc())
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Outcome(state="failed", error=reason, details=traceback.format_exc())


def interrupt_lost(session: Session) -> list[Job]:
    """Mark the jobs whose process died as interrupted, and return them; those that any worker may run go on waiting."""
    now = utc_now()
    lost = [
        job
        for job in jobs.active_jobs(session)
        if job.owner and not is_alive(job.owner, heartbeat_at=job.heartbeat_at, now=now)
    ]
    for job in lost:
        interrupt(session, job, PROCESS_DIED)
    return lost


def interrupt(session: Session, job: Job, reason: str) -> None:
    """Mark a job as interrupted."""
    if job.kind == "train" and job.state == "running":
        history.append(
            session,
            what="training interrupted",
            who="",
            class_name=str(job.request.get("class_name", "")),
            details={"job": job.id, "title": job.title},
        )
    jobs.end_job(session, job.id, "interrupted", error=reason)
