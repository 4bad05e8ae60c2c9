"""Work for tasks of a cluster."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from skrd4ad.errors import DataError
from skrd4ad.paths import workspace
from skrd4ad.services.access import acting
from skrd4ad.task import Task


def told(name: str, *, again: bool, task: Task) -> dict[str, Any]:
    """Reports, and says who and where it is."""
    task.point(1, {"loss": 0.5})
    task.report(1, 2, name)
    return {"who": acting().name, "again": again, "pid": os.getpid(), "workspace": workspace()}


def lost_once(*, again: bool, task: Task) -> bool:
    """Its process is killed the first time."""
    if not again:
        os.kill(os.getpid(), signal.SIGKILL)
    return again


def wrong(*, again: bool, task: Task) -> None:
    """Fails on purpose."""
    raise DataError("what was given, what is allowed, what to do")


def endless(file: Path, *, again: bool, task: Task) -> None:
    """Goes on until it is cancelled; says in a file that it has begun, and how it ended."""
    try:
        file.write_text("begun")
        while True:
            task.report(1, 2)
            time.sleep(0.05)
    except BaseException as error:
        file.write_text(type(error).__name__)
        raise
