"""What the services write into the history of the workspace, and what the Overview page and the command line read."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skrd4ad.errors import DocumentError, StorageError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import acting_user, signed
from skrd4ad.services.labelling.exchange.formats.csv_format import table_bytes
from skrd4ad.storage import history
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.history import HistoryFilter, Verification, What
from skrd4ad.storage.tables import HistoryEntry

_HIDDEN = ("job", "job_id", "started_at", "created_at")
"""Details that their line leaves out."""
_INNER = {
    "calibration": ("method", "image_threshold", "review_threshold", "note"),
    "metrics": ("image_auroc", "pixel_auroc", "aupro"),
}
"""Of details that are objects, what their line names."""
CSV_COLUMNS = (*history.HASHED, "hash")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HistoryPage:
    """Some entries under a filter, and what there is to choose from."""

    entries: Sequence[HistoryEntry]
    """Newest first."""
    total: int
    """Entries under the filter."""
    whats: Sequence[str]
    people: Sequence[str]
    """What happened so far, and who did it, whatever the filter."""
    head: str
    """Hash of the newest entry of all."""


def record(
    what: What,
    model: ModelInfo | None = None,
    *,
    who: str = "",
    dataset: str = "",
    class_name: str = "",
    folder: os.PathLike[str] | str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry on a model, or a data set, to the history; ``who`` is by default
    :func:`~skrd4ad.services.access.acting_user`.

    Where the database cannot be used that is logged: what happened has happened.
    """
    if model is not None:
        dataset, class_name, folder = model.dataset, model.class_name, model.folder
    try:
        with workspace_database().write() as session:
            history.append(
                session,
                what=what,
                who=signed(who) or acting_user(),
                dataset=dataset,
                class_name=class_name,
                # names of files need not be valid text
                model_folder=os.fsencode(folder).decode("utf-8", "backslashreplace"),
                model_digest="" if model is None else model.digest,
                details=details,
            )
    except (StorageError, DocumentError) as error:
        subject = " ".join(filter(None, (dataset, class_name, str(folder))))
        log.warning("warning: the history does not tell that this was %s: %s. %s", what, subject, error)


def history_page(wanted: HistoryFilter, *, limit: int | None = None, offset: int = 0) -> HistoryPage:
    """Entries under a filter, newest first."""
    with workspace_database().read() as session:
        whats, people = history.known_values(session)
        return HistoryPage(
            entries=history.page(session, wanted, limit=limit, offset=offset),
            total=history.count(session, wanted),
            whats=whats,
            people=people,
            head=history.newest_hash(session),
        )


def verify_history(*, head: str | None = None) -> Verification:
    """Compare every hash of the history; see :func:`skrd4ad.storage.history.verify`."""
    with workspace_database().read() as session:
        return history.verify(session, head=head)


def details_of(entry: HistoryEntry) -> dict[str, Any]:
    """Details of an entry; of one that was damaged the text as it is, under ``damaged``."""
    try:
        values = json.loads(entry.details)
    except (ValueError, TypeError):
        return {"damaged": str(entry.details)}
    return values if isinstance(values, dict) else {"damaged": str(entry.details)}


def details_text(entry: HistoryEntry) -> str:
    """Details of an entry in a line: ``version 2, method manual, image threshold 0.5``."""
    parts = []
    for name, value in details_of(entry).items():
        inner = {key: value.get(key) for key in _INNER.get(name, ())} if isinstance(value, dict) else {name: value}
        for key, each in inner.items():
            if each not in (None, "") and isinstance(each, str | int | float) and key not in _HIDDEN:
                shown = f"{each:.6g}" if isinstance(each, float) else str(each)
                parts.append(f"{key.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def history_csv(wanted: HistoryFilter) -> bytes:
    """All entries under a filter as a CSV file, newest first, with all that their hashes cover."""
    entries = history_page(wanted).entries
    return table_bytes(CSV_COLUMNS, ({name: str(getattr(entry, name)) for name in CSV_COLUMNS} for entry in entries))
