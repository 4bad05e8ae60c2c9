"""The app in one process with a workspace, models and data of its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.components.v2.manifest_scanner import scan_component_manifests
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import AlertBase, Markdown

from skrd4ad.services.jobs.queue import reset_queue
from skrd4ad.ui.frame import PROGRAM_ERROR
from tests.limits import LONG
from tests.shown_page import as_shown

APP = Path(__file__).parents[2] / "skrd4ad" / "ui" / "app.py"
Visit = Callable[[str], AppTest]


@pytest.fixture(scope="session")
def installed_components() -> list[Any]:
    """What Streamlit finds in all installed packages; every AppTest would look through them again."""
    return scan_component_manifests()


@pytest.fixture(scope="session")
def reports() -> dict[Any, Any]:
    """What the doctor said of files that are as they were; the embedded data set has 2,624 of them."""
    return {}


@pytest.fixture(autouse=True)
def app_world(
    home: Path,
    tmp_path: Path,
    installed_components: list[Any],
    reports: dict[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """An empty workspace, an empty folder of models and one data root; nothing is shared between tests."""
    for name in ("home", "models", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path / "data"))
    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", lambda: installed_components)
    monkeypatch.setattr("skrd4ad.ui.cache._reports", lambda: reports)
    st.cache_data.clear()
    st.cache_resource.clear()
    yield tmp_path
    reset_queue()
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture(autouse=True)
def texts_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markdown reads in tests as on the page: without the backslashes that take the meaning of marks."""
    for kind in (AlertBase, Markdown):
        shown = property(lambda self: as_shown(self.proto.body))
        monkeypatch.setattr(kind, "value", shown)


@pytest.fixture(autouse=True)
def no_error_in_the_program(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A page turns every error into a message, so that a test would not see one that it does not look for."""
    yield
    assert not [each for each in caplog.get_records("call") if each.getMessage() == PROGRAM_ERROR]


@pytest.fixture
def own_data(app_world: Path, tiny_data: Path) -> Path:
    """A copy of the tiny data set under the data root."""
    return Path(shutil.copytree(tiny_data, app_world / "data" / "parts"))


@pytest.fixture
def own_model(app_world: Path, tiny_model: tuple[Path, Path], tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny model among the models; the data it was trained on may be read."""
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", f"{app_world / 'data'}:{tiny_data}")
    folder, _ = tiny_model
    return Path(shutil.copytree(folder, app_world / "models" / "parts" / "machined_disc" / "tiny"))


@pytest.fixture
def visit() -> Visit:
    """``visit("train")``: the app on that page."""

    return lambda name: AppTest.from_file(str(APP), default_timeout=LONG).switch_page(f"routes/{name}.py").run()
