"""Trainings on a cluster: one task for each class."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray

from skrd4ad.cluster.connection import Cluster
from skrd4ad.cluster.tasks import on_cluster
from skrd4ad.errors import ClusterError, SkrdError, TrainingCancelled, TrainingError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import bound
from skrd4ad.services.improve.retrain import TRAINING, start_for
from skrd4ad.services.jobs.turn import own_turn
from skrd4ad.services.training import TrainingRequest, result_of, train_class
from skrd4ad.task import Status, Task
from skrd4ad.types import DatasetClass


@dataclass(frozen=True, kw_only=True)
class TrainingPlace:
    """Where and how trainings are done."""

    out: Path
    """Folder of the model folders."""
    device: str
    resume: bool
    threads: int
    """Processors of each training."""


def train_on_cluster(
    trainings: Sequence[tuple[DatasetClass, TrainingRequest]],
    place: TrainingPlace,
    cluster: Cluster,
    *,
    now: bool,
    task: Task,
    say: Callable[[str], None],
) -> list[tuple[ModelInfo, dict[str, Any]]]:
    """Train several classes side by side; returns each model with the result of its job, in their order.

    Each training is a job of the workspace: the app shows it, pauses it and cancels it. One that fails does not stop
    the others. One whose machine is lost is begun again on another, after its last full epoch.

    Args:
        trainings: classes with their requests.
        place: where and how.
        cluster: that this process is connected to.
        now: do not show them in the app.
        task: of all of them together.
        say: takes a line for people.

    Raises:
        ConfigError: no machine is large enough.
        SkrdError: a training failed; the message names the others that did.
    """
    accelerators = int(place.device.startswith("cuda") or (place.device == "auto" and _has_accelerators()))
    stopped = threading.Event()
    shares = [0.0] * len(trainings)

    def train(index: int, data: DatasetClass, request: TrainingRequest) -> tuple[ModelInfo, dict[str, Any]]:
        def show(status: Status) -> None:
            shares[index] = status.share
            share = sum(shares) / len(shares)
            task.show(replace(status, share=share, text=f"{data.name}: {status.text}".rstrip(": "), eta_seconds=None))

        def check() -> None:
            if stopped.is_set():
                raise TrainingCancelled("Stopped on request. What was finished before is kept.")

        one = Task(show=show, check=check)
        with own_turn(TRAINING, request, task=one, say=say, now=now, lane="cluster") as turn:
            info, result = on_cluster(
                _train,
                data,
                request,
                place,
                cluster=cluster,
                threads=place.threads,
                accelerators=accelerators,
                task=turn.task,
            )
            if not info.folder.is_dir():
                raise ClusterError(f"The model is not in {info.folder} here. Give all machines that folder.")
            turn.result = result
        say(f"{data.name} is trained: {info.folder}")
        return info, result

    with ThreadPoolExecutor(len(trainings)) as pool:
        found = [pool.submit(bound(partial(train, index, *each))) for index, each in enumerate(trainings)]
        try:
            errors = [each.exception() for each in found]
        except KeyboardInterrupt:
            stopped.set()
            raise
    failed = [(data.name, error) for (data, _), error in zip(trainings, errors, strict=True) if error is not None]
    if len(failed) == 1 or any(not isinstance(error, SkrdError) for _, error in failed):
        raise failed[0][1]
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(trainings)} trainings failed. " + " ".join(f"{n}: {e}" for n, e in failed)
        )
    return [each.result() for each in found]


def _train(
    data: DatasetClass, request: TrainingRequest, place: TrainingPlace, *, again: bool, task: Task
) -> tuple[ModelInfo, dict[str, Any]]:
    """One training, on whatever machine."""
    info = train_class(
        data,
        request,
        start=start_for(data, request),
        out=place.out,
        resume=place.resume or again,
        task=task,
        device=place.device,
    )
    return info, result_of(info, request, data)


def _has_accelerators() -> bool:
    return ray.cluster_resources().get("GPU", 0) >= 1
