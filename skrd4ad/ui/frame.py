"""What surrounds every page: the way to it, the shield around its body, and the model that was chosen."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from skrd4ad.errors import SkrdError
from skrd4ad.format import short_moment
from skrd4ad.model_folder.first_look import full_model_folder
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.services.access import acting_as
from skrd4ad.services.models.list import BrokenModel, default_model, list_models, model_name
from skrd4ad.ui.acting import browser_actor
from skrd4ad.ui.components.ticker import ticker
from skrd4ad.ui.text import plain, plain_lines
from skrd4ad.ui.widgets import button

PROGRAM_ERROR = "An error in the program"
_MODEL = "_model"

UNDER_WAY = 2.0
"""Seconds after an address was sent within which a run may still come with the one before."""
_ADDRESS, _PAGE, _WHOLE = "_address", "_page", "_whole_run"

log = logging.getLogger(__name__)


@dataclass
class _Address:
    """What this tab wrote into its address under one name."""

    value: str | None = None
    waits: bool = False
    """Not sent to the browser yet."""
    sent: float = -math.inf
    """When it was, by the clock of ``time.monotonic``."""


STYLE = Path(__file__).with_name("style.css")

PAGES = {
    "overview": "Overview",
    "train": "Train",
    "inspect": "Inspect",
    "calibrate": "Calibrate",
    "label": "Label",
    "evaluate": "Evaluate",
    "study": "Study",
    "models": "Models",
}
"""Pages by the name of their file."""


def page_file(name: str) -> Path:
    """The script that draws a page: the same file whichever script the server was started with."""
    return Path(__file__).parent / "routes" / f"{name}.py"


def go_to(page: str, **view: str) -> NoReturn:
    """Open another page by the name of its file, with the ``view`` of it that its address is to name."""
    st.switch_page(page_file(page), query_params=view)


def asked_for(name: str) -> str | None:
    """What the address asks for under a name, once; empty for what a page shows without it, and None where this tab
    wrote the address itself.

    An address that was pasted, reloaded, gone back to or opened in another tab differs from what was written last. A
    run may still come with the address of a moment ago, which asks for nothing.
    """
    given, kept = st.query_params.get(name), _address(name)
    if given == kept.value or kept.waits or time.monotonic() - kept.sent < UNDER_WAY:
        return None
    kept.value = given
    return given or ""


def write_address(**view: str | None) -> None:
    """Let the address name what is shown, once the run is at its end; None for nothing under that name."""
    for name, value in view.items():
        kept = _address(name)
        kept.waits |= kept.value != value
        kept.value = value


def whole_run(draw: Callable[[], object]) -> None:
    """A run of the whole app; what it has written into the address is one step of the browser's history."""
    st.session_state[_WHOLE] = True
    try:
        draw()
    finally:
        st.session_state[_WHOLE] = False
    _send_address()


def _send_address() -> None:
    waiting = {name: kept for name, kept in st.session_state.get(_ADDRESS, {}).items() if kept.waits}
    for kept in waiting.values():
        kept.waits, kept.sent = False, time.monotonic()
    before = st.query_params.to_dict()
    after = before | {name: kept.value for name, kept in waiting.items()}
    if any(name in before for name, value in after.items() if value is None):
        st.query_params.from_dict({name: value for name, value in after.items() if value is not None})
    elif changed := {name: value for name, value in after.items() if value is not None and value != before.get(name)}:
        st.query_params.update(changed)  # what widgets have bound to the address stays theirs


def sample_key(defect_type: str, name: str) -> str:
    """Names a sample of a data set in an address."""
    return f"{defect_type}/{name}"


def _address(name: str) -> _Address:
    kept: _Address = st.session_state.setdefault(_ADDRESS, {}).setdefault(name, _Address())
    return kept


def page(name: str, about: str) -> None:
    """Title of a page, and one line of what it is for."""
    if st.session_state.get(_PAGE) != name:  # another page begins with an address of its own
        st.session_state[_PAGE] = name
        st.session_state.pop(_ADDRESS, None)
    st.html(STYLE)
    with st.container(horizontal=True, vertical_alignment="bottom", key="page-head"):
        st.title(PAGES[name], anchor=False, width="content")
        st.caption(about)


def shielded(body: Callable[[], object]) -> None:
    """Run the body of a page, or a part, as who is at the browser; every error becomes a message in its place."""
    try:
        with acting_as(browser_actor()):
            body()
    except Exception as error:  # noqa: BLE001 - the last net of a page: nothing may take the others down
        show_error(error)


