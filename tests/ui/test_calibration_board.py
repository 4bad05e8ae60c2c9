from dataclasses import replace

import numpy as np
import pytest
import streamlit as st

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.consequences import Costs
from skrd4ad.ui.components.browser import SharedValue
from skrd4ad.ui.components.calibration_board import (
    BoardState,
    ScoreGroup,
    _check,
    _payload,
    _read,
    calibration_board,
)
from skrd4ad.ui.components.envelope import unpack
from skrd4ad.ui.theme import VERDICTS

AT = BoardState(review=0.5, reject=0.8)
MOVED = BoardState(review=0.6, reject=0.8)
START = SharedValue(sent=AT, turn=1, choice=None)
GOOD = ScoreGroup(name="Held-out normals", kind="held-out", scores=(0.1, 1 / 3))


def payload(*groups: ScoreGroup, following: SharedValue = START, **changes) -> bytes:
    settings = {"proposal": AT, "defect_rate": 0.01, "costs": None, "unit": "€"} | changes
    return _payload(groups or (GOOD,), following, **settings)


def test_scores_travel_without_loss() -> None:
    bent = ScoreGroup(name="bent", kind="defect", scores=(float(np.nextafter(0.8, 1)),))
    header, blobs = unpack(payload(GOOD, bent))
    assert header["groups"] == [{"name": "Held-out normals", "kind": "held-out"}, {"name": "bent", "kind": "defect"}]
    assert np.frombuffer(blobs["0"], "<f8").tolist() == [0.1, 1 / 3]
    assert np.frombuffer(blobs["1"], "<f8")[0] > 0.8


def test_the_payload_says_where_the_limits_are_and_what_mistakes_cost() -> None:
    header, _ = unpack(payload(costs=Costs(escape=100, false_reject=5), proposal=MOVED))
    assert (header["limits"], header["turn"]) == ({"review": 0.5, "reject": 0.8}, 1)
    assert header["proposal"] == {"review": 0.6, "reject": 0.8}
    assert header["costs"] == {"escape": 100, "falseReject": 5, "review": None}
    assert {name: look["shape"] for name, look in header["verdicts"].items()} == {
        name: look.shape for name, look in VERDICTS.items()
    }


def test_a_move_of_the_user_takes_no_turn_and_is_there_for_a_board_drawn_anew() -> None:
    moved = START.follow(AT, (MOVED, 1))
    adopted = moved.follow(MOVED, (MOVED, 1))
    assert moved.shown == adopted.shown == MOVED
    for following in (moved, adopted):
        header, _ = unpack(payload(following=following))
        assert (header["limits"], header["turn"]) == ({"review": 0.6, "reject": 0.8}, 1)


@pytest.mark.parametrize("change", [{"name": "New"}, {"kind": "new"}, {"scores": (0.1, 0.2)}])
def test_the_content_has_another_name_when_scores_change_and_only_then(change: dict) -> None:
    def content(group: ScoreGroup, following: SharedValue = START) -> str:
        return str(unpack(payload(group, following=following))[0]["content"])

    assert content(GOOD) == content(GOOD, START.follow(AT, (MOVED, 1)))
    assert content(replace(GOOD, **change)) != content(GOOD)


def test_python_overrules_a_move_by_asking_for_other_limits() -> None:
    other = BoardState(review=None, reject=0.9)
    adopted = START.follow(AT, (MOVED, 1)).follow(MOVED, (MOVED, 1))
    overruled = adopted.follow(other, (MOVED, 1))
    assert (overruled.shown, overruled.turn) == (other, 2)
    assert overruled.follow(other, (MOVED, 1)) == overruled


def test_a_board_that_comes_back_to_the_page_gets_the_limits_again() -> None:
    moved = START.follow(AT, (MOVED, 1))
    back = moved.follow(MOVED, None)
    assert (back.sent, back.turn) == (MOVED, 2)


def test_a_board_without_a_memory_does_not_take_an_old_move_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(st, "session_state", {"k": {"choice": {"review": 0.6, "reject": 0.8, "turn": 3}}})
    monkeypatch.setattr(
        "skrd4ad.ui.components.calibration_board._component", lambda *, key, data, on_choice_change: sent.append(data)
    )
    board = {"proposal": AT, "limits": AT, "defect_rate": 0.01, "costs": None, "unit": "€"}
    assert calibration_board([GOOD], **board, key="k") is None
    header, _ = unpack(sent[0])
    assert (header["limits"], header["turn"]) == ({"review": 0.5, "reject": 0.8}, 4)


@pytest.mark.parametrize(
    "choice",
    [
        {"review": 0.9, "reject": 0.8, "turn": 1},
        {"review": None, "reject": float("nan"), "turn": 1},
        {"review": float("-inf"), "reject": 0.8, "turn": 1},
    ],
)
def test_limits_that_are_none_are_refused_from_the_browser(choice: dict) -> None:
    with pytest.raises(DataError, match="load the page again"):
        _read(choice)


def test_a_choice_is_read_with_and_without_review() -> None:
    assert _read(None) is None
    assert _read({"review": None, "reject": 1, "turn": 2}) == (BoardState(review=None, reject=1.0), 2)


@pytest.mark.parametrize(
    ("groups", "limits", "error", "words"),
    [
        ([], AT, DataError, "0 good images"),
        ([ScoreGroup(name="bent", kind="defect", scores=(1.0,))], AT, DataError, "0 good images"),
        ([ScoreGroup(name="a", kind="held-out", scores=(float("nan"),))], AT, DataError, "finite"),
        ([ScoreGroup(name="a", kind="others", scores=(1.0,))], AT, DataError, "held-out, new, labelled, defect"),
        ([GOOD], BoardState(review=0.9, reject=0.8), ConfigError, "review not above reject"),
        ([GOOD], BoardState(review=None, reject=float("inf")), ConfigError, "finite"),
    ],
)
def test_wrong_input_is_refused(groups: list, limits: BoardState, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        _check(groups, limits)
    with pytest.raises(error, match=words):
        calibration_board(groups, proposal=limits, limits=limits, defect_rate=0.01, costs=None, unit="€", key="refused")


def test_a_defect_rate_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 to 1"):
        calibration_board([GOOD], proposal=AT, limits=AT, defect_rate=10, costs=None, unit="€", key="refused")
