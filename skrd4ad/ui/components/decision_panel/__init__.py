"""Decide on a part: good, defect with its type, or unsure, by buttons and by the keys of the page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from skrd4ad.storage.annotations import Label
from skrd4ad.ui.components.presses import handled_presses
from skrd4ad.ui.theme import LABEL_LOOKS

_FOLDER = Path(__file__).parent
_SCRIPTS = ("../presses.js", "../page_keys.js", "decision_panel.js")
_component = st.components.v2.component(
    "skrd4ad_decision_panel",
    html=(_FOLDER / "decision_panel.html").read_text(encoding="utf-8"),
    css=(_FOLDER / "decision_panel.css").read_text(encoding="utf-8"),
    js="\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS),
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the panel shows of an image."""

    image: str
    """Digest; every press carries it back."""
    label: Label
    defect_type: str | None
    decidable: bool
    """Whether there is a picture to decide on."""


def decision_panel(shown: Shown, *, types: Sequence[str], reviewer: str | None, key: str) -> None:
    """Show the decisions. What is pressed comes with ``presses.new_presses(key)`` at the start of the next run.

    Acts are good, defect, unsure, type (with its name), next, previous and back. While the panel is on the page its
    keys work wherever the focus is, except where text is written.

    Args:
        shown: the image.
        types: defect types; the first nine have the keys 1 to 9.
        reviewer: name that the browser keeps in a cookie for the next visit; None keeps what it has.
        key: widget key.
    """
    data = {
        "image": shown.image,
        "label": shown.label,
        "type": shown.defect_type,
        "decidable": shown.decidable,
        "types": list(types),
        "reviewer": reviewer,
        "looks": {label: asdict(look) for label, look in LABEL_LOOKS.items()},
        **handled_presses(key),
    }
    _component(key=key, data=data, on_presses_change=lambda: None)
