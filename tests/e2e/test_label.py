"""The Label page in a real browser: what is drawn and decided is in the workspace, whoever decides, whatever ends."""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from skrd4ad.inference.predictions import limits_of
from skrd4ad.model_folder.folder import read_info
from skrd4ad.services.labelling.annotate import history_of
from skrd4ad.services.labelling.files import load_mask_file
from skrd4ad.services.labelling.queue import filter_of, items_of, order_of_queue
from skrd4ad.services.labelling.review import send_to_review
from skrd4ad.storage.label_queue import QueueFilter, QueueItem
from skrd4ad.storage.labelled_images import PredictionRow

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
SIZE = (360, 280)
Point = tuple[float, float]


@dataclass
class Place:
    """A workspace with images to decide on, and the app that runs on it, which can be killed and started again."""

    home: Path
    models: Path
    wanted: QueueFilter
    port: int
    server: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def items(self) -> list[QueueItem]:
        return items_of(self.wanted, order_of_queue(self.wanted))

    def item(self, digest: str) -> QueueItem:
        return items_of(self.wanted, [digest])[0]

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), f"--server.port={self.port}"]
        command += ["--server.address=127.0.0.1", "--server.headless=true", "--browser.gatherUsageStats=false"]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        own = {"SKRD4AD_HOME": str(self.home), "SKRD4AD_CHECKPOINTS": str(self.models)}
        environment = {**os.environ, **own, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        with (self.home / "server.log").open("ab") as log:
            self.server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        for _ in range(1200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1):
                return
            assert self.server.poll() is None, (self.home / "server.log").read_text()[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        if self.server is not None:
            self.server.kill()
            self.server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model: tuple[Path, Path]) -> Iterator[Place]:
    """Twelve images in the queue; the nearest to the limit is the first."""
    root = tmp_path_factory.mktemp("label")
    folder, _ = tiny_model
    copied = Path(shutil.copytree(folder, root / "models" / "parts" / "machined_disc" / "tiny"))
    (root / "home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKRD4AD_HOME", str(root / "home"))
        patch.delenv("SKRD4AD_DATABASE_URL", raising=False)
        info = read_info(copied)
        rng = np.random.default_rng(4)
        requests = []
        for i in range(12):
            file = root / f"part_{i:02}.png"
            Image.fromarray(rng.integers(60, 200, (SIZE[1], SIZE[0], 3), np.uint8)).save(file)
            requests.append(
                (
                    file.name,
                    file,
                    PredictionRow(2.0 + i, "NG", 1.0, 1, "cannot judge: too dark" if i == 11 else None),
                )
            )
        send_to_review(info, requests)
        wanted = filter_of(info, limits_of(info))
        made = Place(home=root / "home", models=root / "models", wanted=wanted, port=free_port())
        try:
            made.start()
            yield made
        finally:
            made.kill()


@pytest.fixture
def place(served: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The workspace, also in this process: every test would have an empty one of its own."""
    monkeypatch.setenv("SKRD4AD_HOME", str(served.home))
    return served


@dataclass
class Bench:
    """The page of one reviewer."""

    page: Page
    place: Place

    @property
    def brush(self) -> Locator:
        return self.page.locator(".brush")

    @property
    def panel(self) -> Locator:
        return self.page.locator(".panel")

    @property
    def image(self) -> str:
        # the panel is empty until its first data come
        return self.page.locator(".panel[data-image]").get_attribute("data-image") or ""

    def shows(self, digest: str) -> None:
        expect(self.page.locator(f'.panel[data-image="{digest}"]')).to_be_visible()
        expect(self.page.locator(f'.brush[data-ready^="{digest}"]')).to_be_visible()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def labelled(self, label: str) -> None:
        expect(self.panel).to_have_attribute("data-label", label)

    def area(self, pixels: int) -> None:
        expect(self.brush).to_have_attribute("data-area", str(pixels))

    def drag(self, *shares: Point) -> list[Point]:
        """Drags along a line of shares of the picture; its corners in image coordinates."""
        box = self.brush.locator(".layers").bounding_box()
        assert box is not None
        points = [(round(box["x"] + u * box["width"]), round(box["y"] + v * box["height"])) for u, v in shares]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=5)
        self.page.mouse.up()
        return [((x - box["x"]) / box["width"] * SIZE[0], (y - box["y"]) / box["height"] * SIZE[1]) for x, y in points]

    def stored(self, revision: int) -> QueueItem:
        """The image in the database, once it has this revision."""
        digest = self.image
        for _ in range(600):
            item = self.place.item(digest)
            if item.latest.number == revision:
                return item
            assert item.latest.number < revision, item
            time.sleep(0.05)
        raise AssertionError(f"{item} was not changed")


def capsule(points: Sequence[Point], diameter: float) -> np.ndarray:
    """Pixels whose centre is within half a diameter of a line."""
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    mask = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in itertools.pairwise(points):
        length = (bx - ax) ** 2 + (by - ay) ** 2
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1)
        mask |= np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)) <= diameter / 2
    return mask


def rectangle(a: Point, b: Point) -> np.ndarray:
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    return (min(a[0], b[0]) <= x) & (x < max(a[0], b[0])) & (min(a[1], b[1]) <= y) & (y < max(a[1], b[1]))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.fixture
def bench(browser: Browser, place: Place) -> Iterator[Callable[..., Bench]]:
    """``bench("Anna", ratio=2)``: the page of a reviewer in a browser of their own, at the first open image."""
    with contextlib.ExitStack() as stack:

        def start(name: str, *, ratio: int = 1, width: int = 1440) -> Bench:
            context: BrowserContext = stack.enter_context(
                browser.new_context(viewport={"width": width, "height": 900}, device_scale_factor=ratio)
            )
            page = context.new_page()
            page.goto(f"{place.url}/label")
            page.get_by_label("Your name").fill(name)
            page.keyboard.press("Enter")
            started = Bench(page, place)
            expect(page.locator(".brush[data-ready]")).to_be_visible()
            started.shows(started.image)
            return started

        yield start


@pytest.mark.parametrize(("ratio", "width"), [(1, 1440), (2, 800)])
def test_what_is_drawn_is_in_the_workspace_at_the_resolution_of_the_image(bench, ratio: int, width: int) -> None:
    one = bench("Anna", ratio=ratio, width=width)
    line = one.drag((0.2, 0.3), (0.5, 0.45), (0.7, 0.2))
    item = one.stored(1)
    stroke = capsule(line, int(one.brush.get_attribute("data-size") or 0))
    assert item.label == "defect" and item.latest.reviewer == "Anna" and item.mask_file
    mask = load_mask_file(item.mask_file)
    assert mask.shape == SIZE[::-1]
    assert iou(mask, stroke) >= 0.99
    one.labelled("defect")

    one.press("r")  # from the page: the brush has no focus here
    both = mask | rectangle(*one.drag((0.55, 0.6), (0.85, 0.9)))
    item = one.stored(2)
    assert iou(load_mask_file(item.mask_file or ""), both) >= 0.99

    one.press("Control+z")
    assert one.stored(3).mask_file == history_of(one.image)[0].mask_file
    one.press("Control+y")
    assert one.stored(4).mask_file == item.mask_file
    one.press("z")
    assert one.stored(5).mask_file == history_of(one.image)[0].mask_file
    one.area(int(mask.sum()))
    one.page.get_by_role("button", name="Redo").click()  # also what the page took back
    assert one.stored(6).mask_file == item.mask_file
    one.press("z", "z")
    item = one.stored(8)
    assert (item.label, item.mask_file) == ("none", None)
    one.area(0)
    assert [each.undoes for each in history_of(one.image)] == [None, None, 2, None, 4, None, 6, 1]
    decided = one.image
    one.press("u")
    expect(one.panel).not_to_have_attribute("data-image", decided)


def test_decisions_by_keyboard(bench, place: Place) -> None:
    one = bench("Anna")
    queue = [item.digest for item in place.items()]
    first = one.image
    following = queue[queue.index(first) + 1 :]
    one.press("g")
    one.shows(following[0])
    assert place.item(first).label == "good" and place.item(first).latest.reviewer == "Anna"

    one.page.get_by_label("New type of defect").fill("dent")
    one.page.keyboard.press("g")  # is written, not decided
    expect(one.page.get_by_label("New type of defect")).to_have_value("dentg")
    one.page.keyboard.press("Backspace")
    one.page.keyboard.press("Enter")
    one.shows(following[1])
    assert (place.item(following[0]).label, place.item(following[0]).defect_type) == ("defect", "dent")
    assert place.item(following[1]).latest.number == 0

    one.page.get_by_text("Stay on a defect to draw it").click()
    one.press("1")
    one.labelled("defect")
    assert one.image == following[1] and place.item(following[1]).defect_type == "dent"
    one.brush.get_by_role("application").focus()
    one.press("u")  # with the focus in the brush
    one.shows(following[2])
    one.press("p")
    one.shows(following[1])
    one.labelled("unsure")
    one.press("z")
    one.labelled("defect")
    one.press("n", "n")
    one.shows(following[3])
    one.press("z")  # nothing was done here: back to the last step
    one.shows(following[1])
    one.labelled("none")
    expect(one.page.get_by_text("Taken back: defect (dent) by Anna.")).to_be_visible()
    assert [each.reviewer for each in history_of(following[1])] == ["Anna"] * 4
    assert [each.digest for each in place.items()] == queue
    one.page.locator(f'.queue [data-image="{following[4]}"]').click()
    one.shows(following[4])


def test_two_reviewers_on_one_image(bench, place: Place) -> None:
    anna, bob = bench("Anna"), bench("Bob")
    digest = anna.image
    assert bob.image == digest
    before = place.item(digest).latest.number
    mine = capsule(anna.drag((0.2, 0.2), (0.8, 0.2)), int(anna.brush.get_attribute("data-size") or 0))
    anna.stored(before + 1)
    # Bob is told by himself, before he does anything
    expect(bob.page.get_by_text("Anna changed this image")).to_be_visible()
    line = bob.drag((0.2, 0.7), (0.8, 0.7))
    his = capsule(line, int(bob.brush.get_attribute("data-size") or 0))
    expect(bob.page.get_by_text("Not stored yet: your drawing")).to_be_visible()
    assert place.item(digest).latest.number == before + 1
    bob.page.get_by_role("button", name="Store mine after theirs").click()
    item = bob.stored(before + 2)
    assert iou(load_mask_file(item.mask_file or ""), his) >= 0.99
    assert iou(load_mask_file(history_of(digest)[-2].mask_file or ""), mine) >= 0.99
    assert [each.reviewer for each in history_of(digest)[-2:]] == ["Anna", "Bob"]
    expect(bob.page.get_by_text("Not stored yet")).to_have_count(0)

    expect(anna.page.get_by_text("Bob changed this image")).to_be_visible()
    anna.press("g")
    expect(anna.page.get_by_text("Not stored yet: your decision, good")).to_be_visible()
    assert place.item(digest).latest.number == before + 2
    anna.page.get_by_role("button", name="Take theirs").click()
    anna.area(int(his.sum()))
    anna.labelled("defect")
    assert anna.image == digest and place.item(digest).latest.number == before + 2
    anna.press("g")
    expect(anna.panel).not_to_have_attribute("data-image", digest)
    assert place.item(digest).label == "good"


def test_nothing_is_lost_by_leaving_reloading_and_killing_the_server(
    bench: Callable[..., Bench], place: Place, settled: Callable[[Page], None]
) -> None:
    one = bench("Cleo")
    page, digest = one.page, one.image
    one.drag((0.2, 0.2), (0.8, 0.2))
    drawn = load_mask_file(one.stored(1).mask_file or "")
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Overview").click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Label").click()
    one.shows(digest)
    one.area(int(drawn.sum()))

    page.reload()  # a new session: the name is known, and the next open image is in hand
    expect(page.locator(".brush[data-ready]")).to_be_visible()
    second = one.image
    assert second != digest
    one.shows(second)
    one.press("p")
    one.shows(digest)
    one.area(int(drawn.sum()))
    one.press("n")
    one.shows(second)
    settled(page)
    one.drag((0.3, 0.3), (0.6, 0.6))
    item = one.stored(1)
    assert item.latest.reviewer == "Cleo"
    place.kill()
    place.start()
    page.goto(f"{place.url}/label")
    expect(page.locator(".brush[data-ready]")).to_be_visible()
    for known, area in ((digest, drawn.sum()), (second, load_mask_file(item.mask_file or "").sum())):
        page.locator(f'.queue [data-image="{known}"]').click()
        one.shows(known)
        one.area(int(area))
        assert len(history_of(known)) == 1
