"""Buttons of the pages in a real browser: a press acts once, whatever the page does meanwhile."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import NewTab

pytestmark = pytest.mark.browser

SCRIPT = """
import threading
import streamlit as st
from skrd4ad.ui.frame import section
from skrd4ad.ui.widgets import button

@st.cache_resource
def gate():
    opened = threading.Event()
    opened.set()
    return opened

state = st.session_state
state.setdefault("presses", [])
st.text(f"Acted on: {', '.join(state.presses) or 'nothing'}.")
st.button("Open", key="open", on_click=gate().set)
st.button("Close", key="close", on_click=gate().clear)
st.text("The gate is open" if gate().is_set() else "Waiting for the gate")
nothing = st.empty()
while not gate().wait(0.02):
    nothing.empty()  # where another run of the page may cut this one short
if button("Below", key="below"):
    state.presses.append("below")
    st.rerun()

def part():
    if button("Within", key="within"):
        state.presses.append("within")
        st.rerun()

section(part)
with st.form("form"):
    if button("Save", key="save", draw=st.form_submit_button):
        state.presses.append("save")
        st.rerun()
"""


def test_a_press_acts_once_though_another_run_of_the_page_cuts_its_own_short(
    new_tab: NewTab, serve, settled, tmp_path: Path
) -> None:
    page = new_tab()
    script = tmp_path / "button_app.py"
    script.write_text(SCRIPT, encoding="utf-8")

    def press(name: str) -> None:
        page.get_by_role("button", name=name).click()

    with serve(script) as url:
        page.goto(url)
        settled(page)
        press("Close")
        expect(page.get_by_text("Waiting for the gate")).to_be_visible()
        for name in ("Below", "Within", "Save"):  # none of their runs comes to the button
            press(name)
        press("Open")
        expect(page.get_by_text("The gate is open")).to_be_visible()
        expect(page.get_by_text("Acted on: below, within, save.")).to_be_visible()
        press("Open")
        settled(page)
        expect(page.get_by_text("Acted on: below, within, save.")).to_be_visible()
