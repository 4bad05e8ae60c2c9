"""Queries on calibrations: when a model was given which thresholds, and by whom. The model folder is the truth."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from skrd4ad.documents import to_plain
from skrd4ad.storage.tables import StoredCalibration


@dataclass(frozen=True, kw_only=True)
class GivenCalibration:
    """A version of a model's calibration."""

    version: int
    who: str
    values: Mapping[str, Any]
    """The calibration in its JSON form."""
    made_at: datetime


def save_calibrations(
    session: Session, *, model_digest: str, model_folder: PurePath, given: Iterable[GivenCalibration]
) -> int:
    """Store the versions that a model has had, as its folder holds them; returns how many were new or had changed.

    A version whose values are stored already is left as it is. Nothing is ever removed.
    """
    known = {row.version: row for row in calibrations_of(session, model_digest, model_folder=model_folder)}
    changed = 0
    for each in given:
        row, values = known.get(each.version), to_plain(each.values, infinite="null")
        if row is None:
            row = StoredCalibration(model_digest=model_digest, model_folder=str(model_folder), version=each.version)
        elif row.values == values:
            continue
        row.who, row.values, row.made_at = each.who, values, each.made_at
        session.add(row)
        changed += 1
    session.flush()
    return changed


def calibrations_of(
    session: Session, model_digest: str, *, model_folder: PurePath | None = None
) -> list[StoredCalibration]:
    """Calibrations of a model by version; of one of its folders only when that is given."""
    query = select(StoredCalibration).where(StoredCalibration.model_digest == model_digest)
    if model_folder is not None:
        query = query.where(StoredCalibration.model_folder == str(model_folder))
    return list(session.scalars(query.order_by(StoredCalibration.version, StoredCalibration.id)))
