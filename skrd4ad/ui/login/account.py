"""Logging in and out, and who one is then."""

from typing import Literal

import streamlit as st
from streamlit.errors import StreamlitAPIException

from skrd4ad.errors import ConfigError
from skrd4ad.services.access import MAY, acting
from skrd4ad.services.roles import roles_problem
from skrd4ad.ui.acting import DAMAGED, login_of, login_state
from skrd4ad.ui.login.binding import NOTICES, access
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button


def ask_for_login() -> None:
    """In place of every page, until somebody has logged in."""
    if login_state() == "damaged":
        st.error(DAMAGED, icon=":material/error:")
        return
    st.info("Log in to see and to work: what is changed is stored with the name of who changed it.")
    if button("Log in", type="primary", icon=":material/login:", key="login"):
        try:
            st.login()
        except StreamlitAPIException as error:
            raise ConfigError(
                f"The login cannot be used: {error} Correct or remove the section [auth] of .streamlit/secrets.toml."
            ) from error


def show_account() -> None:
    """In the sidebar: who is logged in with which role, or what the network may do without a login."""
    if has_login():
        actor = acting()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                f"Logged in as {plain(actor.name or '')}, {plain(actor.role)}",
                help=f"A role that {MAY[actor.role]}. {plain(actor.because)}",
            )
            if button("Log out", key="logout", type="tertiary"):
                st.logout()
        if problem := roles_problem():
            st.warning(plain(problem), icon=":material/warning:")
    elif notice := NOTICES.get(access()):
        st.warning(notice, icon=":material/public:")


def ask_signature(label: str, *, key: str, value: str = "", width: int | Literal["stretch"] = "stretch") -> str:
    """The name that something is stored with: of the login, else as it is typed; empty while there is none."""
    if has_login():
        name = acting().name or ""
        st.caption(f"{label}: {plain(name)}")
        return name
    who = st.text_input(
        label, value=value, key=key, persist_state="session", placeholder="your name", max_chars=80, width=width
    )
    return (who or "").strip()


def has_login() -> bool:
    """Whether the app has a login; the name is then not the browser's to keep."""
    return login_of(st.user.to_dict()) is not None
