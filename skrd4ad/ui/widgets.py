"""Widgets that the pages use in one way: a button, a choice of a few, a file to download."""

import math
import time
from collections.abc import Callable, Mapping
from mimetypes import guess_type
from typing import Any, Literal, NoReturn, TypedDict, TypeVar

import streamlit as st

from skrd4ad.types import Pitch
from skrd4ad.ui.text import plain

T = TypeVar("T")
_PRESSES = "_presses"
STALE_AFTER = 30.0
"""Seconds after which a press that no run has come to is forgotten: nobody expects it to act any more."""


def button(label: str, *, key: str, draw: Callable[..., bool] = st.button, **options: Any) -> bool:
    """A button whose press is answered even where another run of the page begins before this one gets to it.

    Streamlit hands a press to the run that it starts and to no other. A run that is cut short by another widget, or
    whose fragment has moved on the page meanwhile, takes the press with it. Callbacks come before all that, so this
    one notes the press for whichever run draws the button next.

    Args:
        label: as of ``st.button``.
        key: one a page.
        draw: ``st.form_submit_button`` within a form.
        options: others of the widget.

    Returns:
        Whether it was pressed; once for each press.
    """
    draw(label, key=key, on_click=_note_press, args=(key,), **options)
    pressed: float = st.session_state.get(_PRESSES, {}).pop(key, -math.inf)
    return time.monotonic() - pressed < STALE_AFTER


def _note_press(key: str) -> None:
    st.session_state.setdefault(_PRESSES, {})[key] = time.monotonic()


def rerun() -> NoReturn:
    """Run the page again, once a page that the user has asked for meanwhile was given its turn.

    Streamlit joins a rerun with what waits into one run of the page that asked last: the click would be lost.
    """
    st.empty()  # where what waits takes over
    st.rerun()


def choose(
    label: str,
    options: Mapping[T, str],
    *,
    default: T,
    key: str,
    help: str | None = None,
    label_visibility: Literal["visible", "collapsed"] = "visible",
    persist: bool = True,
) -> T:
    """One of a few values, shown by the texts of ``options``; ``persist`` keeps it over visits to other pages."""
    chosen: T = st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__,
        default=default,
        required=True,
        wrap=True,
        key=key,
        help=help,
        persist_state="session" if persist else None,
        label_visibility=label_visibility,
    )
    return chosen


def pick_pitch(label: str, *, least: float, value: float, key: str, help: str | None = None) -> Pitch | None:
    """Millimetres a pixel, in x and y where they differ; None for 0."""
    x = st.number_input(label, least, None, value, 0.01, format="%.4f", key=key, help=help, persist_state="session")
    if not x:
        return None
    y = st.number_input(
        "Scale in y, where it differs",
        0.0,
        None,
        0.0,
        0.01,
        format="%.4f",
        key=f"{key}-y",
        help="Line scans often have another pitch along than across. 0: as in x.",
        persist_state="session",
    )
    return (x, y) if y else x


class Permitted(TypedDict):
    """Arguments of a button."""

    disabled: bool
    help: str | None


def permitted(why_not: str, *, disabled: bool = False, help: str | None = None) -> Permitted:
    """Whether a button can be pressed, and its tooltip: why who acts may not press it, where there is a reason."""
    return {"disabled": disabled or bool(why_not), "help": plain(why_not) or help}


def file_button(
    label: str,
    content: str | bytes | Callable[[], str | bytes],
    file_name: str,
    *,
    key: str,
    help: str | None = None,
    disabled: bool = False,
) -> None:
    """A button that downloads a file, made when it is pressed where ``content`` is a function; the page stays."""
    st.download_button(
        label,
        content,
        file_name=file_name,
        mime=guess_type(file_name)[0],
        icon=":material/download:",
        on_click="ignore",
        key=key,
        help=help,
        disabled=disabled,
    )
