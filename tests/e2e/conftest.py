"""A real Chromium and a real Streamlit server for the tests that drive the app."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from skrd4ad.ui.frame import PROGRAM_ERROR
from tests.limits import LONG, SLOW

ROOT = Path(__file__).parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=SLOW)
Serve = Callable[..., AbstractContextManager[str]]
NewTab = Callable[..., Page]


@pytest.fixture(autouse=True)
def home() -> None:
    """Tests read the workspace of the server that their file has started, which says where it is."""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    """The system's Chromium where there is one, otherwise Playwright's own."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return {**browser_type_launch_args, "args": CHROMIUM_FLAGS, **({"executable_path": found} if found else {})}


@pytest.fixture(scope="session")
def browser(browser: Browser) -> Browser:
    """Its pages wait as long as the machine needs, whatever a test does with them."""
    new_context = browser.new_context

    def patient_context(**options: Any) -> BrowserContext:
        context = new_context(**options)
        context.set_default_timeout(SLOW)
        return context

    browser.new_context = patient_context  # type: ignore[method-assign]
    return browser


@pytest.fixture(scope="session")
def used_browser(browser: Browser) -> Iterator[BrowserContext]:
    """One for all files: what Streamlit serves is read and compiled once, as all servers have one port."""
    with browser.new_context() as context:
        yield context


@pytest.fixture
def new_tab(used_browser: BrowserContext) -> Iterator[NewTab]:
    """``new_tab(width=800, scheme="dark")``: a tab of a browser that has seen Streamlit before, and nothing else."""
    tabs: list[Page] = []

    def start(*, width: int = 1440, height: int = 900, scheme: Literal["light", "dark"] = "light") -> Page:
        page = used_browser.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        tabs.append(page)
        return page

    yield start
    used_browser.clear_cookies()
    for page in tabs:
        if not page.is_closed() and page.url.startswith("http"):
            page.evaluate("localStorage.clear()")
        page.close()


def _free_port(before: int) -> int:
    """The port of the server before, where it has ended: the browser knows what came from there."""
    for port in (before, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise RuntimeError("no port is free")


@contextlib.contextmanager
def _serve(script: Path, *, port: int, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Iterator[str]:
    """Address of a Streamlit server that runs ``script`` until the end of the block.

    Args:
        script: The app, or any script.
        env: Added to the environment, such as SKRD4AD_HOME.
        cwd: Where the server starts; its ``.streamlit/config.toml`` is read.
    """
    options = {
        "server.port": port,
        "server.address": "127.0.0.1",
        "server.headless": "true",
        "browser.gatherUsageStats": "false",
    }
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    command += [f"--{name}={value}" for name, value in options.items()]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "SKRD4AD_WORKER": "app", **(env or {})}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        server = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            if not _is_healthy(server, url):
                log.seek(0)
                raise RuntimeError(f"The server did not start:\n{log.read()[-4000:]}")
            yield url
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        log.seek(0)
        assert PROGRAM_ERROR not in (said := log.read()), said[-8000:]


def _is_healthy(server: subprocess.Popen, url: str) -> bool:
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as answer:
            if answer.status == 200:
                return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="session")
def serve() -> Serve:
    """``with serve(script, env=…, cwd=…) as url``: a Streamlit server on a free port of this machine."""
    usual = _free_port(0)
    return lambda script, **options: _serve(script, port=_free_port(usual), **options)


@pytest.fixture(scope="session")
def settled() -> Callable[[Page], None]:
    """``settled(page)`` waits until the script has run."""

    def wait(page: Page) -> None:
        page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()

    return wait


@pytest.fixture(scope="session")
def fits() -> Callable[[Page], None]:
    """``fits(page)`` waits until nothing is wider than the window; charts take a moment to follow a change of it."""

    def wait(page: Page) -> None:
        page.wait_for_function(
            """() => {
              const main = document.querySelector('[data-testid="stMain"]');
              return document.documentElement.scrollWidth <= innerWidth && main.scrollWidth <= main.clientWidth;
            }"""
        )

    return wait
