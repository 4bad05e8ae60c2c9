"""A worker process that knows one more kind of job: it counts, as long as it is told, and tells who and where it is.

``python -m tests.slow_worker app`` is another app on the same workspace: it asks for two jobs and says their ids.
"""

import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from skrd4ad.services.access import acting
from skrd4ad.services.jobs import supervisor
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.services.jobs.registry import KINDS
from skrd4ad.services.jobs.worker import main

STEP_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class SlowRequest:
    name: str
    steps: int = 3


def _run(request: SlowRequest, job: JobHandle, *, again: bool = False) -> Mapping[str, Any]:
    for step in range(request.steps):
        job.task.point(step, {"loss": 1 / (step + 1)})
        job.task.report(step, request.steps, f"step {step}")
        time.sleep(STEP_SECONDS)
    niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    actor = acting()
    return {"pid": os.getpid(), "who": actor.name, "role": actor.role, "again": again, "niceness": niceness}


SLOW = JobKind(
    name="slow",
    lane="long",
    request=SlowRequest,
    title=lambda request: request.name,
    run=_run,
    again=partial(_run, again=True),
)
KINDS["slow"] = "tests.slow_worker:SLOW"
FOR_EVER = 10**6
"""Steps of work that the test will end."""

if __name__ == "__main__":
    if sys.argv[1:] == ["app"]:
        supervisor.WORKER = "tests.slow_worker"
        requests = SlowRequest(name="first", steps=FOR_EVER), SlowRequest(name="second")
        print(*(SLOW.submit(request) for request in requests), flush=True)
        sys.stdin.readline()
    else:
        main()
