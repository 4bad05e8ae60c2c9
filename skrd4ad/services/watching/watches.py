"""Watched folders: new images in them come into the queue of a model and are scored as they arrive.

Any process of the app may watch; the database says who does. What a process watched that ended, the next one goes on
with.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from skrd4ad.errors import AccessError, DataError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import inside_data_roots
from skrd4ad.services.access import acting_user, has_role, needs, refusal
from skrd4ad.services.history import HistoryFilter, details_of, history_page, record
from skrd4ad.services.watching.watcher import FolderWatcher, is_watched, list_files
from skrd4ad.storage import watched_folders
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.tables import StoredPrediction, WatchedFile, utc_now
from skrd4ad.storage.watched_folders import SeenFile

FOLLOW_SECONDS = 0.2
"""How often somebody who waits for files looks for new ones."""
ARRIVALS = 10
"""Files that are shown of those that came last."""


@dataclass(frozen=True)
class Watch:
    """A folder that is watched for a model, or was."""

    id: int
    folder: Path
    active: bool
    alive: bool
    """Whether a living process watches it; one takes it within seconds of being asked to."""
    note: str | None
    taken: int
    noted: int
    """Files that could not be taken."""
    last_at: datetime | None
    """When the latest file came, UTC."""


@needs("inspector", "watch a folder")
def start_watching(info: ModelInfo, folder: Path, *, existing: bool = False) -> int:
    """Watch a folder, with its sub-folders, for a model; returns the id of the watch.

    ``existing`` takes the images that are there now too; otherwise only those that come from now on.
    """
    root = inside_data_roots(folder)
    if not root.is_dir():
        raise DataError(f"{folder} is no folder. Choose one that is there.")
    there = [] if existing else [*list_files(root).values()]
    with workspace_database().write() as session:
        watch = watched_folders.begin_watch(session, folder=root, model_folder=info.folder)
        if existing:
            watched_folders.forget_left_out(session, watch.id)
        seen = watched_folders.seen_files(session, watch.id)
        left_out = [SeenFile(name=file.name, state=file.state) for file in there if seen.get(file.name) != file.state]
        watched_folders.save_files(session, watch.id, left_out)
    record("watched", info, details={"folder": str(root), "watch": watch.id})
    keep_watching()
    return watch.id


@needs("inspector", "stop watching a folder")
def stop_watching(watch_id: int) -> None:
    """Stop watching a folder; it stays on the list, and what came from it stays in the queue."""
    with workspace_database().write() as session:
        watched_folders.stop_watch(session, watch_id)


@needs("inspector", "watch a folder")
def watch_again(watch_id: int) -> None:
    """Go on watching a folder; what came meanwhile is taken too."""
    with workspace_database().write() as session:
        known = watched_folders.find_watch(session, watch_id)
        watched_folders.begin_watch(session, folder=Path(known.folder), model_folder=Path(known.model_folder))
    keep_watching()


@needs("inspector", "take a watched folder off the list")
def forget_watch(watch_id: int) -> None:
    """Take a folder off the list, one's own or as admin any; what came from it stays in the queue."""
    if reason := why_not_forget(watch_id):
        raise AccessError(reason)
    with workspace_database().write() as session:
        known = watched_folders.find_watch(session, watch_id)
        details = {"folder": known.folder, "watch": watch_id}
        model_folder = known.model_folder
        watched_folders.forget_watch(session, watch_id)
    record("watch removed", folder=model_folder, details=details)


def why_not_forget(watch_id: int) -> str:
    """Why who acts may not take a watched folder off the list; empty when they may."""
    if has_role("admin") or (has_role("inspector") and acting_user() == starter_of(watch_id)):
        return ""
    return refusal("admin", "take a folder off the list that somebody else watches")


def starter_of(watch_id: int) -> str | None:
    """Who began to watch a folder, by the history; None where it does not tell."""
    # an id may be used again: the newest entry counts
    begun = history_page(HistoryFilter(what=("watched",))).entries
    return next((entry.who for entry in begun if details_of(entry).get("watch") == watch_id), None)


def watches_of(info: ModelInfo) -> list[Watch]:
    """Folders that are or were watched for a model, oldest first."""
    with workspace_database().read() as session:
        rows = [row for row in watched_folders.all_watches(session) if row.model_folder == str(info.folder)]
        counts = watched_folders.count_files(session, [row.id for row in rows])
    watches = []
    for row in rows:
        taken, noted, last_at = counts.get(row.id, (0, 0, None))
        alive = is_watched(row, now=utc_now())
        watches.append(Watch(row.id, Path(row.folder), row.active, alive, row.note, taken, noted, last_at))
    return watches


def arrivals_of(watch_id: int, info: ModelInfo) -> list[tuple[WatchedFile, StoredPrediction | None]]:
    """What came in last from a watched folder, the latest first, with what a model says of it."""
    with workspace_database().read() as session:
        return watched_folders.latest_files(session, watch_id, model_digest=info.digest, limit=ARRIVALS)


def follow(
    watch_id: int, info: ModelInfo, *, once: bool = False, note: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[WatchedFile, StoredPrediction | None]]:
    """Files of a watched folder as they are looked at from now on, with what a model says of each, for ever.

    Args:
        watch_id: of the folder.
        info: of the model.
        once: end when all files that are there were looked at.
        note: told what is wrong with the folder when that changes.

    Raises:
        DataError: with ``once``, what is wrong with the folder.
    """
    database = workspace_database()
    with database.read() as session:
        watch = watched_folders.find_watch(session, watch_id)
        folder, noted = Path(watch.folder), watch.note
    latest = utc_now()
    while True:
        # before the files that were seen, so that one that comes between the two is waited for
        there = list_files(folder) if once else {}
        with database.read() as session:
            fresh = watched_folders.latest_files(session, watch_id, model_digest=info.digest, after=latest)
            problem = watched_folders.find_watch(session, watch_id).note
            seen = watched_folders.seen_files(session, watch_id) if once else {}
        for file, said in reversed(fresh):
            latest = max(latest, file.taken_at)
            yield file, said
        if problem and problem != noted:
            if once:
                raise DataError(problem)
            note(problem)
        noted = problem
        if once and all(seen.get(name) == file.state for name, file in there.items()):
            return
        time.sleep(FOLLOW_SECONDS)


# Like the job queue, the watcher outlives the reruns of a page, and all tabs share it.
_watcher: FolderWatcher | None = None
_watcher_lock = threading.Lock()


def keep_watching() -> None:
    """Have this process watch whatever no other living process does; cheap when it does already."""
    global _watcher
    with _watcher_lock:
        if _watcher is not None:
            return
        database = workspace_database()
        with database.read() as session:
            if not watched_folders.all_watches(session, active=True):
                return
        _watcher = FolderWatcher(database)
        _watcher.start()


def reset_watcher() -> None:
    """End this process's watcher; the next ``keep_watching()`` starts another one. For tests."""
    global _watcher
    with _watcher_lock:
        ended, _watcher = _watcher, None
    if ended is not None:
        ended.close()
