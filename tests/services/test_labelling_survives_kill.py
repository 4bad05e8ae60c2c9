"""A process that labels is killed at random moments; what it had confirmed is there, and nothing is damaged."""

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.services import labelling
from skrd4ad.services.label_files import load_mask_file
from skrd4ad.services.labelling import history_of
from skrd4ad.storage.database import workspace_database
from tests.label_world import ALL, HEIGHT, WIDTH, items, picture, put

KILLS = 20
Confirmed = tuple[str, int, str, str | None, int]
"""Digest, revision, label, file of the mask, pixels of the drawing; 0 for no drawing."""


def label_until_killed(home: Path, turn: int, tell: Connection) -> None:
    """Draw, decide and undo at random; every step is told once it is stored."""
    os.environ["SKRD4AD_HOME"] = str(home)
    os.environ.pop("SKRD4AD_DATABASE_URL", None)
    chance = random.Random(turn)
    digests = [item.digest for item in items()]
    tell.send(None)
    while True:
        item = labelling.item_of(ALL, chance.choice(digests))
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask.ravel()[: chance.randint(1, mask.size)] = True
        what = chance.choice(["draw", "draw", "good", "defect", "undo"])
        if what == "draw":
            made = labelling.draw(item, mask, reviewer="Anna")
        elif what == "undo":
            made = labelling.undo(item, reviewer="Anna")
        elif what == "good":
            made = labelling.decide(item, "good", reviewer="Anna")
        else:
            made = labelling.decide(item, "defect", reviewer="Anna", defect_type="dent")
        if made is not None:
            drawn = int(mask.sum()) if what == "draw" else 0
            tell.send((item.digest, made.revision, made.label, made.mask_file, drawn))


def confirmed_by_one(home: Path, turn: int) -> list[Confirmed]:
    """What a labeller confirmed before it was killed."""
    # one server loads the libraries; every labeller is a fork of it that has opened nothing yet
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.label_world"])
    hear, tell = processes.Pipe(duplex=False)
    labeller = processes.Process(target=label_until_killed, args=(home, turn, tell))
    labeller.start()
    tell.close()
    assert hear.recv() is None
    time.sleep(random.Random(turn).uniform(0.05, 0.6))
    labeller.kill()
    confirmed: list[Confirmed] = []
    try:
        while True:
            confirmed.append(hear.recv())
    except (EOFError, OSError):  # the last one may be cut off
        hear.close()
    labeller.join()
    assert labeller.exitcode == -signal.SIGKILL
    return confirmed


def test_nothing_confirmed_is_lost_when_the_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    monkeypatch.delenv("SKRD4AD_DATABASE_URL", raising=False)
    for i in range(5):
        put(f"{i}.png", picture(i))
    workspace_database().close()

    confirmed: dict[tuple[str, int], Confirmed] = {}
    for turn in range(KILLS):
        for one in confirmed_by_one(tmp_path, turn):
            assert one[:2] not in confirmed, "a revision was given twice"
            confirmed[one[:2]] = one
        connection = sqlite3.connect(tmp_path / "skrd4ad.db")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
    assert len(confirmed) >= KILLS

    stored = {(item.digest, each.revision): each for item in items() for each in history_of(item.digest)}
    for place, (_, _, label, mask_file, drawn) in confirmed.items():
        assert (stored[place].label, stored[place].mask_file) == (label, mask_file)
        if drawn:
            assert mask_file is not None and load_mask_file(mask_file, shape=(HEIGHT, WIDTH)).sum() == drawn
    for revision in stored.values():  # also those that were not confirmed any more
        if revision.mask_file is not None:
            load_mask_file(revision.mask_file, shape=(HEIGHT, WIDTH))
    for item in items():
        numbers = [each.revision for each in history_of(item.digest)]
        assert numbers == list(range(1, item.revision + 1)), "each revision follows the one before"
    workspace_database().close()
