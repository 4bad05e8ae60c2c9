"""The gallery in a real browser: choosing, stepping and filtering, and what Python hears of it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, WebSocket, expect

pytestmark = pytest.mark.browser

SCRIPT = """
import numpy as np
import streamlit as st
from skrd4ad.ui.components.gallery import GalleryItem, gallery, thumbnail

st.set_page_config(layout="wide")

@st.cache_data
def tiles(many):
    verdicts = ["NG", "NG", "OK", "OK", "OK", "OK"]
    truths = ["bent", "good", "good", "bent", None, "good"]
    made = [
        GalleryItem(
            id=f"id-{i}", name=f"part-{i}.png", thumbnail=thumbnail(np.full((90, 120, 3), (i * 37) % 256, np.uint8)),
            score=0.9 - i / 1000, verdict=verdicts[i % 6], truth=truths[i % 6],
        )
        for i in range(500 if many else 6)
    ]
    broken = GalleryItem(
        id="broken", name="broken.png", thumbnail=b"", score=None, verdict=None, error="broken.png is cut off."
    )
    return [*made, broken]

items = tiles(st.toggle("Many"))
film = st.toggle("Film")
st.session_state.runs = st.session_state.get("runs", 0) + 1
st.text_input("Note")
st.slider("Level", 0, 10, 5)

def go(target):
    st.session_state.at = target

st.button("Back to the first", on_click=go, args=["id-0"])
if st.toggle("Show", value=True):
    picked = gallery(items, selected=st.session_state.get("at", "id-0"), key="parts", film=film)
    if picked is not None:
        st.session_state.at = picked
    st.code(f"{picked} {st.session_state.runs}")
