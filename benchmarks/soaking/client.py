"""One user of the app in Chromium, who notes what the page confirms."""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Error, Page, sync_playwright

from benchmarks.soaking.app import App, find_chromium
from benchmarks.soaking.journal import Journal
from skrd4ad.model_folder.unfinished import is_unfinished, unfinished_runs

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'
PATIENCE = 180.0
"""Seconds for a step of a page on a busy machine; then it counts as missing."""
ENDLESS = 10_000
"""Epochs of a training that is to last as long as a section: the most that the page takes."""


class AppDied(Exception):
    """The app was killed while the client waited."""


class StepMissing(Exception):
    """The app lives, and the page did not show what was to come."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser until the end of the block."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Client:
    """A page in a browser of its own."""

    def __init__(self, browser: Browser, app: App, journal: Journal, *, name: str) -> None:
        self._context = browser.new_context(viewport={"width": 1440, "height": 900})
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.app, self.journal, self.name = app, journal, name
        self.problems: list[str] = []
        """Tracebacks and errors of scripts that a page showed."""
        self.conflicts = 0

    def close(self) -> None:
        self._context.close()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition of the page holds.

        Raises:
            AppDied: the app was killed meanwhile.
            StepMissing: it does not come to hold.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if condition():
                    return
                self.page.wait_for_timeout(50)
            except Error:
                if self.app.lives:
                    time.sleep(0.05)
            if not self.app.lives:
                raise AppDied
            if time.monotonic() > deadline:
                raise StepMissing(f"{what}: {self.page.locator('body').inner_text()[-300:]}")

    def open(self, path: str) -> None:
        """Go to a page by its address, and wait until its script has run."""

        def there() -> bool:
            try:
                self.page.goto(f"{self.app.url}/{path}", timeout=30_000)
            except Error:
                return False
            return True

        self.wait(there, path)
        self.settle()

    def settle(self) -> None:
        """Wait until the script has run, and look for a traceback."""
        self.wait(lambda: self.page.locator(SETTLED).count() == 1, "the script runs on")
        self.look()

    def look(self) -> None:
        """Note a traceback that the page shows."""
        shown = self.page.locator('[data-testid="stException"]')
        if shown.count():
            self.problems.append(f"{self.page.url}: {shown.first.inner_text()[:200]}")

    # ---- labelling ----

    def open_label(self) -> None:
        self.open("label")
        box = self.page.get_by_label("Your name")
        self.wait(lambda: box.count() > 0 or self._shows_image(), "the Label page")
        if box.count() and box.is_visible() and box.input_value() != self.name:
            box.fill(self.name)
            box.press("Enter")
        self.wait(self._shows_image, "an image to decide on")

    def _shows_image(self) -> bool:
        image = self.image
        return bool(image) and self.page.locator(f'.brush[data-ready^="{image}"]').count() == 1

    @property
    def image(self) -> str:
        """Digest of the image in hand; empty while none is shown."""
        found = self.page.locator(".panel[data-image]").evaluate_all("panels => panels.map(p => p.dataset.image)")
        return str(found[0]) if found else ""

    def decide(self, chance: random.Random) -> None:
        """Draw on the image in hand or not, decide on it, and note what the page says is stored."""
        image = self.image
        conflicts = self.conflicts
        drawn = chance.random() < 0.3 and self._draw(image, chance)
        if self.conflicts > conflicts:
            return
        key, label = chance.choice([("u", "unsure")] if drawn else [("g", "good"), ("u", "unsure")])
        self.page.keyboard.press(key)
        waiting = self.page.get_by_text("Not stored yet")
        self.wait(lambda: self.image not in ("", image) or waiting.count() > 0, f"the step after {label}")
        if waiting.count() and self.image == image:
            self._give_way(image)
            return
        self.journal.label(image, label, reviewer=self.name, drawn=drawn)
        self.wait(self._shows_image, "the next image")

    def _draw(self, image: str, chance: random.Random) -> bool:
        box = self.page.locator(".brush .layers").bounding_box()
        if box is None:
            return False
        y = box["y"] + box["height"] * chance.uniform(0.2, 0.8)
        self.page.mouse.move(box["x"] + 0.2 * box["width"], y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + 0.7 * box["width"], y, steps=4)
        self.page.mouse.up()
        panel, waiting = self.page.locator(f'.panel[data-image="{image}"]'), self.page.get_by_text("Not stored yet")
        stored = lambda: panel.get_attribute("data-label", timeout=1000) == "defect"  # noqa: E731
        self.wait(lambda: waiting.count() > 0 or stored(), "the drawing")
        if waiting.count():
            self._give_way(image)
            return False
        self.journal.label(image, "defect", reviewer=self.name, drawn=True)
        return True

    def _give_way(self, image: str) -> None:
        """Somebody else was first, or it could not be stored: drop it, and go to the next image."""
        self.conflicts += 1
        self.look()
        self.page.get_by_role("button", name=re.compile("Take theirs|Drop mine")).click()
        self.wait(lambda: self.page.get_by_text("Not stored yet").count() == 0, "the end of the conflict")
        self.page.keyboard.press("n")
        self.wait(lambda: self.image not in ("", image), "the image after the conflict")
        self.wait(self._shows_image, "the next image")

    # ---- calibrating ----

    def open_calibrate(self) -> None:
        self.open("calibrate")
        box = self.page.get_by_label("Who calibrates")
        self.wait(lambda: box.count() == 1, "the form to save")
        box.fill(self.name)
        box.press("Enter")
        self.settle()

    def calibrate(self) -> None:
        """Save a version, and note that the page says so."""
        button = self.page.get_by_role("button", name=re.compile(r"Save as version \d+"))
        self.wait(lambda: button.count() == 1 and button.is_enabled(), "the button to save")
        version = int(re.findall(r"\d+", button.inner_text())[-1])
        button.click(timeout=30_000)
        told = self.page.get_by_text(f"Version {version} is saved")
        self.wait(lambda: told.count() > 0, f"version {version}")
        self.journal.calibration(version)
        self.settle()

    # ---- training ----

    def start_training(self, folder: object, *, epochs: int) -> None:
        self.open("train")
        self.page.get_by_role("radio", name="Own folder").click()
        box = self.page.get_by_label("Folder", exact=True)
        box.fill(str(folder))
        box.press("Enter")
        self.wait(lambda: self.page.get_by_text("good images to learn from").count() > 0, "the preflight")
        self.page.get_by_text("Every setting").click()
        for label, value in (("Image size", 64), ("Epochs", epochs), ("Images a step", 4), ("Held out", 25)):
            self._enter(label, str(value))
        self._enter("Steps at most", "1000000")
        self.settle()
        self.page.get_by_role("button", name="Start training").click()

    def go_on_training(self) -> None:
        """Press the button under the training that was interrupted, if it does not go on by itself; returns when an
        epoch has passed, or when it is past its epochs."""
        self.open("train")
        button = self.page.get_by_role("button", name="Go on from its last epoch")
        shown: list[int] = []

        def moves() -> bool:
            if button.count():
                button.first.click(timeout=5_000)
            elif any(map(is_unfinished, unfinished_runs(self.app.world.model.parent))):
                return True
            if (epoch := self.epoch) is not None:
                shown.append(epoch)
            return (bool(shown) and shown[-1] > shown[0]) or not self.journal.awaits_model

        self.wait(moves, "a training that goes on")

    @property
    def epoch(self) -> int | None:
        """The epoch that the card of the training says it is at; those before are stored."""
        words = self.page.get_by_test_id("stMain").get_by_text(re.compile(r"^epoch \d+ of \d+$"))
        found = re.findall(r"\d+", " ".join(words.all_inner_texts()))
        return int(found[0]) if found else None

    def _enter(self, label: str, value: str) -> None:
        box = self.page.get_by_test_id(re.compile("st(Number|Text)Input")).filter(has_text=label).locator("input")
        box.fill(value)
        box.press("Enter")
        self.settle()
