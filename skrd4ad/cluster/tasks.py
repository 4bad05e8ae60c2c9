"""Work of minutes or hours as one task of a cluster; as ``services/jobs/child_process.py`` does it beside the app.

The task and the one who waits for it talk through an actor that needs no processor: progress goes one way, and what is
wished the other. A task whose machine is lost is done again, and told so.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from skrd4ad.cluster.connection import Cluster
from skrd4ad.digests import content_digest
from skrd4ad.errors import ClusterError, ConfigError, SkrdError, TrainingCancelled
from skrd4ad.paths import workspace
from skrd4ad.services.access import Actor, acting, acting_as
from skrd4ad.task import POLL_SECONDS, Status, Task, in_thread

T = TypeVar("T")

TRIES = 3
"""Times that work is done again after its process or its machine was lost."""
TALK_SECONDS = 0.5
GRACE_SECONDS = 60.0
"""For work that was cancelled to reach its next check; then its process is ended."""
SHARED = ("SKRD4AD_CHECKPOINTS", "SKRD4AD_DATA_ROOTS", "SKRD4AD_WEIGHTS_DIR", "SKRD4AD_RUNTIME", "SKRD4AD_CACHE_MB")
"""Environment variables that hold on the machines of the cluster as they do here; what is secret is not sent."""


def shared_environment() -> dict[str, str]:
    """What the tasks' environment is to be."""
    given = {name: os.environ[name] for name in SHARED if name in os.environ}
    return {**given, "SKRD4AD_HOME": str(workspace())}


class Desk:
    """What a task and the one who waits for it tell each other."""

    def __init__(self) -> None:
        self._begun, self._wish = 0, "run"
        self._status: Status | None = None
        self._points: list[tuple[int, Mapping[str, Any]]] = []

    def begin(self) -> bool:
        """Note that the task begins; returns whether it did before."""
        self._begun += 1
        return self._begun > 1

    def tell(self, status: Status | None, points: list[tuple[int, Mapping[str, Any]]]) -> str:
        """Take the progress of the task; returns what is wished of it."""
        self._status = status or self._status
        self._points += points
        return self._wish

    def ask(self, wish: str) -> tuple[bool, Status | None, list[tuple[int, Mapping[str, Any]]]]:
        """Take what is wished; returns whether the task has begun, and what is new of it."""
        self._wish = wish
        new = self._status, self._points
        self._status, self._points = None, []
        return self._begun > 0, *new


def on_cluster(
    work: Callable[..., T], *arguments: Any, cluster: Cluster, threads: int, accelerators: int, task: Task
) -> T:
    """Result of ``work(*arguments, again=…, task=…)`` on a machine of the cluster, which shares the workspace.

    Args:
        work: function of a module; ``again`` is true once it was begun and lost.
        arguments: of it; they and its result are pickled.
        cluster: that this process is connected to.
        threads: processors it needs.
        accelerators: graphics cards it needs.
        task: told and asked in this process.

    Raises:
        ConfigError: no machine has so many processors.
        ClusterError: its machine was lost too often.
        SkrdError: what the work raises.
    """
    if threads > max(cluster.processors, default=0):
        raise ConfigError(
            f"The work needs {threads} CPUs of one machine, and the largest of the cluster has "
            f"{max(cluster.processors, default=0):g}. Give --threads a smaller number, or add a machine."
        )
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    desk: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(Desk).remote()
    token = workspace() / f".cluster-{uuid.uuid4().hex}"
    token.touch()
    try:
        do: Any = ray.remote(num_cpus=threads, num_gpus=accelerators, max_retries=TRIES)(_do)
        found = do.remote(work, arguments, desk, acting(), token, _database())
        return _followed(found, desk, task)
    except RayTaskError as error:
        if isinstance(error.cause, SkrdError):
            raise error.cause from error
        raise ClusterError(f"The work failed on the cluster: {error.cause!r}.") from error
    except RayError as error:
        raise ClusterError(
            f"The cluster lost the work {TRIES + 1} times: {str(error).splitlines()[0]} What it finished is kept."
        ) from error
    finally:
        ray.kill(desk)
        token.unlink(missing_ok=True)


def _followed(found: Any, desk: Any, task: Task) -> Any:
    """The result to come; until then progress comes here, and what is wished goes there."""
    check, wish = in_thread(task.check), "run"
    cancelled: BaseException | None = None
    cancelled_at = 0.0
    while True:
        if cancelled is None:
            try:
                check.result(POLL_SECONDS)
                check, wish = in_thread(task.check), "run"
            except TimeoutError:  # a check that waits is a pause
                wish = "pause"
            except BaseException as error:  # noqa: BLE001 - raised again once the task has ended
                cancelled, cancelled_at, wish = error, time.monotonic(), "cancel"
        ready, _ = ray.wait([found], timeout=TALK_SECONDS)
        begun, status, points = ray.get(desk.ask.remote(wish))
        for point in points:
            task.point(*point)
        if status is not None:
            task.show(status)
        elif not begun:
            task.show(Status(done=0, total=0, text="waiting for a machine of the cluster", share=task.start))
        if ready:
            return ray.get(found)
        if cancelled is not None and (not begun or time.monotonic() - cancelled_at > GRACE_SECONDS):
            ray.cancel(found, force=True)
            raise cancelled


def _do(work: Callable[..., Any], arguments: tuple[Any, ...], desk: Any, who: Actor, token: Path, database: str) -> Any:
    """The task, on whatever machine."""
    if not token.is_file() or _database() != database:
        raise ClusterError(
            f"A machine of the cluster has another workspace than this one. Give all of them the folder "
            f"{token.parent}, the models and the data sets at the same paths, and the same SKRD4AD_DATABASE_URL."
        )
    line = _Line(desk)
    again = ray.get(desk.begin.remote())
    try:
        with acting_as(who):
            return work(*arguments, again=again, task=line.task)
    finally:
        line.talk()


class _Line:
    """The task's side of the desk; may be used from several threads."""

    def __init__(self, desk: Any) -> None:
        self._desk, self._lock = desk, threading.Lock()
        self._status: Status | None = None
        self._points: list[tuple[int, Mapping[str, Any]]] = []
        self._talked_at = -TALK_SECONDS

    @property
    def task(self) -> Task:
        """What the work reports to and asks."""
        return Task(show=self._show, check=self._check, point=lambda step, values: self._points.append((step, values)))

    def talk(self) -> str:
        """Tell what is new; returns what is wished."""
        with self._lock:
            self._talked_at = time.monotonic()
            status, points = self._status, self._points
            self._status, self._points = None, []
            wish: str = ray.get(self._desk.tell.remote(status, points))
            return wish

    def _show(self, status: Status) -> None:
        self._status = status

    def _check(self) -> None:
        if time.monotonic() - self._talked_at < TALK_SECONDS:
            return
        while (wish := self.talk()) == "pause":
            time.sleep(TALK_SECONDS)
        if wish == "cancel":
            raise TrainingCancelled("Stopped on request. What was finished before is kept.")


def _database() -> str:
    """Tells databases apart without naming one."""
    return content_digest(os.environ.get("SKRD4AD_DATABASE_URL", ""))
