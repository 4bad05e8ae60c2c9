"""Who decides: the name from the login where there is one, else asked once and kept by the browser."""

import streamlit as st
from streamlit.errors import StreamlitAPIException

from skrd4ad.errors import ConfigError
from skrd4ad.services.labelling.annotate import reviewer_name
from skrd4ad.ui.acting import REVIEWER, login_of
from skrd4ad.ui.frame import show_error
from skrd4ad.ui.text import plain


def ask_reviewer() -> None:
    """Ask who decides, by the login where there is one."""
    if has_login():
        _ask_for_login()
        return
    with st.container(border=True, width=480):
        st.markdown("**Who decides?** Every decision is stored with a name and a time. You are asked once.")
        _form("Your name", "Start")


def offer_change(reviewer: str) -> None:
    """The name that decisions are stored with; it can be changed unless it comes from the login."""
    if has_login():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Logged in as {plain(reviewer)}; decisions are stored with this name.")
            if st.button("Log out", key="label-logout", type="tertiary"):
                st.logout()
        return
    with st.popover(f"As {plain(reviewer)}", icon=":material/person:", key="label-reviewer-popover"):
        _form("Another reviewer", "Change")


def has_login() -> bool:
    """Whether the app has a login; the name is then not the browser's to keep."""
    return login_of(st.user.to_dict()) is not None


def _ask_for_login() -> None:
    st.info("Log in to decide on images: every decision is stored with the name of who made it.")
    if st.button("Log in", type="primary", icon=":material/login:", key="label-login"):
        try:
            st.login()
        except StreamlitAPIException as error:
            raise ConfigError(
                f"The login cannot be used: {error} Correct or remove the section [auth] of .streamlit/secrets.toml."
            ) from error


def _form(label: str, go: str) -> None:
    with st.form("label-reviewer-form", border=False, enter_to_submit=True):
        given = st.text_input(label, key="label-reviewer-input", max_chars=80, autocomplete="name")
        if not st.form_submit_button(go, type="primary"):
            return
    try:
        st.session_state[REVIEWER] = reviewer_name(given or "")
    except ConfigError as error:
        show_error(error)
    else:
        st.rerun()
