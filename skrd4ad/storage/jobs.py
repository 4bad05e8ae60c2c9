"""Queries on jobs and on the points of their curves."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from sqlalchemy import CursorResult, Delete, Update, delete, select, update
from sqlalchemy.orm import Session

from skrd4ad.documents import to_plain
from skrd4ad.errors import StorageError
from skrd4ad.storage.tables import Job, JobPoint, JobWorker, utc_now
from skrd4ad.types import Role

JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
Ending = Literal["done", "failed", "cancelled", "interrupted"]
Wish = Literal["run", "pause", "cancel"]
Lane = Literal["long", "short", "labels", "cluster"]
"""Of each one job runs at a time, but of ``cluster``, whose jobs are run by whoever announces them."""
ACTIVE: tuple[JobState, ...] = ("queued", "running")


def add_job(
    session: Session,
    *,
    job_id: str,
    kind: str,
    title: str,
    request: Mapping[str, Any],
    owner: str = "",
    lane: Lane = "long",
    who: str = "",
    role: Role = "admin",
    again: bool = False,
) -> Job:
    """Store a job that waits for its turn; with an ``owner`` it is that process that will run it."""
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
        lane=lane,
        who=who,
        role=role,
        again=again,
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


def queue_positions(session: Session) -> dict[str, int]:
    """Position of every waiting job in the queue of its lane, 1 for the next one to run."""
    query = select(Job.lane, Job.id).where(Job.state == "queued").order_by(Job.created_at, Job.id)
    positions: dict[str, int] = {}
    lengths: Counter[str] = Counter()
    for row in session.execute(query):
        lengths[row.lane] += 1
        positions[row.id] = lengths[row.lane]
    return positions


def next_job(session: Session, lane: Lane) -> Job | None:
    """The job whose turn it is in a lane: the one that runs, else the oldest waiting one; None when there is none."""
    turn = (Job.state != "running", Job.created_at, Job.id)
    return session.scalar(select(Job).where(Job.lane == lane, Job.state.in_(ACTIVE)).order_by(*turn).limit(1))


def start_job(session: Session, job_id: str, *, owner: str) -> bool:
    """Mark a waiting job as running under a process; false when it no longer waits, because somebody cancelled it."""
    now = utc_now()
    waiting = update(Job).where(Job.id == job_id, Job.state == "queued")
    return _changed(session, waiting.values(state="running", owner=owner, started_at=now, heartbeat_at=now)) == 1


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


def beat(session: Session, job_id: str) -> None:
    """Say that the owner of an active job lives."""
    _changed(session, update(Job).where(Job.id == job_id, Job.state.in_(ACTIVE)).values(heartbeat_at=utc_now()))


def wish_of(session: Session, job_id: str) -> str | None:
    """What is wished of an active job; None when it is not active any more."""
    return session.scalar(select(Job.wish).where(Job.id == job_id, Job.state.in_(ACTIVE)))


def wish_of_running(session: Session, job_id: str, wish: Wish) -> bool:
    """Ask the owner of a running job for something; false when it does not run, or is to be cancelled already."""
    running = update(Job).where(Job.id == job_id, Job.state == "running", Job.wish != "cancel")
    return _changed(session, running.values(wish=wish)) == 1


def cancel_waiting(session: Session, job_id: str) -> bool:
    """Cancel a job before its turn; false when it does not wait."""
    waiting = update(Job).where(Job.id == job_id, Job.state == "queued")
    return _changed(session, waiting.values(state="cancelled", wish="cancel", finished_at=utc_now())) == 1


def workers(session: Session) -> list[JobWorker]:
    """The worker of each lane that has, or had, one."""
    return list(session.scalars(select(JobWorker).order_by(JobWorker.lane)))


def set_worker(session: Session, lane: Lane, *, owner: str, supervisor: str) -> None:
    """Make a process the worker of a lane, or say once more that it is."""
    session.merge(JobWorker(lane=lane, owner=owner, supervisor=supervisor, heartbeat_at=utc_now()))


def set_supervisor(session: Session, lane: Lane, *, owner: str, supervisor: str) -> None:
    """Tie the worker of a lane to another app; nothing when another worker has taken its place."""
    row = update(JobWorker).where(JobWorker.lane == lane, JobWorker.owner == owner)
    _changed(session, row.values(supervisor=supervisor))


def beat_worker(session: Session, lane: Lane, *, owner: str) -> None:
    """Say that the worker of a lane lives."""
    row = update(JobWorker).where(JobWorker.lane == lane, JobWorker.owner == owner)
    _changed(session, row.values(heartbeat_at=utc_now()))


def drop_worker(session: Session, lane: Lane, *, owner: str) -> None:
    """Say that a process is the worker of a lane no more."""
    _changed(session, delete(JobWorker).where(JobWorker.lane == lane, JobWorker.owner == owner))


def _changed(session: Session, statement: Update | Delete) -> int:
    result = session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount
