"""Takes images out of watched folders as they arrive: the thread behind :mod:`skrd4ad.services.watching.watches`.

Folders are listed again and again rather than by notices of the system, which network drives do not give. A file is
taken once it has stayed as it is for a while; one that was moved there in one go has, and one that is being written has
not. What was seen is in the database, so whoever watches next goes on where this process ended.
"""

import errno
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from skrd4ad.data.images.read import is_hidden, is_image, natural_key
from skrd4ad.errors import DataError, SkrdError, StorageError
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import inside_data_roots, read_regular
from skrd4ad.services.access import SYSTEM, acting_as
from skrd4ad.services.jobs.process import is_alive, this_process
from skrd4ad.services.labelling.add_images import add_files
from skrd4ad.services.labelling.score_queue import open_model, score_images, up_to_date
from skrd4ad.storage import watched_folders
from skrd4ad.storage.database import Database
from skrd4ad.storage.label_exchange import known_images
from skrd4ad.storage.tables import WatchedFolder, utc_now
from skrd4ad.storage.watched_folders import SeenFile, State
from skrd4ad.task import Task

TICK_SECONDS = 2.0
"""How often a folder is listed, at most."""
BEAT_SECONDS = 10.0
"""How often the watcher says that it lives."""
RETRY_SECONDS = 15.0
"""After what kept a folder from being watched, it is tried again."""
AT_ONCE = 8
"""Files that are taken together; then it is another folder's turn."""
SHARE_OF_TIME = 0.1
"""Listing takes up to this share of the time; a folder with very many files is listed less often."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundFile:
    """An image file in a folder."""

    name: str
    path: Path
    state: State


class _WatchEnded(Exception):
    """The folder is not to be watched by this process any more."""


@dataclass(kw_only=True)
class _FolderState:
    """A folder, and what its watcher remembers of it."""

    id: int
    folder: Path
    model_folder: Path
    note: str | None
    seen: dict[str, State]
    sighted: dict[str, tuple[State, float]] = field(default_factory=dict)
    """Files by their names: how they are, and since when they are so."""
    due: float = 0.0


class FolderWatcher:
    """Watches all folders that no other living process does, in one daemon thread."""

    def __init__(
        self,
        database: Database,
        *,
        tick_seconds: float = TICK_SECONDS,
        settle_seconds: float = TICK_SECONDS,
        owner: str | None = None,
    ) -> None:
        """Make an idle watcher; a file must stay as it is for ``settle_seconds`` before it is taken."""
        self._database = database
        self._tick = tick_seconds
        self._settle = settle_seconds
        self._owner = owner or this_process()
        self._watched: dict[int, _FolderState] = {}
        self._models: dict[Path, Predictor] = {}
        self._beaten_at = 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folder-watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch in the background."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; waits up to ten seconds for the image in hand."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def check_folders(self) -> int:
        """One round over all folders, on behalf of the system; returns how many files were looked at."""
        with acting_as(SYSTEM):
            return self._check_folders()

    def _check_folders(self) -> int:
        self._claim_folders()
        return sum(self._check_folder(watched) for watched in [*self._watched.values()])

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                found = self.check_folders()
            except StorageError as error:
                log.error("Folders are not watched, trying again: %s", error)
                found = 0
            except Exception:
                log.exception("Folders are not watched, trying again")
                found = 0
            if not found:
                self._closed.wait(self._tick)

    def _claim_folders(self) -> None:
        """Take folders that nobody watches, and let those go that are not to be watched here any more."""
        now = utc_now()
        with self._database.read() as session:
            rows = watched_folders.all_watches(session, active=True)
        mine = {row.id for row in rows if row.owner == self._owner}
        self._watched = {watch_id: each for watch_id, each in self._watched.items() if watch_id in mine}
        if any(not is_watched(row, now=now) or (row.id in mine and row.id not in self._watched) for row in rows):
            with self._database.write() as session:
                for row in watched_folders.all_watches(session, active=True):
                    if not is_watched(row, now=now):
                        watched_folders.take_watch(session, row.id, owner=self._owner)
                        mine.add(row.id)
                    if row.id in mine and row.id not in self._watched:
                        self._watched[row.id] = _FolderState(
                            id=row.id,
                            folder=Path(row.folder),
                            model_folder=Path(row.model_folder),
                            note=row.note,
                            seen=watched_folders.seen_files(session, row.id),
                        )
        used = {each.model_folder for each in self._watched.values()}
        self._models = {folder: model for folder, model in self._models.items() if folder in used}
        self._renew_claims()

    def _renew_claims(self) -> None:
        """Say every now and then that this process lives, and let folders go that are not to be watched any more."""
        if not self._watched or time.monotonic() - self._beaten_at < BEAT_SECONDS:
            return
        self._beaten_at = time.monotonic()
        with self._database.write() as session:
            left = watched_folders.beat_watches(session, [*self._watched], owner=self._owner)
        self._watched = {watch_id: each for watch_id, each in self._watched.items() if watch_id in left}

    def _check_folder(self, watched: _FolderState) -> int:
        if time.monotonic() < watched.due:
            return 0
        try:
            found = self._take_new(watched)
        except _WatchEnded:
            return 0
        except SkrdError as error:
            problem = str(error)
        except Exception as error:
            # whatever goes wrong with one folder must not end the thread that watches the others
            log.exception("Watching %s failed", watched.folder)
            problem = f"{type(error).__name__}: {error}"
        else:
            self._note_problem(watched, None)
            return found
        self._note_problem(watched, f"{problem} It is tried again.")
        watched.due = time.monotonic() + RETRY_SECONDS
        return 0

    def _take_new(self, watched: _FolderState) -> int:
        begun = time.monotonic()
        found = list_files(watched.folder)
        now = time.monotonic()
        watched.sighted = {
            name: sight
            if (sight := watched.sighted.get(name)) is not None and sight[0] == file.state
            else (file.state, now)
            for name, file in found.items()
        }
        settled = [
            file
            for name, file in found.items()
            if watched.seen.get(name) != file.state and 0 < now - watched.sighted[name][1] >= self._settle
        ]
        settled.sort(key=lambda file: (file.state[1], natural_key(file.path)))
        # the rest of many files is not waited for
        pause = 0.0 if len(settled) > AT_ONCE else max(self._tick, (now - begun) / SHARE_OF_TIME)
        watched.due = now + pause
        return len(self._take(watched, settled[:AT_ONCE])) if settled else 0

    def _take(self, watched: _FolderState, files: Sequence[FoundFile]) -> list[SeenFile]:
        """Take files into the queue and let the model look at them; what fails in an unknown way fails alone."""
        try:
            seen = self._take_and_score(watched, files)
        except (SkrdError, _WatchEnded):
            raise
        except Exception as error:
            log.exception("Files of %s could not be taken", watched.folder)
            if len(files) > 1:
                return [each for file in files for each in self._take(watched, [file])]
            [file] = files
            note = f"{file.name}: it could not be taken ({type(error).__name__}: {error})."
            seen = [SeenFile(name=file.name, state=file.state, note=note)]
        with self._database.write() as session:
            watched_folders.save_files(session, watched.id, seen)
        watched.seen |= {each.name: each.state for each in seen}
        return seen

    def _take_and_score(self, watched: _FolderState, files: Sequence[FoundFile]) -> list[SeenFile]:
        predictor = self._model_of(watched)
        seen = [taken for file in files if (taken := _take_file(predictor.info, file)) is not None]
        digests = [each.image_digest for each in seen if each.image_digest is not None]
        with self._database.read() as session:
            images = known_images(session, digests)
        task = Task(check=lambda: self._check(watched))
        scored = score_images(predictor, [*images.values()], to_review=True, task=task)
        notes = {each.digest: each.note for each in scored}
        return [each if each.note else replace(each, note=notes.get(each.image_digest or "")) for each in seen]

    def _model_of(self, watched: _FolderState) -> Predictor:
        """The model, with its calibration as it is now."""
        kept = self._models.get(watched.model_folder)
        model = open_model(watched.model_folder) if kept is None else up_to_date(kept)
        self._models[watched.model_folder] = model
        return model

    def _check(self, watched: _FolderState) -> None:
        self._renew_claims()
        if self._closed.is_set() or watched.id not in self._watched:
            raise _WatchEnded

    def _note_problem(self, watched: _FolderState, note: str | None) -> None:
        if note == watched.note:
            return
        try:
            with self._database.write() as session:
                watched_folders.note_watch(session, watched.id, note)
        except StorageError as error:
            log.warning("What is wrong with %s was not stored: %s", watched.folder, error)
            return
        watched.note = note


def is_watched(row: WatchedFolder, *, now: datetime) -> bool:
    """Whether a living process watches a folder."""
    if row.owner is None or row.heartbeat_at is None:
        return False
    return is_alive(row.owner, heartbeat_at=row.heartbeat_at, now=now)


def list_files(folder: Path) -> dict[str, FoundFile]:
    """Image files in a folder and its sub-folders, by name; hidden ones and linked folders are left out."""
    found: dict[str, FoundFile] = {}
    root = inside_data_roots(folder)

    def refuse(error: OSError) -> None:
        raise error

    try:
        for here, folders, files in os.walk(root, onerror=refuse):
            inside = Path(here)
            folders[:] = [name for name in folders if not is_hidden(Path(name))]
            for path in (inside / name for name in files if is_image(Path(name))):
                try:
                    state = path.stat()
                except OSError:  # gone again, or a link to nowhere
                    continue
                # the name of a file may be any bytes, and is kept as text
                name = path.relative_to(root).as_posix().encode(errors="backslashreplace").decode()
                found[name] = FoundFile(name, path, (state.st_size, state.st_mtime_ns))
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be listed ({error.strerror}). Check that it is there.") from error
    return found


def _take_file(info: ModelInfo, file: FoundFile) -> SeenFile | None:
    """Put a file into the queue, or say why it cannot be; None when it is gone or changes still."""
    try:
        inside_data_roots(file.path)
        content = read_regular(file.path)
        state = file.path.stat()
    except OSError as error:
        if error.errno != errno.EINVAL:
            return None
        return SeenFile(name=file.name, state=file.state, note=f"{file.name}: {error.strerror}.")
    except DataError:
        note = f"{file.name}: a link that leads outside the folders this app may read. Put the image itself there."
        return SeenFile(name=file.name, state=file.state, note=note)
    if (state.st_size, state.st_mtime_ns) != file.state:
        return None
    added = add_files(info, [(file.name, content)], origin="watch")
    return SeenFile(
        name=file.name,
        state=file.state,
        image_digest=next(iter(added.digests), None),
        note=next(iter(added.problems), None),
    )
