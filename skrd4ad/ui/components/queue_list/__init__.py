"""A window of the queue: thumbnails with what the model says and what people decided."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from skrd4ad.format import format_number
from skrd4ad.storage.annotations import Label
from skrd4ad.types import Verdict
from skrd4ad.ui.components.envelope import pack
from skrd4ad.ui.components.presses import handled_presses
from skrd4ad.ui.theme import LABEL_LOOKS, VERDICTS

_FOLDER = Path(__file__).parent
_SCRIPTS = ("../envelope.js", "../presses.js", "queue_list.js")
_component = st.components.v2.component(
    "skrd4ad_queue_list",
    html=(_FOLDER / "queue_list.html").read_text(encoding="utf-8"),
    css=(_FOLDER / "queue_list.css").read_text(encoding="utf-8"),
    js="\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS),
)


@dataclass(frozen=True, kw_only=True)
class QueueRow:
    """One image."""

    id: str
    """Digest."""
    name: str
    thumbnail: bytes
    """JPEG; empty while there is none."""
    score: float | None
    """None when the model has not seen it."""
    verdict: Verdict | None
    """None without a limit or a score."""
    label: Label
    defect_type: str | None
    who: str | None
    note: str | None = None
    """What is wrong with it: cannot judge, or its file is missing."""


def queue_list(rows: Sequence[QueueRow], *, selected: str | None, before: int, after: int, key: str) -> None:
    """Show rows. What is pressed comes with ``presses.new_presses(key)``: open (with the image), earlier, later.

    Args:
        rows: the window.
        selected: id of the image that is open; it need not be in the window.
        before: images of the queue before the window.
        after: images after it.
        key: widget key.
    """
    header = {
        "rows": [_row(row) for row in rows],
        "selected": selected,
        "before": before,
        "after": after,
        "verdicts": {name: asdict(look) for name, look in VERDICTS.items()},
        "looks": {label: asdict(look) for label, look in LABEL_LOOKS.items()},
        **handled_presses(key),
    }
    payload = pack(header, {str(i): row.thumbnail for i, row in enumerate(rows)})
    _component(key=key, data=payload, on_presses_change=lambda: None)


def _row(row: QueueRow) -> dict[str, str | None]:
    return {
        "id": row.id,
        "name": row.name,
        "score": None if row.score is None else format_number(row.score),
        "verdict": row.verdict,
        "label": row.label,
        "type": row.defect_type,
        "who": row.who,
        "note": row.note,
    }
