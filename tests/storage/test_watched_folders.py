from datetime import UTC, datetime, timedelta
from pathlib import PurePath

import pytest

from skrd4ad.errors import StorageError
from skrd4ad.storage import watched_folders as watches
from skrd4ad.storage.database import Database
from skrd4ad.storage.labelled_images import PredictionRow, save_predictions
from skrd4ad.storage.predictions import save_image
from skrd4ad.storage.watched_folders import SeenFile

MODEL = PurePath("/models/parts/disc/one")


def begin(database: Database, folder: str = "/data/line", model: PurePath = MODEL) -> int:
    with database.write() as session:
        return watches.begin_watch(session, folder=PurePath(folder), model_folder=model).id


def test_a_folder_is_on_the_list_once_for_each_model_and_begins_anew(database: Database) -> None:
    first = begin(database)
    other_model, other_folder = begin(database, model=PurePath("/models/two")), begin(database, folder="/data/two")
    with database.write() as session:
        watches.take_watch(session, first, owner="h:1:2.00")
        watches.note_watch(session, first, "gone")
    assert begin(database) == first
    with database.read() as session:
        assert [row.id for row in watches.all_watches(session)] == [first, other_model, other_folder]
        row = watches.find_watch(session, first)
        assert (row.active, row.owner, row.heartbeat_at, row.note) == (True, None, None, None)


def test_the_watcher_beats_for_what_is_still_its_own(database: Database) -> None:
    mine, stopped, taken = begin(database, "/a"), begin(database, "/b"), begin(database, "/c")
    with database.write() as session:
        for watch_id in (mine, stopped, taken):
            watches.take_watch(session, watch_id, owner="me")
        watches.stop_watch(session, stopped)
        watches.take_watch(session, taken, owner="another")
        row = watches.find_watch(session, mine)
        row.heartbeat_at = datetime(2026, 1, 1, tzinfo=UTC)
    with database.write() as session:
        assert watches.beat_watches(session, [mine, stopped, taken], owner="me") == {mine}
    with database.read() as session:
        assert [row.id for row in watches.all_watches(session, active=True)] == [mine, taken]
        assert [row.id for row in watches.all_watches(session, active=False)] == [stopped]
        beaten = watches.find_watch(session, mine).heartbeat_at
        assert beaten is not None and datetime.now(UTC) - beaten < timedelta(minutes=1)
        assert watches.find_watch(session, stopped).owner is None


def test_files_are_known_by_name_and_replaced(database: Database) -> None:
    watch_id, other = begin(database), begin(database, "/other")
    with database.write() as session:
        save_image(session, digest="a", name="a.png", file=PurePath("uploads/a.png"))
        big = 2**40, 2**62  # beyond what 32 bits hold
        watches.save_files(session, watch_id, [SeenFile(name="sub/a.png", state=big, note="cut short")])
        watches.save_files(session, watch_id, [SeenFile(name=f"{n}.png", state=(n, n)) for n in range(1, 1202)])
        watches.save_files(session, other, [SeenFile(name="sub/a.png", state=(9, 9))])
        assert watches.seen_files(session, watch_id)["sub/a.png"] == big
        watches.save_files(session, watch_id, [SeenFile(name="sub/a.png", state=(7, 8), image_digest="a")])
    with database.write() as session:
        seen = watches.seen_files(session, watch_id)
        assert (len(seen), seen["sub/a.png"], seen["1201.png"]) == (1202, (7, 8), (1201, 1201))
        assert watches.count_files(session, [watch_id])[watch_id][0] == 1
        watches.forget_left_out(session, watch_id)
        assert watches.seen_files(session, watch_id) == {"sub/a.png": (7, 8)}
        assert watches.seen_files(session, other) == {"sub/a.png": (9, 9)}


def test_what_came_in_is_counted_and_listed_with_its_score(database: Database) -> None:
    watch_id, quiet = begin(database), begin(database, "/other")
    with database.write() as session:
        for digest in "ab":
            save_image(session, digest=digest, name=digest, file=PurePath(digest))
        for model, score in (("m", 0.9), ("n", 0.1)):
            save_predictions(session, {"b": PredictionRow(score)}, model_digest=model, model_folder=MODEL)
    for file in (
        SeenFile(name="old.png", state=(1, 1)),
        SeenFile(name="a.png", state=(1, 1), image_digest="a"),
        SeenFile(name="b.png", state=(1, 1), image_digest="b"),
        SeenFile(name="c.png", state=(1, 1), note="no image"),
        SeenFile(name="later.png", state=(1, 1)),
    ):
        with database.write() as session:
            watches.save_files(session, watch_id, [file])
    with database.read() as session:
        found = watches.latest_files(session, watch_id, model_digest="m", limit=9)
        assert [(file.name, None if said is None else said.score) for file, said in found] == [
            ("c.png", None),
            ("b.png", 0.9),
            ("a.png", None),
        ]
        assert len(watches.latest_files(session, watch_id, model_digest="m", limit=2)) == 2
        counts = watches.count_files(session, [watch_id, quiet])
        assert counts == {watch_id: (2, 1, found[0][0].taken_at)}  # files that were left out tell of nothing


def test_a_folder_taken_off_the_list_leaves_its_images(database: Database) -> None:
    watch_id = begin(database)
    with database.write() as session:
        save_image(session, digest="a", name="a", file=PurePath("a"))
        watches.save_files(session, watch_id, [SeenFile(name="a.png", state=(1, 1), image_digest="a")])
        watches.forget_watch(session, watch_id)
    with database.write() as session:
        assert watches.all_watches(session) == []
        with pytest.raises(StorageError, match="not watched any more"):
            watches.find_watch(session, watch_id)
        watches.forget_watch(session, watch_id)  # twice is fine


def test_folders_are_handed_over_to_another_model(database: Database) -> None:
    old, new = PurePath("/models/old"), PurePath("/models/new")
    with database.write() as session:
        a = watches.begin_watch(session, folder=PurePath("/a"), model_folder=old).id
        b = watches.begin_watch(session, folder=PurePath("/b"), model_folder=old).id
        known = watches.begin_watch(session, folder=PurePath("/b"), model_folder=new).id
        watches.stop_watch(session, known)
        watches.stop_watch(session, watches.begin_watch(session, folder=PurePath("/c"), model_folder=old).id)
        watches.take_watch(session, a, owner="h:1:2.00")
        assert watches.hand_over(session, old=old, new=new) == 2
    with database.read() as session:
        active = watches.all_watches(session, active=True)
        assert {(row.folder, row.model_folder, row.owner) for row in active} == {
            ("/a", str(new), None),
            ("/b", str(new), None),
        }
        assert {row.id for row in watches.all_watches(session, active=False)} >= {a, b}
