from collections.abc import Iterator
from typing import Any

import pytest
import streamlit as st

from skrd4ad.ui.components.presses import Press, handled_presses, new_presses, session_token


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    st.session_state.clear()
    yield
    st.session_state.clear()


def press(n: int, act: str = "good", **other: Any) -> dict[str, Any]:
    return {"n": n, "session": session_token(), "act": act, "image": "a", **other}


def report(*presses: Any) -> None:
    st.session_state["panel"] = {"presses": list(presses)}


def test_each_press_is_taken_once_and_in_order() -> None:
    assert new_presses("panel") == []
    report(press(7, "next"), press(5, "type", value="dent"))
    assert new_presses("panel") == [Press(act="type", image="a", value="dent"), Press(act="next", image="a")]
    assert new_presses("panel") == [] and handled_presses("panel") == {"handled": 7, "session": session_token()}
    report(press(5), press(7), press(8, "back"))
    assert [each.act for each in new_presses("panel")] == ["back"]


def test_presses_of_another_session_are_not_done_again() -> None:
    report(press(7))
    st.session_state.pop("_presses-token")  # as after a restart of the server
    assert new_presses("panel") == []


@pytest.mark.parametrize(
    "wrong", [{"n": "9"}, {"n": True}, {"session": "other"}, {"act": 1}, {"image": None}, {"value": 5}]
)
def test_what_is_malformed_is_left_out(wrong: dict[str, Any]) -> None:
    report(press(9) | wrong, None, "good", press(8))
    assert new_presses("panel") == [Press(act="good", image="a")]


@pytest.mark.parametrize("value", [None, 5, {}, {"presses": None}, {"presses": "good"}, {"presses": {}}])
def test_a_report_that_is_none(value: Any) -> None:
    st.session_state["panel"] = value
    assert new_presses("panel") == []
