import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

import skrd4ad
from skrd4ad.errors import DocumentError
from skrd4ad.storage import history
from skrd4ad.storage.database import Database
from skrd4ad.storage.history import NO_HASH, HistoryFilter, What

ANOTHER_PROCESS = """
import sys
from skrd4ad.storage import history
from skrd4ad.storage.database import open_database

database = open_database()
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    with database.write() as session:
        history.append(session, what="renamed", who=sys.argv[1], details={"number": number})
database.close()
"""


def add(database: Database, what: What, *, who: str = "Ada", **values: str) -> None:
    with database.write() as session:
        history.append(session, what=what, who=who, **values)


@pytest.fixture
def filled(database: Database) -> Database:
    add(database, "trained", dataset="parts", class_name="disc", model_folder="/m/parts/disc/one", model_digest="d1")
    add(database, "calibrated", who="Bo", dataset="parts", class_name="disc", model_folder="/m/parts/disc/one")
    add(database, "trained", dataset="parts", class_name="washer", model_folder="/m/parts/washer/one")
    add(database, "labels exported", who="Bo", dataset="elpv", class_name="100%_mono")
    return database


def verify(database: Database, head: str | None = None) -> history.Verification:
    with database.read() as session:
        return history.verify(session, head=head)


def tamper(database: Database, *statements: str) -> None:
    with database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def rehashed(database: Database, number: int) -> str:
    """Statement that gives a row the hash of what it holds now."""
    with database.read() as session:
        row = session.get_one(history.HistoryEntry, number)
        return f"UPDATE history SET hash = '{history.entry_hash(row.__dict__)}' WHERE id = {number}"


def test_each_row_carries_the_hash_of_the_row_before(filled: Database) -> None:
    with filled.read() as session:
        rows = history.page(session, HistoryFilter())[::-1]
    assert [row.id for row in rows] == [1, 2, 3, 4]
    previous = "0" * 64
    for row in rows:
        # written out once more, by the rule in docs/history.md
        names = [
            "at",
            "class_name",
            "dataset",
            "details",
            "id",
            "model_digest",
            "model_folder",
            "previous",
            "what",
            "who",
        ]
        content = ",".join(f'"{name}":{json.dumps(getattr(row, name))}' for name in names)
        assert row.previous == previous
        assert row.hash == hashlib.sha256(f"{{{content}}}".encode()).hexdigest()
        previous = row.hash
    assert verify(filled) == history.Verification(n=4, head=previous)


def test_an_entry_tells_who_did_what_when(database: Database) -> None:
    with database.write() as session:
        entry = history.append(session, what="renamed", who="Zoë", dataset="d", details={"to": "部", "at": Path("/x")})
        assert (entry.id, entry.what, entry.who, entry.previous) == (1, "renamed", "Zoë", NO_HASH)
        assert json.loads(entry.details) == {"at": "/x", "to": "部"}
        assert abs(datetime.fromisoformat(entry.at) - datetime.now(UTC)) < timedelta(minutes=1)


def test_details_without_a_json_form_are_refused_and_leave_no_row(database: Database) -> None:
    with pytest.raises(DocumentError, match="x is a object"), database.write() as session:
        history.append(session, what="renamed", who="Ada", details={"x": object()})
    assert verify(database).n == 0


def test_an_empty_chain_holds(database: Database) -> None:
    assert verify(database) == history.Verification(n=0, head=NO_HASH)
    assert verify(database, NO_HASH).altered is None
    assert verify(database, "f" * 64).altered == 1


@pytest.mark.parametrize(
    "change",
    [
        "who = 'Eve'",
        "what = 'deleted'",
        "at = '2020-01-01T00:00:00.000000+00:00'",
        "dataset = ''",
        "class_name = 'x'",
        "model_folder = '/other'",
        "model_digest = 'e'",
        "details = '{\"a\": 1}'",
        "details = 'no json'",
        "previous = ''",
        "hash = ''",
    ],
)
def test_a_changed_row_is_named(filled: Database, change: str) -> None:
    tamper(filled, f"UPDATE history SET {change} WHERE id = 2")
    found = verify(filled)
    assert (found.n, found.altered) == (1, 2)
    assert found.problem == "Row 2 was altered: its content does not match its hash."


def test_a_value_of_another_kind_is_a_change_and_no_failure(sqlite_database: Database) -> None:
    add(sqlite_database, "trained")
    tamper(sqlite_database, "UPDATE history SET who = x'ff' WHERE id = 1")
    assert verify(sqlite_database).altered == 1


