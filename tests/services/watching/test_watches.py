import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import skrd4ad
from skrd4ad.errors import AccessError, DataError, StorageError
from skrd4ad.inference.predictions import limits_of
from skrd4ad.model_folder.folder import read_info, save_calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.services import access
from skrd4ad.services.access import Actor, acting_as
from skrd4ad.services.history import HistoryFilter, history_page
from skrd4ad.services.inspection.inspect import png_bytes
from skrd4ad.services.labelling.queue import filter_of
from skrd4ad.services.labelling.review import waiting_images
from skrd4ad.services.watching import watcher as folder_watcher
from skrd4ad.services.watching import watches
from skrd4ad.services.watching.watcher import FolderWatcher, list_files
from skrd4ad.services.watching.watches import (
    arrivals_of,
    follow,
    forget_watch,
    keep_watching,
    reset_watcher,
    start_watching,
    stop_watching,
    watch_again,
    watches_of,
)
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import QueueItem
from tests.label_world import page_of_queue
from tests.limits import LONG

pytestmark = pytest.mark.usefixtures("loaded_once")

OTHER = "elsewhere:7:1.00"
FAST = {"tick_seconds": 0.01, "settle_seconds": 0.0, "owner": None}

ANOTHER_PROCESS = """
import sys
from skrd4ad.services.jobs.process import this_process
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.watched_folders import take_watch

with workspace_database().write() as session:
    take_watch(session, int(sys.argv[1]), owner=this_process())
print("watching", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def no_other_watcher(any_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing watches by itself."""
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path / "data"))
    monkeypatch.setattr(watches, "keep_watching", lambda: None)
    yield
    reset_watcher()
    workspace_database().close()


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """The folder that is watched."""
    (tmp_path / "data" / "line").mkdir(parents=True)
    return (tmp_path / "data" / "line").resolve()


@pytest.fixture
def parts(tiny_data: Path) -> list[Path]:
    return sorted((tiny_data / "machined_disc" / "test").rglob("*.png"))


def watcher_of(owner: str | None = None) -> FolderWatcher:
    return FolderWatcher(workspace_database(), tick_seconds=0.0, settle_seconds=0.0, owner=owner)


def look_until(watcher: FolderWatcher, n: int) -> None:
    """Rounds until ``n`` files were looked at."""
    deadline, found = time.monotonic() + LONG, 0
    while found < n:
        found += watcher.check_folders()
        assert time.monotonic() < deadline, f"only {found} of {n} files came"
        time.sleep(0.002)
    assert found == n


def look_in_vain(watcher: FolderWatcher) -> None:
    for _ in range(5):
        assert watcher.check_folders() == 0
        time.sleep(0.02)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def queue_of(info: ModelInfo) -> dict[str, QueueItem]:
    now = read_info(info.folder)
    return {item.name: item for item in page_of_queue(filter_of(now, limits_of(now)), limit=1000)[0]}


def picture(value: int) -> bytes:
    return png_bytes(np.full((64, 64, 3), value, np.uint8))


def test_files_are_followed_as_they_are_looked_at_once_each(info: ModelInfo, line: Path, parts: list[Path]) -> None:
    watch_id = start_watching(info, line)
    watcher, arrivals = watcher_of(), follow(watch_id, info)
    (line / "broken.png").write_bytes(b"no")
    threading.Timer(0.3, look_until, [watcher, 1]).start()
    file, said = next(arrivals)
    assert (file.name, said) == ("broken.png", None) and "not an image" in str(file.note)
    shutil.copy(parts[0], line / "part.png")
    look_until(watcher, 1)
    file, said = next(arrivals)
    assert file.name == "part.png" and said is not None and said.score == queue_of(info)["part.png"].score
    # all are seen: nothing is waited for
    assert [*follow(watch_id, info, once=True)] == []


