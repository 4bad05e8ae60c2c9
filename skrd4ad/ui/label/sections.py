"""The sections of the Label page, of which one is shown at a time."""

from collections.abc import Mapping
from typing import Literal

import streamlit as st

from skrd4ad.ui.widgets import choose

Section = Literal["decide", "improve", "exchange"]
SECTIONS: Mapping[Section, str] = {"decide": "Decide", "improve": "Improve", "exchange": "Import and export"}
_SECTION = "label-section"


def pick_section() -> Section:
    """Let the user choose what to do."""
    return choose("Section", SECTIONS, default="decide", key=_SECTION, label_visibility="collapsed")


def go_to_section(section: Section) -> None:
    """Show a section; a callback, or before the sections are drawn."""
    st.session_state[_SECTION] = section
