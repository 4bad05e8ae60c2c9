"""Many users at once, beside a training: how long pages take, and whether what they used is given back."""

import asyncio
import random
import re
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from playwright.async_api import Browser, Error, Page, async_playwright

from benchmarks.soaking.app import App, find_chromium, kill_workers, memory_of, new_world, running
from benchmarks.soaking.client import ENDLESS, FLAGS, PATIENCE, SETTLED, Client, chromium
from benchmarks.soaking.journal import Figure, Journal, none_of, training_states
from skrd4ad.ui.garbage import EVERY_SECONDS

NAMES = ("Overview", "Inspect", "Calibrate", "Label", "Evaluate", "Models", "Train")
THINK = (1.0, 5.0)
"""Seconds that a user looks at a page."""
RETENTION = 130.0
"""Seconds: Streamlit keeps a session for two minutes after its browser has gone."""
RETURN_SECONDS = 300.0
"""For memory to come back."""
TRIAL = 5.0
"""Seconds in place of ``RETENTION`` in a run that is too small to measure memory."""
GROWTH = 1.10
KEPT_HANDLES = 30
"""Two pools keep five connections to the database each, with three files of SQLite a connection."""


def soak(root: Path, *, sessions: int, minutes: float, seed: int) -> list[Figure]:
    """So many browsers change the page for so long while a model is trained."""
    with new_world(root, images=20, seed=seed) as world, running(world) as app:
        asyncio.run(_browse(app, sessions=1, seconds=0, seed=seed))  # every page once: what is loaded stays
        wait = RETENTION if minutes >= 1 else TRIAL
        memory, handles = after_return(app, wait=wait)
        with chromium() as browser:
            starter = Client(browser, app, Journal(root / "journal.jsonl"), name="Anna")
            starter.start_training(world.parts / "machined_disc", epochs=ENDLESS)
            starter.wait(lambda: starter.epoch is not None, "an epoch")
            starter.close()
        ended = threading.Event()
        health: list[float] = []
        asking = threading.Thread(target=_ask, args=(app, ended, health))
        asking.start()
        try:
            changes, problems = asyncio.run(_browse(app, sessions=sessions, seconds=60 * minutes, seed=seed))
        finally:
            ended.set()
            asking.join()
        at_most, states = memory_of(app.process), training_states()
        kill_workers(world)
        last_memory, last_handles = after_return(app, enough=GROWTH * memory, wait=wait)
        logged = app.tracebacks()
    return [
        Figure("sessions, minutes, page changes", f"{sessions}, {minutes:g}, {len(changes)}", "20, 10, –", True),
        Figure("the training beside them", ", ".join(states), "runs on", states == ["running"]),
        Figure("page change beside a training, p50 and p95", f"{_quantiles(changes)} s", "–", True),
        Figure("/_stcore/health, p50 and p95", f"{_quantiles(health)} s of {len(health)}", "–", True),
        none_of("tracebacks on a page, pages that did not come", problems),
        Figure("tracebacks in the log of the app", str(logged), "0", logged == 0),
        Figure(
            "memory of the app: at start, with all sessions, after them",
            f"{memory:.0f}, {at_most:.0f}, {last_memory:.0f} MB ({last_memory / memory - 1:+.0%})",
            "within 10 %",
            last_memory <= GROWTH * memory,
        ),
        Figure(
            "open files and sockets: at start, after",
            f"{handles}, {last_handles}",
            f"at most {KEPT_HANDLES} more",
            last_handles <= handles + KEPT_HANDLES,
        ),
    ]


async def _browse(app: App, *, sessions: int, seconds: float, seed: int) -> tuple[list[float], list[str]]:
    """Seconds of each change of the page, and what went wrong."""
    changes: list[float] = []
    problems: list[str] = []
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        deadline = time.monotonic() + seconds
        users = [
            _user(browser, app, random.Random(seed * 1000 + number), deadline, changes, problems)
            for number in range(sessions)
        ]
        await asyncio.gather(*users)
        await browser.close()
    return changes, problems


async def _user(
    browser: Browser, app: App, chance: random.Random, deadline: float, changes: list[float], problems: list[str]
) -> None:
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.on("pageerror", lambda error: problems.append(f"script on {page.url[-12:]}: {error}"))
    try:
        await page.goto(app.url)
        await page.locator(SETTLED).wait_for()
        first = list(NAMES)
        while first or time.monotonic() < deadline:
            name = first.pop() if first else chance.choice(NAMES)
            begun = time.perf_counter()
            await _change(page, name)
            changes.append(time.perf_counter() - begun)
            shown = page.locator('[data-testid="stException"]')
            if await shown.count():
                problems.append(f"{name}: {(await shown.first.inner_text())[:200]}")
            if deadline > time.monotonic():
                await asyncio.sleep(chance.uniform(*THINK))
            elif len(first) == 0 or len(changes) > len(NAMES):
                break
    except Error as error:
        problems.append(f"{page.url[-12:]}: {str(error).splitlines()[0]}")
    await context.close()


async def _change(page: Page, name: str) -> None:
    await page.get_by_test_id("stSidebarNav").get_by_role("link", name=re.compile(f"^{name}")).click()
    await page.get_by_role("heading", name=name, level=1).wait_for()
    await page.locator(SETTLED).wait_for()


def _ask(app: App, ended: threading.Event, health: list[float]) -> None:
    while not ended.wait(0.25):
        begun = time.perf_counter()
        app.is_healthy(timeout=60)
        health.append(time.perf_counter() - begun)


def after_return(app: App, *, enough: float | None = None, wait: float = RETENTION) -> tuple[float, int]:
    """Megabytes and handles of an app that nobody uses: after so many seconds, or once they are no more than enough.

    Streamlit lets sessions that expired go, with what they hold, when the next one comes; so one comes.
    """
    time.sleep(wait)
    # a browser may be driven in this thread, which has a loop of its own
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(_browse(app, sessions=1, seconds=0, seed=0))).result()
    time.sleep(min(wait, 2 * EVERY_SECONDS))
    begun = time.monotonic()
    least = memory_of(app.process)
    while (passed := time.monotonic() - begun) < (wait if enough is None else RETURN_SECONDS * wait / RETENTION):
        if enough is not None and least <= enough and passed > wait:
            break
        time.sleep(min(5, wait))
        least = memory_of(app.process)
    return least, _handles(app.process)


def _handles(process: psutil.Process) -> int:
    return int(process.num_fds() if hasattr(process, "num_fds") else process.num_handles())


def _quantiles(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "–"
    return f"{statistics.median(seconds):.2f}, {statistics.quantiles(seconds, n=20)[-1]:.2f}"
