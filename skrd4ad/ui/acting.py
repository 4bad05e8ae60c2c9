"""Who acts, and with which role: by the login where there is one, else by the name that the browser keeps."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from skrd4ad.errors import ConfigError
from skrd4ad.services.access import Actor, ask_outside
from skrd4ad.services.labelling.annotate import reviewer_name
from skrd4ad.services.roles import actor_of
from skrd4ad.ui.login.binding import without_login

COOKIE = "skrd4ad_reviewer"
REVIEWER = "label-reviewer"
"""Where the session keeps the reviewer's name."""
DAMAGED = "The file with the app's secrets cannot be read, so nobody can log in. Whoever runs the app corrects it."
NOBODY = "Nobody is logged in."


def known_reviewer() -> str | None:
    """The reviewer's name, from now on that of the session; None while there is none."""
    st.session_state[REVIEWER] = name = _name()
    return name


def browser_actor() -> Actor:
    """Who acts by the browser that this run of a script, or what it calls back, is for.

    In a thread that is for no browser and was not told who acts, nobody is logged in.
    """
    has_browser = get_script_run_ctx(suppress_warning=True) is not None
    user = st.user.to_dict() if has_browser else {}
    if user.get("is_logged_in"):
        return actor_of(_login_name(user), identity_of(user))
    if login_of(user) is not None or login_state() != "none":
        return Actor(role="viewer", because=DAMAGED if login_state() == "damaged" else NOBODY)
    name = None
    with suppress(ConfigError):
        name = _name() if has_browser else None
    return without_login(name)


def may_enter() -> bool:
    """Whether pages are shown: with a login only to those who are logged in."""
    user = st.user.to_dict()
    return bool(user.get("is_logged_in")) or (login_of(user) is None and login_state() == "none")


def login_state() -> Literal["none", "there", "damaged"]:
    """Whether the app's secrets set up a login. Secrets that cannot be read might: they are no reason to let all in."""
    if not any(Path(file).is_file() for file in st.get_option("secrets.files")):
        return "none"
    if not st.secrets.load_if_toml_exists():
        return "damaged"
    return "there" if "auth" in st.secrets else "none"


def login_of(user: Mapping[str, Any]) -> str | None:
    """Name of a login, "" before one; None where the app has no login."""
    if "is_logged_in" not in user:
        return None
    if not user["is_logged_in"]:
        return ""
    return str(user.get("name") or user.get("email") or user.get("sub") or "")


def identity_of(user: Mapping[str, Any]) -> str:
    """What roles are given to: the e-mail address of a login, or its name where it has none; empty for an address
    that the login says is not verified.

    A name does not count beside an address: with many providers people choose it themselves.
    """
    email = str(user.get("email") or "")
    if email:
        return "" if user.get("email_verified") in (False, "false") else email
    return str(user.get("name") or user.get("sub") or "")


def name_from_cookie(value: str | None) -> str | None:
    """The name that a browser kept; None when it kept none that can be used."""
    with suppress(ConfigError):
        return reviewer_name(unquote(value or ""))
    return None


def _login_name(user: Mapping[str, Any]) -> str:
    """The first of what a login tells that can be a name."""
    for claim in ("name", "email", "sub"):
        with suppress(ConfigError):
            return reviewer_name(str(user.get(claim) or ""))
    return "somebody logged in"


def _name() -> str | None:
    login = login_of(st.user.to_dict())
    if login is not None:
        return reviewer_name(login) if login else None
    return st.session_state.get(REVIEWER) or name_from_cookie(st.context.cookies.get(COOKIE))


# what a widget calls back runs before any block of a page says who acts
ask_outside(browser_actor)
