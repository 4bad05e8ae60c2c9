"""Who acts: the name from the login where there is one, else the name that the browser keeps."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import unquote

import streamlit as st

from skrd4ad.errors import ConfigError
from skrd4ad.services.history import acting_as
from skrd4ad.services.labelling.annotate import reviewer_name

COOKIE = "skrd4ad_reviewer"
REVIEWER = "label-reviewer"
"""Where the session keeps the reviewer's name."""
T = TypeVar("T")


def known_reviewer() -> str | None:
    """The reviewer's name, from now on that of the session; None while there is none."""
    st.session_state[REVIEWER] = name = _name()
    return name


def acting_reviewer() -> str | None:
    """The reviewer's name for the history; None while there is none, or when the login's name cannot be used."""
    with suppress(ConfigError):
        return _name()
    return None


def as_reviewer(work: Callable[[], T]) -> Callable[[], T]:
    """Work that is done later, outside of the page, under the name of who asked for it."""
    name = acting_reviewer()

    def signed() -> T:
        with acting_as(name):
            return work()

    return signed


def login_of(user: Mapping[str, Any]) -> str | None:
    """Name of a login, "" before one; None where the app has no login."""
    if "is_logged_in" not in user:
        return None
    if not user["is_logged_in"]:
        return ""
    return str(user.get("name") or user.get("email") or user.get("sub") or "")


def name_from_cookie(value: str | None) -> str | None:
    """The name that a browser kept; None when it kept none that can be used."""
    with suppress(ConfigError):
        return reviewer_name(unquote(value or ""))
    return None


def _name() -> str | None:
    login = login_of(st.user.to_dict())
    if login is not None:
        return reviewer_name(login) if login else None
    return st.session_state.get(REVIEWER) or name_from_cookie(st.context.cookies.get(COOKIE))
