from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skrd4ad.format import ago, duration
from skrd4ad.services.jobs.view import JobView
from skrd4ad.ui.text import STATES, progress_of

WAITING = JobView(
    id="1",
    kind="train",
    lane="long",
    title="a part",
    state="queued",
    wish="run",
    request={},
    progress={},
    result=None,
    error=None,
    details=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    started_at=None,
    finished_at=None,
    position=1,
)


def running(**progress: Any) -> JobView:
    return replace(WAITING, state="running", position=0, progress=progress)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (3599.7, "1 h 0 min"),
        (7800, "2 h 10 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(seconds=-5), "just now"),  # a clock that was set back
        (timedelta(minutes=5, seconds=30), "5 min ago"),
        (timedelta(hours=3, minutes=59), "3 h ago"),
        (timedelta(days=1, hours=2), "1 day ago"),
        (timedelta(days=40), "40 days ago"),
    ],
)
def test_a_moment_is_told_from_now(before: timedelta, words: str) -> None:
    assert ago(datetime.now(UTC) - before) == words


@pytest.mark.parametrize(("position", "words"), [(1, "next in the queue"), (3, "number 3 in the queue")])
def test_a_waiting_job_tells_its_place(position: int, words: str) -> None:
    assert progress_of(replace(WAITING, position=position)) == (0.0, words)


@pytest.mark.parametrize(
    ("progress", "share", "words"),
    [
        ({}, 0.0, "starting"),
        (
            {"phase": "training", "epoch": 2, "done": 3, "total": 9, "share": 0.25, "words": "epoch 3 of 9"},
            0.25,
            "epoch 3 of 9",
        ),
        ({"share": 1.5, "words": "storing"}, 1.0, "storing"),
        ({"share": None, "words": "storing"}, 0.0, "storing"),
    ],
)
def test_a_running_job_tells_how_far_it_is(progress: dict[str, Any], share: float, words: str) -> None:
    assert progress_of(running(**progress)) == (share, words)


def test_a_pause_and_an_end_that_was_asked_for_are_told() -> None:
    told = {"share": 0.4, "words": "scoring image 2 of 5"}
    assert progress_of(running(**told, paused=True)) == (0.4, "paused")
    assert progress_of(replace(running(**told), wish="cancel")) == (0.4, "stopping")


def test_every_state_has_a_word() -> None:
    assert set(STATES) == {"queued", "running", "done", "failed", "cancelled", "interrupted"}
