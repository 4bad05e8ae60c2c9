"""The map viewer in a real browser: what it draws and counts, and that it leaves the server alone."""

import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, WebSocket, expect

from skrd4ad.format import format_number
from skrd4ad.inference.predictions import _in_image
from skrd4ad.regions import find_regions, region_mask
from skrd4ad.types import Region
from skrd4ad.visualize import heat_index, heat_table

pytestmark = pytest.mark.browser

LIMIT, TOP, SIDE, REVIEW = 0.6123, 1.4, 96, 0.5123
SCRIPT = """
import json
from pathlib import Path
import numpy as np
import streamlit as st
from skrd4ad.ui.components.map_viewer import About, map_viewer

st.set_page_config(layout="wide")
arrays = np.load(Path(__file__).with_name("arrays.npz"))
name = st.radio("Part", ["bad", "good"], horizontal=True)
review = {review} if st.toggle("Review") else None
others = st.toggle("Skips", value=True)
state = map_viewer(
    arrays["image"], arrays[name], image_id=name, key="viewer", threshold={limit}, top={top},
    level_maps=arrays["levels"], level_names=("fine", "coarse"), mask=arrays["bad"] > 0.8,
    review=review, pixel=review, pitch=review and 0.5,
    about=About(title="part-7.png", truth="scratch", notes=["Noted"]),
    comparison_maps=dict(zip(("no skip", "1 skip"), arrays["others"])) if others else None,
)
st.code(json.dumps(state and state.threshold), language="json")
"""


@pytest.fixture(scope="module")
def bad_map() -> np.ndarray:
    """Two hot spots that touch at a corner of a block, one apart, on noise around half of the limit."""
    rng = np.random.default_rng(3)
    anomaly_map = 0.2 + 0.15 * cv2.GaussianBlur(rng.random((SIDE, SIDE)).astype(np.float32), (0, 0), 3)
    for x, y, height in [(24, 30, 1.0), (60, 66, 0.7), (0, 90, 0.5)]:
        spot = np.zeros((SIDE, SIDE), np.float32)
        spot[y, x] = 1
        spot = cv2.GaussianBlur(spot, (0, 0), 4)
        anomaly_map += height * spot / spot.max()
    return anomaly_map.astype(np.float32)


@pytest.fixture(scope="module")
def url(serve, bad_map: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("viewer")
    good = (bad_map * (0.3 / bad_map.max())).astype(np.float32)
    image = np.random.default_rng(0).integers(60, 200, (2 * SIDE, 3 * SIDE, 3), np.uint8)
    levels = np.stack([bad_map * 0.7, bad_map * 0.3])
    others = np.stack([bad_map[::-1], bad_map[:, ::-1]])
    np.savez(folder / "arrays.npz", bad=bad_map, good=good, image=image, levels=levels, others=others)
    script = folder / "viewer_app.py"
    script.write_text(SCRIPT.format(limit=LIMIT, top=TOP, review=REVIEW), encoding="utf-8")
    with serve(script) as address:
        yield address


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    expect(page.locator('.viewer[data-ready="bad"]')).to_be_visible()
    return page


@pytest.fixture(scope="module")
def tab(used_browser: BrowserContext) -> Iterator[Page]:
    with contextlib.closing(used_browser.new_page()) as page:
        page.set_viewport_size({"width": 1280, "height": 900})
        yield page


@pytest.fixture
def viewer_page(tab: Page, url: str, settled) -> Page:
    tab.mouse.move(0, 0)
    opened(tab, url)
    settled(tab)
    return tab


def pixels(canvas: Locator) -> np.ndarray:
    encoded = canvas.evaluate("c => c.toDataURL('image/png').split(',')[1]")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA"))


def shown(page: Page) -> tuple[float, int, int]:
    """Threshold, pixels above and regions, as the viewer tells them."""
    data = page.locator(".viewer").evaluate("e => ({...e.dataset})")
    return float(data["threshold"]), int(data["above"]), int(data["regions"])


def drag_to(page: Page, share: float) -> None:
    """Takes the thumb to a place along the track, in steps, without letting it go."""
    box = page.locator(".slider").bounding_box()
    value, top = (float(page.locator(".slider").evaluate(f"s => s.{name}")) for name in ("value", "max"))
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8 + value / top * (box["width"] - 16), y)
    page.mouse.down()
    page.mouse.move(box["x"] + share * box["width"], y, steps=6)