def test_new_images_come_into_the_queue_with_their_scores_and_doubtful_ones_to_review(
    info: ModelInfo, line: Path, parts: list[Path]
) -> None:
    calibration = info.calibration
    assert calibration is not None
    (line / "old.png").write_bytes(picture(1))
    watch_id = start_watching(info, line)
    watcher = watcher_of()
    look_in_vain(watcher)
    (line / "2026-01-01").mkdir()
    for number, part in enumerate(parts[:3]):
        shutil.copy(part, line / "2026-01-01" / f"{number}.png")
    (line / "notes.txt").write_text("no image")
    (line / ".hidden.png").write_bytes(picture(2))
    look_until(watcher, 3)
    look_in_vain(watcher)
    items = queue_of(info)
    assert sorted(items) == [f"2026-01-01/{number}.png" for number in range(3)]
    for item in items.values():
        assert (item.origin, item.score is not None, item.width) == ("watch", True, 64)
        assert (workspace() / item.file).is_file()  # kept, whatever happens to the folder
    arrivals = arrivals_of(watch_id, info)
    assert sorted(file.name for file, _ in arrivals) == sorted(items)
    for file, said in arrivals:
        assert said is not None and said.score == items[file.name].score
        assert said.verdict == calibration.verdict(said.score)
        assert (file.image_digest, file.note) == (items[file.name].digest, None)
    doubtful = {file.name for file, said in arrivals if said and (said.verdict != "OK" or said.refusal is not None)}
    assert {image.name for image, _ in waiting_images()} == doubtful
    (watch,) = watches_of(info)
    assert (watch.folder, watch.active, watch.alive) == (line, True, True)
    assert (watch.taken, watch.noted, watch.note, watch.last_at) == (3, 0, None, arrivals[0][0].taken_at)


def test_doubtful_and_good_parts_are_told_apart(info: ModelInfo, line: Path, parts: list[Path]) -> None:
    calibration = info.calibration
    assert calibration is not None
    strict = replace(calibration, image_threshold=0.0, pixel_threshold=0.0, review_threshold=None)
    generous = replace(strict, image_threshold=1e9, pixel_threshold=1e9)
    start_watching(info, line)
    watcher = watcher_of()
    save_calibration(info.folder, generous)
    shutil.copy(parts[0], line / "fine.png")
    look_until(watcher, 1)
    refused = {item.name for item in queue_of(info).values() if item.refusal}
    assert {image.name for image, _ in waiting_images()} == refused
    save_calibration(info.folder, strict)  # followed without a restart
    shutil.copy(parts[1], line / "bad.png")
    look_until(watcher, 1)
    assert "bad.png" in {image.name for image, _ in waiting_images()}


def test_images_that_are_there_are_taken_when_asked_for(info: ModelInfo, line: Path) -> None:
    for value in range(10):  # more than are taken together
        (line / f"{value}.png").write_bytes(picture(value))
    assert len(list_files(line)) == 10
    assert start_watching(info, line) == (watch_id := start_watching(info, line, existing=True))
    watcher = watcher_of()
    look_until(watcher, 10)
    assert len(queue_of(info)) == 10
    start_watching(info, line)  # what was taken is not taken again
    look_in_vain(watcher)
    assert [watch.id for watch in watches_of(info)] == [watch_id]


