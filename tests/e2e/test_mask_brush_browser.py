"""The mask brush in a real browser: what pointers draw is the analytic mask, at the image's resolution."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.e2e.conftest import NewTab

pytestmark = pytest.mark.browser

LIMIT = 0.6123
SIZES = {"small": (256, 256), "large": (1024, 768), "tiny": (24, 16)}
SCRIPT = """
from pathlib import Path
import numpy as np
import streamlit as st
from skrd4ad.ui.components.mask_brush import mask_brush

st.set_page_config(layout="wide")
folder = Path(__file__).parent
turn = st.session_state.setdefault("turn", 0)
kept = st.session_state.setdefault("kept", dict())

def restart():
    st.session_state.update(turn=turn + 1, kept=dict(), part="small", aside=False, elsewhere=False)

parts, again, elsewhere, aside = st.columns(4)
name = parts.radio("Part", ["small", "large", "tiny"], key="part", horizontal=True)
again.button("Again", on_click=restart)
mask = None
if not elsewhere.checkbox("Elsewhere", key="elsewhere"):
    with st.container() if aside.checkbox("Aside", key="aside") else st.columns([9, 1])[0]:
        mask = mask_brush(
            np.load(folder / (name + ".npy")), image_id=f"{{name}} {{turn}}", key=f"brush-{{turn}}",
            mask=kept.get(name), threshold={limit}, colour="ignore",
            anomaly_map=np.load(folder / "map.npy") if name != "tiny" else None,
        )
revision = "-"
if mask is not None:
    kept[name] = mask
    np.save(folder / "drawn.npy", mask)
    revision = st.session_state[f"brush-{{turn}}"]["mask"]["rev"]
st.code(f"{{name}} {{turn}} revision {{revision}}")
"""
Point = tuple[float, float]


@pytest.fixture(scope="module")
def anomaly_map() -> np.ndarray:
    """Spots of different height, two of them close, one at the border."""
    values = 0.2 + 0.05 * np.random.default_rng(3).random((64, 64)).astype(np.float32)
    for x, y, height, width in [(16, 20, 1.0, 4), (40, 44, 0.7, 5), (49, 44, 0.6, 2), (0, 60, 0.6, 3)]:
        spot = np.zeros_like(values)
        spot[y, x] = 1
        spot = cv2.GaussianBlur(spot, (0, 0), width)
        values += height * spot / spot.max()
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, anomaly_map: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("brush")
    rng = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        np.save(path / f"{name}.npy", rng.integers(60, 200, (height, width, 3), np.uint8))
    np.save(path / "map.npy", anomaly_map)
    (path / "brush_app.py").write_text(SCRIPT.format(limit=LIMIT), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def url(serve, folder: Path) -> Iterator[str]:
    with serve(folder / "brush_app.py") as address:
        yield address


@dataclass(frozen=True)
class Drawing:
    """The brush as a user finds it, with image coordinates."""

    page: Page
    folder: Path
    turn: int
    name: str = "small"

    @property
    def root(self) -> Locator:
        return self.page.locator(".brush")

    @property
    def size(self) -> tuple[int, int]:
        return SIZES[self.name]

    @property
    def diameter(self) -> int:
        return int(self.data("size"))

    def data(self, name: str) -> str:
        return self.root.get_attribute(f"data-{name}") or ""

    def part(self, name: str) -> "Drawing":
        self.page.get_by_text(name, exact=True).click()
        return Drawing(self.page, self.folder, self.turn, name).shown()

    def shown(self) -> "Drawing":
        expect(self.page.locator(f'.brush[data-ready="{self.name} {self.turn}"]')).to_be_visible()
        # the brush of the turn before may stand beside it for a moment
        expect(self.root).to_have_count(1)
        return self

    def tells(self, revision: int | str) -> None:
        """What Python knows."""
        code = self.page.locator('[data-testid="stCode"] code')
        expect(code).to_have_text(f"{self.name} {self.turn} revision {revision}")

    def screen(self, shares: Sequence[Point]) -> list[Point]:
        """Whole CSS pixels for shares of the picture's width and height."""
        box = self.root.locator(".layers").bounding_box()
        return [(round(box["x"] + u * box["width"]), round(box["y"] + v * box["height"])) for u, v in shares]

    def image(self, points: Sequence[Point]) -> list[Point]:
        """Image coordinates of CSS pixels."""
        box = self.root.locator(".layers").bounding_box()
        width, height = self.size
        return [((x - box["x"]) / box["width"] * width, (y - box["y"]) / box["height"] * height) for x, y in points]

    def drag(self, *shares: Point, button: str = "left") -> list[Point]:
        """Drags along a line; its corners in image coordinates."""
        points = self.screen(shares)
        drawn = self.image(points)
        self.page.mouse.move(*points[0])
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*point, steps=5)
        self.page.mouse.up(button=button)
        return drawn

    def click(self, *shares: Point) -> list[Point]:
        points = self.screen(shares)
        for point in points:
            self.page.mouse.click(*point)
        return self.image(points)

    def press(self, *keys: str) -> None:
        self.root.get_by_role("application").focus()
        for key in keys:
            self.page.keyboard.press(key)

    def reported(self, revision: int) -> np.ndarray:
        """The mask that Python has, once it is of a revision."""
        self.tells(revision)
        mask = np.load(self.folder / "drawn.npy")
        assert self.data("revision") == str(revision) and int(self.data("area")) == mask.sum()
        return mask