def reported(page: Page) -> Locator:
    return page.locator('[data-testid="stCode"] code')


def assert_counts_are_numpys(page: Page, anomaly_map: np.ndarray) -> None:
    threshold, above, regions = shown(page)
    assert above == int(region_mask(anomaly_map, threshold).sum())
    assert regions == len(find_regions(anomaly_map, threshold))


def test_it_starts_at_the_models_limit(viewer_page: Page, bad_map: np.ndarray) -> None:
    threshold, above, _ = shown(viewer_page)
    assert threshold == LIMIT and above > 0
    assert_counts_are_numpys(viewer_page, bad_map)
    expect(viewer_page.locator(".value")).to_have_text(format_number(LIMIT))
    expect(viewer_page.locator(".verdict")).to_have_attribute("data-verdict", "NG")
    expect(viewer_page.locator(".reason")).to_have_text(f"{format_number(bad_map.max())}, limit {format_number(LIMIT)}")
    expect(viewer_page.get_by_role("button", name="Reset to model limit")).to_be_disabled()


def test_the_heat_has_the_colours_that_python_gives_it(viewer_page: Page, bad_map: np.ndarray) -> None:
    expected = heat_table("inferno")[heat_index(bad_map, threshold=LIMIT, top=TOP)]
    heat = pixels(viewer_page.locator(".heat"))
    assert heat.shape == expected.shape
    assert np.abs(heat[..., 3].astype(int) - expected[..., 3]).max() <= 1
    opaque = expected[..., 3] == 255  # canvases keep colours premultiplied, which rounds the faint ones
    assert opaque.any() and not opaque.all()
    assert np.abs(heat[opaque].astype(int) - expected[opaque]).max() <= 1


def test_counts_are_numpys_at_every_threshold(viewer_page: Page, bad_map: np.ndarray) -> None:
    seen = set()
    for share in (0.05, 0.17, 0.2, 0.31, 0.62, 0.9):
        drag_to(viewer_page, share)
        assert_counts_are_numpys(viewer_page, bad_map)
        seen.add(shown(viewer_page)[1])
        viewer_page.mouse.up()
    assert len(seen) > 3


def test_the_threshold_moves_without_the_server_which_hears_of_its_release(tab: Page, url: str, settled) -> None:
    sent: list[object] = []

    def watch(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(frame))

    tab.on("websocket", watch)
    page = opened(tab, url)
    settled(page)
    tab.remove_listener("websocket", watch)
    assert sent, "the socket is not watched"
    before, lines_before = pixels(page.locator(".heat")), pixels(page.locator(".lines"))
    quiet = len(sent)
    drag_to(page, 0.25)
    page.wait_for_timeout(100)
    threshold = shown(page)[0]
    assert threshold != LIMIT
    assert (pixels(page.locator(".heat")) != before).any()
    assert (pixels(page.locator(".lines")) != lines_before).any()
    page.locator(".opacity").evaluate("s => { s.value = 20; s.dispatchEvent(new Event('input', {bubbles: true})); }")
    assert page.locator(".heat").evaluate("c => c.style.opacity") == "0.2"
    assert len(sent) == quiet

    page.mouse.up()
    expect(reported(page)).to_have_text(json.dumps(threshold))
    assert len(sent) > quiet


def test_reset_goes_back_to_the_limit_itself(viewer_page: Page) -> None:
    drag_to(viewer_page, 0.7)
    viewer_page.mouse.up()
    expect(viewer_page.locator(".reason")).to_contain_text("if the limit were")
    viewer_page.get_by_role("button", name="Reset to model limit").click()
    assert shown(viewer_page)[0] == LIMIT
    expect(reported(viewer_page)).to_have_text(json.dumps(LIMIT))


