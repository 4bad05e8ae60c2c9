"""Parts of a page that run again by themselves, in a real browser: while their tab is seen, not while it is hidden."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewTab

pytestmark = pytest.mark.browser

SCRIPT = """
import streamlit as st
from skrd4ad.ui.frame import STYLE, section

st.html(STYLE)
st.session_state.whole = st.session_state.get("whole", 0) + 1

def count():
    st.session_state.runs = st.session_state.get("runs", 0) + 1
    st.code(f"{st.session_state.whole} {st.session_state.runs}")

every = 0.1 if st.toggle("Run again", value=True) else None
section(count, every=every)
"""
HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.fixture
def counting(new_tab: NewTab, serve, settled, tmp_path: Path) -> Iterator[Page]:
    script = tmp_path / "ticker_app.py"
    script.write_text(SCRIPT, encoding="utf-8")
    with serve(script) as url:
        page = new_tab()
        page.goto(url)
        settled(page)
        yield page


def counts(page: Page) -> tuple[int, int]:
    """Runs of the whole script, and of its section."""
    whole, runs = page.locator('[data-testid="stCode"] code').inner_text().split()
    return int(whole), int(runs)


def expect_more(page: Page, than: int) -> None:
    page.wait_for_function(
        "than => Number(document.querySelector('[data-testid=stCode] code')?.innerText.split(' ')[1]) > than", arg=than
    )


def test_a_section_runs_again_alone_while_its_tab_is_seen(counting: Page) -> None:
    whole, runs = counts(counting)
    expect_more(counting, runs + 3)
    assert counts(counting)[0] == whole
    expect(counting.locator('[class*="st-key-ticker"]')).to_be_hidden()

    counting.evaluate(HIDE, True)
    counting.wait_for_timeout(500)  # what was asked before is answered
    _, hidden = counts(counting)
    counting.wait_for_timeout(1500)
    assert counts(counting)[1] == hidden

    counting.evaluate(HIDE, False)
    expect_more(counting, hidden + 2)


def test_a_section_stops_when_the_page_says_so(counting: Page) -> None:
    expect_more(counting, 2)
    counting.locator('[data-testid="stCheckbox"]', has_text=re.compile("Run again")).locator("label").click()
    expect(counting.locator('[class*="st-key-ticker"]')).to_have_count(0)
    counting.wait_for_timeout(500)
    _, runs = counts(counting)
    counting.wait_for_timeout(1000)
    assert counts(counting)[1] == runs


def test_a_page_that_lost_track_of_its_parts_is_loaded_anew_once(counting: Page) -> None:
    tear = "() => window.dispatchEvent(new ErrorEvent('error', {message: 'Uncaught Error: Bad delta path index 6'}))"
    counting.evaluate("() => { window.before = true; }")
    counting.evaluate("() => window.dispatchEvent(new ErrorEvent('error', {message: 'something else'}))")
    assert counting.evaluate("() => window.before")
    counting.evaluate(tear)
    counting.wait_for_function("() => window.before === undefined")
    expect_more(counting, 1)
    counting.evaluate("() => { window.before = true; }")
    counting.evaluate(tear)
    counting.wait_for_timeout(500)
    assert counting.evaluate("() => window.before")


PAGES = """
import time
import streamlit as st
from skrd4ad.ui.frame import STYLE, section
from skrd4ad.ui.widgets import button, rerun

def slow():
    st.session_state.runs = st.session_state.get("runs", 0) + 1
    st.code(f"0 {st.session_state.runs}")
    time.sleep(1.5)

def polling():
    st.html(STYLE)
    st.title("Polling")
    section(slow, every=0.1)

def working():
    st.title("Working")
    if button("Work", key="work"):
        st.text("At work")
        time.sleep(3)
        rerun()

def other():
    st.title("Other")

pages = {"Polling": polling, "Working": working, "Other": other}
st.navigation([st.Page(page, title=title) for title, page in pages.items()]).run()
"""


def test_a_click_on_another_page_comes_before_what_the_page_would_do_by_itself(
    page: Page, serve, settled, tmp_path: Path
) -> None:
    script = tmp_path / "pages_app.py"
    script.write_text(PAGES, encoding="utf-8")

    def go(name: str) -> None:
        page.get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", name=name)).to_be_visible()

    with serve(script) as url:
        page.goto(url)
        expect(page.get_by_role("heading", name="Polling")).to_be_visible()
        expect_more(page, 1)  # a run has begun, and will take longer than the section's patience
        go("Other")
        go("Working")
        settled(page)
        page.get_by_role("button", name="Work").click()
        expect(page.get_by_text("At work")).to_be_visible()
        go("Other")
