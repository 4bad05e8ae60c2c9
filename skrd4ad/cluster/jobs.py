"""Jobs of the app on a cluster: the worker process waits, tells how far they are, and passes on what people wish."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from skrd4ad.cluster.connection import VARIABLE, connected
from skrd4ad.errors import needing_extras
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.registry import Work, work_here
from skrd4ad.task import Task

THREADS = 4
"""Processors of a job, where a machine of the cluster has so many."""


@dataclass(frozen=True)
class RemoteJob:
    """A job as its work sees it on another machine."""

    id: str
    task: Task


def work_there(kind: str, request: Mapping[str, Any], *, again: bool) -> Work:
    """What a job of a kind does: it is done by the cluster that :data:`VARIABLE` names."""

    def work(job: JobHandle) -> Mapping[str, Any]:
        with needing_extras(VARIABLE):
            import ray

            from skrd4ad.cluster.tasks import on_cluster, shared_environment

            job.task.report(0, 0, "joining the cluster")
            with connected(os.environ[VARIABLE], threads=THREADS, environment=shared_environment()) as cluster:
                threads = min(THREADS, int(max(cluster.processors, default=0)))
                accelerators = int(ray.cluster_resources().get("GPU", 0) >= 1)
                return on_cluster(
                    _job,
                    kind,
                    dict(request),
                    again,
                    job.id,
                    cluster=cluster,
                    threads=threads,
                    accelerators=accelerators,
                    task=job.task,
                )

    return work


def _job(
    kind: str, request: Mapping[str, Any], repeated: bool, job_id: str, *, again: bool, task: Task
) -> Mapping[str, Any]:
    work = work_here(kind, request, again=repeated or again)
    # the works that are sent use no more of their handle
    return dict(work(cast(JobHandle, RemoteJob(job_id, task))))