def calling(act: Callable[..., object]) -> Callable[..., None]:
    """What a widget calls, which Streamlit does before the page runs: an error stands above the page."""
    return lambda *args, **values: shielded(lambda: act(*args, **values))


def section(body: Callable[[], None], *, every: float | None = None, name: str = "") -> None:
    """A part of a page that runs by itself, and again every so many seconds while its tab is seen.

    Such a run has no shield of its page around it, so it gets its own.

    Args:
        body: draws it.
        every: seconds; None for no run without a reason.
        name: tells its clock from others on the page; the name of ``body`` unless that is shared.
    """

    @st.fragment
    def run() -> None:
        shielded(body)
        if not st.session_state.get(_WHOLE):
            _send_address()
        if every is not None:
            ticker(every, key=name or f"{body.__module__}.{body.__qualname__}")

    run()


def show_for_model(body: Callable[[ModelInfo], None], *, purpose: str) -> None:
    """Run the body of a page with the chosen model; without one, lead to the training of a model for the purpose."""

    def show() -> None:
        models, broken = list_models()
        info = chosen_model(models)
        if info is not None:
            write_address(model=model_name(info))
            body(info)
            return
        st.info(f"There is no model to {purpose} yet. Train one from good images first.")
        warn_of_broken(broken)
        if button("Train a model", type="primary", icon=":material/model_training:", key="train-a-model"):
            go_to("train")

    shielded(show)


def dialog(title: str, body: Callable[[], None]) -> None:
    """Open a dialog; it runs without its page, so it has a shield of its own."""
    st.dialog(title)(lambda: shielded(body))()


def show_error(error: Exception) -> None:
    """An error in words. Nothing on the page is lost: widgets keep what was entered."""
    if isinstance(error, SkrdError):
        st.error(plain_lines(str(error)), icon=":material/error:")
    elif isinstance(error, OSError):
        log.warning("A file or folder cannot be used", exc_info=error)
        what = plain(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.")
        st.error(f"{what} See that it is there, that this app may use it, and that the disk is not full.")
    else:
        log.error(PROGRAM_ERROR, exc_info=error)
        st.error(
            f"{PROGRAM_ERROR}: {plain(f'{type(error).__name__}: {error}')}. The rest of the app goes on. Load the page "
            "again; when the error stays, report it with the details, which are in the log of the app.",
            icon=":material/error:",
        )


def warn_of_broken(broken: Sequence[BrokenModel]) -> None:
    """Name the model folders that cannot be used, and why."""
    for model in broken:
        st.warning(f"A model folder cannot be used. {plain(model.reason)}", icon=":material/warning:")


def halves(name: str, *shares: int) -> list[DeltaGenerator]:
    """Columns of the given shares, mostly two, which stand below each other on a narrow page."""
    with st.container(key=f"halves-{name}"):
        return list(st.columns(shares, gap="large"))


def choose_model(folder: Path) -> None:
    """Make a model the chosen one on every page."""
    st.session_state[_MODEL] = str(folder)


def chosen_model(models: list[ModelInfo]) -> ModelInfo | None:
    """The model that the address asks for, or the chosen one, or the full one after a first look, or the default."""
    if asked := asked_for("model"):
        for info in models:
            if model_name(info) == asked:
                choose_model(info.folder)
    if (chosen := st.session_state.get(_MODEL)) is None:
        return default_model(models)
    folder = Path(chosen)
    by_folder = {info.folder: info for info in models}
    # a first look is gone once the full model is there
    return by_folder.get(folder) or by_folder.get(full_model_folder(folder)) or default_model(models)


def model_labels(models: Sequence[ModelInfo]) -> dict[str, str]:
    """Models by their folders in as few words as tell them apart: name or class, then day and time, then the folder."""
    candidates: dict[str, list[str]] = {}
    for info in models:
        name, folder = read_metadata(info.folder).name or info.class_name, str(info.folder)
        name += " · first look" if info.first_look else ""
        dated = f"{name} · {short_moment(info.created_at)}"
        candidates[folder] = [name, dated, f"{info.dataset}/{info.class_name}/{info.folder.name}", folder]
    counts = [Counter(labels) for labels in zip(*candidates.values(), strict=True)]
    return {
        folder: next(label for label, count in zip(labels, counts, strict=True) if count[label] == 1)
        for folder, labels in candidates.items()
    }
