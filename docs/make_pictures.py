"""Take the pictures of README and docs from the running app: ``make pictures``.

A scratch workspace gets the demo models, an evaluation and some labels; then a real browser visits each page. The
pictures go to ``docs/images``.
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from skrd4ad.data.images.read import read_mask
from skrd4ad.data.sources import open_dataset
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import limits_of
from skrd4ad.metrics.escapes import Truth
from skrd4ad.model_folder.folder import find_models, read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.labelling.add_images import add_class
from skrd4ad.services.labelling.annotate import decide, draw
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.services.labelling.queue import filter_of, items_of, order_of_queue
from skrd4ad.services.labelling.score_queue import score_images
from skrd4ad.services.study.design import Photograph
from skrd4ad.services.study.measure import measure
from skrd4ad.services.study.store import save_study
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.predictions import without_score
from skrd4ad.types import DatasetClass

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1440, "height": 900}
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'
MINUTE = 60_000  # milliseconds
REVIEWER = "Ada"
PICTURES = {
    "overview": ("/overview", None),
    "train": ("/train", None),
    "inspect": ("/inspect", ".viewer[data-ready]"),
    "calibrate": ("/calibrate", None),
    "label": ("/label", ".brush[data-ready]"),
    "evaluate": ("/evaluate", ".js-plotly-plot"),
    "study": ("/study", ".js-plotly-plot"),
    "models": ("/models", None),
}
"""Address of a page, and what must be there before its picture is taken."""


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        home, models = Path(scratch) / "workspace", Path(scratch) / "checkpoints"
        shutil.copytree(ROOT / "checkpoints", models)
        os.environ |= {"SKRD4AD_HOME": str(home), "SKRD4AD_CHECKPOINTS": str(models)}
        os.environ.pop("SKRD4AD_DATABASE_URL", None)
        furnish(models)
        with served() as url:
            take_pictures(url)
        with serving() as url:
            take_picture_of_service(url)


def furnish(models: Path) -> None:
    """Evaluate the demo models, and label some test images of the one with masks."""
    for folder in find_models(models):
        info = read_info(folder)
        source = str(info.data["source"])
        data = next(each for each in open_dataset(source) if each.name == info.class_name)
        evaluate_class(folder, data, source=source)
        if data.has_masks:
            add_class(info, data)
            label_some(info)
            study_some(info, data)


def label_some(info: ModelInfo) -> None:
    with workspace_database().read() as session:
        new = session.scalars(without_score(info.dataset, info.class_name, info.digest)).all()
    score_images(Predictor.load(info.folder), new)
    wanted = filter_of(info, limits_of(info))
    data = next(each for each in open_dataset(str(info.data["source"])) if each.name == info.class_name)
    masks = {sample.path.resolve(): sample.mask_path for sample in data.test}
    for item in items_of(wanted, order_of_queue(wanted, order="random")[:24]):
        mask = masks.get(stored_path(item.file).resolve())
        if mask is None:
            decide(item, "good", reviewer=REVIEWER)
        else:
            draw(item, read_mask(mask), reviewer=REVIEWER, defect_type=item.known_type)


def study_some(info: ModelInfo, data: DatasetClass) -> None:
    """A study of twelve parts, three photographs each, drawn from one by moving and lighting it a little otherwise."""
    rng = np.random.default_rng(0)
    good = [sample for sample in data.test if sample.label == 0][:7]
    photographs = []
    for sample in (*good, *[sample for sample in data.test if sample.label == 1][::9][:5]):
        image = cv2.imread(str(sample.path)).astype(float)
        name, height, width = sample.path.stem, *image.shape[:2]
        for number in range(3):
            moved = np.array([[1, 0, rng.normal(0, 0.7)], [0, 1, rng.normal(0, 0.7)]])
            again = cv2.warpAffine(image, moved, (width, height), borderMode=cv2.BORDER_REPLICATE)
            file = workspace() / "msa" / f"{sample.defect_type}-{name}-{number}.png"
            file.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(file), np.clip(again * rng.normal(1, 0.005) + rng.normal(0, 2, image.shape), 0, 255))
            truth: Truth = "good" if sample.label == 0 else "defect"
            part = f"{sample.defect_type} {name}"
            photographs.append(Photograph(file=file, part=part, round=f"day {number + 1}", truth=truth))
    save_study(measure(Predictor.load(info.folder), photographs, source=workspace() / "msa"))


@contextmanager
def served() -> Iterator[str]:
    """Address of the app, which runs until the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--server.port={port}", "--server.headless=true", "--browser.gatherUsageStats=false"]
    server = subprocess.Popen([sys.executable, "-m", "streamlit", "run", "app.py", *options], cwd=ROOT)
    url = f"http://localhost:{port}"
    try:
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as answer:
                if answer.status == 200:
                    break
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def serving() -> Iterator[str]:
    """Address of the service, which runs until the end of the block."""
    command = [sys.executable, "-m", "skrd4ad", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@contextmanager
def browser_page() -> Iterator[Page]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(viewport=SIZE, color_scheme="light")
        browser.close()


def take_picture_of_service(url: str) -> None:
    with browser_page() as page:
        page.goto(f"{url}/docs")
        save(page.screenshot(), IMAGES / "serve.webp")


def take_pictures(url: str) -> None:
    with browser_page() as page:
        page.goto(f"{url}/overview")
        settle(page)
        choose_model(page, "machined_disc")
        for name, (address, needed) in PICTURES.items():
            page.get_by_test_id("stSidebarNav").get_by_role("link", name=address[1:].capitalize()).click()
            settle(page)
            if name == "label":
                introduce(page)
            if needed is not None:
                page.locator(needed).first.wait_for(timeout=MINUTE)
            page.wait_for_timeout(1500)  # charts and fonts settle
            save(page.screenshot(), IMAGES / f"{name}.webp")


def settle(page: Page) -> None:
    page.wait_for_timeout(500)
    page.locator(SETTLED).wait_for(timeout=MINUTE)


def choose_model(page: Page, name: str) -> None:
    box = page.get_by_test_id("stSidebar").get_by_role("combobox", name="Model")
    box.click()
    page.get_by_role("option", name=name).first.click()
    settle(page)


def introduce(page: Page) -> None:
    """Say who labels, where the page asks."""
    name = page.get_by_role("textbox", name="Your name")
    if name.count():
        name.fill(REVIEWER)
        name.press("Enter")
        settle(page)


def save(shot: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").save(path, format="WEBP", quality=85, method=6)
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