def test_a_row_changed_together_with_its_hash_is_noticed_at_the_next_row(filled: Database) -> None:
    tamper(filled, "UPDATE history SET who = 'Eve' WHERE id = 2")
    tamper(filled, rehashed(filled, 2))
    found = verify(filled)
    assert (found.n, found.altered) == (2, 3)
    assert "Row 3 does not follow row 2" in found.problem


def test_a_removed_row_is_named(filled: Database) -> None:
    tamper(filled, "DELETE FROM history WHERE id = 2")
    assert verify(filled).problem == "Row 2 is missing, the next one is row 3: rows were removed or renumbered."


def test_a_removed_row_is_noticed_when_the_others_move_up_with_new_hashes(filled: Database) -> None:
    tamper(filled, "DELETE FROM history WHERE id = 2", "UPDATE history SET id = 2 WHERE id = 3")
    tamper(filled, rehashed(filled, 2))
    found = verify(filled)
    assert (found.altered, found.problem[:28]) == (2, "Row 2 does not follow row 1:")


def test_the_first_row_cannot_be_removed_unseen(filled: Database) -> None:
    tamper(filled, "DELETE FROM history WHERE id = 1")
    assert verify(filled).altered == 1


def test_rows_in_another_order_are_noticed(filled: Database) -> None:
    tamper(filled, *(f"UPDATE history SET id = {new} WHERE id = {old}" for old, new in ((2, 9), (3, 2), (9, 3))))
    assert verify(filled).altered == 2
    tamper(filled, rehashed(filled, 2))
    assert verify(filled).altered == 2


def test_rows_cut_off_at_the_end_show_only_against_a_hash_that_was_kept(filled: Database) -> None:
    head = verify(filled).head
    tamper(filled, "DELETE FROM history WHERE id = 4")
    assert verify(filled).altered is None
    found = verify(filled, head)
    assert (found.n, found.altered) == (3, 4)
    assert f"The hash {head} is in none of the 3 rows" in found.problem


def test_a_hash_that_was_kept_stays_in_a_chain_that_grows(filled: Database) -> None:
    head = verify(filled).head
    add(filled, "deleted")
    found = verify(filled, head)
    assert (found.n, found.altered) == (5, None)
    assert found.head != head


def test_processes_that_append_at_once_make_one_chain(database: Database) -> None:
    paths = [str(Path(skrd4ad.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ANOTHER_PROCESS, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name in ("Ada", "Bo")
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    found = verify(database)
    assert (found.n, found.altered) == (40, None)
    with database.read() as session:
        for name in ("Ada", "Bo"):
            mine = history.page(session, HistoryFilter(who=(name,)))
            assert [json.loads(entry.details)["number"] for entry in mine] == list(range(19, -1, -1))


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (HistoryFilter(), [4, 3, 2, 1]),
        (HistoryFilter(what=("trained",)), [3, 1]),
        (HistoryFilter(what=("trained", "calibrated"), who=("Bo",)), [2]),
        (HistoryFilter(about="DISC"), [2, 1]),
        (HistoryFilter(about="washer/one"), [3]),
        (HistoryFilter(about="d1"), [1]),
        (HistoryFilter(about="100%_m"), [4]),
        (HistoryFilter(about="1%m"), []),  # not a pattern
        (HistoryFilter(since=datetime(2000, 1, 1, tzinfo=UTC)), [4, 3, 2, 1]),
        (HistoryFilter(since=datetime(2990, 1, 1, tzinfo=UTC)), []),
        (HistoryFilter(before=datetime(2000, 1, 1, tzinfo=UTC)), []),
    ],
)
def test_entries_are_found_newest_first(filled: Database, wanted: HistoryFilter, numbers: list[int]) -> None:
    with filled.read() as session:
        assert [entry.id for entry in history.page(session, wanted)] == numbers
        assert history.count(session, wanted) == len(numbers)
        assert [entry.id for entry in history.page(session, wanted, limit=2, offset=1)] == numbers[1:3]


def test_since_counts_and_before_does_not(filled: Database) -> None:
    with filled.read() as session:
        third = datetime.fromisoformat(history.page(session, HistoryFilter(), limit=1, offset=1)[0].at)
        assert [entry.id for entry in history.page(session, HistoryFilter(since=third))] == [4, 3]
        assert [entry.id for entry in history.page(session, HistoryFilter(before=third))] == [2, 1]


def test_what_there_is_to_filter_by(filled: Database) -> None:
    with filled.read() as session:
        assert history.known_values(session) == (["calibrated", "labels exported", "trained"], ["Ada", "Bo"])
        assert history.newest_hash(session) == history.page(session, HistoryFilter(), limit=1)[0].hash
