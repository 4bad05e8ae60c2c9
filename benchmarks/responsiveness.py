"""The app while a model is trained in it, against the app alone. From the project's folder::

    python -m benchmarks.responsiveness             in one process, without a browser
    python -m benchmarks.responsiveness --browser   changes of the page in Chromium, with the whole app

One page run is the Overview page from its first line to its last, as Streamlit runs it for every visit; scoring is one
image by the disc demo. A training of efficientnet_lite0 runs in a thread of this process, as the app's queue runs it:
once giving way to the pages, as it does, and once as a thread like any other. In the browser, a change of the page
lasts from the click to the moment in which its script has ended; the training is one of the solar cells, begun on the
Train page.
"""

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright
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
def serving(home: Path) -> Iterator[str]:
    """Address of the app, with an empty workspace and the models that come with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}", "--server.headless=true"]
    environment = {**os.environ, "SKRD4AD_HOME": str(home)}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
    given = parser.parse_args()
    if given.browser:
        with tempfile.TemporaryDirectory() as place:
            report(in_browser(Path(place), given.runs))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ |= {"SKRD4AD_HOME": str(folder / "home"), "SKRD4AD_RUNTIME": "torch"}
        write_synthetic(folder / "parts", classes=("machined_disc",), train=60, test_good=1, per_defect=1, size=256)
        predictor = load_runtime(DEMO, RuntimeChoice("openvino"))
        image = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
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
