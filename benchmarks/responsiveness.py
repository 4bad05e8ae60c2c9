"""The app while a model is trained in it, against the app alone. From the project's folder::

    python -m benchmarks.responsiveness             in one process, without a browser
    python -m benchmarks.responsiveness --browser   changes of the page in Chromium, with the whole app
    python -m benchmarks.responsiveness --tabs 5 --training BASE
                                                    tabs beside a training, side by side with another checkout

One page run is the Overview page from its first line to its last, as Streamlit runs it for every visit; scoring is one
image by the disc demo. A training of efficientnet_lite0 runs in a thread of this process, where the app has a worker
process: once giving way to the pages, and once as a thread like any other. In the browser, a change of the page
lasts from the click to the moment in which its script has ended; the training is one of the solar cells, begun on the
Train page. With ``--tabs`` the training is one of the drawn parts; the other tabs stay on the Overview.
"""

import itertools
import json
import os
import re
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, TimeoutError, sync_playwright
from streamlit.testing.v1 import AppTest

from benchmarks.inference import DEMO
from benchmarks.plain import parser_of
from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.data.synthetic.write import write_synthetic
from skrd4ad.errors import TrainingCancelled
from skrd4ad.export.runtimes import RuntimeChoice, load_runtime
from skrd4ad.services.jobs.process import NICENESS, lower_thread_priority
from skrd4ad.task import Task
from skrd4ad.training.train import train


@contextmanager
def training(folder: Path, *, polite: bool) -> Iterator[None]:
    """A training in a thread of its own, from its first epoch on until the block ends."""
    stop, begun = threading.Event(), threading.Event()

    def check() -> None:
        if stop.is_set():
            raise TrainingCancelled("enough")

    def work() -> None:
        if polite:
            lower_thread_priority(NICENESS)
        with suppress(TrainingCancelled):
            train(
                open_dataset(folder / "parts")[0],
                model=ModelConfig(),
                config=TrainConfig(epochs=10_000),
                out=folder / "models",
                source="drawn",
                task=Task(check=check, point=lambda _epoch, _values: begun.set()),
            )

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(300)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def times(way: Callable[[], object], count: int) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds."""
    way()
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        way()
        found.append(1000 * (time.perf_counter() - begun))
    return statistics.median(found), statistics.quantiles(found, n=20)[-1]


@contextmanager
def serving(home: Path, checkout: Path = Path()) -> Iterator[str]:
    """Address of the app of a checkout, with an empty workspace and the models that come with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}", "--server.headless=true"]
    environment = {**os.environ, "SKRD4AD_HOME": str(home), "PYTHONPATH": str(checkout.absolute())}
    server = subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                break
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()