def test_a_file_is_taken_only_once_it_stays_as_it_is(info: ModelInfo, line: Path) -> None:
    start_watching(info, line)
    patient = FolderWatcher(workspace_database(), tick_seconds=0.0, settle_seconds=0.15)
    content, name = picture(7), line / "growing.png"
    for end in range(10, len(content), len(content) // 6):
        name.write_bytes(content[:end])
        assert patient.check_folders() == 0
        time.sleep(0.03)
    name.write_bytes(content)
    look_until(patient, 1)
    assert queue_of(info)["growing.png"].score is not None
    (line / "part.tmp").write_bytes(picture(8))
    look_in_vain(patient)
    (line / "part.tmp").rename(line / "part.png")
    look_until(patient, 1)
    assert "part.png" in queue_of(info)


def test_what_cannot_be_read_becomes_a_note_until_it_changes(info: ModelInfo, line: Path, tmp_path: Path) -> None:
    watch_id = start_watching(info, line)
    watcher = watcher_of()
    content = picture(3)
    (line / "cut.png").write_bytes(content[: len(content) // 2])
    (line / "text.png").write_bytes(b"no image at all")
    (tmp_path / "secret.png").write_bytes(picture(4))
    (line / "link.png").symlink_to(tmp_path / "secret.png")
    (line / "nowhere.png").symlink_to(tmp_path / "nothing.png")
    os.mkfifo(line / "pipe.png")
    look_until(watcher, 4)
    look_in_vain(watcher)
    assert queue_of(info) == {}
    notes = {file.name: file.note or "" for file, _ in arrivals_of(watch_id, info)}
    assert set(notes) == {"cut.png", "text.png", "link.png", "pipe.png"}
    assert "damaged" in notes["cut.png"]
    assert "leads outside" in notes["link.png"]
    assert notes["pipe.png"] == "pipe.png: it is a named pipe, and only regular files are read."
    (watch,) = watches_of(info)
    assert (watch.taken, watch.noted, watch.note) == (0, 4, None)
    (line / "cut.png").write_bytes(content)
    look_until(watcher, 1)
    (watch,) = watches_of(info)
    assert (watch.taken, watch.noted) == (1, 3)


def test_a_name_that_is_no_text_does_not_matter(info: ModelInfo, line: Path) -> None:
    watch_id = start_watching(info, line)
    Path(os.fsdecode(bytes(line) + b"/Pr\xfcfling.png")).write_bytes(picture(5))
    look_until(watcher_of(), 1)
    assert arrivals_of(watch_id, info)[0][0].name == "Pr\\udcfcfling.png"
    assert queue_of(info)["Pr\\udcfcfling.png"].score is not None


def test_a_folder_that_is_gone_is_told_and_comes_back(
    info: ModelInfo, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watcher, "RETRY_SECONDS", 0.0)
    start_watching(info, line)
    watcher = watcher_of()
    look_in_vain(watcher)
    line.rename(line.with_name("elsewhere"))
    until(lambda: watcher.check_folders() == 0 and watches_of(info)[0].note is not None)
    note = watches_of(info)[0].note or ""
    assert "cannot be listed" in note and "tried again" in note
    line.with_name("elsewhere").rename(line)
    (line / "a.png").write_bytes(picture(6))
    look_until(watcher, 1)
    (watch,) = watches_of(info)
    assert (watch.note, watch.taken) == (None, 1)


def test_a_model_that_is_gone_is_told_and_no_file_is_lost(
    info: ModelInfo, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watcher, "RETRY_SECONDS", 0.0)
    start_watching(info, line)
    away = info.folder.with_name("away")
    info.folder.rename(away)
    (line / "a.png").write_bytes(picture(6))
    watcher = watcher_of()
    until(lambda: watcher.check_folders() == 0 and watches_of(info)[0].note is not None)
    assert "no model folder" in (watches_of(info)[0].note or "")
    away.rename(info.folder)
    look_until(watcher, 1)
    assert queue_of(info)["a.png"].score is not None


def test_what_fails_in_an_unknown_way_fails_alone(info: ModelInfo, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch_id = start_watching(info, line)
    original = folder_watcher._take_file

    def take(info: ModelInfo, file: object) -> object:
        if getattr(file, "name", "") == "poison.png":
            raise RuntimeError("nobody thought of this")
        return original(info, file)  # type: ignore[arg-type]

    monkeypatch.setattr(folder_watcher, "_take_file", take)
    for name in ("a", "poison", "z"):
        (line / f"{name}.png").write_bytes(picture(ord(name[0])))
    look_until(watcher_of(), 3)
    assert sorted(queue_of(info)) == ["a.png", "z.png"]
    notes = {file.name: file.note for file, _ in arrivals_of(watch_id, info)}
    assert "RuntimeError: nobody thought of this" in (notes["poison.png"] or "")
    assert notes["a.png"] is None


def test_stop_and_go_on_with_what_came_meanwhile(info: ModelInfo, line: Path) -> None:
    watch_id = start_watching(info, line)
    watcher = watcher_of()
    look_in_vain(watcher)
    stop_watching(watch_id)
    (line / "meanwhile.png").write_bytes(picture(9))
    look_in_vain(watcher)
    (watch,) = watches_of(info)
    assert (watch.active, watch.alive) == (False, False)
    watch_again(watch_id)
    look_until(watcher, 1)
    forget_watch(watch_id)
    look_in_vain(watcher)
    assert watches_of(info) == []
    assert "meanwhile.png" in queue_of(info)
    with pytest.raises(StorageError, match="not watched any more"):
        stop_watching(watch_id)


def test_one_takes_ones_own_folders_off_the_list_and_an_admin_any(info: ModelInfo, line: Path) -> None:
    with acting_as(Actor("Ada", "inspector")):
        watch_id = start_watching(info, line)
    with acting_as(Actor("Bo", "engineer")), pytest.raises(AccessError, match="somebody else watches, the role admin"):
        forget_watch(watch_id)
    with acting_as(Actor("Ada", "inspector")):
        forget_watch(watch_id)
        again = start_watching(info, line)
    with acting_as(Actor("Zoë", "admin")):
        forget_watch(again)
    assert watches_of(info) == []
    entries = history_page(HistoryFilter()).entries
    assert [(entry.what, entry.who) for entry in reversed(entries)] == [
        ("watched", "Ada"),
        ("watch removed", "Ada"),
        ("watched", "Ada"),
        ("watch removed", "Zoë"),
    ]


def test_folders_are_watched_also_where_nobody_is_logged_in(
    info: ModelInfo, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_watching(info, line)
    (line / "new.png").write_bytes(picture(3))
    monkeypatch.setattr(access, "_outside", lambda: Actor(role="viewer"))
    look_until(watcher_of(), 1)
    assert "new.png" in queue_of(info)


def test_a_stop_is_noticed_between_two_images(info: ModelInfo, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_watcher, "BEAT_SECONDS", 0.0)
    watch_id = start_watching(info, line)
    for value in range(4):
        (line / f"{value}.png").write_bytes(picture(value))
    original = folder_watcher.score_images

    def stop_first(*arguments: object, **values: object) -> object:
        stop_watching(watch_id)
        return original(*arguments, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(folder_watcher, "score_images", stop_first)
    watcher = watcher_of()
    look_in_vain(watcher)
    assert {item.score for item in queue_of(info).values()} == {None}
    monkeypatch.setattr(folder_watcher, "score_images", original)
    watch_again(watch_id)
    look_until(watcher, 4)  # nothing is lost, and nothing comes twice
    assert len(queue_of(info)) == 4
    assert None not in {item.score for item in queue_of(info).values()}


def test_two_processes_never_watch_the_same_folder(info: ModelInfo, line: Path) -> None:
    start_watching(info, line)
    # a process on another host is judged by its heartbeat
    first, second = watcher_of(OTHER), watcher_of()
    look_in_vain(first)
    (line / "a.png").write_bytes(picture(1))
    look_in_vain(second)
    look_until(first, 1)
    look_in_vain(second)
    assert watches_of(info)[0].taken == 1


def test_what_a_dead_process_watched_goes_on(info: ModelInfo, line: Path) -> None:
    watch_id = start_watching(info, line)
    root = str(Path(skrd4ad.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", ANOTHER_PROCESS, str(watch_id)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout is not None and process.stdout.readline() == "watching\n"
    watcher = watcher_of()
    (line / "a.png").write_bytes(picture(1))
    look_in_vain(watcher)
    with workspace_database().read() as session:
        rows = folder_watcher.watched_folders.all_watches(session)
        assert (rows[0].owner or "").startswith(f"{socket.gethostname()}:{process.pid}:")
    process.kill()
    process.communicate()
    look_until(watcher, 1)
    assert "a.png" in queue_of(info)


def test_the_thread_watches_and_outlives_errors(info: ModelInfo, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_watcher.FolderWatcher.__init__, "__kwdefaults__", FAST)
    keep_watching()
    assert watches._watcher is None  # nothing is to be watched: no thread
    start_watching(info, line)
    failures = [StorageError("the database is away"), RuntimeError("nobody thought of this")]
    original = FolderWatcher._claim_folders

    def fail_first(self: FolderWatcher) -> None:
        if failures:
            raise failures.pop()
        original(self)

    monkeypatch.setattr(FolderWatcher, "_claim_folders", fail_first)
    keep_watching()
    keep_watching()
    (line / "a.png").write_bytes(picture(1))
    until(lambda: watches_of(info)[0].taken == 1)
    reset_watcher()
    (line / "b.png").write_bytes(picture(2))
    keep_watching()  # as after a restart
    until(lambda: watches_of(info)[0].taken == 2)


def test_only_a_folder_that_may_be_read_is_watched(info: ModelInfo, line: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "models", line / "nothing", line.parent / ".." / "models"):
        with pytest.raises(DataError):
            start_watching(info, folder)
    assert watches_of(info) == []


def test_a_root_that_is_taken_away_is_told(info: ModelInfo, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_watching(info, line)
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(line / "other"))
    watcher_of().check_folders()
    assert "outside the folders this app may read" in (watches_of(info)[0].note or "")
