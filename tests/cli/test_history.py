import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from skrd4ad.cli import main
from skrd4ad.services.access import acting_as
from skrd4ad.services.history import record
from skrd4ad.storage.database import workspace_database

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def filled(home: Path) -> None:
    with acting_as("Ada"):
        record("imported", dataset="parts", class_name="disc", folder="/m/parts/disc/one", details={"file": "=a.zip"})
    record("renamed", who="Bo", dataset="parts", class_name="washer", details={"before": "", "name": "Line 3"})


def change(statement: str) -> None:
    with workspace_database().write() as session:
        session.execute(text(statement))


def test_an_empty_history_is_said(as_json: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "Nothing happened in this workspace yet" in captured.err
    assert as_json("history") == (0, {"total": 0, "head": "0" * 64, "rows": []})
    assert as_json("history", "--verify")[0] == 0


def test_entries_are_shown_newest_first(filled: None, capsys: pytest.CaptureFixture[str], as_json: Run) -> None:
    assert main(["history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2  20") and lines[0].endswith(" UTC  Bo  renamed  parts/washer")
    assert lines[1] == "  name Line 3"
    assert lines[2].endswith(" UTC  Ada  imported  /m/parts/disc/one")
    code, document = as_json("history", "--limit", 1)
    assert (code, document["total"], len(document["rows"])) == (0, 2, 1)
    assert document["rows"][0]["hash"] == document["head"]
    assert document["rows"][0]["details"] == {"before": "", "name": "Line 3"}


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--what", "renamed"], [2]),
        (["--who", "Ada", "Cy"], [1]),
        (["--about", "disc"], [1]),
        (["--about", "PARTS"], [2, 1]),
        (["--since", f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"], []),
        (["--until", f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"], [2, 1]),
        (["--until", "2020-01-01"], []),
    ],
)
def test_filters_narrow_what_is_shown(filled: None, as_json: Run, options: list[str], numbers: list[int]) -> None:
    code, document = as_json("history", *options)
    assert (code, [row["id"] for row in document["rows"]]) == (0, numbers)


def test_a_csv_file_holds_what_the_hashes_cover(filled: None, tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    assert main(["history", "--csv", str(file)]) == 0
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    assert [row["what"] for row in rows] == ["renamed", "imported"]
    assert rows[0]["previous"] == rows[1]["hash"]


def test_a_chain_that_holds_is_0_and_tells_its_newest_hash(filled: None, as_json: Run) -> None:
    code, document = as_json("history", "--verify")
    assert (code, document["verified"], document["rows"], document["problem"]) == (0, True, 2, "")
    assert document["head"] == as_json("history")[1]["head"]
    record("archived", who="Bo")
    assert as_json("history", "--verify", "--head", document["head"])[0] == 0


def test_an_altered_row_is_1_and_named(filled: None, as_json: Run, capsys: pytest.CaptureFixture[str]) -> None:
    change("UPDATE history SET who = 'Eve' WHERE id = 1")
    code, document = as_json("history", "--verify")
    assert (code, document["verified"], document["altered"]) == (1, False, 1)
    assert main(["history", "--verify"]) == 1
    assert "Row 1 was altered" in capsys.readouterr().err


def test_rows_cut_off_at_the_end_need_a_hash_that_was_kept(filled: None, as_json: Run) -> None:
    head = as_json("history", "--verify")[1]["head"]
    change("DELETE FROM history WHERE id = 2")
    assert as_json("history", "--verify")[0] == 0
    code, document = as_json("history", "--verify", "--head", head)
    assert (code, document["altered"]) == (1, 2)


def test_a_day_that_is_none_is_wrong_use(as_json: Run) -> None:
    code, document = as_json("history", "--since", "yesterday")
    assert code == 2 and "such as 2026-05-31" in document["error"]
