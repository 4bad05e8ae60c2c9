from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skrd4ad.errors import ConflictError
from skrd4ad.services.watching.watches import Watch
from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.label_queue import QueueCounts, QueueItem
from skrd4ad.storage.tables import StoredPrediction, WatchedFile
from skrd4ad.types import Verdict
from skrd4ad.ui.components.queue_list import row_of, verdict_under
from skrd4ad.ui.label.conflict import mine_text, theirs_text
from skrd4ad.ui.label.list import progress_text
from skrd4ad.ui.label.session import PendingChange
from skrd4ad.ui.label.watch import arrival_table, watch_text
from skrd4ad.ui.text import plain
from skrd4ad.ui.theme import decision_text
from tests.label_world import ALL

MADE = datetime(2020, 5, 12, 8, 42, 7, tzinfo=UTC)
ITEM = QueueItem(
    digest="a" * 64,
    name="part.png",
    file="uploads/gone.png",
    width=4,
    height=3,
    origin="inspect",
    split=None,
    known_type=None,
    added_at=MADE,
    score=0.5,
    refusal=None,
)


@pytest.mark.parametrize(
    ("review", "reject", "score", "refusal", "verdict"),
    [
        (None, 0.5, 0.5, None, "OK"),
        (None, 0.4, 0.5, None, "NG"),
        (0.4, 0.6, 0.5, None, "REVIEW"),
        (None, None, 0.5, None, None),
        (None, 0.4, None, None, None),
        (None, 0.6, 0.5, "cannot judge: too dark", "CANNOT JUDGE"),
    ],
)
def test_a_verdict_needs_a_score_and_a_limit_and_an_image_that_can_be_judged(
    review: float | None, reject: float | None, score: float | None, refusal: str | None, verdict: Verdict | None
) -> None:
    item = replace(ITEM, score=score, refusal=refusal)
    assert verdict_under(item, replace(ALL, review=review, reject=reject)) == verdict


def test_a_row_says_what_is_wrong_and_who_decided(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    there = tmp_path / "there.png"
    there.write_bytes(b"")
    items = [
        ITEM,
        replace(ITEM, file=str(there), refusal="cannot judge: dark"),
        replace(ITEM, file=str(there), note="torn"),
        replace(ITEM, file=str(there), latest=Revision(label="good", reviewer="Anna")),
        replace(ITEM, file=str(there), latest=Revision(label="none", reviewer="Anna", number=2)),
    ]
    rows = [row_of(item, ALL) for item in items]
    assert [row["note"] for row in rows] == ["file missing", None, "cannot be read", None, None]
    assert [row["who"] for row in rows] == [None, None, None, "Anna", None]


def test_progress_counts_all_that_somebody_decided_on() -> None:
    counts = QueueCounts(
        total=1200, labels={"none": 83, "good": 1000, "defect": 100, "unsure": 17}, masks=0, unscored=0
    )
    assert progress_text(counts) == (1117, "1,117 of 1,200 decided, 83 left")
    assert progress_text(QueueCounts(total=0, labels={}, masks=0, unscored=0)) == (0, "0 of 0 decided, 0 left")


def test_decisions_in_words() -> None:
    assert decision_text("defect", "scratch") == "defect (scratch)"
    assert decision_text("none", None) == "open"
    assert plain("*a* [b](c) :red[d]") == r"\*a\* \[b\]\(c\) \:red\[d\]"


def test_both_sides_of_a_conflict_in_words() -> None:
    dent = Revision(label="defect", defect_type="dent", mask_file="m", reviewer="Bob", made_at=MADE)
    theirs = replace(ITEM, latest=dent)
    assert theirs_text(theirs, None).startswith("**Bob** changed this image at 12 May 08:42: defect ")
    assert theirs_text(theirs, None).endswith(", with a drawing.")
    error = ConflictError("late")
    mask = np.ones((30, 50), bool)
    assert mine_text(PendingChange(error=error, mask=mask, label="good")) == (
        "Not stored yet: your drawing, 1,500 pixels; your decision, good."
    )
    assert mine_text(PendingChange(error=error, label="none", comment="a")) == "Not stored yet: your comment."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "watched; 12 images came, the last just now, 1 could not be taken"),
        ({"alive": False, "noted": 0, "last_at": None, "taken": 1}, "about to be watched; 1 image came"),
        ({"note": "It is gone."}, r"It is gone\. 12 images came, the last just now, 1 could not be taken"),
        ({"active": False, "note": "It is gone.", "noted": 0}, "stopped; 12 images came, the last just now"),
    ],
)
def test_how_a_watched_folder_stands(changes: dict[str, Any], words: str) -> None:
    known: dict[str, Any] = {"active": True, "alive": True, "note": None, "taken": 12, "noted": 1}
    known |= {"last_at": datetime.now(UTC)} | changes
    watch = Watch(id=1, folder=Path("/line 1"), **known)
    assert watch_text(watch) == f"**/line 1**  \n{words}"


def test_the_table_of_what_came_says_why_there_is_no_verdict() -> None:
    a, b, c, d = (WatchedFile(name=f"{name}.png", taken_at=datetime.now(UTC)) for name in "abcd")
    b.note = "torn"
    refused = StoredPrediction(score=0.51234, verdict="CANNOT JUDGE", refusal="cannot judge: dark")
    table = arrival_table([(a, None), (b, None), (c, refused), (d, StoredPrediction(score=0.51234, verdict="OK"))])
    assert list(table["Verdict"]) == ["not scored yet", "torn", "CANNOT JUDGE", "OK"]
    assert list(table["Score"]) == ["–", "–", "0.512", "0.512"]
