"""What the app and the command line see of a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, cast

from skrd4ad import documents
from skrd4ad.errors import DocumentError
from skrd4ad.services.access import job_role, require
from skrd4ad.storage import jobs
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.jobs import ACTIVE, Lane
from skrd4ad.storage.tables import Job


class Progress(TypedDict, total=False):
    """What pages read of a job's progress."""

    share: float | None
    words: str | None
    paused: bool
    epochs: int | None
    loss: float | None
    holdout_score: float | None
    images_per_second: float | None
    eta_seconds: float | None


class Result(TypedDict, total=False):
    """What pages read of a job's result."""

    folder: str
    model_folder: str
    metrics: dict[str, Any] | None
    not_measured: str | None
    lines: list[str]


@dataclass(frozen=True)
class JobView:
    """A job as it stood when it was read. All times in UTC."""

    id: str
    kind: str
    lane: Lane
    """long, short or labels: of each lane one job runs at a time."""
    title: str
    state: str
    """queued, running, done, failed, cancelled or interrupted."""
    wish: str
    """run, pause or cancel: what was asked of it; the work follows at its next check."""
    request: dict[str, Any]
    progress: dict[str, Any]
    """Latest snapshot; with ``"paused": True`` while the work waits."""
    result: dict[str, Any] | None
    error: str | None
    """Why it failed, in words for people."""
    details: str | None
    """Traceback of the failure."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    position: int
    """Place in the queue of its lane: 1 is next, 0 when it does not wait."""
    problem: str = ""
    """Why what is stored of it cannot be used; what is damaged is empty then."""

    @property
    def active(self) -> bool:
        """Whether it runs or waits for its turn."""
        return self.state in ACTIVE

    @property
    def paused(self) -> bool:
        """Whether the work waits for its user."""
        return self.state == "running" and bool(self.progress.get("paused"))


def view_of(job: Job, positions: Mapping[str, int]) -> JobView:
    """View of a job; ``positions`` gives the position of every waiting job in its queue."""
    stored: dict[str, dict[str, Any]] = {}
    problem = ""
    for name, kind in _STORED.items():
        values = getattr(job, name)
        try:
            stored[name] = {} if values is None else documents.decode_known(values, kind, what=f"The {name} of the job")
        except DocumentError as error:
            stored[name], problem = {}, str(error)
    return JobView(
        id=job.id,
        kind=job.kind,
        lane=cast(Lane, job.lane),
        title=job.title,
        state=job.state,
        wish=job.wish,
        request=stored["request"],
        progress=stored["progress"],
        result=None if job.result is None else stored["result"],
        error=job.error,
        details=job.details,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        position=positions.get(job.id, 0),
        problem=problem,
    )


def remove_job(job_id: str) -> None:
    """Take a job that has ended out of the workspace, with its curve; what it made stays.

    Raises:
        AccessError: who acts may not steer such jobs.
        StorageError: there is no such job, or it has not ended.
    """
    with workspace_database().write() as session:
        job = jobs.find_job(session, job_id)
        require(job_role(job.kind), f"remove the job {job.title!r}")
        jobs.remove_job(session, job_id)


class _Request(TypedDict, total=False):
    """What pages read of any request; each kind reads its own as a whole, see ``JobKind.request_of``."""

    source: str
    layout: str
    class_name: str
    start_from: str | None
    train: dict[str, Any]


_STORED: dict[str, type] = {"request": _Request, "progress": Progress, "result": Result}
