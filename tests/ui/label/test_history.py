from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skrd4ad.storage.annotations import Revision
from skrd4ad.ui.label.history import clock, history_html, history_lines

START = datetime(2026, 5, 12, 8, 42, 7, tzinfo=UTC)


def history(*changes: dict[str, Any]) -> list[Revision]:
    """Revisions that differ from the one before by the changes."""
    known: dict[str, Any] = {"label": "none", "defect_type": None, "mask_file": None, "reviewer": "Anna", "comment": ""}
    made = []
    for number, change in enumerate(changes, start=1):
        known |= change
        undoes = known.pop("undoes", None)
        made.append(Revision(number=number, made_at=START + timedelta(minutes=number), undoes=undoes, **known))
    return made


def words(*changes: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line.what, line.who) for line in history_lines(history(*changes))]


def test_strokes_of_one_person_in_a_row_are_one_line_and_the_newest_is_first() -> None:
    found = words(
        {"label": "defect", "mask_file": "a"},
        {"mask_file": "b"},
        {"mask_file": "c"},
        {"mask_file": "d", "reviewer": "Bob"},
        {"defect_type": "dent"},
        {"mask_file": "e"},
    )
    assert found == [
        ("1 stroke, defect (dent)", "Bob"),
        ("defect (dent)", "Bob"),
        ("1 stroke, defect", "Bob"),
        ("3 strokes, defect", "Anna"),
    ]


def test_a_group_has_the_time_of_its_last_stroke() -> None:
    [line] = history_lines(history({"label": "defect", "mask_file": "a"}, {"mask_file": "b"}))
    assert line.when == START + timedelta(minutes=2) and line.strokes == 2


def test_decisions_comments_and_what_was_taken_back_are_told_apart() -> None:
    found = words(
        {"label": "defect", "mask_file": "a"},
        {"label": "good", "mask_file": None},
        {"label": "defect", "mask_file": "a", "undoes": 2},
        {"comment": "at the rim"},
        {"comment": ""},
        {"label": "unsure"},
    )
    assert found == [
        ("unsure", "Anna"),
        ("removed the comment", "Anna"),
        ("comment: at the rim", "Anna"),
        ("took back, so defect", "Anna"),
        ("good", "Anna"),
        ("1 stroke, defect", "Anna"),
    ]


def test_nothing_that_a_person_wrote_is_markup() -> None:
    html = history_html(
        history_lines(history({"label": "none", "comment": ""}, {"comment": "<b>", "reviewer": "<i>"})), None
    )
    assert "<b>" not in html and "<i>" not in html and "comment: &lt;b&gt;" in html


@pytest.mark.parametrize(
    ("zone", "now", "expected"),
    [
        (None, START, "08:42:07"),
        ("Europe/Berlin", START, "10:42:07"),
        ("Europe/Berlin", START + timedelta(hours=20), "12 May 10:42"),
        ("Asia/Tokyo", START + timedelta(hours=6, minutes=17), "17:42:07"),
        ("Asia/Tokyo", START + timedelta(hours=6, minutes=18), "12 May 17:42"),
        ("No/Such/Place", START, "08:42:07"),
        ("../etc", START, "08:42:07"),
    ],
)
def test_the_time_is_the_readers(zone: str | None, now: datetime, expected: str) -> None:
    assert clock(START, zone, now) == expected
