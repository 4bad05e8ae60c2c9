"""Queries on runs: one row a training."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from skrd4ad.documents import to_plain
from skrd4ad.errors import StorageError
from skrd4ad.storage.jobs import Ending
from skrd4ad.storage.tables import Run, utc_now


def add_run(
    session: Session,
    *,
    dataset: str,
    class_name: str,
    config: Mapping[str, Any],
    folder: Path,
    job_id: str | None = None,
) -> int:
    """Store a training that begins; returns its id.

    Args:
        config: JSON form of ``{"model": …, "train": …}``.
        folder: model folder that the training writes, or the folder in which it will be made.
        job_id: background job it runs in; None on the command line.
    """
    run = Run(
        job_id=job_id,
        dataset=dataset,
        class_name=class_name,
        config=to_plain(config, infinite="null"),
        state="running",
        folder=str(folder),
        started_at=utc_now(),
    )
    session.add(run)
    session.flush()
    return run.id


def end_run(
    session: Session,
    run_id: int,
    state: Ending,
    *,
    folder: Path | None = None,
    metrics: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> None:
    """Store how a training ended.

    Args:
        folder: model folder that it wrote, in place of the one given when it began.

    Raises:
        StorageError: there is no such run.
    """
    run = session.get(Run, run_id)
    if run is None:
        raise StorageError(f"There is no run {run_id} in this workspace.")
    run.state = state
    if folder is not None:
        run.folder = str(folder)
    run.metrics = None if metrics is None else to_plain(metrics, infinite="null")
    run.error = error
    run.finished_at = utc_now()


def latest_runs(
    session: Session, *, dataset: str | None = None, class_name: str | None = None, limit: int = 50
) -> list[Run]:
    """Runs, newest first; of one data set or class only when given."""
    query = select(Run).order_by(Run.started_at.desc(), Run.id.desc()).limit(limit)
    if dataset is not None:
        query = query.where(Run.dataset == dataset)
    if class_name is not None:
        query = query.where(Run.class_name == class_name)
    return list(session.scalars(query))


def interrupt_runs(session: Session, job_ids: Collection[str]) -> None:
    """Mark the running trainings of jobs whose process died."""
    running = update(Run).where(Run.job_id.in_(job_ids), Run.state == "running")
    session.execute(running.values(state="interrupted", finished_at=utc_now()))