"""


@pytest.fixture(scope="module")
def url(serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    script: Path = tmp_path_factory.mktemp("gallery") / "gallery_app.py"
    script.write_text(SCRIPT, encoding="utf-8")
    with serve(script) as address:
        yield address


@pytest.fixture(scope="module")
def tab(used_browser: BrowserContext) -> Iterator[Page]:
    with contextlib.closing(used_browser.new_page()) as page:
        yield page


@pytest.fixture
def page(tab: Page, url: str, settled) -> Page:
    tab.set_viewport_size({"width": 1280, "height": 900})
    tab.goto(url)
    expect(root(tab)).to_have_attribute("data-selected", "id-0")
    settled(tab)
    return tab


def root(page: Page) -> Locator:
    return page.locator(".gallery[data-ready]")


def tile(page: Page, name: str) -> Locator:
    return page.locator(f'.tile[data-id="{name}"]')


def reported(page: Page) -> tuple[str, int]:
    """What Python got, and how often the script had run by then."""
    name, runs = page.locator('[data-testid="stCode"] code').inner_text().split()
    return name, int(runs)


def expect_report(page: Page, name: str, runs: int) -> None:
    expect(page.locator('[data-testid="stCode"] code')).to_have_text(f"{name} {runs}")


def expect_selected(page: Page, name: str) -> None:
    expect(root(page)).to_have_attribute("data-selected", name)
    expect(page.locator('.tile[aria-selected="true"]')).to_have_count(1)
    expect(tile(page, name)).to_have_attribute("aria-selected", "true")


def switch(page: Page, name: str) -> None:
    page.locator('[data-testid="stCheckbox"]', has_text=name).locator("label").click()


def test_it_shows_all_tiles_with_their_words(page: Page) -> None:
    expect(root(page)).to_have_attribute("data-count", "7")
    expect(page.locator(".position")).to_have_text("1 of 7")
    expect(page.get_by_role("listbox", name="Parts").get_by_role("option")).to_have_count(7)
    expect(tile(page, "id-0").locator(".score")).to_have_text("0.900")
    expect(tile(page, "id-1")).to_have_attribute("title", "part-1.png\nNG, score 0.899, labelled good, false reject")
    expect(tile(page, "id-3")).to_have_attribute("title", "part-3.png\nOK, score 0.897, labelled bent, escape")
    expect(page.locator(".mistake")).to_have_count(2)
    shapes = {name: tile(page, name).locator(".shape").evaluate("e => e.style.clipPath") for name in ("id-0", "id-2")}
    assert shapes["id-0"].startswith("polygon") and shapes["id-2"].startswith("circle")
    widths = page.locator(".tile img").evaluate_all(
        "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert widths == [120] * 6


def test_a_click_selects_at_once_and_python_hears_of_it_once(tab: Page, url: str, settled) -> None:
    sent: list[object] = []
    received: list[bytes | str] = []

    def watch(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(frame))
        socket.on("framereceived", lambda frame: received.append(frame))

    tab.on("websocket", watch)
    tab.goto(url)
    expect(root(tab)).to_have_attribute("data-selected", "id-0")
    settled(tab)
    tab.remove_listener("websocket", watch)
    runs = reported(tab)[1]
    assert sent, "the socket is not watched"
    sent.clear()
    received.clear()
    tile(tab, "id-2").click()
    expect_selected(tab, "id-2")
    expect_report(tab, "id-2", runs + 1)
    tile(tab, "id-2").click()
    tab.wait_for_timeout(100)
    assert len(sent) == 1
    assert not any(b'"list"' in bytes(frame) for frame in received if isinstance(frame, bytes)), "the tiles came again"


def test_arrows_step_anywhere_on_the_page_and_a_burst_is_one_choice(page: Page) -> None:
    runs = reported(page)[1]
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect_selected(page, "id-3")
    expect_report(page, "id-3", runs + 1)
    page.wait_for_timeout(100)
    assert reported(page) == ("id-3", runs + 1)


def test_arrows_step_wherever_the_focus_is_but_where_text_is_written(page: Page) -> None:
    page.get_by_role("button", name="Back to the first").focus()
    page.keyboard.press("ArrowRight")
    expect_selected(page, "id-1")
    page.locator(".filters button", has_text="All").focus()
    page.keyboard.press("ArrowRight")
    expect_selected(page, "id-2")


@pytest.mark.parametrize("taken", ["textbox", "slider"])
def test_arrows_and_digits_stay_with_an_input_that_has_the_focus(page: Page, taken: str) -> None:
    runs = reported(page)[1]
    page.get_by_role(taken).first.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("3")
    expect_selected(page, "id-0")
    expect(page.locator('.filters [aria-pressed="true"]')).to_contain_text("All")
    page.get_by_role(taken).first.blur()
    if taken == "slider":
        expect(page.get_by_role("slider")).to_have_value("4")
        expect_report(page, "None", runs + 1)


def test_keys_with_a_modifier_are_the_browsers(page: Page) -> None:
    page.evaluate("addEventListener('keydown', (e) => e.preventDefault())")
    for modifier in ("Control", "Shift", "Meta"):
        page.keyboard.press(f"{modifier}+ArrowRight")
    expect_selected(page, "id-0")


def test_the_strip_is_one_stop_and_the_focus_roves(page: Page) -> None:
    expect(page.locator('.tile[tabindex="0"]')).to_have_count(1)
    tile(page, "id-0").focus()
    page.keyboard.press("End")
    expect_selected(page, "broken")
    expect(tile(page, "broken")).to_be_focused()
    expect(tile(page, "broken")).to_have_css("outline-style", "solid")
    expect(page.locator('.tile[tabindex="0"]')).to_have_count(1)
    page.keyboard.press("Home")
    expect(tile(page, "id-0")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect_selected(page, "id-0")
    page.keyboard.press("Tab")
    assert not page.locator(".tile:focus").count()


def test_filters_exist_for_what_exists_and_arrows_stay_within(page: Page) -> None:
    expect(page.locator(".filters button")).to_have_text(["All7", "NG2", "OK4", "Unreadable1"])
    height = page.locator(".strip").bounding_box()["height"]
    page.locator(".filters button", has_text="OK").click()
    expect(page.get_by_role("option")).to_have_count(4)
    expect(page.locator(".position")).to_have_text("– of 4")
    page.keyboard.press("ArrowRight")
    expect_selected(page, "id-2")
    page.keyboard.press("ArrowLeft")
    expect_selected(page, "id-2")
    expect(page.locator(".position")).to_have_text("1 of 4")
    assert page.locator(".strip").bounding_box()["height"] == height, "a filter must not move the page"


def test_digits_choose_the_filter(page: Page) -> None:
    for digit, many in [("2", 2), ("4", 1), ("7", 1), ("1", 7)]:
        page.keyboard.press(digit)
        expect(page.get_by_role("option")).to_have_count(many)
    expect(page.locator('.filters [aria-pressed="true"]')).to_contain_text("All")


def test_an_unreadable_file_is_a_tile_with_a_word(page: Page) -> None:
    broken = tile(page, "broken")
    expect(broken.locator(".unreadable")).to_have_text("Unreadable")
    expect(broken).to_have_attribute("title", "broken.png\nbroken.png is cut off.")
    expect(broken.locator("img")).to_have_count(0)
    runs = reported(page)[1]
    broken.click()
    expect_report(page, "broken", runs + 1)


def test_it_follows_python_and_the_choice_before_no_longer_counts(page: Page) -> None:
    runs = reported(page)[1]
    tile(page, "id-4").click()
    expect_report(page, "id-4", runs + 1)
    page.get_by_role("button", name="Back to the first").click()
    expect_report(page, "None", runs + 2)
    expect_selected(page, "id-0")
    tile(page, "id-4").click()
    expect_report(page, "id-4", runs + 3)
    expect_selected(page, "id-4")


def test_the_selection_survives_a_time_away_from_the_page(page: Page) -> None:
    runs = reported(page)[1]
    tile(page, "id-3").click()
    expect_report(page, "id-3", runs + 1)
    switch(page, "Show")
    expect(page.locator(".gallery")).to_have_count(0)
    page.locator("body").press("ArrowRight")
    switch(page, "Show")
    expect_selected(page, "id-3")


def test_500_tiles_load_only_pictures_in_view_and_step_quickly(page: Page) -> None:
    switch(page, "Many")
    expect(root(page)).to_have_attribute("data-count", "501")
    expect_selected(page, "id-0")
    expect(page.locator(".tile img").first).to_be_attached()
    assert page.locator(".tile img").count() < 100
    page.locator(".strip").evaluate("""strip => {
        const first = strip.querySelector('.tile[tabindex="0"]');
        first.focus();
        for (let i = 0; i < 300; i++) {
            strip.getRootNode().activeElement.dispatchEvent(
                new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true, composed: true, cancelable: true }),
            );
        }
    }""")
    expect_selected(page, "id-300")
    inside = tile(page, "id-300").evaluate("""t => {
        const own = t.getBoundingClientRect(), strip = t.parentElement.getBoundingClientRect();
        return own.top >= strip.top && own.bottom <= strip.bottom;
    }""")
    assert inside
    expect(tile(page, "id-300").locator("img")).to_have_count(1)
    expect(page.locator('[data-testid="stCode"] code')).to_contain_text("id-300 ")
    assert page.locator(".tile img").count() < 300


def test_an_object_url_lives_as_long_as_its_list(page: Page) -> None:
    before = page.locator(".tile img").first.get_attribute("src")
    readable = "url => fetch(url).then(() => true, () => false)"
    assert page.evaluate(readable, before)
    switch(page, "Many")
    expect(root(page)).to_have_attribute("data-count", "501")
    assert not page.evaluate(readable, before)


def test_a_film_is_one_row_that_follows_the_selection(page: Page) -> None:
    switch(page, "Many")
    switch(page, "Film")
    expect(page.locator(".gallery[data-film]")).to_have_attribute("data-count", "501")
    assert page.locator(".strip").bounding_box()["height"] < 1.3 * tile(page, "id-0").bounding_box()["height"]
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    tile(page, "id-0").focus()
    page.keyboard.press("End")
    expect_selected(page, "broken")
    expect(tile(page, "broken")).to_be_in_viewport(ratio=1)
    expect(tile(page, "id-0")).not_to_be_in_viewport()
    page.keyboard.press("ArrowUp")
    expect_selected(page, "broken")
    switch(page, "Film")


@pytest.mark.parametrize("width", [1440, 800, 320])
def test_it_fits_the_width_with_two_rows_at_most(page: Page, width: int) -> None:
    switch(page, "Many")
    expect(root(page)).to_have_attribute("data-count", "501")
    page.set_viewport_size({"width": width, "height": 900})
    expect(page.locator(".strip")).to_have_css("--rows", "2.2")
    assert page.locator(".strip").bounding_box()["height"] < 2.5 * tile(page, "id-0").bounding_box()["height"]
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".strip").evaluate("s => s.scrollWidth <= s.clientWidth")


def test_it_follows_the_colour_scheme(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    expect(page.locator(".gallery")).to_have_css("color", "rgb(230, 235, 236)")
    page.emulate_media(color_scheme="light")
    expect(page.locator(".gallery")).to_have_css("color", "rgb(27, 35, 38)")
