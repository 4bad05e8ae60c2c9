"""Who decides: the name from the login where there is one, else asked once and kept by the browser."""

import streamlit as st

from skrd4ad.errors import ConfigError
from skrd4ad.services.labelling.annotate import reviewer_name
from skrd4ad.ui.acting import REVIEWER
from skrd4ad.ui.frame import show_error
from skrd4ad.ui.login.account import has_login
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, rerun


def ask_reviewer() -> None:
    """Ask who decides; with a login it is known."""
    with st.container(border=True, width=480):
        st.markdown("**Who decides?** Every decision is stored with a name and a time. You are asked once.")
        _form("Your name", "Start")


def offer_change(reviewer: str) -> None:
    """The name that decisions are stored with; it can be changed unless it comes from the login."""
    if has_login():
        return
    with st.popover(f"As {plain(reviewer)}", icon=":material/person:", key="label-reviewer-popover"):
        _form("Another reviewer", "Change")


def _form(label: str, go: str) -> None:
    with st.form("label-reviewer-form", border=False, enter_to_submit=True):
        given = st.text_input(label, key="label-reviewer-input", max_chars=80, autocomplete="name")
        if not button(go, type="primary", key="label-reviewer-go", draw=st.form_submit_button):
            return
    try:
        st.session_state[REVIEWER] = reviewer_name(given or "")
    except ConfigError as error:
        show_error(error)
    else:
        rerun()
