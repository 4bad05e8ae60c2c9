"""Queries on trained models: one row a model folder. The folder is the truth, the row makes it quick to list."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from skrd4ad.documents import to_plain
from skrd4ad.storage.tables import TrainedModel, utc_now


def save_model(
    session: Session,
    *,
    folder: Path,
    dataset: str,
    class_name: str,
    net: str,
    res: int,
    created_at: datetime,
    digest: str,
    metrics: Mapping[str, Any] | None,
) -> int:
    """Store what a model folder holds, in place of what was known of it; returns its id.

    Args:
        created_at: when it was trained, with a time zone.
        digest: SHA-256 of its ``model.safetensors``, in hexadecimal.
    """
    model = find_model(session, folder) or TrainedModel(folder=str(folder))
    model.dataset = dataset
    model.class_name = class_name
    model.net = net
    model.res = res
    model.created_at = created_at
    model.digest = digest
    model.metrics = None if metrics is None else to_plain(metrics, infinite="null")
    model.seen_at = utc_now()
    session.add(model)
    session.flush()
    return model.id


def find_model(session: Session, folder: Path) -> TrainedModel | None:
    """What is known of a model folder."""
    return session.scalar(select(TrainedModel).where(TrainedModel.folder == str(folder)))


def all_models(session: Session) -> list[TrainedModel]:
    """All models by data set and class, newest first in each class."""
    order = (TrainedModel.dataset, TrainedModel.class_name, TrainedModel.created_at.desc(), TrainedModel.id)
    return list(session.scalars(select(TrainedModel).order_by(*order)))


def forget_model(session: Session, folder: Path) -> None:
    """Drop the row of a model folder that is gone; nothing on disk is touched."""
    session.execute(delete(TrainedModel).where(TrainedModel.folder == str(folder)))
