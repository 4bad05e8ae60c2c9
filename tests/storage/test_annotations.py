import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath

import pytest
from sqlalchemy import func, select

import skrd4ad
from skrd4ad.errors import ConflictError, SkrdError, StorageError
from skrd4ad.storage.annotations import Revision, add_revision, revisions_of
from skrd4ad.storage.database import Database, open_database
from skrd4ad.storage.predictions import save_image
from skrd4ad.storage.tables import Annotation, StoredImage
from tests.limits import LONG

IMAGE = "a" * 64
OTHER = "b" * 64

ANOTHER_REVIEWER = """
import sys
from skrd4ad.errors import ConflictError
from skrd4ad.storage.annotations import Revision, add_revision
from skrd4ad.storage.database import open_database

database = open_database()
print("ready", flush=True)
sys.stdin.readline()
try:
    with database.write() as session:
        add_revision(session, image_digest="a" * 64, base=1, revision=Revision(label="good", reviewer=sys.argv[1]))
    print("stored")
except ConflictError as error:
    print(error)
database.close()
"""


@pytest.fixture
def images(database: Database) -> Database:
    with database.write() as session:
        for digest in (IMAGE, OTHER):
            save_image(session, digest=digest, name="part.png", file=PurePath("uploads") / f"{digest}.png")
    return database


def add(database: Database, base: int, revision: Revision, *, by: str = "Ada") -> Revision:
    with database.write() as session:
        return add_revision(session, image_digest=IMAGE, base=base, revision=replace(revision, reviewer=by))


def test_revisions_follow_each_other_and_nothing_is_overwritten(images: Database) -> None:
    first = add(images, 0, Revision(label="defect", defect_type="Kratzer ü", mask_file="masks/x.png", comment="why"))
    second = add(images, 1, Revision(label="good"), by="Bo")
    third = add(images, 2, Revision(label="none", undoes=2), by="Ada")
    assert [row.number for row in (first, second, third)] == [1, 2, 3]
    with images.read() as session:
        history = revisions_of(session, IMAGE)
        assert [(row.number, row.label, row.reviewer, row.undoes) for row in history] == [
            (1, "defect", "Ada", None),
            (2, "good", "Bo", None),
            (3, "none", "Ada", 2),
        ]
        assert (history[0].defect_type, history[0].mask_file, history[0].comment) == ("Kratzer ü", "masks/x.png", "why")
        assert (history[1].defect_type, history[1].mask_file, history[1].comment) == (None, None, "")
        assert all(row.made_at is not None and row.made_at.tzinfo is UTC for row in history)
        assert history == [first, second, third]
        assert third.made_at is not None and abs(third.made_at - datetime.now(UTC)) < timedelta(minutes=1)
        assert session.get_one(StoredImage, IMAGE).revision == 3


def test_an_image_nobody_decided_on_has_nothing(images: Database) -> None:
    add(images, 0, Revision(label="good"))
    with images.read() as session:
        assert revisions_of(session, OTHER) == []
        assert session.get_one(StoredImage, OTHER).revision == 0


def test_who_saw_an_older_revision_is_refused_and_told_what_holds(images: Database) -> None:
    add(images, 0, Revision(label="defect", defect_type="dent"), by="Bo")
    with pytest.raises(ConflictError, match=r"Bo changed .* UTC: defect \(dent\), revision 1.*You saw revision 0"):
        add(images, 0, Revision(label="good"))
    with images.read() as session:
        assert [row.label for row in revisions_of(session, IMAGE)] == ["defect"]
        assert session.get_one(StoredImage, IMAGE).revision == 1


def test_a_revision_from_the_future_is_refused(images: Database) -> None:
    with pytest.raises(ConflictError, match="You saw revision 4 of this image, which has none"):
        add(images, 4, Revision(label="good"))


def test_an_image_that_is_not_there_is_named_and_is_no_conflict(images: Database) -> None:
    with pytest.raises(StorageError, match="no image cccccccccccc") as caught, images.write() as session:
        add_revision(session, image_digest="c" * 64, base=0, revision=Revision(label="good", reviewer="Ada"))
    assert not isinstance(caught.value, ConflictError)


def test_a_block_that_fails_afterwards_leaves_no_revision(images: Database) -> None:
    with pytest.raises(KeyError), images.write() as session:
        add_revision(session, image_digest=IMAGE, base=0, revision=Revision(label="good", reviewer="Ada"))
        raise KeyError("power cut")
    with images.read() as session:
        assert revisions_of(session, IMAGE) == []
        assert session.get_one(StoredImage, IMAGE).revision == 0
    assert add(images, 0, Revision(label="unsure")).number == 1


def test_of_many_threads_that_saw_the_same_exactly_one_gets_through(images: Database) -> None:
    start = threading.Barrier(6)
    outcomes: list[str] = []

    def decide(name: str) -> None:
        mine = open_database()
        start.wait()
        try:
            add(mine, 0, Revision(label="good"), by=name)
            outcomes.append(name)
        except SkrdError as error:
            outcomes.append(type(error).__name__)
        mine.close()

    threads = [threading.Thread(target=decide, args=(f"reviewer {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[:5] == ["ConflictError"] * 5
    with images.read() as session:
        assert [row.reviewer for row in revisions_of(session, IMAGE)] == [sorted(outcomes)[5]]


@pytest.mark.slow
def test_of_two_processes_that_saw_the_same_exactly_one_gets_through(images: Database) -> None:
    add(images, 0, Revision(label="unsure"))
    env = {**os.environ, "PYTHONPATH": str(Path(skrd4ad.__file__).parents[1])}
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ANOTHER_REVIEWER, name], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env
        )
        for name in ("Ada", "Bo")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = sorted(process.communicate(timeout=LONG)[0].strip() for process in processes)
    assert answers[1] == "stored"
    assert "changed this image" in answers[0]
    with images.read() as session:
        assert session.scalar(select(func.count()).select_from(Annotation)) == 2
