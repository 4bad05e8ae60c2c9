"""What the app and the command line see of a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from skrd4ad.storage.jobs import ACTIVE, Lane
from skrd4ad.storage.tables import Job


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

    @property
    def active(self) -> bool:
        """Whether it runs or waits for its turn."""
        return self.state in ACTIVE

    @property
    def paused(self) -> bool:
        """Whether the work waits for its user."""
        return self.state == "running" and bool(self.progress.get("paused"))


def view_of(job: Job, places: Mapping[str, int]) -> JobView:
    """View of a job; ``places`` gives the place of every waiting job in its queue."""
    return JobView(
        id=job.id,
        kind=job.kind,
        lane=cast(Lane, job.lane),
        title=job.title,
        state=job.state,
        wish=job.wish,
        request=job.request,
        progress=job.progress,
        result=job.result,
        error=job.error,
        details=job.details,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        position=places.get(job.id, 0),
    )
