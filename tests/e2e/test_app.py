"""The whole app in a real browser: from the first click to a defect, and from good images to a model of their own."""

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, WebSocket, expect
from pypdf import PdfReader

from skrd4ad.model_folder.folder import read_info
from skrd4ad.ui.frame import UNDER_WAY
from tests.e2e.conftest import NewTab

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "checkpoints" / "elpv" / "solar_cell_mono" / "demo"
EXCEPTION = '[data-testid="stException"]'
READY = ".viewer[data-ready]"


@dataclass
class Place:
    """The app that runs, and its folders."""

    url: str
    own_parts: Path
    """Images nothing was trained on yet, under a data root."""
    models: Path


@dataclass
class Complaints:
    """What a page must not do, as it happens."""

    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", lambda m: m.type == "error" and self._console(m.text))
        page.on("pageerror", lambda error: self.found.append(f"script: {error}"))
        page.on("request", lambda request: self._request(request.url))
        page.on("response", lambda response: self._response(response.status, response.url))

    def _console(self, text: str) -> None:
        if "Failed to load resource" not in text:  # told by _response, with the address
            self.found.append(f"console: {text}")

    def _response(self, status: int, url: str) -> None:
        # on a deep link Streamlit looks for its server below the page's address first
        if status >= 400 and "/_stcore/" not in url:
            self.found.append(f"{status}: {url}")

    def _request(self, url: str) -> None:
        if not re.match(r"https?://127\.0\.0\.1[:/]|data:|blob:", url):
            self.found.append(f"request: {url}")


