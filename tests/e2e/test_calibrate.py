"""The Calibrate page in a real browser: limits that move without the server, and what becomes of them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocket, expect

from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.metrics.consequences import Consequences, Costs, consequences
from skrd4ad.metrics.thresholds import false_reject_interval
from skrd4ad.model_folder.folder import read_info
from skrd4ad.regions import score_under
from skrd4ad.services.inspection.inspect import inspect_images
from tests.e2e.conftest import NewTab

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
NUMBERS = ROOT / "skrd4ad" / "ui" / "components" / "calibration_board" / "numbers.js"
COSTS = Costs(escape=100, false_reject=5, review=1)
RATE = 0.02
SCRIPT = """
import json
from pathlib import Path
import streamlit as st
from skrd4ad.metrics.consequences import Costs
from skrd4ad.ui.components.calibration_board import BoardState, ScoreGroup, calibration_board

st.set_page_config(layout="wide")
scores = json.loads((Path(__file__).parent / "scores.json").read_text())
st.session_state.runs = st.session_state.get("runs", 0) + 1
known = st.toggle("Defects", value=True)
start = BoardState(review=0.6, reject=0.8)
shown = st.session_state.get("at", start)

def restart():
    st.session_state.at = start

st.button("Restart", on_click=restart)
groups = [ScoreGroup(name="Held-out normals", kind="held-out", scores=tuple(scores["good"]))]
if known:
    groups += [ScoreGroup(name=n, kind="defect", scores=tuple(scores[n])) for n in ("bent", "scratched")]
if st.toggle("Show", value=True):
    state = calibration_board(
        groups, proposal=start, limits=shown, defect_rate=0.02,
        costs=Costs(escape=100, false_reject=5, review=1), unit="€", key="board",
    )
    if state is not None:
        st.session_state.at = state
    st.code(json.dumps([state and [state.review, state.reject], st.session_state.runs]))
