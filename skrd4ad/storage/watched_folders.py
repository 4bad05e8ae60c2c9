"""Queries on watched folders: who watches what, and which files were seen."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.orm import Session

from skrd4ad.errors import StorageError
from skrd4ad.storage.tables import StoredPrediction, WatchedFile, WatchedFolder, parts, utc_now

State = tuple[int, int]
"""Size of a file in bytes, and its time of change in nanoseconds."""
_LOOKED_AT = WatchedFile.image_digest.is_not(None) | WatchedFile.note.is_not(None)
"""Files that were not left out."""


@dataclass(frozen=True, kw_only=True)
class SeenFile:
    """A file that was looked at, or is to be left out when there is neither image nor note."""

    name: str
    state: State
    image_digest: str | None = None
    note: str | None = None


def begin_watch(session: Session, *, folder: PurePath, model_folder: PurePath) -> WatchedFolder:
    """Say that a folder is to be watched for a model; its watcher, if it has one, begins anew."""
    names = {"folder": str(folder), "model_folder": str(model_folder)}
    row = session.scalar(select(WatchedFolder).filter_by(**names)) or WatchedFolder(**names, created_at=utc_now())
    row.active, row.owner, row.heartbeat_at, row.note = True, None, None, None
    session.add(row)
    session.flush()
    return row


def find_watch(session: Session, watch_id: int) -> WatchedFolder:
    """A watched folder by its id."""
    row = session.get(WatchedFolder, watch_id)
    if row is None:
        raise StorageError("This folder is not watched any more: somebody took it off the list.")
    return row


def all_watches(session: Session, *, active: bool | None = None) -> list[WatchedFolder]:
    """Watched folders, oldest first; those that are to be watched now, or those that are not, when asked for."""
    query = select(WatchedFolder).order_by(WatchedFolder.id)
    if active is not None:
        query = query.where(WatchedFolder.active.is_(active))
    return list(session.scalars(query))


def take_watch(session: Session, watch_id: int, *, owner: str) -> None:
    """Make a process the watcher of a folder; call it in the ``write`` block in which the one before was found dead."""
    taken = update(WatchedFolder).where(WatchedFolder.id == watch_id)
    session.execute(taken.values(owner=owner, heartbeat_at=utc_now()))


def beat_watches(session: Session, watch_ids: Collection[int], *, owner: str) -> set[int]:
    """Say that the watcher of folders lives; returns those that it is still to watch."""
    mine = and_(WatchedFolder.id.in_(watch_ids), WatchedFolder.owner == owner, WatchedFolder.active.is_(True))
    session.execute(update(WatchedFolder).where(mine).values(heartbeat_at=utc_now()))
    return set(session.scalars(select(WatchedFolder.id).where(mine)))


def stop_watch(session: Session, watch_id: int) -> None:
    """Say that a folder is not to be watched; what was seen stays known."""
    row = find_watch(session, watch_id)
    row.active, row.owner, row.heartbeat_at, row.note = False, None, None, None


def hand_over(session: Session, *, old: PurePath, new: PurePath) -> int:
    """Watch the folders of one model for another one instead; returns how many are watched for the one now."""
    mine = [row for row in all_watches(session, active=True) if row.model_folder == str(old)]
    for row in mine:
        stop_watch(session, row.id)
        begin_watch(session, folder=PurePath(row.folder), model_folder=new)
    return len(mine)


def forget_watch(session: Session, watch_id: int) -> None:
    """Take a folder off the list, and forget which of its files were seen; the images that came from it stay."""
    session.execute(delete(WatchedFile).where(WatchedFile.watch_id == watch_id))
    session.execute(delete(WatchedFolder).where(WatchedFolder.id == watch_id))


def note_watch(session: Session, watch_id: int, note: str | None) -> None:
    """Store what is wrong with a watched folder; None when nothing is."""
    session.execute(update(WatchedFolder).where(WatchedFolder.id == watch_id).values(note=note))


def seen_files(session: Session, watch_id: int) -> dict[str, State]:
    """Files that were seen, by their names, as they were then."""
    query = select(WatchedFile.name, WatchedFile.size, WatchedFile.changed_at).where(WatchedFile.watch_id == watch_id)
    return {row.name: (row.size, row.changed_at) for row in session.execute(query)}


def save_files(session: Session, watch_id: int, files: Sequence[SeenFile]) -> None:
    """Store what became of files, in place of what was known of files of the same names."""
    now = utc_now()
    for some in parts(files):
        names = [file.name for file in some]
        query = select(WatchedFile).where(WatchedFile.watch_id == watch_id, WatchedFile.name.in_(names))
        known = {row.name: row for row in session.scalars(query)}
        for file in some:
            row = known.get(file.name) or WatchedFile(watch_id=watch_id, name=file.name)
            row.size, row.changed_at = file.state
            row.image_digest, row.note, row.taken_at = file.image_digest, file.note, now
            session.add(row)
        session.flush()


def forget_left_out(session: Session, watch_id: int) -> None:
    """Forget the files that were to be left out, so that they are taken."""
    session.execute(delete(WatchedFile).where(WatchedFile.watch_id == watch_id, ~_LOOKED_AT))


def count_files(session: Session, watch_ids: Collection[int]) -> dict[int, tuple[int, int, datetime]]:
    """Files that were taken, files that could not be, and when the latest was looked at, by the ids of the folders.

    Files that were left out do not count, nor does a folder without others.
    """
    query = (
        select(
            WatchedFile.watch_id,
            func.count(WatchedFile.image_digest),
            func.count(WatchedFile.note),
            func.max(WatchedFile.taken_at),
        )
        .where(WatchedFile.watch_id.in_(watch_ids), _LOOKED_AT)
        .group_by(WatchedFile.watch_id)
    )
    return {watch_id: (taken, noted, last_at) for watch_id, taken, noted, last_at in session.execute(query)}


def latest_files(
    session: Session, watch_id: int, *, model_digest: str, limit: int | None = None, after: datetime | None = None
) -> list[tuple[WatchedFile, StoredPrediction | None]]:
    """Files that were looked at last, the latest first, each with what a model said of it; ``after``: a moment, UTC."""
    image = StoredPrediction.image_digest == WatchedFile.image_digest
    by_model = and_(image, StoredPrediction.model_digest == model_digest)
    query = (
        select(WatchedFile, StoredPrediction)
        .outerjoin(StoredPrediction, by_model)
        .where(WatchedFile.watch_id == watch_id, _LOOKED_AT)
        .order_by(WatchedFile.taken_at.desc(), WatchedFile.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(WatchedFile.taken_at > after)
    return [(file, said) for file, said in session.execute(query)]
