"""The history of a workspace: one row an event, each with the hash of the row before, so that a change shows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from skrd4ad.documents import to_plain
from skrd4ad.storage.tables import HistoryEntry, utc_now

_Training = Literal["trained", "retrained", "training failed", "training cancelled", "training interrupted"]
_Calibration = Literal["calibrated", "recalibrated", "calibration chosen"]
_Model = Literal["imported", "exported", "promoted", "set aside", "renamed", "noted"]
_Rest = Literal["archived", "unarchived", "deleted", "labels imported", "labels exported", "recorded"]
_Shared = Literal["watched", "watch removed", "role given", "key made", "key removed"]
_Fitness = Literal["studied", "challenge changed", "challenge overridden"]
What = Literal[_Training, _Calibration, _Model, _Rest, _Shared, _Fitness]
"""``recorded``: a model folder that an earlier version knew of, without knowing where it came from."""
WHATS: tuple[What, ...] = get_args(What)
NO_HASH = "0" * 64
"""Stands for the hash before the first row."""
HASHED = ("id", "at", "who", "what", "dataset", "class_name", "model_folder", "model_digest", "details", "previous")


@dataclass(frozen=True, kw_only=True)
class HistoryFilter:
    """Which entries are wanted; an empty field wants all."""

    what: Sequence[str] = ()
    who: Sequence[str] = ()
    about: str = ""
    """Text in the data set, class, model folder or model digest; letter case does not matter."""
    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Whether the chain of hashes holds."""

    n: int
    """Rows that were read: all, or those up to the first altered one."""
    head: str
    """Hash of the last row that was read; whoever keeps it can tell later whether rows after it were cut off."""
    altered: int | None = None
    """Number of the first row that does not fit; None when all do."""
    problem: str = ""


def entry_hash(columns: Mapping[str, Any]) -> str:
    """SHA-256 of the columns in ``HASHED`` as JSON with sorted keys, in hexadecimal."""
    values = {name: columns[name] for name in HASHED}
    # default: SQLite lets anyone put a value of another kind into a column; it must count as a change, not fail
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def append(
    session: Session,
    *,
    what: What,
    who: str,
    dataset: str = "",
    class_name: str = "",
    model_folder: str = "",
    model_digest: str = "",
    details: Mapping[str, Any] | None = None,
) -> HistoryEntry:
    """Add an entry at the end of the chain; the lock of the ``write`` block keeps two from following one row."""
    last = session.scalar(select(HistoryEntry).order_by(HistoryEntry.id.desc()).limit(1))
    columns = {
        "id": 1 if last is None else last.id + 1,
        "at": utc_now().isoformat(timespec="microseconds"),
        "who": who,
        "what": what,
        "dataset": dataset,
        "class_name": class_name,
        "model_folder": model_folder,
        "model_digest": model_digest,
        "details": json.dumps(to_plain(details or {}, infinite="null"), sort_keys=True),
        "previous": NO_HASH if last is None else last.hash,
    }
    entry = HistoryEntry(**columns, hash=entry_hash(columns))
    session.add(entry)
    session.flush()
    return entry


def verify(session: Session, *, head: str | None = None) -> Verification:
    """Read the whole chain and compare every hash.

    A change of the newest rows together with all their hashes, or cutting them off, shows only against ``head``: a hash
    that was the newest one once, and must still be in the chain.
    """
    n, last, found, problem = 0, NO_HASH, head in (None, NO_HASH), ""
    query = select(*(getattr(HistoryEntry, name) for name in (*HASHED, "hash"))).order_by(HistoryEntry.id)
    # closed: a cursor on the server would otherwise outlive an early end
    with closing(session.execute(query.execution_options(yield_per=1000))) as rows:
        for row in rows:
            if row.id != n + 1:
                problem = f"Row {n + 1} is missing, the next one is row {row.id}: rows were removed or renumbered."
            elif row.hash != entry_hash(row._asdict()):
                problem = f"Row {row.id} was altered: its content does not match its hash."
            elif row.previous != last:
                problem = f"Row {row.id} does not follow row {n}: one of the two was altered, moved or put in."
            if problem:
                break
            n, last = row.id, row.hash
            found = found or last == head
    if not problem and not found:
        problem = f"The hash {head} is in none of the {n} rows: rows at the end were cut off or written anew."
    return Verification(n=n, head=last, altered=n + 1 if problem else None, problem=problem)


def page(session: Session, wanted: HistoryFilter, *, limit: int | None = None, offset: int = 0) -> list[HistoryEntry]:
    """Entries under a filter, newest first."""
    query = select(HistoryEntry).where(*_conditions(wanted)).order_by(HistoryEntry.id.desc())
    return list(session.scalars(query.limit(limit).offset(offset)))


def count(session: Session, wanted: HistoryFilter) -> int:
    """How many entries there are under a filter."""
    return session.scalar(select(func.count()).select_from(HistoryEntry).where(*_conditions(wanted))) or 0


def newest_hash(session: Session) -> str:
    """Hash of the newest row; it changes with every entry."""
    return session.scalar(select(HistoryEntry.hash).order_by(HistoryEntry.id.desc()).limit(1)) or NO_HASH


def known_values(session: Session) -> tuple[list[str], list[str]]:
    """What happened so far, and who did it, each by name."""
    whats, people = (select(each).distinct().order_by(each) for each in (HistoryEntry.what, HistoryEntry.who))
    return list(session.scalars(whats)), list(session.scalars(people))


def _conditions(wanted: HistoryFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.what:
        conditions.append(HistoryEntry.what.in_(wanted.what))
    if wanted.who:
        conditions.append(HistoryEntry.who.in_(wanted.who))
    if wanted.about:
        columns = (HistoryEntry.dataset, HistoryEntry.class_name, HistoryEntry.model_folder, HistoryEntry.model_digest)
        conditions.append(or_(*(column.icontains(wanted.about, autoescape=True) for column in columns)))
    if wanted.since is not None:
        conditions.append(HistoryEntry.at >= _text(wanted.since))
    if wanted.before is not None:
        conditions.append(HistoryEntry.at < _text(wanted.before))
    return conditions


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
