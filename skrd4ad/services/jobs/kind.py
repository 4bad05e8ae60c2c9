"""A kind of background job, declared once: what is asked for, in what words, and the work that answers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from skrd4ad import documents
from skrd4ad.errors import ConfigError
from skrd4ad.services.access import why_not_job
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.registry import Work
from skrd4ad.services.jobs.view import JobView
from skrd4ad.storage.jobs import Lane

R = TypeVar("R")

LATEST = 100
"""Jobs that are looked through for the latest one."""


@dataclass(frozen=True, kw_only=True)
class JobKind(Generic[R]):
    """A kind of job. Its requests are frozen dataclasses whose JSON form is all that is needed to ask again."""

    name: str
    """In the database and in :mod:`skrd4ad.services.jobs.registry`, by which a worker finds it."""
    lane: Lane
    """Its queue, unless its request is submitted for another one."""
    request: type[R]
    title: Callable[[R], str]
    """One line for people; raises when the request cannot be met."""
    run: Callable[[R, JobHandle], Mapping[str, Any]]
    """Does the work and returns its result, which must have a JSON form."""
    again: Callable[[R, JobHandle], Mapping[str, Any]] | None = None
    """Does it once more after it came to no end; None for ``run``."""
    once: bool = True
    """A request that waits or runs already is not doubled."""

    @property
    def why_not(self) -> str:
        """Why who acts may not submit such requests; empty when they may."""
        return why_not_job(self.name)

    def submit(self, request: R, *, lane: Lane | None = None) -> str:
        """Put a request at the end of its lane; returns the id of its job, that of an equal one if there is one.

        Args:
            request: what is asked for.
            lane: another one than that of the kind, for much work at once.

        Raises:
            SkrdError: the request cannot be met, or the job cannot be stored.
        """
        return self._submit(request, lane=lane or self.lane)

    def repeat(self, job_id: str) -> str:
        """Submit the request of a job that was interrupted, cancelled or failed once more; returns the new job's id.

        Raises:
            ConfigError: the job is of another kind or has not ended.
            DocumentError: its request is damaged.
            StorageError: there is no such job.
        """
        job = queue().get(job_id)
        if job.kind != self.name or job.active:
            raise ConfigError(
                f"The job {job.title!r} ({job.kind}, {job.state}) cannot be repeated; only a job {self.name!r} that "
                "has ended."
            )
        return self._submit(self.request_of(job.request), lane=job.lane, again=True)

    def active(self, **matching: object) -> list[JobView]:
        """Jobs that run or wait, oldest first, of every process; those whose requests have these values."""
        return [job for job in queue().active() if self._is(job, matching)]

    def latest(self, **matching: object) -> JobView | None:
        """The newest job whose request has these values, whatever its state; None when there was none."""
        return next((job for job in queue().list(limit=LATEST) if self._is(job, matching)), None)

    def request_of(self, values: Mapping[str, Any]) -> R:
        """Request from its JSON form.

        Raises:
            DocumentError: a value is missing, unknown or of another type.
        """
        return documents.decode(
            dict(values), self.request, what=f"The request of the job {self.name!r}", remedy="Ask for it anew."
        )

    def work_of(self, values: Mapping[str, Any], *, again: bool) -> Work:
        """What a job with this request does; ``again`` when one before came to no end.

        Raises:
            DocumentError: the request is damaged.
        """
        request = self.request_of(values)
        run = self.again if again and self.again is not None else self.run
        return lambda job: run(request, job)

    def _submit(self, request: R, *, lane: Lane, again: bool = False) -> str:
        title, values = self.title(request), documents.to_plain(request)
        for job in self.active(**values) if self.once else ():
            if job.wish != "cancel":
                return job.id
        return queue().submit(kind=self.name, title=title, request=values, lane=lane, again=again)

    def _is(self, job: JobView, matching: Mapping[str, object]) -> bool:
        return job.kind == self.name and matching.items() <= job.request.items()