def in_browser(home: Path, runs: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Times of changes to the Overview and the Inspect page, by what else the app does."""
    with serving(home) as url, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)

        def change(name: str) -> None:
            page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
            page.get_by_role("heading", name=name, level=1).wait_for()
            page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()

        def changes(name: str) -> tuple[float, float]:
            found = []
            for _ in range(runs + 1):
                change("Models")
                begun = time.perf_counter()
                change(name)
                found.append(1000 * (time.perf_counter() - begun))
            return statistics.median(found[1:]), statistics.quantiles(found[1:], n=20)[-1]

        page.goto(url)
        change("Inspect")
        # the app looks for the fastest runtime once, in a process of its own
        time.sleep(60)
        found = {"idle": {name: changes(name) for name in ("Overview", "Inspect")}}
        change("Train")
        page.get_by_role("button", name="Start training").click()
        page.get_by_text(re.compile("epoch [1-9]")).first.wait_for()
        found["training in the background"] = {name: changes(name) for name in ("Overview", "Inspect")}
        browser.close()
    return found


@dataclass(frozen=True)
class Beside:
    """An app with several tabs beside a training."""

    health: list[float]
    """Milliseconds of each request of ``/_stcore/health``."""
    changes: list[float]
    """Milliseconds of each change of the page in one tab."""
    images_per_second: float
    """Of the training."""


def with_tabs(home: Path, checkout: Path, *, tabs: int, seconds: float) -> Beside:
    """Open tabs, start a training, and change the page in one tab for so many seconds."""
    health: list[float] = []
    changes: list[float] = []
    ended = threading.Event()

    def ask(url: str) -> None:
        while not ended.wait(0.25):
            begun = time.perf_counter()
            with suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=60) as answer:
                answer.read()
            health.append(1000 * (time.perf_counter() - begun))

    with serving(home, checkout) as url, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        pages = [browser.new_page(viewport={"width": 1440, "height": 900}) for _ in range(tabs)]
        first = pages[0]
        first.set_default_timeout(120_000)
        first.goto(f"{url}/train")
        first.get_by_test_id("stMain").get_by_text("Synthetic", exact=True).first.click()
        first.get_by_role("button", name="Start training").click()
        _until_first_epoch(first, home)
        for page in pages:
            page.goto(f"{url}/overview", timeout=120_000)
        asking = threading.Thread(target=ask, args=(url,))
        asking.start()
        deadline = time.monotonic() + seconds
        for name in itertools.cycle(("Models", "Overview")):
            if time.monotonic() > deadline:
                break
            begun = time.perf_counter()
            with suppress(TimeoutError):
                first.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click(timeout=60_000)
                first.get_by_role("heading", name=name, level=1).wait_for(timeout=60_000)
                first.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for(timeout=60_000)
            changes.append(1000 * (time.perf_counter() - begun))
        ended.set()
        asking.join()
        rate = _progress(home).get("images_per_second") or 0.0
        browser.close()
    return Beside(health, changes, rate)


def _until_first_epoch(page: Page, home: Path) -> None:
    """Wait for the training's first epoch; the page leaves the app meanwhile, so that nothing holds the training up."""
    while not _progress(home):
        page.wait_for_timeout(500)
    page.goto("about:blank")
    while _progress(home).get("images_per_second") is None:
        page.wait_for_timeout(500)


def _progress(home: Path) -> dict[str, Any]:
    """Latest progress of the training; empty before it has begun."""
    with closing(sqlite3.connect(home / "skrd4ad.db")) as database:
        row = database.execute("SELECT progress FROM jobs WHERE kind = 'train'").fetchone()
    return {} if row is None else json.loads(row[0])


def report_tabs(ways: dict[str, Beside]) -> None:
    """Print what was measured of an app and of the one before it, and how many times the first is better."""
    now, base = (
        {
            "p95 of health, ms": high(each.health),
            "p95 of a page change, ms": high(each.changes),
            "training, images/s": each.images_per_second,
        }
        for each in ways.values()
    )
    for name, before in base.items():
        ratio = now[name] / before if "images" in name else before / now[name]
        print(f"{name:26} base {before:10.1f}  this {now[name]:10.1f} {ratio:8.2f} times better", flush=True)


def high(values: list[float]) -> float:
    """95th percentile; of few values the highest."""
    return statistics.quantiles(values, n=20)[-1] if len(values) >= 20 else max(values)


def report(found: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Print median and 95th percentile of each way, and the ratio to the idle app."""
    for name in found["idle"]:
        print(name)
        for title, each in found.items():
            median, high = each[name]
            ratio = median / found["idle"][name][0]
            print(f"  {title:28} p50 {median:7.1f} ms  p95 {high:7.1f} ms  {ratio:5.2f}x idle", flush=True)


def main() -> None:
    parser = parser_of(__doc__, runs=30)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--tabs", type=int, default=5, metavar="N", help="with --training (default: %(default)s)")
    parser.add_argument("--training", type=Path, metavar="BASE", help="checkout to compare with, beside a training")
    parser.add_argument("--seconds", type=float, default=45, help="of each with --training (default: %(default)s)")
    given = parser.parse_args()
    if given.training is not None:
        ways = {}
        for title, checkout in (("this", Path()), ("base", given.training)):
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
                ways[title] = with_tabs(Path(place), checkout, tabs=given.tabs, seconds=given.seconds)
            each = ways[title]
            print(f"{title}: {len(each.health)} requests of health, p95 {high(each.health):.0f} ms; ", end="")
            print(f"{len(each.changes)} page changes, p95 {high(each.changes):.0f} ms; ", end="")
            print(f"training {each.images_per_second:.2f} images/s", flush=True)
        report_tabs(ways)
        return
    if given.browser:
        with tempfile.TemporaryDirectory() as place:
            report(in_browser(Path(place), given.runs))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ |= {"SKRD4AD_HOME": str(folder / "home"), "SKRD4AD_RUNTIME": "torch"}
        write_synthetic(folder / "parts", classes=("machined_disc",), train=60, test_good=1, per_defect=1, size=256)
        predictor = load_runtime(DEMO, RuntimeChoice("openvino"))
        image = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
        app = AppTest.from_file(str(Path("app.py").absolute()), default_timeout=120)
        ways: dict[str, Callable[[], object]] = {
            "a run of the Overview page": app.run,
            "scoring one image": lambda: predictor.batch(image),
        }
        found = {"idle": {name: times(way, given.runs) for name, way in ways.items()}}
        for title, polite in (("training, giving way", True), ("training, like any thread", False)):
            with training(folder, polite=polite):
                found[title] = {name: times(way, given.runs) for name, way in ways.items()}
    report(found)


if __name__ == "__main__":
    main()
