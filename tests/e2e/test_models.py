"""The Models page in a real browser: every button of it does what it says."""

import contextlib
import io
import json
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Download, Error, Locator, Page, expect

from skrd4ad.config import ModelConfig
from skrd4ad.model_folder.bundle import import_bundle, read_bundle
from skrd4ad.model_folder.folder import WEIGHTS, read_info
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.models.skrd import build_student
from tests.e2e.conftest import NewTab
from tests.limits import RETRY, SLOW, TRIES

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


@dataclass
class Place:
    """The app that runs, and its folder of models."""

    url: str
    models: Path
    model: Path
    """A trained model to copy."""

    def add(self, class_name: str) -> Path:
        """A model of a class."""
        folder = Path(shutil.copytree(self.model, self.models / "parts" / class_name / "tiny"))
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps({**values, "class_name": class_name}), encoding="utf-8")
        return folder


@pytest.fixture(scope="module")
def running(serve, tiny_model: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("library")
    folder, tiny_data = tiny_model
    env = {
        "SKRD4AD_HOME": str(root / "home"),
        "SKRD4AD_CHECKPOINTS": str(root / "models"),
        "SKRD4AD_DATA_ROOTS": str(tiny_data),
        "OMP_NUM_THREADS": "1",
    }
    with serve(ROOT / "app.py", env=env) as url:
        yield Place(url=url, models=root / "models", model=folder)


@pytest.fixture
def place(running: Place) -> Place:
    """The app without models."""
    shutil.rmtree(running.models, ignore_errors=True)
    running.models.mkdir()
    return running


@pytest.fixture
def tab(new_tab: NewTab) -> Iterator[Page]:
    page = new_tab(height=1000)
    yield page
    assert page.locator('[data-testid="stException"]').count() == 0


@pytest.fixture
def click(settled) -> Callable[..., None]:
    """``click(page, "Rename")`` presses a button and waits for what it does."""

    def press(inside: Page | Locator, name: str) -> None:
        inside.get_by_role("button", name=name, exact=True).click()
        settled(inside if isinstance(inside, Page) else inside.page)

    return press


def open_page(page: Page, place: Place, settled) -> None:
    page.goto(f"{place.url}/models")
    expect(page.get_by_role("heading", name="Models", level=1)).to_be_visible()
    settled(page)


def choose(page: Page, name: str, settled) -> None:
    page.locator(".st-key-models-box").get_by_text(name, exact=True).click()
    expect(page.locator(".st-key-models-card").get_by_role("heading", name=name)).to_be_visible()
    settled(page)


def section(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def listed(page: Page) -> Locator:
    return page.locator(".st-key-models-box").get_by_role("radio")


def said(page: Page, words: str) -> None:
    expect(page.get_by_text(words)).to_be_visible()


def stored(is_there: Callable[[], bool]) -> None:
    """Wait until something is on the disk: the words may stand in the open dialog already."""
    deadline = time.monotonic() + SLOW / 1000
    while not is_there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def pick(page: Page, name: str, option: str) -> None:
    """Choose in a list; one that closes because the page is drawn anew is opened again."""
    box = page.get_by_role("combobox", name=name)
    for _ in range(TRIES):
        box.click()
        with contextlib.suppress(Error):
            page.get_by_role("option", name=option, exact=True).click(timeout=RETRY)
            break
    expect(box).to_have_value(option)


def upload_checkpoint(page: Page, file: Path) -> None:
    """Give the file; once more when the page was drawn anew while it was taken."""
    for _ in range(TRIES):
        page.locator('input[type="file"]').set_input_files(file)
        with contextlib.suppress(AssertionError):
            expect(page.get_by_role("button", name="Import the checkpoint")).to_be_visible(timeout=RETRY)
            return
    raise AssertionError("the checkpoint is not taken")


def downloaded(page: Page, name: str) -> Download:
    with page.expect_download() as found:
        page.get_by_role("button", name=name).click()
    return found.value


def test_a_model_is_named_noted_used_archived_handed_on_and_deleted(
    tab: Page, place: Place, settled, click, tmp_path: Path
) -> None:
    disc, washer = place.add("disc"), place.add("washer")
    broken = place.add("torn")
    (broken / "config.json").write_text("{", encoding="utf-8")
    open_page(tab, place, settled)
    expect(listed(tab)).to_have_count(2)

    click(tab, "Delete this folder")
    click(tab.get_by_role("dialog"), "Delete for good")
    said(tab, "was deleted")
    assert not broken.exists()

    choose(tab, "washer", settled)
    click(tab, "Rename")
    tab.get_by_role("dialog").get_by_role("textbox", name="Name").fill("Line 3, *new* lamp")
    click(tab.get_by_role("dialog"), "Save")
    expect(tab.get_by_role("heading", name="Line 3, *new* lamp")).to_be_visible()
    click(tab, "Note")
    tab.get_by_role("dialog").get_by_role("textbox", name="Note").fill("checked by Ada")
    click(tab.get_by_role("dialog"), "Save")
    said(tab, "checked by Ada")
    stored(lambda: (read_metadata(washer).name, read_metadata(washer).note) == ("Line 3, *new* lamp", "checked by Ada"))

    click(tab, "Use it")
    expect(tab.get_by_test_id("stSidebar").get_by_role("combobox")).to_have_value("Line 3, *new* lamp")
    expect(tab.get_by_role("button", name="In use")).to_be_disabled()

    bundle = downloaded(tab, "Bundle")
    assert bundle.suggested_filename == "parts-washer-tiny.skrd4ad.zip"
    assert read_bundle(bundle.path()).model_digest == read_info(washer).digest
    assert import_bundle(bundle.path(), out=tmp_path).info.class_name == "washer"
    card = downloaded(tab, "Card as Markdown").path().read_text(encoding="utf-8")
    assert card.startswith("# washer (parts)") and "Note: checked by Ada" in card

    for name, page in (("Figures", "Evaluate"), ("Limits", "Calibrate")):
        section(tab, name)
        tab.get_by_role("button", name=f"{page} it").click()
        expect(tab.get_by_role("heading", name=page, level=1)).to_be_visible()
        tab.get_by_test_id("stSidebarNav").get_by_role("link", name="Models").click()
        expect(tab.get_by_role("heading", name="Models", level=1)).to_be_visible()
        settled(tab)

    pick(tab, "Sort by", "Newest")
    expect(listed(tab)).to_have_count(2)
    tab.get_by_label("Search").fill("disc")
    tab.get_by_label("Search").press("Enter")
    expect(listed(tab)).to_have_count(1)
    click(tab, "Archive")
    said(tab, "No model has all of these words")
    tab.get_by_test_id("stCheckbox").get_by_text("Archived too").click()
    click(tab, "Unarchive")
    said(tab, "is offered again")
    assert not read_metadata(disc).archived

    click(tab, "Delete")
    expect(tab.get_by_role("dialog")).to_contain_text(str(disc))
    click(tab.get_by_role("dialog"), "Keep it")
    expect(tab.get_by_role("dialog")).to_have_count(0)
    click(tab, "Delete")
    click(tab.get_by_role("dialog"), "Delete for good")
    said(tab, "was deleted")
    assert not disc.exists() and washer.exists()


def test_models_come_in_from_files_and_a_changed_byte_is_refused_by_name(
    tab: Page, place: Place, settled, click, tmp_path: Path
) -> None:
    open_page(tab, place, settled)
    click(tab, "Train a model")
    expect(tab.get_by_role("heading", name="Train", level=1)).to_be_visible()

    folder = place.add("disc")
    open_page(tab, place, settled)
    content = bytearray(downloaded(tab, "Bundle").path().read_bytes())
    shutil.rmtree(folder)
    open_page(tab, place, settled)
    place_of_weights = content.index((place.model / WEIGHTS).read_bytes()[-100:])
    torn = content.copy()
    torn[place_of_weights] ^= 1
    file = tab.locator('input[type="file"]')
    file.set_input_files({"name": "torn.zip", "mimeType": "application/zip", "buffer": bytes(torn)})
    click(tab, "Import the bundle")
    expect(tab.get_by_test_id("stAlert").filter(has_text=WEIGHTS)).to_be_visible()
    assert not folder.exists()
    file.set_input_files({"name": "fine.zip", "mimeType": "application/zip", "buffer": bytes(content)})
    expect(tab.get_by_text("torn.zip")).to_have_count(0)
    settled(tab)
    click(tab, "Import the bundle")
    said(tab, "is imported; every part is as its bundle says")
    assert read_metadata(folder).imported.startswith("fine.zip")

    state = build_student(ModelConfig(), seed=5).state_dict()
    parts = {
        part: {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}
        for part in ("bn", "decoder")
    }
    torch.save(parts, tmp_path / "bottle.pth")
    # the page without models is gone, and with it the first place for files
    expect(tab.locator(".st-key-models-card").get_by_role("heading", name="disc")).to_be_visible()
    expect(tab.get_by_role("heading", name="Bring in a model")).to_have_count(0)
    tab.get_by_test_id("stExpander").get_by_text("Bring in a model").click()
    upload_checkpoint(tab, tmp_path / "bottle.pth")
    settled(tab)
    pick(tab, "Teacher it was trained with", "efficientnet_lite0")
    settled(tab)
    click(tab, "Import the checkpoint")
    said(tab, "It has no limits yet: calibrate it on good parts")
    expect(tab.locator(".st-key-models-card").get_by_role("heading", name="bottle")).to_be_visible()
    (made,) = (place.models / "imported" / "bottle").iterdir()
    assert read_info(made).model == ModelConfig()


def test_an_export_is_made_certified_downloaded_and_deleted(tab: Page, place: Place, settled, click) -> None:
    folder = place.add("machined_disc")
    open_page(tab, place, settled)
    section(tab, "Exports")
    click(tab, "Make the export in ONNX, fp32")
    click(tab, "Cancel")
    said(tab, "was not made: cancelled")
    click(tab, "Try again")
    click(tab, "Cancel")
    said(tab, "was not made: cancelled")
    tab.get_by_role("radio", name="OpenVINO IR").click()
    for precision in ("int8", "bf16", "fp16", "fp32"):
        tab.get_by_role("radio", name=precision, exact=True).click()
        expect(tab.get_by_role("button", name=f"Make the export in OpenVINO IR, {precision}")).to_be_enabled()
    tab.get_by_role("radio", name="A fixed number").click()
    expect(tab.get_by_role("spinbutton", name="How many")).to_have_value("8")
    tab.get_by_role("radio", name="One", exact=True).click()
    expect(tab.get_by_role("spinbutton", name="How many")).to_have_count(0)
    settled(tab)
    click(tab, "Make the export in OpenVINO IR, fp32")
    made = tab.locator('[class*="st-key-models-made-openvino-fp32-batch1"]')
    expect(made.get_by_text(re.compile("passed$"))).to_be_visible()
    expect(tab.get_by_text("was not made")).to_have_count(0)

    made.get_by_text("Certificate: ").click()
    expect(made.get_by_role("row").filter(has_text="Verdicts that differ")).to_contain_text("0 % of the images")
    made.get_by_text("How to use it").click()
    expect(made.get_by_test_id("stCode")).to_contain_text("openvino.compile_model")
    with tab.expect_download() as found:
        made.get_by_role("button", name="Certificate, JSON").click()
    certificate = json.loads(found.value.path().read_text(encoding="utf-8"))
    assert certificate["passed"] and certificate["verdict_flips"] == 0
    assert certificate["model_digest"] == read_info(folder).digest
    with tab.expect_download() as found:
        made.get_by_role("button", name="ZIP").click()
    with zipfile.ZipFile(io.BytesIO(found.value.path().read_bytes())) as archive:
        names = {Path(name).name for name in archive.namelist()}
        assert archive.testzip() is None
    assert names == {"model.xml", "model.bin", "manifest.json", "certificate.json", "read_pixels.py"}

    for answer, left in (("Keep it", 1), ("Delete it", 0)):
        made.get_by_role("button", name="Delete export").click()
        click(tab.get_by_role("dialog"), answer)
        expect(tab.get_by_role("dialog")).to_have_count(0)
        expect(made).to_have_count(left)
    assert list((folder / "exports").iterdir()) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_narrow_window(new_tab: NewTab, place: Place, settled, fits, scheme: str) -> None:
    place.add("machined_disc")
    page = new_tab(scheme=scheme)
    open_page(page, place, settled)
    for width in (1440, 800):
        page.set_viewport_size({"width": width, "height": 900})
        for name in ("Card", "Training", "Figures", "Limits", "Data", "Environment", "Exports"):
            section(page, name)
            fits(page)