@pytest.fixture(scope="module")
def place(serve, tiny_model: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("app")
    folder, tiny_data = tiny_model
    models, own = root / "models", root / "data" / "own_parts"
    shutil.copytree(folder, models / "parts" / "machined_disc" / "tiny")
    if DEMO.is_dir():
        shutil.copytree(DEMO, models / "elpv" / "solar_cell_mono" / "demo")
    shutil.copytree(tiny_data / "machined_disc", own / "washer")
    env = {
        "SKRD4AD_HOME": str(root / "home"),
        "SKRD4AD_CHECKPOINTS": str(models),
        "SKRD4AD_DATA_ROOTS": f"{root / 'data'}:{tiny_data}",
        "OMP_NUM_THREADS": "1",
    }
    with serve(ROOT / "app.py", env=env) as url:
        yield Place(url=url, own_parts=own, models=models)


@pytest.fixture
def tab(new_tab: NewTab) -> Iterator[Page]:
    """A tab that must not complain, whatever the test does in it."""
    complaints = Complaints()
    page = new_tab()
    complaints.watch(page)
    yield page
    assert page.locator(EXCEPTION).count() == 0
    assert complaints.found == []


def title(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def open_page(page: Page, place: Place, name: str) -> None:
    page.goto(f"{place.url}/{name.lower()}")
    title(page, name)


def go_to(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    title(page, name)


def model_box(page: Page) -> Locator:
    return page.get_by_test_id("stSidebar").get_by_role("combobox", name="Model")


def choose_model(page: Page, class_name: str) -> None:
    # after a rerun the old box stands beside the new one for a moment
    expect(model_box(page)).to_have_count(1)
    if class_name in model_box(page).input_value():
        return
    model_box(page).click()
    page.get_by_role("option", name=class_name).first.click()
    expect(page.locator(READY)).to_be_visible()


def inspect_tiny(page: Page, place: Place, settled: Callable[[Page], None]) -> None:
    """Samples of the tiny data set on the Inspect page, one shown large."""
    open_page(page, place, "Inspect")
    choose_model(page, "machined_disc")
    expect(page.locator('.gallery[data-count="12"]')).to_be_attached()
    expect(page.locator(READY)).to_be_visible()
    settled(page)


@contextmanager
def silence(page: Page) -> Iterator[list[str]]:
    """What a page sends to the server within the block."""
    sent: list[str] = []
    listening = True

    def note(what: str) -> None:
        if listening:
            sent.append(what)

    page.on("request", lambda request: not request.url.startswith(("data:", "blob:")) and note(request.url))
    yield sent
    listening = False


def heat(page: Page) -> str:
    return str(page.locator(".heat").evaluate("canvas => canvas.toDataURL()"))


def grip(slider: Locator) -> tuple[float, float]:
    box = slider.bounding_box()
    assert box is not None
    share = slider.evaluate("s => s.value / s.max")
    return box["x"] + 8 + share * (box["width"] - 16), box["y"] + box["height"] / 2


def enter(page: Page, label: str, value: str) -> None:
    box = page.get_by_test_id(re.compile("st(Number|Text)Input")).filter(has_text=label).locator("input")
    box.fill(value)
    box.press("Enter")


STEPS = ("Steps at most", "1000000")


def start_training(page: Page, place: Place, settled: Callable[[Page], None], *, epochs: int) -> None:
    open_page(page, place, "Train")
    page.get_by_role("radio", name="Own folder").click()
    folder = page.get_by_label("Folder", exact=True)
    folder.fill(str(place.own_parts))
    folder.press("Enter")
    expect(page.get_by_text("12 good images to learn from")).to_be_visible()
    page.get_by_text("Every setting").click()
    for label, value in (
        ("Image size", "64"),
        ("Epochs", str(epochs)),
        ("Images a step", "4"),
        ("Held out", "25"),
        STEPS,
    ):
        enter(page, label, value)
    settled(page)
    page.get_by_role("button", name="Start training").click()


def test_a_deep_link_to_a_fresh_server_has_the_frame(tab: Page, place: Place) -> None:
    open_page(tab, place, "Train")
    nav = tab.get_by_test_id("stSidebarNav")
    for name in ("Overview", "Train", "Inspect"):
        expect(nav.get_by_role("link", name=name)).to_be_visible()
    assert tab.url == f"{place.url}/train"
    expect(model_box(tab)).to_be_visible()


def test_one_click_leads_from_the_address_of_the_app_to_a_defect(tab: Page, place: Place) -> None:
    tab.goto(place.url)
    title(tab, "Overview")
    part = tab.locator(".showcase .part").first
    name = part.get_attribute("data-value")
    part.click()
    title(tab, "Inspect")
    expect(tab.locator(READY)).to_be_visible()
    expect(tab.locator(".viewer .verdict")).to_have_attribute("data-verdict", "NG")
    expect(tab.get_by_text("The data set says: defect")).to_be_visible()
    expect(tab.locator(".viewer .title")).to_have_text((name or "").rsplit("/", 1)[-1])


def test_a_demo_solar_cell_is_inspected(tab: Page, place: Place) -> None:
    open_page(tab, place, "Inspect")
    choose_model(tab, "solar_cell_mono")
    expect(tab.locator('.gallery[data-count="24"]')).to_be_attached()
    expect(tab.locator(".viewer .verdict")).to_have_attribute("data-verdict", "NG")
    assert int(tab.locator(".viewer").get_attribute("data-regions") or 0) > 0


def test_a_card_opens_its_model_and_the_way_back_stays_open(tab: Page, place: Place, settled) -> None:
    open_page(tab, place, "Overview")
    cards = tab.locator(".showcase .model")
    expect(cards).to_have_count(len(list(place.models.glob("*/*/*/config.json"))))
    tab.get_by_role("button", name="Inspect with machined disc").click()
    title(tab, "Inspect")
    expect(tab.locator(READY)).to_be_visible()
    go_to(tab, "Overview")
    settled(tab)
    title(tab, "Overview")


def test_inspect_is_one_screen_and_arrows_step_from_anywhere(tab: Page, place: Place, settled) -> None:
    inspect_tiny(tab, place, settled)
    viewer = tab.locator(".viewer")
    for width, height in ((1440, 900), (1920, 1080)):
        tab.set_viewport_size({"width": width, "height": height})
        for name in (".stage", ".verdict", ".found", ".slider", ".gallery .strip"):
            expect(tab.locator(name).first).to_be_in_viewport(ratio=1)
        assert tab.locator(".stage").bounding_box()["height"] > 0.45 * height
    tab.set_viewport_size({"width": 1440, "height": 900})
    seen = [viewer.get_attribute("data-ready") or ""]
    for focus in (".stage", ".slider", ".views label"):
        viewer.locator(focus).first.click()
        tab.keyboard.press("ArrowRight")
        expect(viewer).not_to_have_attribute("data-ready", seen[-1])
        expect(tab.locator(READY)).to_be_visible()
        seen.append(viewer.get_attribute("data-ready") or "")
    assert len(set(seen)) == 4


def test_the_address_shows_the_same_in_another_tab_and_after_going_back(
    tab: Page, place: Place, settled, new_tab: NewTab
) -> None:
    inspect_tiny(tab, place, settled)
    shown = tab.locator(".viewer")
    first = shown.get_attribute("data-ready") or ""
    expect(tab).to_have_url(re.compile("image="))
    before = tab.url
    tab.keyboard.press("ArrowRight")
    expect(shown).not_to_have_attribute("data-ready", first)
    expect(tab.locator(READY)).to_be_visible()
    second = shown.get_attribute("data-ready") or ""
    tab.locator(".views").get_by_text("Map", exact=True).click()
    expect(tab).to_have_url(re.compile("view=map"))
    other = new_tab()
    other.goto(tab.url)
    expect(other.locator(".viewer")).to_have_attribute("data-ready", second)
    expect(other.get_by_role("radio", name="Map")).to_be_checked()
    expect(model_box(other)).to_have_value(re.compile("machined_disc"))
    other.close()
    for _ in range(6):  # a step for each change
        if tab.url == before:
            break
        settled(tab)
        tab.wait_for_timeout(1000 * UNDER_WAY)
        tab.go_back()
    expect(tab).to_have_url(before)
    expect(shown).to_have_attribute("data-ready", first)
    expect(tab.get_by_role("radio", name="Overlay")).to_be_checked()
    tab.get_by_role("radio", name="good parts").click()
    expect(tab.locator('.gallery[data-count="4"]')).to_be_attached()
    tab.wait_for_timeout(1000 * UNDER_WAY)
    tab.go_back()
    expect(tab.locator('.gallery[data-count="12"]')).to_be_attached()


def test_the_demo_goes_from_part_to_part_until_a_key_is_pressed(tab: Page, place: Place) -> None:
    tab.clock.install()
    tab.goto(f"{place.url}/overview?demo=1")
    demo = tab.locator(".demo[open]")
    expect(demo).to_be_visible()
    seen = []
    for _ in range(3):
        tab.clock.run_for(2500)
        expect(demo).to_have_class(re.compile("hot judged"))
        seen.append((demo.get_attribute("data-slide"), demo.locator(".verdict").inner_text()))
        assert demo.locator("img").count() == 2
        tab.clock.run_for(4000)
    assert [number for number, _ in seen] == ["0", "1", "2"]
    assert any("OK" in said for _, said in seen) and any("NG" in said for _, said in seen)
    tab.keyboard.press("a")
    expect(demo).to_have_count(0)
    expect(tab).not_to_have_url(re.compile("demo"))
    tab.get_by_role("button", name="Demo").click()
    expect(demo).to_be_visible()
    demo.click(position={"x": 40, "y": 40})
    expect(demo).to_have_count(0)


def test_the_overlay_follows_the_threshold_without_the_server(tab: Page, place: Place, settled) -> None:
    frames: list[str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda _: frames.append("sent"))

    tab.on("websocket", listen)
    inspect_tiny(tab, place, settled)
    assert frames, "the page talks to its server through a web socket"
    slider = tab.locator(".viewer .slider")
    slider.scroll_into_view_if_needed()
    before, limit = heat(tab), tab.locator(".viewer").get_attribute("data-threshold")
    x, y = grip(slider)
    looks = set()
    with silence(tab) as requests:
        frames.clear()
        tab.mouse.move(x, y)
        tab.mouse.down()
        for step in range(1, 6):
            tab.mouse.move(x - 15 * step, y)
            looks.add(heat(tab))
        assert requests == [] and frames == []
    assert len(looks - {before}) >= 4
    assert tab.locator(".viewer").get_attribute("data-threshold") != limit
    tab.mouse.up()
    expect(tab.get_by_text("Against the trial limit of the slider")).to_be_visible()
    tab.get_by_role("button", name="Reset to model limit").click()
    expect(tab.get_by_text("Against the trial limit of the slider")).to_have_count(0)
    assert heat(tab) == before


def test_the_report_of_a_batch_is_downloaded_and_reads_back(tab: Page, place: Place, settled) -> None:
    inspect_tiny(tab, place, settled)
    tab.get_by_text("Report and masks of all images").click()
    button = tab.get_by_role("button", name="Report, PDF")
    tab.get_by_role("button", name="Make the report and the masks of 12 images").click()
    with tab.expect_download() as found:
        button.click()
    text = "".join(page.extract_text() for page in PdfReader(found.value.path()).pages)
    assert "machined_disc" in text and "12" in text
    assert "Signature" in text


def test_downloads_hold_what_is_shown(tab: Page, place: Place, settled) -> None:
    inspect_tiny(tab, place, settled)
    with tab.expect_download() as found:
        tab.get_by_role("button", name="CSV of 12 images").click()
    rows = list(csv.DictReader(found.value.path().read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 12
    assert {row["truth"] for row in rows} >= {"good"}
    assert all(float(row["score"]) > 0 for row in rows)
    for name, mode in (("Overlay", "RGB"), ("Mask", "L")):
        with tab.expect_download() as found:
            tab.get_by_role("button", name=name, exact=True).click()
        image = Image.open(io.BytesIO(found.value.path().read_bytes()))
        assert (image.format, image.size, image.mode) == ("PNG", (64, 64), mode)
    assert set(np.unique(np.asarray(image))) <= {0, 255}


def test_an_unreadable_upload_does_not_stop_the_others(tab: Page, place: Place, settled, tiny_data: Path) -> None:
    inspect_tiny(tab, place, settled)
    tab.get_by_role("radio", name="Upload", exact=True).click()
    real = next((tiny_data / "machined_disc" / "test" / "good").iterdir()).read_bytes()
    tab.locator('input[type="file"]').set_input_files(
        [
            {"name": "fine.png", "mimeType": "image/png", "buffer": real},
            {"name": "torn.png", "mimeType": "image/png", "buffer": real[:60]},
        ]
    )
    expect(tab.locator('.gallery[data-count="2"]')).to_be_attached()
    expect(tab.locator(READY)).to_be_visible()
    tab.locator(".gallery .tile", has_text="Unreadable").click()
    expect(tab.get_by_text("The other images are not affected.")).to_be_visible()
    tab.reload()
    expect(tab.locator('.gallery[data-count="2"]')).to_be_attached()
    expect(tab.get_by_text("The other images are not affected.")).to_be_visible()


def test_a_training_goes_on_without_its_page_and_is_seen_and_ended_from_another_tab(
    tab: Page, place: Place, new_tab: NewTab, settled
) -> None:
    start_training(tab, place, settled, epochs=3000)
    words = tab.get_by_test_id("stMain").get_by_text(re.compile(r"^epoch \d+ of 3000$"))
    expect(words).to_be_visible()
    first = words.inner_text()
    expect(words).not_to_have_text(first)  # moves by itself
    tab.reload()
    expect(words).to_be_visible()
    go_to(tab, "Overview")
    expect(words).to_be_visible()
    beside = tab.get_by_test_id("stSidebar").get_by_text(re.compile(r"washer: epoch \d+ of 3000"))
    go_to(tab, "Inspect")
    expect(beside).to_be_visible()
    go_to(tab, "Train")
    second = new_tab()
    open_page(second, place, "Train")
    expect(second.get_by_test_id("stMain").get_by_text(re.compile(r"^epoch \d+ of 3000$"))).to_be_visible()
    second.get_by_test_id("stMain").get_by_role("button", name="Cancel").click()
    expect(second.get_by_text("cancelled")).to_be_visible()
    expect(tab.get_by_text("cancelled")).to_be_visible()
    expect(words).to_have_count(0)


def test_a_new_model_trains_to_its_end_and_inspects(tab: Page, place: Place, settled) -> None:
    start_training(tab, place, settled, epochs=3)
    tab.get_by_role("button", name="Inspect with it").click()
    title(tab, "Inspect")
    expect(tab.locator(READY)).to_be_visible()
    expect(tab.locator('.gallery[data-count="12"]')).to_be_attached()
    # beside it is the first look of the training that was cancelled
    models = [read_info(path.parent) for path in place.models.glob("own_parts/washer/*/config.json")]
    (info,) = (info for info in models if not info.first_look)
    assert (info.model.image_size, info.data["n_train"], info.data["n_holdout"]) == (64, 9, 3)
    expect(model_box(tab)).to_have_count(1)
    expect(model_box(tab)).to_have_value(re.compile("washer"))


AS_RGB = """element => {
  const canvas = document.createElement('canvas').getContext('2d');
  canvas.fillStyle = getComputedStyle(element).color;
  canvas.fillRect(0, 0, 1, 1);
  return `rgb(${canvas.getImageData(0, 0, 1, 1).data.slice(0, 3).join(', ')})`;
}"""
"""The colour of an element's text in sRGB, in whatever notation its style gives it."""


def contrast(text: str, ground: str) -> float:
    """Contrast ratio of WCAG 2 between two colours as the browser gives them."""

    def luminance(colour: str) -> float:
        channels = np.array([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_their_window_and_chosen_options_can_be_read(
    new_tab: NewTab, place: Place, settled, fits, scheme: str
) -> None:
    complaints, page = Complaints(), new_tab(scheme=scheme)
    complaints.watch(page)
    for name in ("Overview", "Train", "Inspect"):
        open_page(page, place, name)
        if name == "Inspect":
            expect(page.locator(READY)).to_be_visible()
        settled(page)
        for width in (1440, 800):
            page.set_viewport_size({"width": width, "height": 900})
            fits(page)
        page.set_viewport_size({"width": 1440, "height": 900})
        for chosen in page.locator('[data-testid="stButtonGroup"] button[data-selected]').all():
            colour = chosen.evaluate(AS_RGB)
            ground = page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor")
            assert contrast(colour, ground) >= 4.5, (name, chosen.inner_text())
        assert page.locator(EXCEPTION).count() == 0
    assert complaints.found == []
