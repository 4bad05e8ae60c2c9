"""The Evaluate page in a real browser: from no figures to bars that open images, compared runs and files."""

import contextlib
import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from skrd4ad.data.sources import open_dataset
from skrd4ad.format import OUTCOME_TITLES
from skrd4ad.metrics.bootstrap import METRIC_NAMES
from skrd4ad.model_folder.folder import read_info
from skrd4ad.services.evaluation.compare import find_comparison
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.evaluation.operating_points import Findings, findings
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.services.evaluation.store import list_evaluations, load_evaluation
from skrd4ad.services.models.list import model_name
from skrd4ad.ui.evaluate.escapes import groups_of
from skrd4ad.ui.evaluate.images import PAGE_SIZE
from tests.e2e.conftest import NewTab
from tests.evaluation_world import worse_copy
from tests.limits import RETRY, TRIES

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
ROW_PIXELS = 35
"""Height of a row of Streamlit's tables, and of their head."""
MANY = 3000
"""Images of a batch that is still measured when its evaluation is cancelled."""


@dataclass
class Place:
    """The app that runs, its folders, and what its page did that it must not do."""

    url: str
    root: Path
    data: Path
    complaints: list[str] = field(default_factory=list)

    @property
    def model(self) -> Path:
        return self.root / "models" / "parts" / "machined_disc" / "tiny"

    def batch(self, count: int) -> Path:
        """A folder with so many good and defective images that no model belongs to."""
        folder = self.root / "data" / "batch"
        for kind in ("good", "dent"):
            source = next((self.data / "machined_disc" / "test" / kind).iterdir())
            (folder / kind).mkdir(parents=True)
            for number in range(count // 2):
                (folder / kind / f"{number}.png").write_bytes(source.read_bytes() + str(number).encode())
        return folder

    def stored(self, run: str = "tiny") -> StoredEvaluation:
        key = next(each.key for each in list_evaluations() if each.model_folder.name == run)
        found = load_evaluation(key)
        assert found is not None
        return found

    def found(self) -> Findings:
        calibration = read_info(self.model).calibration
        assert calibration is not None
        return findings(self.stored(), calibration)


@pytest.fixture
def place(serve, tiny_model: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    folder, tiny_data = tiny_model
    runs = tmp_path / "models" / "parts" / "machined_disc"
    shutil.copytree(folder, runs / "tiny")
    env = {
        "SKRD4AD_HOME": str(tmp_path / "home"),
        "SKRD4AD_CHECKPOINTS": str(tmp_path / "models"),
        "SKRD4AD_DATA_ROOTS": f"{tmp_path / 'data'}:{tiny_data}",
        "OMP_NUM_THREADS": "1",
    }
    monkeypatch.setenv("SKRD4AD_HOME", env["SKRD4AD_HOME"])
    with serve(ROOT / "app.py", env=env) as url:
        yield Place(url, tmp_path, tiny_data)


@pytest.fixture
def page(new_tab: NewTab, place: Place) -> Iterator[Page]:
    page, complaints = new_tab(height=1000), place.complaints
    page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
    page.on(
        "console",
        lambda m: m.type == "error" and "Failed to load resource" not in m.text and complaints.append(m.text),
    )
    page.on(
        "request",
        lambda request: (
            re.match(r"https?://127\.0\.0\.1[:/]|data:|blob:", request.url) or complaints.append(request.url)
        ),
    )
    yield page
    assert page.locator('[data-testid="stException"]').count() == 0
    assert complaints == []


def address(page: Page) -> dict[str, str]:
    """What the address asks for."""
    found: dict[str, str] = page.evaluate("Object.fromEntries(new URL(location.href).searchParams)")
    return found


def button(page: Page, name: str) -> Locator:
    return page.get_by_test_id("stMain").get_by_role("button", name=name, exact=True)


def choose(page: Page, name: str, settled) -> None:
    page.get_by_test_id("stButtonGroup").get_by_role("radio", name=name, exact=True).click()
    settled(page)


def chart(page: Page, name: str) -> Locator:
    return page.locator(f".st-key-evaluate-{name} .js-plotly-plot")


def drawn(page: Page, name: str) -> list[dict]:
    """Traces of a chart as plotly draws them."""
    expect(chart(page, name).locator(".main-svg").first).to_be_visible()
    text = chart(page, name).evaluate(
        """plot => JSON.stringify(plot._fullData.map((t) => ({
            x: Array.from(t.x ?? []), y: Array.from(t.y ?? []), mode: t.mode, base: t.base,
            data: Array.from(t.customdata ?? []),
        })))"""
    )
    return json.loads(text)


def click_mark(page: Page, name: str, data: list) -> None:
    """Click the bar that stands for some images."""
    traces = drawn(page, name)
    at = [(t, p) for t, trace in enumerate(traces) for p, each in enumerate(trace["data"]) if each == data]
    assert len(at) == 1
    trace, point = at[0]
    bar = chart(page, name).locator(".trace.bars").nth(trace).locator(".point path").nth(point)
    bar.scroll_into_view_if_needed()
    # plotly clicks what it has hovered, and it looks at the pointer only now and then
    hovered = chart(page, name).locator(".hoverlayer .hovertext")
    page.mouse.move(0, 0)
    expect(hovered).to_have_count(0)
    box = bar.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(hovered.first).to_be_visible()
    page.mouse.down()
    page.mouse.up()


def open_mark(page: Page, name: str, data: list, shown: Locator, value: str) -> None:
    """Click until the box says what the bar stands for: a click while a chart is drawn anew is lost."""
    for _ in range(TRIES - 1):
        click_mark(page, name, data)
        with contextlib.suppress(AssertionError):
            expect(shown).to_have_value(value, timeout=RETRY)
            return
    click_mark(page, name, data)
    expect(shown).to_have_value(value)


def expect_gallery(page: Page, count: int) -> Locator:
    gallery = page.locator(f'.gallery[data-ready][data-count="{count}"]')
    expect(gallery).to_be_visible()
    expect(page.locator(".viewer[data-ready]")).to_be_visible()
    return gallery


def saved(page: Page, press: Locator) -> tuple[str, bytes]:
    with page.expect_download() as download:
        press.click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_from_no_figures_to_images_comparisons_and_files(page: Page, place: Place, settled) -> None:
    start_from_nothing(page, place, settled)
    look_at_classes(page, place, settled)
    look_at_curves(page, place, settled)
    look_at_escapes(page, place, settled)
    compare_runs(page, place, settled)
    take_away(page, place, settled)
    measure_other_images_and_cancel(page, place, settled)
    remove(page, place, settled)


def test_buttons_that_lead_on_are_where_something_is_missing(page: Page, place: Place, settled) -> None:
    (place.model / "calibration.json").unlink()
    (data,) = open_dataset(place.data)
    before = evaluate_class(place.model, data, source=str(place.data)).summary
    for view in ("Curves", "Escapes"):
        page.goto(f"{place.url}/evaluate?view={view}")
        follow(page, "Calibrate", "Calibrate")
    page.goto(f"{place.url}/evaluate?view=Compare")
    follow(page, "Train a model", "Train")

    page.goto(f"{place.url}/evaluate")
    page.get_by_test_id("stExpander").get_by_text("1 up to date").click()  # folded: nothing is left to do
    button(page, "Evaluate again").click()
    expect(page.get_by_test_id("stExpander").get_by_text("1 up to date")).to_be_visible()
    expect(page.get_by_test_id("stSidebar").get_by_text("Evaluation of machined_disc")).to_have_count(0)
    again = place.stored().summary
    assert again.metrics == before.metrics and again.key == before.key

    # more images than are shown at once
    (batch,) = open_dataset(place.batch(2 * PAGE_SIZE))
    key = evaluate_class(place.model, batch, source=str(batch.root)).summary.key
    page.goto(f"{place.url}/evaluate?evaluation={key}")
    data_of_bar = next(each for each in drawn(page, "bars-image_auroc")[0]["data"] if each[0] == key)
    click_mark(page, "bars-image_auroc", data_of_bar)
    expect_gallery(page, PAGE_SIZE)
    settled(page)
    count = len(batch.test)  # some of the good ones are to learn from
    button(page, f"Show {count - PAGE_SIZE} more of {count}").click()
    expect_gallery(page, count)

    shutil.rmtree(place.root / "models")
    page.goto(f"{place.url}/evaluate")
    follow(page, "Train a model", "Train")


def follow(page: Page, name: str, title: str) -> None:
    """Press a button that leads to another page."""
    button(page, name).click()
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()


def start_from_nothing(page: Page, place: Place, settled) -> None:
    # a link into a fresh server: Streamlit runs the page's file by itself first
    page.goto(f"{place.url}/evaluate?view=Curves")
    expect(page.get_by_text("Nothing has been evaluated in this workspace yet")).to_be_visible()
    button(page, "Evaluate").click()
    expect(page.get_by_test_id("stExpander").get_by_text("1 up to date")).to_be_visible()
    expect(page.get_by_role("radio", name="Curves", exact=True)).to_be_checked()
    settled(page)
    model = model_name(read_info(place.stored().summary.model_folder))
    assert address(page) == {"view": "Curves", "evaluation": place.stored().summary.key, "model": model}
    metrics = place.stored().summary.metrics
    shown = page.get_by_test_id("stMetricValue").all_inner_texts()
    assert [text.partition(" of ")[2] for text in shown[: len(OUTCOME_TITLES)]] == ["4", "8", "12", "12"]
    assert shown[len(OUTCOME_TITLES) :] == [
        f"{value:.3f}"
        for value in (
            metrics.image_auroc,
            metrics.pixel_auroc,
            metrics.aupro,
            metrics.aupro_005,
            metrics.aupro_paper,
        )
    ]
    button(page, "How it was measured").click()
    expect(page.get_by_test_id("stPopoverBody").get_by_text("4 good, 8 defective")).to_be_visible()
    page.keyboard.press("Escape")


def look_at_classes(page: Page, place: Place, settled) -> None:
    stored = place.stored()
    choose(page, "Classes", settled)
    for title, name in (
        ("Pixel AUROC", "pixel_auroc"),
        ("AUPRO (FPR to 0.30)", "aupro"),
        ("AUPRO (FPR to 0.05)", "aupro_005"),
        ("Image AUROC", "image_auroc"),
    ):
        choose(page, title, settled)
        trace = drawn(page, f"bars-{name}")[0]
        assert trace["base"] + trace["y"][0] == pytest.approx(getattr(stored.summary.metrics, name))
    data = drawn(page, "bars-image_auroc")[0]["data"][0]
    assert data[0] == stored.summary.key
    click_mark(page, "bars-image_auroc", data)
    gallery = expect_gallery(page, len(stored.images))
    settled(page)
    # another image of the strip becomes the large one
    second = sorted(stored.images, key=lambda image: -image.verdict_score)[1]
    gallery.locator("[data-id]").nth(1).click()
    # its name also stands on its tile
    expect(page.locator(".viewer .title")).to_have_text(second.name)
    settled(page)
    button(page, "Close").click()
    expect(page.locator(".gallery")).to_have_count(0)
    settled(page)


def look_at_curves(page: Page, place: Place, settled) -> None:
    stored, found = place.stored(), place.found()
    choose(page, "Curves", settled)
    for title, names in (
        ("Precision and recall", ("image_pr", "pixel_pr")),
        ("PRO", ("pro",)),
        ("ROC", ("image_roc", "pixel_roc")),
    ):
        choose(page, title, settled)
        for name in names:
            traces = drawn(page, f"curve-{name}")
            line = next(trace for trace in traces if trace["data"])
            assert (line["x"], line["y"]) == (stored.curves[name].x.tolist(), stored.curves[name].y.tolist())
            point = found.image_point if name.startswith("image") else found.pixel_point
            assert point is not None
            marks = [(trace["x"][0], trace["y"][0]) for trace in traces if trace["mode"] == "markers"]
            assert marks == [point.on(name)]
    cameras = page.locator(".st-key-evaluate-curve-image_roc")
    name, content = saved(page, cameras.get_by_role("button", name="Download plot as a PNG"))
    assert name == "machined_disc_image_roc.png"
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.width > 600
    choose(page, "SVG", settled)
    name, content = saved(page, cameras.get_by_role("button", name="Download plot", exact=True))
    assert name == "machined_disc_image_roc.svg"
    assert content.startswith(b"<svg") and b"False positive rate" in content


def look_at_escapes(page: Page, place: Place, settled) -> None:
    found = place.found()
    groups = {(group.chart, group.name, group.indices): group for group in groups_of(found)}
    choose(page, "Escapes", settled)
    shown = page.get_by_role("combobox", name="Images shown")
    clicked = 0
    for name, kind in (("confusion", "cell"), ("escapes-type", "type"), ("escapes-size", "size")):
        for data in [each for trace in drawn(page, name) for each in trace["data"]]:
            if len(data) == 1:
                continue
            group = groups[kind, data[0], tuple(data[1:])]
            open_mark(page, name, data, shown, f"{group.title} ({len(group.indices)})")
            expect_gallery(page, len(group.indices))
            settled(page)
            clicked += 1
    assert clicked >= 6
    # with the keyboard as well
    escapes = next(group for group in groups.values() if group.name == "defect OK")
    shown.click()
    page.get_by_role("option", name=escapes.title).click()
    expect_gallery(page, len(escapes.indices))
    settled(page)
    expect(page.get_by_test_id("stMain").get_by_text("a defect that passes as OK").last).to_be_visible()


def compare_runs(page: Page, place: Place, settled) -> None:
    choose(page, "Compare", settled)
    expect(page.get_by_text("There is only one evaluation")).to_be_visible()
    worse_copy(place.model, place.model.parent / "worse")
    page.reload()
    expect(button(page, "Evaluate all that are missing (1)")).to_be_visible()
    button(page, "Evaluate all that are missing (1)").click()
    expect(page.get_by_test_id("stExpander").get_by_text("2 up to date")).to_be_visible()
    settled(page)
    button(page, "Compare").click()
    expect(page.get_by_text("Differences on 4 good and 8 defective images")).to_be_visible()
    settled(page)
    found = find_comparison(place.stored("worse"), place.stored())
    assert found is not None, "the chosen one is the second"
    assert drawn(page, "differences")[0]["x"] == [each.difference for each in found.differences.values()]
    lines = [trace for trace in drawn(page, "pair-curve-image_roc") if trace["data"]]
    assert len(lines) == 2
    expect(page.locator(".viewer[data-ready]")).to_have_count(2)
    # a row of the table brings its image
    # its rows are drawn on a canvas that lies under what scrolls it
    rows = page.locator('[class*="st-key-evaluate-changes-"] .dvn-scroller')
    rows.scroll_into_view_if_needed()
    rows.click(position={"x": 20, "y": 2.5 * ROW_PIXELS})
    expect(page.get_by_role("combobox", name="Image under both")).to_have_value(
        re.compile(re.escape(found.images[1].name))
    )
    settled(page)


def take_away(page: Page, place: Place, settled) -> None:
    choose(page, "Export", settled)
    stored = place.stored()
    name, content = saved(page, button(page, f"Figures as CSV ({2 * len(METRIC_NAMES)} rows)"))
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert name == "evaluation.csv" and len(rows) == 2 * len(METRIC_NAMES)
    row = next(row for row in rows if row["model"] == "tiny" and row["metric"] == "aupro")
    assert float(row["value"]) == stored.summary.metrics.aupro
    name, content = saved(page, button(page, "Images of machined_disc · tiny as CSV (12 rows)"))
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [float(row["score"]) for row in rows] == [pytest.approx(image.score) for image in stored.images]
    page.get_by_text("Published figures in the LaTeX table").click()
    settled(page)
    name, content = saved(page, button(page, "LaTeX table (2 rows)"))
    assert name == "evaluation.tex" and rb"\toprule" in content
    name, content = saved(page, button(page, "One HTML file with tables and charts (2 evaluations)"))
    assert name == "evaluation.html"
    look_at_report(page, place, content)


def look_at_report(page: Page, place: Place, content: bytes) -> None:
    path = place.root / "evaluation.html"
    path.write_bytes(content)
    with page.context.browser.new_context(offline=True, accept_downloads=True) as context:
        report = context.new_page()
        errors: list[str] = []
        report.on("pageerror", lambda error: errors.append(str(error)))
        report.goto(path.as_uri())
        expect(report.locator(".js-plotly-plot .main-svg").first).to_be_visible()
        # four bars of classes; of each run five curves, the confusion, and escapes by type and size
        assert report.locator(".js-plotly-plot").count() == 4 + 2 * 8
        for kind, start in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
            name, picture = saved(report, report.get_by_role("button", name=kind).first)
            assert name.endswith(f".{kind.lower()}") and picture.startswith(start)
        assert errors == []


def measure_other_images_and_cancel(page: Page, place: Place, settled) -> None:
    button(page, "Other test images").click()
    form = page.get_by_test_id("stPopoverBody")
    folder = form.get_by_label("Folder", exact=True)
    folder.fill(str(place.batch(MANY)))
    folder.press("Enter")
    settled(page)
    form.get_by_role("button", name=re.compile(r"Evaluate on these \d+ images")).click()
    button(page, "Cancel").click()
    expect(page.get_by_text("what was known before still stands")).to_be_visible()
    settled(page)
    assert len(list_evaluations()) == 2


def remove(page: Page, place: Place, settled) -> None:
    key = place.stored().summary.key
    button(page, "Remove").click()
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="Remove this evaluation").click()
    expect(page.get_by_text("removes the figures")).to_have_count(0)
    settled(page)
    assert key not in {each.key for each in list_evaluations()}
    expect(page.get_by_test_id("stMetricValue").first).to_be_visible()