def test_keys_move_the_threshold_and_hide_the_heat(viewer_page: Page, bad_map: np.ndarray) -> None:
    stage, heat = viewer_page.get_by_role("application"), viewer_page.locator(".heat")
    stage.focus()
    viewer_page.keyboard.press("+")
    assert shown(viewer_page)[0] == 0.6133
    viewer_page.keyboard.press("-")
    assert shown(viewer_page)[0] == LIMIT
    viewer_page.locator(".slider").focus()
    viewer_page.keyboard.press("ArrowLeft")
    viewer_page.keyboard.press("Shift+ArrowLeft")
    assert shown(viewer_page)[0] == 0.6013
    assert_counts_are_numpys(viewer_page, bad_map)
    expect(reported(viewer_page)).to_have_text("0.6013")

    for anywhere in (stage, viewer_page.locator(".slider"), viewer_page.get_by_text("Noted")):
        anywhere.click()
        viewer_page.keyboard.press("h")
        expect(heat).to_be_hidden()
        expect(viewer_page.get_by_role("radio", name="Image")).to_be_checked()
        viewer_page.keyboard.press("h")
        expect(heat).to_be_visible()


def test_every_control_has_a_name_and_shows_the_focus(viewer_page: Page) -> None:
    for role, name in [
        ("slider", "Threshold"),
        ("slider", "Opacity"),
        ("checkbox", "Outlines"),
        ("checkbox", "Boxes"),
        ("checkbox", "Labelled"),
        ("radio", "Overlay"),
        ("radio", "coarse"),
        ("button", "Reset to model limit"),
        ("button", "Zoom in"),
        ("button", "Full screen"),
    ]:
        expect(viewer_page.locator(".viewer").get_by_role(role, name=name)).to_have_count(1)
    viewer_page.locator(".slider").focus()
    viewer_page.keyboard.press("Tab")
    outline = viewer_page.locator(".opacity").evaluate("s => getComputedStyle(s).outlineStyle")
    assert outline == "solid"


def test_views_show_the_map_and_its_levels(viewer_page: Page, bad_map: np.ndarray) -> None:
    heat = viewer_page.locator(".heat")
    viewer_page.get_by_text("Map", exact=True).click()
    assert (pixels(heat)[..., 3] == 255).all()
    viewer_page.get_by_text("coarse").click()
    level = np.rint(bad_map * 0.3 * 255 / (bad_map.max() * 0.7))
    expected = heat_table("inferno")[np.rint(level * 1023 / 255).astype(int), :3]
    assert np.abs(pixels(heat)[..., :3].astype(int) - expected).max() <= 4
    expect(viewer_page.locator(".legend-top")).to_have_text(format_number(bad_map.max() * 0.7))
    expect(viewer_page.locator(".legend-middle")).to_be_hidden()


def test_the_pointer_reads_scores_in_image_pixels_also_when_zoomed(viewer_page: Page, bad_map: np.ndarray) -> None:
    box = viewer_page.locator(".layers").bounding_box()
    x, y = box["x"] + 0.6 * box["width"], box["y"] + 0.3 * box["height"]
    viewer_page.mouse.move(x, y)
    text = viewer_page.locator(".readout").inner_text()
    column, row = (int(part.split()[1]) for part in text.split(" at ")[1].split(", "))
    assert abs(column - 0.6 * 3 * SIDE) <= 1 and abs(row - 0.3 * 2 * SIDE) <= 1
    assert text.startswith(format_number(float(bad_map[row // 2, column // 3])))
    zoom_in(viewer_page, 800)
    expect(viewer_page.get_by_role("button", name="Fit")).to_be_visible()
    assert viewer_page.locator(".layers").bounding_box()["width"] > 3 * box["width"]
    expect(viewer_page.locator(".readout")).to_have_text(text)
    viewer_page.mouse.dblclick(x, y)
    assert viewer_page.locator(".layers").bounding_box() == box


def test_the_next_image_keeps_the_trial_threshold(viewer_page: Page) -> None:
    drag_to(viewer_page, 0.3)
    viewer_page.mouse.up()
    threshold = shown(viewer_page)[0]
    viewer_page.get_by_text("good", exact=True).click()
    expect(viewer_page.locator('.viewer[data-ready="good"]')).to_be_visible()
    assert shown(viewer_page)[0] == threshold
    expect(reported(viewer_page)).to_have_text(json.dumps(threshold))


def test_a_good_part_shows_no_heat_and_no_lines_but_the_labelled(viewer_page: Page) -> None:
    viewer_page.get_by_text("good", exact=True).click()
    expect(viewer_page.locator('.viewer[data-ready="good"]')).to_be_visible()
    viewer_page.get_by_label("Labelled").uncheck()
    assert shown(viewer_page)[1:] == (0, 0)
    assert (pixels(viewer_page.locator(".heat"))[..., 3] == 0).all()
    assert (pixels(viewer_page.locator(".lines"))[..., 3] == 0).all()
    expect(viewer_page.locator(".verdict")).to_have_attribute("data-verdict", "OK")


def picture_of(page: Page) -> np.ndarray:
    """The stage as it is seen, (H, W, 3)."""
    page.mouse.move(0, 0)
    return np.asarray(Image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB")).astype(int)


def differs(page: Page, bare: np.ndarray) -> tuple[bool, bool]:
    """Whether the left and the right of the divider differ from the bare picture; the handle itself left out."""
    seen, handle = picture_of(page), page.locator(".divider").bounding_box()
    left = page.locator(".stage").bounding_box()["x"]
    stage = np.abs(seen - bare) > 8  # the rounded corners are not drawn the same every time
    from_, to = round(handle["x"] - left) - 1, round(handle["x"] + handle["width"] - left) + 1
    return bool(stage[:, :from_].any()), bool(stage[:, to:].any())


def divided_at(page: Page) -> int:
    return int(page.locator(".divider").get_attribute("aria-valuenow") or "")


def test_compare_shows_the_bare_picture_left_and_the_heat_right_of_a_divider(viewer_page: Page) -> None:
    viewer_page.get_by_label("Outlines").uncheck()
    viewer_page.get_by_label("Labelled").uncheck()
    viewer_page.get_by_text("Image", exact=True).click()
    bare = picture_of(viewer_page)
    divider = viewer_page.get_by_role("slider", name="Divider")
    expect(divider).to_be_hidden()
    viewer_page.get_by_label("Outlines").check()
    viewer_page.get_by_text("Compare", exact=True).click()
    assert divided_at(viewer_page) == 50
    assert differs(viewer_page, bare) == (False, True)

    handle, stage = divider.bounding_box(), viewer_page.locator(".layers").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    viewer_page.mouse.move(x, y)
    viewer_page.mouse.down()
    viewer_page.mouse.move(stage["x"] + 0.1 * stage["width"], y, steps=4)
    viewer_page.mouse.up()
    assert abs(divided_at(viewer_page) - 10) <= 1
    assert differs(viewer_page, bare) == (False, True)
    expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", "")

    divider.focus()
    viewer_page.keyboard.press("End")
    viewer_page.keyboard.press("ArrowLeft")
    assert (divided_at(viewer_page), shown(viewer_page)[0]) == (98, LIMIT)
    viewer_page.keyboard.press("Home")
    viewer_page.keyboard.press("Shift+ArrowRight")
    assert divided_at(viewer_page) == 10
    viewer_page.get_by_text("Overlay", exact=True).click()
    expect(divider).to_be_hidden()
    assert viewer_page.locator(".heat").evaluate("c => c.style.clipPath") == ""


def test_the_divider_stays_in_sight_when_zoomed(viewer_page: Page) -> None:
    viewer_page.get_by_text("Compare", exact=True).click()
    stage = viewer_page.locator(".stage").bounding_box()
    viewer_page.mouse.move(stage["x"] + 0.8 * stage["width"], stage["y"] + 0.4 * stage["height"])
    zoom_in(viewer_page, 600)
    expect(viewer_page.get_by_role("button", name="Fit")).to_be_visible()
    handle = viewer_page.locator(".divider").bounding_box()
    assert handle["x"] + handle["width"] / 2 == pytest.approx(stage["x"] + stage["width"] / 2, abs=2)
    heat = viewer_page.locator(".heat").evaluate(
        "c => parseFloat(c.style.clipPath.split(' ')[3]) / 100 * c.getBoundingClientRect().width"
        " + c.getBoundingClientRect().left"
    )
    assert heat == pytest.approx(stage["x"] + stage["width"] / 2, abs=2)


def at_map(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the map is on the page."""
    box = page.locator(".layers").bounding_box()
    return box["x"] + (x + 0.5) / SIDE * box["width"], box["y"] + (y + 0.5) / SIDE * box["height"]


def zoom_in(page: Page, by: float) -> None:
    """Ctrl and the wheel where the pointer is."""
    page.keyboard.down("Control")
    page.mouse.wheel(0, -by)
    page.keyboard.up("Control")


def rows_of(page: Page) -> list[list[str]]:
    """The table of regions, as it is shown."""
    return page.locator(".regions tbody tr").evaluate_all("rows => rows.map(r => [...r.cells].map(c => c.textContent))")


def switch(page: Page, name: str) -> None:
    page.locator('[data-testid="stCheckbox"]', has_text=name).locator("label").click()


def in_image(bad_map: np.ndarray, threshold: float) -> list[Region]:
    shape = (2 * SIDE, 3 * SIDE, 3)
    return [_in_image(region, bad_map.shape, shape) for region in find_regions(bad_map, threshold)]


def test_the_table_has_the_regions_that_python_finds_in_pixels_and_in_mm(
    viewer_page: Page, bad_map: np.ndarray
) -> None:
    expected = in_image(bad_map, LIMIT)
    assert len(expected) == 3
    for number, (row, region) in enumerate(zip(rows_of(viewer_page), expected, strict=True), start=1):
        x0, y0, x1, y1 = region.box
        assert row[:4] == [f"{number}", f"{region.area}", format_number(region.peak), f"{x1 - x0} x {y1 - y0}"]
        assert [float(each) for each in row[4].split(", ")] == pytest.approx(region.centroid, abs=0.51)
    switch(viewer_page, "Review")  # with a pixel limit below, and a scale of 0.5 mm a pixel
    expect(viewer_page.locator(".area-unit")).to_have_text("Area, mm²")
    areas = [float(row[1]) for row in rows_of(viewer_page)]
    assert areas == pytest.approx([region.area / 4 for region in in_image(bad_map, REVIEW)], rel=5e-3)


def test_one_verdict_follows_limit_and_review_and_says_what_the_data_set_contradicts(viewer_page: Page) -> None:
    verdict = viewer_page.locator(".verdict")
    viewer_page.get_by_text("good", exact=True).click()
    expect(viewer_page.locator('.viewer[data-ready="good"]')).to_be_visible()
    expect(verdict).to_have_attribute("data-verdict", "OK")
    expect(viewer_page.get_by_text("An escape")).to_be_visible()
    drag_to(viewer_page, 0.1)
    viewer_page.mouse.up()
    expect(verdict).to_have_attribute("data-verdict", "NG")
    expect(viewer_page.get_by_text("An escape")).to_have_count(0)
    expect(viewer_page.get_by_text("Against the trial limit")).to_be_visible()
    assert viewer_page.locator(".word").count() == 1


def test_a_region_under_the_pointer_lights_up_in_the_table_and_in_the_picture(
    viewer_page: Page, bad_map: np.ndarray
) -> None:
    regions = find_regions(bad_map, LIMIT)
    lit, lines = viewer_page.locator(".regions tr.lit"), viewer_page.locator(".lines")
    bare = pixels(lines)
    viewer_page.mouse.move(*at_map(viewer_page, *regions[1].centroid))
    expect(lit).to_have_text("".join(rows_of(viewer_page)[1]))
    viewer_page.mouse.move(*at_map(viewer_page, 80, 10))
    expect(lit).to_have_count(0)
    stage = viewer_page.locator(".stage").bounding_box()
    for number in (0, 1):
        viewer_page.locator(".regions tbody tr").nth(number).hover()
        expect(lit).to_have_count(1)
        rows, columns = np.nonzero((pixels(lines) != bare).any(axis=2))
        x0, y0, x1, y1 = regions[number].box
        left, top = at_map(viewer_page, x0 - 0.5, y0 - 0.5)
        right, bottom = at_map(viewer_page, x1 - 0.5, y1 - 0.5)
        assert columns.min() == pytest.approx(left - stage["x"], abs=10)
        assert columns.max() == pytest.approx(right - stage["x"], abs=10)
        assert rows.min() == pytest.approx(max(0, top - stage["y"] - 16), abs=10)
        assert rows.max() == pytest.approx(bottom - stage["y"], abs=10)


def test_a_click_marks_a_region_in_either_place_and_a_click_beside_it_takes_it_back(
    viewer_page: Page, bad_map: np.ndarray
) -> None:
    marked = viewer_page.locator(".regions tr.marked")
    for number, region in enumerate(find_regions(bad_map, LIMIT)):
        viewer_page.mouse.click(*at_map(viewer_page, *region.centroid))
        expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", str(number + 1))
        expect(marked).to_have_text("".join(rows_of(viewer_page)[number]))
    viewer_page.mouse.click(*at_map(viewer_page, 80, 10))
    expect(marked).to_have_count(0)
    viewer_page.get_by_role("button", name="Region 2").press("Enter")
    expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", "2")


def test_a_drag_marks_nothing_and_another_threshold_unmarks(viewer_page: Page, bad_map: np.ndarray) -> None:
    place = at_map(viewer_page, *find_regions(bad_map, LIMIT)[0].centroid)
    viewer_page.mouse.move(*place)
    zoom_in(viewer_page, 200)
    viewer_page.mouse.down()
    viewer_page.mouse.move(place[0] + 12, place[1] + 8, steps=3)
    viewer_page.mouse.up()
    expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", "")
    viewer_page.mouse.click(place[0] + 12, place[1] + 8)
    expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", "1")
    viewer_page.keyboard.press("+")
    expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", "")


def test_the_wheel_alone_scrolls_and_buttons_and_two_fingers_zoom(viewer_page: Page) -> None:
    layers, stage = viewer_page.locator(".layers"), viewer_page.locator(".stage")

    def scale() -> float:
        return layers.evaluate(r"e => Number(/scale\(([\d.]+)/.exec(e.style.transform)[1])")

    stage.hover()
    viewer_page.mouse.wheel(0, -300)
    assert scale() == 1
    viewer_page.get_by_role("button", name="Zoom in").click()
    assert scale() == 1.5
    viewer_page.keyboard.press("0")
    assert scale() == 1
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = viewer_page.context.new_cdp_session(viewer_page)

    def touch(kind: str, *apart: float) -> None:
        points = [{"x": x + side * each, "y": y, "id": number} for each in apart for number, side in enumerate((-1, 1))]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 30)
    for each in (40, 50, 60):
        touch("touchMove", each)
    touch("touchEnd")
    session.detach()
    assert scale() == pytest.approx(2, rel=0.05)


def test_the_part_fills_the_screen_and_comes_back(viewer_page: Page) -> None:
    before = viewer_page.locator(".stage").bounding_box()
    viewer_page.keyboard.press("f")
    viewer_page.wait_for_function("document.fullscreenElement !== null")
    expect(viewer_page.locator(".viewer")).to_have_css("height", "900px")
    expect(viewer_page.locator(".verdict")).to_be_in_viewport()
    assert viewer_page.locator(".stage").bounding_box()["height"] > before["height"]
    viewer_page.keyboard.press("f")
    viewer_page.wait_for_function("document.fullscreenElement === null")


def test_comparison_maps_are_views_on_the_scale_of_the_main_map(viewer_page: Page, bad_map: np.ndarray) -> None:
    heat = viewer_page.locator(".heat")
    for name, flipped in [("no skip", bad_map[::-1]), ("1 skip", bad_map[:, ::-1])]:
        viewer_page.get_by_text(name, exact=True).click()
        expected = heat_table("inferno")[heat_index(flipped, threshold=LIMIT, top=TOP)]
        opaque = expected[..., 3] == 255
        assert np.abs(pixels(heat)[opaque].astype(int) - expected[opaque]).max() <= 1
        expect(viewer_page.locator(".legend-middle")).to_have_text(format_number(LIMIT))
        assert heat.evaluate("c => c.style.opacity") == "0.6"
    assert_counts_are_numpys(viewer_page, bad_map)
    viewer_page.mouse.move(*at_map(viewer_page, 20, 30))
    expect(viewer_page.locator(".readout")).to_contain_text(format_number(float(bad_map[30, SIDE - 1 - 20])))


def test_comparison_maps_may_go_and_come_while_the_image_stays(viewer_page: Page) -> None:
    viewer_page.get_by_text("no skip", exact=True).click()
    viewer_page.get_by_text("Skips", exact=True).click()
    expect(viewer_page.get_by_text("no skip", exact=True)).to_have_count(0)
    expect(viewer_page.get_by_role("radio", name="Overlay")).to_be_checked()
    viewer_page.get_by_text("Skips", exact=True).click()
    viewer_page.get_by_text("1 skip", exact=True).click()
    assert (pixels(viewer_page.locator(".heat"))[..., 3] == 255).any()


def test_many_views_wrap_in_a_narrow_window(viewer_page: Page) -> None:
    size = viewer_page.viewport_size
    viewer_page.set_viewport_size({"width": 320, "height": 900})
    outer, inner = (viewer_page.locator(name).bounding_box() for name in (".viewer", ".views"))
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1
    for label in viewer_page.locator(".views label").all():
        box = label.bounding_box()
        assert box["x"] + box["width"] <= inner["x"] + inner["width"]
    viewer_page.set_viewport_size(size)


def test_it_fits_its_column_and_a_window_of_900_pixels(viewer_page: Page) -> None:
    size = viewer_page.viewport_size
    for width in (1440, 800):
        viewer_page.set_viewport_size({"width": width, "height": 900})
        box = viewer_page.locator(".viewer").bounding_box()
        assert box["height"] < 800
        viewer_page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    viewer_page.set_viewport_size(size)


def test_it_follows_the_colour_scheme(viewer_page: Page) -> None:
    viewer = viewer_page.locator(".viewer")
    viewer_page.emulate_media(color_scheme="dark")
    expect(viewer).to_have_css("color", "rgb(230, 235, 236)")
    viewer_page.emulate_media(color_scheme="light")
    expect(viewer).to_have_css("color", "rgb(27, 35, 38)")


def test_lines_are_as_crisp_as_the_screen_and_nothing_is_loaded_from_elsewhere(browser: Browser, url: str) -> None:
    requests: list[str] = []
    errors: list[str] = []
    with browser.new_context(device_scale_factor=2) as context:
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        opened(page, url)
        drawn, css = page.locator(".lines").evaluate("c => [c.width, c.getBoundingClientRect().width]")
    assert drawn == pytest.approx(2 * css, abs=2)
    foreign = [address for address in requests if not address.startswith((url, "data:", "blob:"))]
    assert requests and not foreign and not errors
