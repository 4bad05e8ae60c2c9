"""A process that labels is killed at random moments; what it had confirmed is there, and nothing is damaged."""

import contextlib
import multiprocessing
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from skrd4ad.services.labelling.annotate import history_of
from skrd4ad.services.labelling.files import load_mask_file
from skrd4ad.storage.database import workspace_database
from tests.label_world import ALL, HEIGHT, WIDTH, items, picture, put
from tests.labeller import label_until_killed

KILLS = 20
# its children are forked from a process that has imported everything
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.labeller"])
Step = dict[str, Any]
"""What ``tests/labeller.py`` tells of a step that is stored."""


def confirmed_by_one(home: Path, turn: int) -> list[Step]:
    """What a labeller confirmed before it was killed."""
    told, out = FORKS.Pipe(duplex=False)
    labeller = FORKS.Process(target=label_until_killed, args=(home, ALL, turn, out))
    labeller.start()
    out.close()
    try:
        assert told.recv() == {"ready": len(items())}
        time.sleep(random.Random(turn).uniform(0.05, 0.6))
    finally:
        labeller.kill()
        labeller.join()
    assert labeller.exitcode == -signal.SIGKILL
    steps = []
    with contextlib.suppress(EOFError, OSError):  # an OSError where the last one was cut off
        while True:
            steps.append(told.recv())
    return steps


def test_nothing_confirmed_is_lost_when_the_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    # a page that ran before in this process has left itself as __main__, which the children would run again
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    for i in range(5):
        put(f"{i}.png", picture(i))
    workspace_database().close()

    confirmed: dict[tuple[str, int], Step] = {}
    for turn in range(KILLS):
        for one in confirmed_by_one(tmp_path, turn):
            place = (one["digest"], one["revision"])
            assert place not in confirmed, "a revision was given twice"
            confirmed[place] = one
        connection = sqlite3.connect(tmp_path / "skrd4ad.db")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
    assert len(confirmed) >= KILLS

    stored = {(item.digest, each.number): each for item in items() for each in history_of(item.digest)}
    for place, one in confirmed.items():
        assert (stored[place].label, stored[place].mask_file) == (one["label"], one["mask_file"])
        if one["drawn"]:
            assert load_mask_file(one["mask_file"], shape=(HEIGHT, WIDTH)).sum() == one["drawn"]
    for revision in stored.values():  # also those that were not confirmed any more
        if revision.mask_file is not None:
            load_mask_file(revision.mask_file, shape=(HEIGHT, WIDTH))
    for item in items():
        numbers = [each.number for each in history_of(item.digest)]
        assert numbers == list(range(1, item.latest.number + 1)), "each revision follows the one before"
    workspace_database().close()
