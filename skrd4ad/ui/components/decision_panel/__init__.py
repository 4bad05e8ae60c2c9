"""Decide on a part: good, defect with its type, or unsure, by buttons and by the keys of the page."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.ui.components.browser import load_component
from skrd4ad.ui.components.presses import handled_presses
from skrd4ad.ui.theme import LABEL_LOOKS

_component = load_component(Path(__file__).parent, "../presses.js", "../page_keys.js")


def decision_panel(item: QueueItem, *, decidable: bool, types: Sequence[str], reviewer: str | None, key: str) -> None:
    """Show the decisions. What is pressed comes with ``presses.new_presses(key)`` at the start of the next run.

    Acts are good, defect, unsure, type (with its name), next, previous and back; each carries the image's digest. While
    the panel is on the page its keys work wherever the focus is, except where text is written; the first nine types of
    defect have the keys 1 to 9. The browser keeps the reviewer's name in a cookie; None keeps what it has.
    """
    data = {
        "image": item.digest,
        "label": item.label,
        "type": item.defect_type,
        "decidable": decidable,
        "types": list(types),
        "reviewer": reviewer,
        "looks": {label: asdict(look) for label, look in LABEL_LOOKS.items()},
        **handled_presses(key),
    }
    _component(key=key, data=data, on_presses_change=lambda: None)