@pytest.fixture(scope="module")
def opened(url: str, folder: Path, settled) -> Callable[[Page], Drawing]:
    def open_page(page: Page) -> Drawing:
        page.goto(url)
        drawing = Drawing(page, folder, turn=0).shown()
        settled(page)
        return drawing

    return open_page


@pytest.fixture(scope="module")
def again(used_browser: BrowserContext, folder: Path, opened) -> Iterator[Callable[[], Drawing]]:
    """A brush of its own for each call, in one tab for the tests of the file."""
    with contextlib.closing(used_browser.new_page()) as page:
        page.set_viewport_size({"width": 1280, "height": 900})
        opened(page)
        turns = itertools.count(1)

        def start() -> Drawing:
            page.mouse.move(0, 0)
            page.get_by_role("button", name="Again").click()
            drawing = Drawing(page, folder, next(turns)).shown()
            drawing.tells("-")
            return drawing

        yield start


@pytest.fixture
def drawing(again) -> Drawing:
    return again()


# ---- what is to be drawn, by numpy ----


def centres(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    width, height = size
    return np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)


def stroke(points: Sequence[Point], diameter: float, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre is within half a diameter of a line."""
    x, y = centres(size)
    mask = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in itertools.pairwise([*points, points[-1]]):
        length = (bx - ax) ** 2 + (by - ay) ** 2
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1) if length else 0.0
        mask |= np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)) <= diameter / 2
    return mask


def polygon(points: Sequence[Point], size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre has an odd number of edges to its left."""
    x, y = centres(size)
    mask = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in itertools.pairwise([*points, points[0]]):
        crosses = (ay <= y) != (by <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            mask ^= crosses & (ax + (y - ay) * (bx - ax) / (by - ay) < x)
    return mask


def box(a: Point, b: Point, size: tuple[int, int]) -> np.ndarray:
    x, y = centres(size)
    return (min(a[0], b[0]) <= x) & (x < max(a[0], b[0])) & (min(a[1], b[1]) <= y) & (y < max(a[1], b[1]))


def enlarged(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map in the pixels of an image, linear between pixel centres."""
    result = values.astype(np.float64)
    for axis, pixels in ((1, size[0]), (0, size[1])):
        cells = values.shape[axis]
        at = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
        before = np.floor(at).astype(int)
        share = at - before if axis else (at - before)[:, None]
        low, high = np.take(result, before, axis), np.take(result, np.minimum(cells - 1, before + 1), axis)
        result = low * (1 - share) + high * share
    return result


def region_of(mask: np.ndarray, point: Point) -> np.ndarray:
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return labels == labels[int(point[1]), int(point[0])]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


LINE = [(0.2, 0.25), (0.55, 0.4), (0.35, 0.8), (0.9, 0.97)]


# ---- strokes ----


@pytest.mark.parametrize(("ratio", "width"), [(1, 800), (1, 1280), (2, 800), (2, 1280)])
def test_a_stroke_is_the_analytic_mask_on_every_screen(browser: Browser, opened, ratio: int, width: int) -> None:
    with browser.new_context(viewport={"width": width, "height": 900}, device_scale_factor=ratio) as context:
        small = opened(context.new_page())
        line = small.drag(*LINE)
        assert iou(small.reported(1), stroke(line, small.diameter, small.size)) >= 0.999
        large = small.part("large")
        large.press("]", "]", "]")
        line = large.drag(*LINE)
        mask = large.reported(2)
        assert mask.shape == (768, 1024)
        assert iou(mask, stroke(line, large.diameter, large.size)) >= 0.999


def test_strokes_add_up_and_the_eraser_takes_away(drawing: Drawing) -> None:
    drawing.press("]", "]", "]", "]", "]", "]")
    first = stroke(drawing.drag((0.2, 0.5), (0.8, 0.5)), drawing.diameter, drawing.size)
    second = stroke(drawing.drag((0.5, 0.1), (0.5, 0.9)), drawing.diameter, drawing.size)
    assert iou(drawing.reported(2), first | second) >= 0.999
    drawing.press("e", "[", "[")
    third = stroke(drawing.drag((0.3, 0.3), (0.7, 0.7)), drawing.diameter, drawing.size)
    assert (third & first).any()
    assert iou(drawing.reported(3), (first | second) & ~third) >= 0.999
    drawing.press("b")
    with_shift = drawing.page.keyboard
    with_shift.down("Shift")
    fourth = stroke(drawing.drag((0.2, 0.5), (0.3, 0.5)), drawing.diameter, drawing.size)
    with_shift.up("Shift")
    assert iou(drawing.reported(4), (first | second) & ~third & ~fourth) >= 0.999


def test_the_finest_brush_leaves_no_gap(drawing: Drawing) -> None:
    drawing.press(*["["] * 12)
    assert drawing.diameter == 1
    drawing.drag((0.1, 0.2), (0.9, 0.55))
    mask = drawing.reported(1)
    count, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert count == 2 and mask.any(axis=0).sum() >= 0.8 * 256 - 1


def test_a_stroke_may_leave_the_picture(drawing: Drawing) -> None:
    line = drawing.drag((0.5, 0.5), (1.2, 0.6), (0.5, 0.7))
    assert iou(drawing.reported(1), stroke(line, drawing.diameter, drawing.size)) >= 0.999


def test_what_changes_nothing_is_not_reported(drawing: Drawing) -> None:
    drawing.press("e")
    drawing.drag((0.3, 0.3), (0.6, 0.6))
    assert drawing.data("revision") == "0"
    expect(drawing.page.get_by_role("button", name="Undo")).to_be_disabled()


# ---- shapes ----


def test_a_polygon_closes_at_its_first_corner_by_enter_and_by_a_double_click(drawing: Drawing) -> None:
    drawing.press("o")
    corners = [(0.2, 0.2), (0.5, 0.25), (0.3, 0.35), (0.45, 0.5)]
    expected = polygon(drawing.click(*corners), drawing.size)
    assert drawing.data("revision") == "0"
    drawing.click(corners[0])
    assert iou(drawing.reported(1), expected) >= 0.999

    expected |= polygon(drawing.click((0.6, 0.6), (0.9, 0.6), (0.75, 0.9)), drawing.size)
    drawing.press("Enter")
    assert iou(drawing.reported(2), expected) >= 0.999

    corners = [(0.6, 0.1), (0.9, 0.1), (0.9, 0.4)]
    expected |= polygon(drawing.image(drawing.screen(corners)), drawing.size)
    drawing.click(*corners[:2])
    drawing.page.mouse.dblclick(*drawing.screen(corners)[2])
    assert iou(drawing.reported(3), expected) >= 0.999


def test_corners_are_taken_back_and_dropped(drawing: Drawing) -> None:
    drawing.press("o")
    kept = drawing.click((0.2, 0.2), (0.8, 0.2))
    drawing.click((0.1, 0.9))
    drawing.press("Backspace")
    kept += drawing.click((0.8, 0.7))
    drawing.press("Enter")
    assert iou(drawing.reported(1), polygon(kept, drawing.size)) >= 0.999
    drawing.click((0.1, 0.1), (0.9, 0.1), (0.9, 0.9))
    drawing.press("Escape", "Enter")
    assert drawing.data("revision") == "1"


def test_a_box_is_drawn_from_any_corner(drawing: Drawing) -> None:
    drawing.press("r")
    expected = box(*drawing.drag((0.7, 0.6), (0.2, 0.3)), drawing.size)
    np.testing.assert_array_equal(drawing.reported(1), expected)
    expected |= box(*drawing.drag((0.9, 0.9), (1.5, 1.5)), drawing.size)
    np.testing.assert_array_equal(drawing.reported(2), expected)


# ---- regions of the map ----


def test_all_regions_are_numpys(drawing: Drawing, anomaly_map: np.ndarray) -> None:
    regions = cv2.connectedComponents((anomaly_map > LIMIT).astype(np.uint8), connectivity=8)[0] - 1
    assert regions > 2
    for revision, name in enumerate(["large", "small"], start=1):
        part = drawing.part(name)
        part.press("m")
        part.root.get_by_role("button", name=f"Add all {regions} regions").click()
        np.testing.assert_array_equal(part.reported(revision), enlarged(anomaly_map, part.size) > LIMIT)


def test_a_click_adds_the_region_it_hits_and_shift_takes_it_away(drawing: Drawing, anomaly_map: np.ndarray) -> None:
    drawing = drawing.part("large")
    above = enlarged(anomaly_map, drawing.size) > LIMIT
    drawing.press("m")
    spots = [(16.5 / 64, 20.5 / 64), (0.5 / 64, 60.5 / 64)]
    first = region_of(above, drawing.click(spots[0])[0])
    np.testing.assert_array_equal(drawing.reported(1), first)
    second = region_of(above, drawing.click(spots[1])[0])
    np.testing.assert_array_equal(drawing.reported(2), first | second)
    assert not (above == (first | second)).all()
    drawing.click((0.9, 0.1))  # nothing is above the threshold here
    assert drawing.data("revision") == "2"
    drawing.page.keyboard.down("Shift")
    drawing.click(spots[0])
    drawing.page.keyboard.up("Shift")
    np.testing.assert_array_equal(drawing.reported(3), second)


def test_the_threshold_of_the_regions_is_adjustable(drawing: Drawing, anomaly_map: np.ndarray) -> None:
    drawing.press("m")
    slider = drawing.page.get_by_label("Threshold")
    slider.focus()
    for _ in range(20):
        drawing.page.keyboard.press("PageUp")
    drawing.page.keyboard.press("PageDown")
    threshold = float(drawing.data("threshold"))
    assert threshold != LIMIT
    for _ in range(8):
        drawing.page.keyboard.press("PageDown")
    threshold = float(drawing.data("threshold"))
    drawing.page.get_by_role("button", name="Add").click()
    np.testing.assert_array_equal(drawing.reported(1), enlarged(anomaly_map, drawing.size) > threshold)


def test_without_a_map_there_are_no_regions(drawing: Drawing) -> None:
    drawing.press("m")
    tiny = drawing.part("tiny")
    expect(tiny.page.get_by_role("radio", name="Regions")).to_have_count(0)
    expect(tiny.page.get_by_role("radio", name="Brush")).to_be_checked()
    tiny.press("m")
    assert tiny.data("tool") == "brush"


# ---- history ----


def test_undo_and_redo_walk_through_every_step(drawing: Drawing) -> None:
    masks = [np.zeros((256, 256), bool)]
    drawing.drag((0.2, 0.2), (0.8, 0.3))
    masks.append(drawing.reported(1))
    drawing.press("r")
    drawing.drag((0.1, 0.1), (0.5, 0.5))
    masks.append(drawing.reported(2))
    drawing.page.get_by_role("button", name="Clear").click()
    masks.append(drawing.reported(3))
    assert not masks[3].any() and masks[2].sum() > masks[1].sum() > 0
    revision = 3
    for keys, expected in [("z", 2), ("Control+z", 1), ("z", 0), ("y", 1), ("Shift+Z", 2), ("Control+Shift+Z", 3)]:
        drawing.press(keys)
        revision += 1
        np.testing.assert_array_equal(drawing.reported(revision), masks[expected])
    expect(drawing.page.get_by_role("button", name="Redo")).to_be_disabled()
    drawing.page.get_by_role("button", name="Undo").click()
    drawing.press("r")
    drawing.drag((0.8, 0.8), (0.9, 0.9))
    expect(drawing.page.get_by_role("button", name="Redo")).to_be_disabled()
    assert drawing.reported(revision + 2).sum() > masks[2].sum()


def test_escape_drops_the_stroke_in_progress(drawing: Drawing) -> None:
    drawing.drag((0.2, 0.2), (0.4, 0.2))
    before = drawing.reported(1)
    start, end = drawing.screen([(0.3, 0.1), (0.3, 0.6)])
    drawing.page.mouse.move(*start)
    drawing.page.mouse.down()
    drawing.page.mouse.move(*end, steps=4)
    drawing.page.keyboard.press("Escape")
    drawing.page.mouse.up()
    drawing.drag((0.5, 0.9), (0.6, 0.9))
    mask = drawing.reported(2)
    assert (mask[:150] == before[:150]).all() and mask[200:].any()


# ---- keys, pens, fingers ----


def test_keys_are_those_of_the_brush_and_the_page_sees_only_others(drawing: Drawing) -> None:
    drawing.page.evaluate("window.seen = []; addEventListener('keydown', e => window.seen.push(e.key))")
    for key, tool in [("e", "eraser"), ("o", "polygon"), ("r", "box"), ("m", "map"), ("b", "brush")]:
        drawing.press(key)
        assert drawing.data("tool") == tool
    size = drawing.diameter
    drawing.press("]")
    assert drawing.diameter == size + 1
    drawing.press("[", "[")
    assert drawing.diameter == size - 1
    drawing.press("g", "Control+b")
    assert drawing.page.evaluate("window.seen.filter(key => key !== 'Control')") == ["g", "b"]


def test_a_finger_draws_and_two_fingers_zoom(browser: Browser, opened) -> None:
    with browser.new_context(viewport={"width": 800, "height": 900}, has_touch=True) as context:
        drawing = opened(context.new_page())
        cdp = context.new_cdp_session(drawing.page)

        def touch(kind: str, *points: Point) -> None:
            fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
            cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

        drawing.page.evaluate("addEventListener('pointerdown', e => (window.pointer = e.pointerType), {capture: true})")
        points = drawing.screen([(0.2, 0.3), (0.5, 0.5), (0.8, 0.4)])
        line = drawing.image(points)
        touch("touchStart", points[0])
        for point in points[1:]:
            touch("touchMove", point)
        touch("touchEnd")
        assert drawing.page.evaluate("window.pointer") == "touch"
        assert iou(drawing.reported(1), stroke(line, drawing.diameter, drawing.size)) >= 0.999

        width = drawing.root.locator(".layers").bounding_box()["width"]
        a, b, c, d = drawing.screen([(0.4, 0.5), (0.6, 0.5), (0.2, 0.5), (0.8, 0.5)])
        touch("touchStart", a)
        touch("touchStart", a, b)
        touch("touchMove", c, d)
        touch("touchEnd")
        assert drawing.root.locator(".layers").bounding_box()["width"] == pytest.approx(3 * width, rel=0.03)
        assert drawing.data("revision") == "1"


def test_a_pen_draws(drawing: Drawing) -> None:
    cdp = drawing.page.context.new_cdp_session(drawing.page)
    points = drawing.screen([(0.3, 0.3), (0.7, 0.6)])
    line = drawing.image(points)
    for kind, (x, y), buttons in [
        ("mouseMoved", points[0], 0),
        ("mousePressed", points[0], 1),
        ("mouseMoved", points[1], 1),
        ("mouseReleased", points[1], 0),
    ]:
        event = {"type": kind, "x": x, "y": y, "buttons": buttons, "pointerType": "pen", "clickCount": 1}
        cdp.send("Input.dispatchMouseEvent", event | ({"button": "left"} if kind != "mouseMoved" or buttons else {}))
    cdp.detach()
    assert iou(drawing.reported(1), stroke(line, drawing.diameter, drawing.size)) >= 0.999


# ---- zoom ----


def test_drawing_is_exact_when_zoomed_and_moved(drawing: Drawing) -> None:
    drawing = drawing.part("large")
    layers = drawing.root.locator(".layers")
    fitted = layers.bounding_box()
    drawing.page.mouse.move(*drawing.screen([(0.4, 0.4)])[0])
    drawing.page.mouse.wheel(0, -700)
    zoomed = layers.bounding_box()
    assert zoomed["width"] > 4 * fitted["width"]
    drawing.drag((0.4, 0.4), (0.42, 0.43), button="middle")
    moved = layers.bounding_box()
    assert moved["x"] - zoomed["x"] == pytest.approx(0.02 * zoomed["width"], abs=1)
    drawing.press("b")
    drawing.page.keyboard.down("Space")
    drawing.drag((0.4, 0.4), (0.39, 0.4))
    drawing.page.keyboard.up("Space")
    assert layers.bounding_box()["x"] < moved["x"]
    assert drawing.data("revision") == "0"
    line = drawing.drag((0.36, 0.38), (0.4, 0.42), (0.44, 0.39))
    assert iou(drawing.reported(1), stroke(line, drawing.diameter, drawing.size)) >= 0.999
    drawing.page.get_by_role("button", name="Fit").click()
    assert layers.bounding_box() == fitted


# ---- coming and going ----


def test_the_drawing_is_still_there_after_leaving_the_page(drawing: Drawing) -> None:
    drawing.drag((0.2, 0.2), (0.8, 0.8))
    before = drawing.reported(1)
    drawing.page.get_by_text("Elsewhere").click()
    expect(drawing.root).to_have_count(0)
    drawing.page.get_by_text("Elsewhere").click()
    drawing.shown()
    assert int(drawing.data("area")) == before.sum()
    drawing.press("r")
    added = box(*drawing.drag((0.1, 0.7), (0.3, 0.9)), drawing.size)
    np.testing.assert_array_equal(drawing.reported(2), before | added)


def test_the_drawing_and_its_history_move_with_the_component(drawing: Drawing) -> None:
    drawing.drag((0.2, 0.2), (0.8, 0.8))
    before = drawing.reported(1)
    drawing.root.evaluate("e => (e.dataset.old = 'yes')")
    drawing.page.get_by_text("Aside").click()
    expect(drawing.page.locator("[data-old]")).to_have_count(0)
    drawing.shown()
    assert int(drawing.data("area")) == before.sum()
    drawing.press("z")
    assert not drawing.reported(2).any()


def test_every_image_has_its_own_drawing(drawing: Drawing) -> None:
    drawing.drag((0.2, 0.2), (0.8, 0.8))
    before = drawing.reported(1)
    large = drawing.part("large")
    assert large.data("area") == "0"
    expect(large.page.get_by_role("button", name="Undo")).to_be_disabled()
    large.drag((0.5, 0.2), (0.5, 0.8))
    assert large.reported(2).shape == (768, 1024)
    small = large.part("small")
    assert int(small.data("area")) == before.sum()
    small.tells("-")
    small.press("r")
    added = box(*small.drag((0.1, 0.7), (0.3, 0.9)), small.size)
    np.testing.assert_array_equal(small.reported(3), before | added)


# ---- looks ----


def test_every_control_has_a_name_and_shows_the_focus(drawing: Drawing) -> None:
    drawing.drag((0.2, 0.2), (0.3, 0.3))
    drawing.reported(1)
    names = [("radio", n) for n in ("Brush", "Eraser", "Polygon", "Box", "Regions of the anomaly map")]
    names += [("button", n) for n in ("Undo", "Redo", "Clear")] + [("slider", "Size"), ("slider", "Opacity")]
    for role, name in names:
        expect(drawing.root.get_by_role(role, name=name)).to_have_count(1)
    expect(drawing.root).to_have_attribute("aria-label", "Draw the regions to ignore")
    drawing.press("Tab")
    focused = drawing.page.get_by_role("slider", name="Size")
    expect(focused).to_be_focused()
    assert focused.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


def test_it_fits_a_narrow_page_and_loads_nothing_from_elsewhere(new_tab: NewTab, url: str, opened) -> None:
    requests: list[str] = []
    errors: list[str] = []
    page = new_tab(width=800, height=800, scheme="dark")
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    drawing = opened(page)
    overflow = drawing.root.evaluate("e => e.scrollWidth - e.clientWidth")
    expect(drawing.root).to_have_css("color", "rgb(230, 235, 236)")
    assert overflow <= 0 and not errors
    assert requests and not [a for a in requests if not a.startswith((url, "data:", "blob:"))]
