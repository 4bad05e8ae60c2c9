"""One user inspects part after part in one session: what is shown stays right, and memory does not grow without end."""

import csv
import io
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.soaking.app import memory_of, new_world, running
from benchmarks.soaking.client import Client, StepMissing, chromium
from benchmarks.soaking.journal import Figure, Journal, none_of
from benchmarks.soaking.sessions import GROWTH, RETENTION, TRIAL, after_return
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import Inspection, limits_of, predict_images

WARM_UP = 5
CHECKED = 10
"""Images whose scores are computed again in this process."""


def soak(root: Path, *, inspections: int, seed: int) -> list[Figure]:
    """Upload one image after the other in one session, each shown before the next one comes."""
    problems: list[str] = []
    seconds: list[float] = []
    with new_world(root, images=0, seed=seed) as world, running(world) as app, chromium() as browser:
        files = _images(root / "uploads", inspections, seed=seed)
        journal = Journal(root / "journal.jsonl")
        first = Client(browser, app, journal, name="Anna")
        _upload(first, files[:WARM_UP], [])
        first.close()
        wait = RETENTION if inspections >= 50 else TRIAL
        memory, _ = after_return(app, wait=wait)
        client = Client(browser, app, journal, name="Bob")
        try:
            _upload(client, files, seconds)
            problems += _compared(client, files, world.model)
        except StepMissing as error:
            problems.append(str(error))
        problems += client.problems
        held = memory_of(app.process)
        client.close()
        last, _ = after_return(app, enough=GROWTH * memory, wait=wait)
        logged = app.tracebacks()
    tenth = max(2, len(seconds) // 10)
    early, late = statistics.median(seconds[:tenth]), statistics.median(seconds[-tenth:])
    return [
        Figure("inspections in one session", str(len(seconds)), "300", len(seconds) == inspections),
        Figure("one inspection, first and last tenth, median", f"{early:.2f}, {late:.2f} s", "–", True),
        none_of("tracebacks, steps that did not come, scores unlike those outside the app", problems),
        Figure("tracebacks in the log of the app", str(logged), "0", logged == 0),
        Figure(
            "memory of the app: at start, with the session, after it",
            f"{memory:.0f}, {held:.0f}, {last:.0f} MB ({last / memory - 1:+.0%})",
            "within 10 %",
            last <= GROWTH * memory,
        ),
    ]


def _images(folder: Path, number: int, *, seed: int) -> list[Path]:
    """Different images of the size that the model was trained on."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    files = [folder / f"part_{index:04}.png" for index in range(number)]
    for file in files:
        Image.fromarray(random.integers(60, 200, (64, 64, 3), np.uint8)).save(file)
    return files


def _upload(client: Client, files: list[Path], seconds: list[float]) -> None:
    client.open("inspect")
    client.page.get_by_role("radio", name="Upload", exact=True).click()
    client.settle()
    box = client.page.locator('input[type="file"]')
    for number, file in enumerate(files, 1):
        begun = time.perf_counter()
        box.set_input_files([file])
        # one image has no gallery
        shown = client.page.locator(f'.gallery[data-count="{number}"]' if number > 1 else ".viewer[data-ready]")
        client.wait(lambda part=shown: part.count() > 0, f"image {number}")
        client.settle()
        seconds.append(time.perf_counter() - begun)


def _compared(client: Client, files: list[Path], model: Path) -> list[str]:
    """Scores of the table that the page gives away, against those of this process."""
    client.wait(lambda: client.page.get_by_role("button", name="CSV of").count() > 0, "the table")
    with client.page.expect_download() as download:
        client.page.get_by_role("button", name="CSV of").first.click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    shown = {Path(row["path"]).name: float(row["raw_score"]) for row in rows}
    problems = [f"{file.name} is not in the table" for file in files if file.name not in shown]
    some = files[:: max(1, len(files) // CHECKED)]
    for file, found in zip(some, _scored(model, some), strict=True):
        assert found.prediction is not None
        here, there = found.prediction.score, shown.get(file.name, math.nan)
        if not math.isclose(here, there, rel_tol=1e-3):
            problems.append(f"{file.name}: {there} in the app, {here} here")
    return problems


def _scored(model: Path, files: list[Path]) -> Iterator[Inspection]:
    predictor = Predictor.load(model)
    return predict_images(predictor, [(file.name, file) for file in files], limits=limits_of(predictor.info))