"""


@pytest.fixture(scope="module")
def scores() -> dict[str, list[float]]:
    rng = np.random.default_rng(5)
    return {
        "good": rng.gamma(9, 0.06, 142).tolist(),
        "bent": (0.5 + rng.gamma(4, 0.2, 30)).tolist(),
        "scratched": (0.4 + rng.gamma(2, 0.3, 25)).tolist(),
    }


@pytest.fixture(scope="module")
def url(serve, scores: dict, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("board")
    (folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    (folder / "board_app.py").write_text(SCRIPT, encoding="utf-8")
    with serve(folder / "board_app.py") as address:
        yield address


@pytest.fixture
def page(new_tab: NewTab, url: str, settled) -> Page:
    page = new_tab(width=1280, height=1000)
    opened(page, url, settled)
    return page


def opened(page: Page, url: str, settled) -> None:
    page.goto(url)
    expect(page.locator(".board[data-ready]")).to_be_visible()
    settled(page)


def shown(page: Page) -> dict[str, str]:
    return page.locator(".board").evaluate("board => ({...board.dataset})")


def limits(page: Page) -> tuple[float | None, float]:
    data = shown(page)
    return (float(data["review"]) if data["review"] else None), float(data["reject"])


def expect_report(page: Page, *, runs: int) -> None:
    expect(page.locator('[data-testid="stCode"] code')).to_have_text(json.dumps([list(limits(page)), runs]))


def runs_of(page: Page) -> int:
    return json.loads(page.locator('[data-testid="stCode"] code').inner_text())[1]


def handle(page: Page, name: str) -> Locator:
    return page.locator(f'.limit-line[data-limit="{name}"] .handle')


def grab(page: Page, name: str) -> tuple[float, float]:
    box = page.locator(f'.limit-line[data-limit="{name}"] .hold').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    return x, y


def in_python(scores: dict, page: Page) -> Consequences:
    review, reject = limits(page)
    return consequences(
        scores["good"],
        scores["bent"] + scores["scratched"],
        review=review,
        reject=reject,
        defect_rate=RATE,
        costs=COSTS,
    )


def expect_as_python(scores: dict, page: Page) -> None:
    data, found = shown(page), in_python(scores, page)
    assert found.defect is not None
    assert data["good"] == f"{found.good.ok},{found.good.review},{found.good.ng}"
    assert data["defect"] == f"{found.defect.ok},{found.defect.review},{found.defect.ng}"
    figures = {
        "falseRejects": found.false_rejects,
        "escapes": found.escapes,
        "reviews": found.reviews,
        "cost": found.cost,
    }
    for name, value in figures.items():
        assert float(data[name]) == pytest.approx(value, rel=1e-12), name
    low, high = false_reject_interval(found.good.total, found.good.total - found.good.ng)
    assert float(data["certified"]) == pytest.approx((found.good.ng + 1) / (found.good.total + 1))
    assert (float(data["low"]), float(data["high"])) == pytest.approx((low, high), rel=1e-8)


def test_the_browser_counts_as_python_does(browser: Browser) -> None:
    rng = np.random.default_rng(2)
    cases, expected = [], []
    for n, m in [(1, 1), (5, 0), (40, 7), (142, 30), (3000, 500)]:
        good, defect = np.round(rng.gamma(4, 0.2, n), 2), np.round(0.4 + rng.gamma(4, 0.2, m), 2)
        for share in (0.05, 0.5, 0.97, 1):
            reject = float(np.quantile(good, share))
            for review in (None, reject, float(np.quantile(good, share / 2))):
                for rate, costs in ((0.0, COSTS), (0.013, COSTS), (0.5, Costs(escape=3, false_reject=0)), (1.0, None)):
                    found = consequences(good, defect, review=review, reject=reject, defect_rate=rate, costs=costs)
                    kept = found.good.total - found.good.ng
                    interval = false_reject_interval(n, kept) if kept else (None, None)
                    expected.append([found.false_rejects, found.escapes, found.reviews, found.cost, *interval])
                    money = costs and {
                        "escape": costs.escape,
                        "falseReject": costs.false_reject,
                        "review": costs.review,
                    }
                    cases.append([good.tolist(), defect.tolist(), {"review": review, "reject": reject}, rate, money])
    page = browser.new_page()
    found = page.evaluate(
        """([source, cases]) => new Function("cases", source + `
            return cases.map(([good, defect, limits, defectRate, costs]) => {
                const [g, d] = [sortedScores([good]), sortedScores([defect])];
                const c = consequences(countVerdicts(g, limits), countVerdicts(d, limits), { defectRate, costs });
                const p = promise(g, limits.reject);
                return [c.falseRejects, c.escapes, c.reviews, c.cost, p.low, p.high];
            });`)(cases)""",
        [NUMBERS.read_text(encoding="utf-8"), cases],
    )
    page.close()
    assert len(found) == len(expected) > 200
    for one, other in zip(found, expected, strict=True):
        assert [value is None for value in one] == [value is None for value in other]
        assert [v for v in one if v is not None] == pytest.approx([v for v in other if v is not None], rel=1e-8)


def test_a_dragged_limit_changes_the_numbers_without_the_server(
    new_tab: NewTab, url: str, settled, scores: dict
) -> None:
    sent: list[object] = []
    page = new_tab(width=1280, height=1000)

    def watch(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(frame))

    page.on("websocket", watch)
    opened(page, url, settled)
    assert sent, "the socket is not watched"
    expect_as_python(scores, page)
    runs, before = runs_of(page), shown(page)
    sent.clear()
    x, y = grab(page, "reject")
    seen = {before["falseRejects"]}
    for step in range(1, 9):
        page.mouse.move(x - 12 * step, y)
        expect_as_python(scores, page)
        seen.add(shown(page)["falseRejects"])
    assert len(seen) > 3, "the numbers follow the pointer"
    assert sent == []
    assert limits(page)[1] < 0.8
    page.mouse.up()
    expect_report(page, runs=runs + 1)
    assert len(sent) == 1
    assert page.locator(".figures .number").first.inner_text() == f"{in_python(scores, page).false_rejects:.3g}"


def test_keys_move_a_limit_and_a_burst_is_one_report(page: Page, scores: dict) -> None:
    runs, (_, start) = runs_of(page), limits(page)
    handle(page, "reject").focus()
    page.keyboard.down("ArrowRight")
    small = limits(page)[1] - start
    page.keyboard.down("Shift")
    page.keyboard.down("ArrowRight")
    assert limits(page)[1] - start == pytest.approx(11 * small, rel=0.1)
    page.keyboard.up("ArrowRight")
    expect_report(page, runs=runs + 1)
    expect_as_python(scores, page)
    assert "good parts above" in (handle(page, "reject").get_attribute("aria-valuetext") or "")


def test_review_stays_below_reject(page: Page) -> None:
    x, y = grab(page, "review")
    page.mouse.move(x + 600, y, steps=4)
    assert limits(page) == (0.8, 0.8)
    page.mouse.up()
    x, y = grab(page, "reject")
    page.mouse.move(x - 300, y, steps=4)
    page.mouse.up()
    assert limits(page) == (0.8, 0.8)


def test_limits_can_be_typed_and_wrong_ones_are_explained(page: Page, scores: dict) -> None:
    runs = runs_of(page)
    box = page.get_by_label("NG above")
    box.fill("0,91234")
    box.press("Enter")
    expect_report(page, runs=runs + 1)
    assert limits(page) == (0.6, 0.91234)
    expect_as_python(scores, page)
    for text, words in (("high", "is no number"), ("0.3", "must not be below REVIEW (0.600)")):
        box.fill(text)
        box.press("Enter")
        expect(page.locator(".problem")).to_contain_text(words)
    assert limits(page) == (0.6, 0.91234)
    assert runs_of(page) == runs + 1


def test_the_way_back_to_the_proposal_and_the_review_band(page: Page) -> None:
    page.get_by_label("Review band").uncheck()
    assert limits(page) == (None, 0.8)
    expect(page.locator(".confusion thead")).not_to_contain_text("REVIEW")
    expect(handle(page, "review")).to_be_hidden()
    page.get_by_role("button", name="Back to the proposal").click()
    assert limits(page) == (0.6, 0.8)
    expect(page.locator(".confusion thead")).to_contain_text("REVIEW")
    expect(page.get_by_role("button", name="Back to the proposal")).to_be_disabled()


def test_moved_limits_survive_a_time_away_and_python_can_overrule_them(page: Page, settled) -> None:
    runs = runs_of(page)
    handle(page, "reject").focus()
    page.keyboard.press("ArrowLeft")
    expect_report(page, runs=runs + 1)
    moved = limits(page)
    for _ in range(2):  # at once: Streamlit may or may not forget the value of the board in between
        page.locator('[data-testid="stCheckbox"]', has_text="Show").locator("label").click()
    expect(page.locator(".board")).to_have_attribute("data-reject", str(moved[1]))
    settled(page)
    for many in (0, 1):
        page.locator('[data-testid="stCheckbox"]', has_text="Show").locator("label").click()
        expect(page.locator(".board[data-ready]")).to_have_count(many)
    expect(page.locator(".board")).to_have_attribute("data-reject", str(moved[1]))
    page.get_by_role("button", name="Restart").click()
    expect(page.locator(".board")).to_have_attribute("data-reject", "0.8")


def test_defects_are_shown_by_type_and_every_number_says_its_images(page: Page) -> None:
    expect(page.locator(".chart .title")).to_have_text(["Held-out normals, 142 images", "Defects, 55 images"])
    page.get_by_label("Defects by type").check()
    expect(page.locator(".chart .title")).to_have_text(
        ["Held-out normals, 142 images", "Defects, bent, 30 images", "Defects, scratched, 25 images"]
    )
    expect(page.locator(".confusion tbody tr")).to_have_count(4)
    expect(page.locator(".basis").nth(0)).to_contain_text("of 142 good parts")
    expect(page.locator(".basis").nth(1)).to_contain_text("of 55 defects")
    expect(page.locator(".promises p").first).to_contain_text("142 normals: at most")


def test_without_defects_escapes_are_unknown_and_not_zero(page: Page) -> None:
    page.locator('[data-testid="stCheckbox"]', has_text="Defects").locator("label").first.click()
    expect(page.locator(".confusion")).to_contain_text("No defects known")
    data = shown(page)
    assert (data["escapes"], data["reviews"], data["cost"]) == ("", "", "")
    expect(page.locator(".figures .number").nth(1)).to_have_text("–")


def test_the_log_scale_moves_no_number(page: Page) -> None:
    before = shown(page)
    page.get_by_label("Log scale").check()
    assert shown(page) == before
    x, y = grab(page, "reject")
    page.mouse.move(x + 1, y)
    page.mouse.move(x, y)
    page.mouse.up()
    assert limits(page)[1] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("width", [1280, 800, 480])
def test_it_fits_its_column(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    board = page.locator(".board")
    assert board.evaluate("b => b.scrollWidth <= b.clientWidth")
    chart = page.locator(".chart").bounding_box()
    assert chart["width"] <= board.bounding_box()["width"]


def test_it_follows_the_colour_scheme(page: Page) -> None:
    board = page.locator(".board")
    page.emulate_media(color_scheme="dark")
    expect(board).to_have_css("color", "rgb(230, 235, 236)")
    page.emulate_media(color_scheme="light")
    expect(board).to_have_css("color", "rgb(27, 35, 38)")


# ---- the page itself ----


@pytest.fixture
def own(tiny_model: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model[0], tmp_path / "models" / "parts" / "machined_disc" / "tiny"))


@pytest.fixture
def app(serve, new_tab: NewTab, own: Path, tiny_data: Path, tmp_path: Path, settled) -> Iterator[Page]:
    env = {
        "SKRD4AD_HOME": str(tmp_path / "home"),
        "SKRD4AD_CHECKPOINTS": str(tmp_path / "models"),
        "SKRD4AD_DATA_ROOTS": str(tiny_data),
        "OMP_NUM_THREADS": "1",
    }
    with serve(ROOT / "app.py", env=env) as address:
        page = new_tab(height=1000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        opened(page, f"{address}/calibrate", settled)
        yield page
        assert errors == []
        assert page.locator('[data-testid="stException"]').count() == 0


def resting_box(place: Locator) -> dict[str, float]:
    """Where something is once it has not moved for a while."""
    found: list[dict[str, float] | None] = [None]
    while len(found) < 10 or any(box != found[-1] for box in found[-10:]) or found[-1] is None:
        place.page.wait_for_timeout(100)
        found.append(place.bounding_box())
        assert len(found) < 600, "it does not come to rest"
    return found[-1]


def save_as(page: Page, version: int, settled) -> None:
    page.get_by_label("Who calibrates").fill("Ada")
    page.get_by_label("Who calibrates").press("Enter")
    button = page.get_by_role("button", name=f"Save as version {version}")
    expect(button).to_be_enabled()
    button.click()
    expect(page.get_by_text(f"Version {version} is saved")).to_be_visible()
    settled(page)


def test_a_limit_set_by_hand_is_saved_and_named_by_every_verdict(
    app: Page, own: Path, tiny_data: Path, settled
) -> None:
    x, y = grab(app, "reject")
    app.mouse.move(x - 120, y, steps=5)
    app.mouse.up()
    settled(app)
    expect(app.get_by_text("Way: by hand")).to_be_visible()
    reject = limits(app)[1]
    save_as(app, 2, settled)
    saved = read_info(own).calibration
    assert saved is not None
    assert (saved.version, saved.who, saved.method, saved.image_threshold) == (2, "Ada", "manual", reject)
    image = sorted((tiny_data / "machined_disc" / "test" / "good").iterdir())[0]
    [found] = inspect_images(Predictor.load(own), [("part", image)])
    assert found.limits is not None and found.limits.calibration == 2
    app.get_by_role("link", name="Inspect").click()
    expect(app.get_by_test_id("stSidebar")).to_contain_text("version 2")
    expect(app.locator(".gallery[data-ready]")).to_be_visible()


def test_a_drawn_region_mutes_the_score(app: Page, own: Path, tiny_data: Path, settled) -> None:
    before = limits(app)[1]
    # the whole picture must be in the window for a box over it
    app.set_viewport_size({"width": 1440, "height": 1600})
    app.get_by_text("What counts: smallest region").click()
    stage = app.locator(".brush .stage .picture")
    expect(stage).to_be_visible()
    app.locator(".brush .tools label", has_text="Box").click()
    settled(app)
    app.locator(".brush .stage").hover()
    box = resting_box(stage)
    app.mouse.move(box["x"] + 1, box["y"] + 0.15 * box["height"])
    app.mouse.down()
    app.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] - 1, steps=5)
    app.mouse.up()
    expect(app.get_by_text("Not applied yet")).to_be_visible()
    app.get_by_role("button", name="Score again with this").click()
    expect(app.get_by_text("The scores above use this.")).to_be_visible()
    settled(app)
    assert limits(app)[1] < before
    expect(app.get_by_text("the drawn regions are ignored")).to_be_visible()
    save_as(app, 2, settled)
    info = read_info(own)
    assert info.calibration is not None and info.calibration.ignore == "ignore-2.png"
    ignored = scoring_mask_of(info).ignored
    assert ignored is not None and 0.7 < ignored.mean() < 0.95
    images = [(path.name, path) for path in sorted((tiny_data / "machined_disc" / "test").glob("*/*.png"))]
    lowered = 0
    for seen in inspect_images(Predictor.load(own), images):
        assert seen.prediction is not None and seen.score is not None and seen.scored_map is not None
        assert seen.score == score_under(seen.prediction.anomaly_map, scoring_mask_of(info))
        assert seen.scored_map[-1].max() == 0
        lowered += seen.score < seen.prediction.score
    assert lowered > 0, "no image has its highest score where it is ignored"
