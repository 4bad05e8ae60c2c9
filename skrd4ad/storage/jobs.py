"""Queries on jobs and on the points of their curves."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from sqlalchemy import CursorResult, Update, delete, select, update
from sqlalchemy.orm import Session

from skrd4ad.documents import to_plain
from skrd4ad.errors import StorageError
from skrd4ad.storage.tables import Job, JobPoint, utc_now

JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
Ending = Literal["done", "failed", "cancelled", "interrupted"]
Wish = Literal["run", "pause", "cancel"]
ACTIVE: tuple[JobState, ...] = ("queued", "running")


def add_job(session: Session, *, job_id: str, kind: str, title: str, request: Mapping[str, Any], owner: str) -> Job:
    """Store a job that waits for its turn."""
    now = utc_now()
    job = Job(
        id=job_id,
        kind=kind,
        title=title,
        state="queued",
        wish="run",
        request=to_plain(request, infinite="null"),
        progress={},
        owner=owner,
        created_at=now,
        heartbeat_at=now,
    )
    session.add(job)
    return job


def find_job(session: Session, job_id: str) -> Job:
    """Job of an id."""
    job = session.get(Job, job_id)
    if job is None:
        raise StorageError(f"There is no job {job_id!r} in this workspace; it may have been deleted.")
    return job


def latest_jobs(session: Session, *, states: Collection[JobState] | None = None, limit: int = 50) -> list[Job]:
    """Jobs, newest first; of some states only when ``states`` is given."""
    query = select(Job).order_by(Job.created_at.desc(), Job.id).limit(limit)
    if states is not None:
        query = query.where(Job.state.in_(states))
    return list(session.scalars(query))


def active_jobs(session: Session) -> list[Job]:
    """Jobs that run or wait, oldest first."""
    return list(session.scalars(select(Job).where(Job.state.in_(ACTIVE)).order_by(Job.created_at, Job.id)))


def queue_positions(session: Session, *, beside: Collection[str] = ()) -> dict[str, int]:
    """Position of every waiting job in the queue of its owner, 1 for the next one to run.

    Kinds named in ``beside`` have a queue of their own beside the others'.
    """
    query = select(Job.owner, Job.kind, Job.id).where(Job.state == "queued").order_by(Job.created_at, Job.id)
    positions: dict[str, int] = {}
    lengths: Counter[tuple[str, bool]] = Counter()
    for row in session.execute(query):
        queue = (row.owner, row.kind in beside)
        lengths[queue] += 1
        positions[row.id] = lengths[queue]
    return positions


def start_job(session: Session, job_id: str) -> bool:
    """Mark a waiting job as running; false when it no longer waits, because somebody cancelled it."""
    now = utc_now()
    waiting = update(Job).where(Job.id == job_id, Job.state == "queued")
    return _changed(session, waiting.values(state="running", started_at=now, heartbeat_at=now)) == 1


def end_job(
    session: Session,
    job_id: str,
    state: Ending,
    *,
    result: Mapping[str, Any] | None = None,
    error: str | None = None,
    details: str | None = None,
) -> None:
    """Store how a job ended."""
    ended = update(Job).where(Job.id == job_id)
    values = {
        "state": state,
        "result": None if result is None else to_plain(result, infinite="null"),
        "error": error,
        "details": details,
    }
    _changed(session, ended.values(**values, finished_at=utc_now()))


def remove_job(session: Session, job_id: str) -> None:
    """Remove a job that has ended, and the points of its curve."""
    job = find_job(session, job_id)
    if job.state in ACTIVE:
        raise StorageError(f"The job {job.title!r} is {job.state}; cancel it first.")
    session.execute(delete(JobPoint).where(JobPoint.job_id == job_id))
    session.delete(job)


def save_progress(
    session: Session,
    job_id: str,
    *,
    snapshot: Mapping[str, Any] | None,
    points: Iterable[tuple[int, Mapping[str, Any]]] = (),
) -> None:
    """Replace a job's snapshot, unless it is None, and append points to its curve."""
    if snapshot is not None:
        _changed(session, update(Job).where(Job.id == job_id).values(progress=to_plain(snapshot, infinite="null")))
    session.add_all(
        JobPoint(job_id=job_id, step=step, values=to_plain(values, infinite="null")) for step, values in points
    )


def job_points(session: Session, job_id: str) -> list[dict[str, Any]]:
    """Points of a job's curve in the order they came: ``{"step": …}`` and the values of each."""
    query = select(JobPoint).where(JobPoint.job_id == job_id).order_by(JobPoint.id)
    return [{"step": point.step, **point.values} for point in session.scalars(query)]


def beat(session: Session, job_ids: Collection[str]) -> dict[str, str]:
    """Say that the owner of active jobs lives; returns what is wished of each."""
    alive = update(Job).where(Job.id.in_(job_ids), Job.state.in_(ACTIVE))
    _changed(session, alive.values(heartbeat_at=utc_now()))
    query = select(Job.id, Job.wish).where(Job.id.in_(job_ids), Job.state.in_(ACTIVE))
    return {row.id: row.wish for row in session.execute(query)}


def wish_of_running(session: Session, job_id: str, wish: Wish) -> bool:
    """Ask the owner of a running job for something; false when it does not run, or is to be cancelled already."""
    running = update(Job).where(Job.id == job_id, Job.state == "running", Job.wish != "cancel")
    return _changed(session, running.values(wish=wish)) == 1


def cancel_waiting(session: Session, job_id: str) -> bool:
    """Cancel a job before its turn; false when it does not wait."""
    waiting = update(Job).where(Job.id == job_id, Job.state == "queued")
    return _changed(session, waiting.values(state="cancelled", wish="cancel", finished_at=utc_now())) == 1


def _changed(session: Session, statement: Update) -> int:
    result = session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount
