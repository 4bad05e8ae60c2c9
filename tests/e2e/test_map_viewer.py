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
from skrd4ad.regions import find_regions, region_mask
from skrd4ad.visualize import heat_index, heat_table

pytestmark = pytest.mark.browser

LIMIT, TOP, SIDE = 0.6123, 1.4, 96
SCRIPT = """
import json
from pathlib import Path
import numpy as np
import streamlit as st
from skrd4ad.ui.components.map_viewer import map_viewer

st.set_page_config(layout="wide")
arrays = np.load(Path(__file__).with_name("arrays.npz"))
name = st.radio("Part", ["bad", "good"], horizontal=True)
highlight = st.radio("Row", [None, 0, 1, 2], horizontal=True)
others = st.toggle("Skips", value=True)
state = map_viewer(
    arrays["image"], arrays[name], image_id=name, key="viewer", threshold={limit}, top={top},
    level_maps=arrays["levels"], level_names=("fine", "coarse"), mask=arrays["bad"] > 0.8,
    highlight=highlight, comparison_maps=dict(zip(("no skip", "1 skip"), arrays["others"])) if others else None,
)
st.code(json.dumps(state and state.threshold), language="json")
st.text("region " + json.dumps(state and state.region))
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
    script.write_text(SCRIPT.format(limit=LIMIT, top=TOP), encoding="utf-8")
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

    stage.focus()
    viewer_page.keyboard.press("Space")
    expect(heat).to_be_hidden()
    expect(viewer_page.get_by_role("radio", name="Image")).to_be_checked()
    viewer_page.keyboard.press("Space")
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
    viewer_page.mouse.wheel(0, -800)
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
    expect(viewer_page.get_by_text("region null")).to_be_visible()

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
    viewer_page.mouse.wheel(0, -600)
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


def test_a_row_marks_its_region_without_loading_or_moving_anything(viewer_page: Page, bad_map: np.ndarray) -> None:
    regions = find_regions(bad_map, LIMIT)
    viewer_page.get_by_text("Overlay", exact=True).hover()
    viewer_page.mouse.move(*at_map(viewer_page, *regions[1].centroid))
    viewer_page.mouse.wheel(0, -100)
    placed = viewer_page.locator(".layers").evaluate("e => e.style.transform")
    viewer_page.evaluate("() => { window.createImageBitmap = null; }")  # loading again would fail
    before = pixels(viewer_page.locator(".lines"))
    for number in (0, 1):
        viewer_page.get_by_test_id("stRadio").nth(1).get_by_text(str(number), exact=True).click()
        expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", str(number + 1))
        expect(viewer_page.locator(".found")).to_contain_text(f"region {number + 1} marked")
        after = pixels(viewer_page.locator(".lines"))
        rows, columns = np.nonzero((after != before).any(axis=2))
        x0, y0, x1, y1 = regions[number].box
        stage = viewer_page.locator(".stage").bounding_box()
        left, top = (value - 1 for value in at_map(viewer_page, x0 - 0.5, y0 - 0.5))
        right, bottom = (value - 1 for value in at_map(viewer_page, x1 - 0.5, y1 - 0.5))
        assert columns.min() == pytest.approx(max(0, left - stage["x"]), abs=10)
        assert columns.max() == pytest.approx(right - stage["x"], abs=10)
        assert rows.max() == pytest.approx(min(bottom - stage["y"], after.shape[0]), abs=10)
        assert rows.min() == pytest.approx(max(0, top - stage["y"] - 16), abs=10)
    assert viewer_page.locator(".layers").evaluate("e => e.style.transform") == placed
    assert shown(viewer_page)[0] == LIMIT


def test_a_click_on_a_region_reports_it_and_a_click_beside_it_takes_it_back(
    viewer_page: Page, bad_map: np.ndarray
) -> None:
    regions = find_regions(bad_map, LIMIT)
    assert len(regions) == 3
    for number, region in enumerate(regions):
        viewer_page.mouse.click(*at_map(viewer_page, *region.centroid))
        expect(viewer_page.get_by_text(f"region {number}", exact=True)).to_be_visible()
        expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", str(number + 1))
    viewer_page.mouse.click(*at_map(viewer_page, 80, 10))
    expect(viewer_page.get_by_text("region null")).to_be_visible()
    expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", "")


def test_a_drag_marks_nothing_and_another_threshold_unmarks(viewer_page: Page, bad_map: np.ndarray) -> None:
    place = at_map(viewer_page, *find_regions(bad_map, LIMIT)[0].centroid)
    viewer_page.mouse.move(*place)
    viewer_page.mouse.wheel(0, -200)
    viewer_page.mouse.down()
    viewer_page.mouse.move(place[0] + 12, place[1] + 8, steps=3)
    viewer_page.mouse.up()
    expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", "")
    viewer_page.mouse.click(place[0] + 12, place[1] + 8)
    expect(viewer_page.get_by_text("region 0", exact=True)).to_be_visible()
    viewer_page.get_by_role("application").focus()
    viewer_page.keyboard.press("+")
    expect(viewer_page.locator(".viewer")).to_have_attribute("data-marked", "")
    expect(viewer_page.get_by_text("region null")).to_be_visible()


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
