"""What a user pressed in a component: every press is acted on once, in its order, also when several arrive together."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

_TOKEN = "_presses-token"


@dataclass(frozen=True, kw_only=True)
class Press:
    """One press."""

    act: str
    """What was asked for."""
    image: str
    """The image that the browser showed then."""
    value: str | None = None


def session_token() -> str:
    """Names this session. A server that was restarted gets a browser's last report again; its token is another."""
    return str(st.session_state.setdefault(_TOKEN, secrets.token_hex(8)))


def new_presses(key: str) -> list[Press]:
    """Presses in the component of this key that were not taken yet, oldest first; they count as taken from now on.

    What is malformed is left out: only the browser's own component writes it.
    """
    value = st.session_state.get(key)
    reported = value.get("presses") if isinstance(value, Mapping) else None
    if not isinstance(reported, list):
        return []
    handled = handled_presses(key)["handled"]
    found = sorted((each for each in reported if _is_press(each) and each["n"] > handled), key=lambda each: each["n"])
    if found:
        st.session_state[_memory(key)] = found[-1]["n"]
    return [Press(act=each["act"], image=each["image"], value=each.get("value")) for each in found]


def handled_presses(key: str) -> dict[str, Any]:
    """What the browser is told, so that it knows which presses were taken."""
    return {"handled": st.session_state.get(_memory(key), 0), "session": session_token()}


def _memory(key: str) -> str:
    return f"{key}-handled"


def _is_press(each: object) -> bool:
    return (
        isinstance(each, Mapping)
        and type(each.get("n")) is int
        and each.get("session") == session_token()
        and isinstance(each.get("act"), str)
        and isinstance(each.get("image"), str)
        and isinstance(each.get("value"), str | None)
    )
