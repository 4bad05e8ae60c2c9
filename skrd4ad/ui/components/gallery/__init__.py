"""A strip of thumbnails to step through; choosing, filtering and stepping are instant in the browser."""

import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.digests import content_digest
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.format import format_number
from skrd4ad.types import GOOD
from skrd4ad.ui.components.envelope import pack
from skrd4ad.ui.theme import VERDICTS, ShownVerdict

THUMBNAIL_SIDE = 160
"""Pixels of a thumbnail's longer side: sharp in a tile on a screen with two pixels to a CSS pixel."""
_THUMBNAIL_QUALITY = 80

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "skrd4ad_gallery",
    html=(_FOLDER / "gallery.html").read_text(encoding="utf-8"),
    css=(_FOLDER / "gallery.css").read_text(encoding="utf-8"),
    js=(_FOLDER / "gallery.js").read_text(encoding="utf-8"),
)


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One tile."""

    id: str
    name: str
    """File name."""
    thumbnail: bytes
    """JPEG as ``thumbnail`` makes it; empty for a file that cannot be read."""
    score: float | None
    """Image score; None for a file that cannot be read."""
    verdict: ShownVerdict | None
    """None for a model without a limit, or a file that cannot be read."""
    truth: str | None = None
    """What the data set says: ``good`` or the defect type; None when it says nothing."""
    error: str | None = None
    """Why the file cannot be read."""


def thumbnail(image: NDArray[np.uint8]) -> bytes:
    """JPEG of an image (H, W, 3) RGB, its longer side at most ``THUMBNAIL_SIDE`` pixels.

    Raises:
        DataError: the array is no such image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DataError(f"The image has the shape {image.shape} and type {image.dtype}; allowed: (H, W, 3) uint8.")
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()


def gallery(items: Sequence[GalleryItem], *, selected: str | None, key: str) -> str | None:
    """Show items as tiles, in their order.

    Args:
        items: The tiles; the browser gets them again only when they change.
        selected: Id to highlight; None leaves it to the user. A page keeps the answer of this call and passes it on the
            next run: another id moves the selection there.
        key: Widget key.

    Returns:
        Id of the tile the user chose last. None while the gallery is untouched, since ``selected`` last overruled the
        user, or when the chosen one is no longer among the items.

    Raises:
        ConfigError: ``selected`` is not among the items.
        DataError: two items share an id, or an item contradicts itself.
    """
    _check(items, selected)
    state: Mapping[str, Any] = st.session_state.get(key) or {}
    choice = _Choice.read(state.get("choice"))
    memory = f"{key}-following"
    following = _follow(st.session_state.get(memory), selected=selected, choice=choice)
    _component(key=key, data=_payload(items, following), on_choice_change=lambda: None)
    st.session_state[memory] = following  # after the call above, where Streamlit may break the run off
    if choice is None or choice.turn != following.turn:
        return None
    return choice.id if any(item.id == choice.id for item in items) else None


@dataclass(frozen=True)
class _Choice:
    """What the user chose, and how often Python had set the selection by then."""

    id: str
    turn: int

    @classmethod
    def read(cls, value: Mapping[str, Any] | None) -> "_Choice | None":
        return cls(str(value["id"]), int(value["turn"])) if value else None


@dataclass(frozen=True, kw_only=True)
class _Following:
    """Who moved the selection last. It keeps a user's choice out of the payload, which is large."""

    sent: str | None
    """Where Python set the selection last."""
    turn: int
    """How often Python has set it."""
    choice: _Choice | None

    @property
    def shown(self) -> str | None:
        """What the browser highlights."""
        return self.choice.id if self.choice and self.choice.turn == self.turn else self.sent


def _follow(before: _Following | None, *, selected: str | None, choice: _Choice | None) -> _Following:
    if before is None:
        return _Following(sent=selected, turn=1, choice=choice)
    if choice is None and before.choice is not None:  # the gallery left the page and came back
        return _Following(sent=selected, turn=before.turn + 1, choice=None)
    # A page learns of a choice from this call's answer: what it asks for in the same run is older than the choice.
    if choice != before.choice or selected in (None, before.shown):
        return _Following(sent=before.sent, turn=before.turn, choice=choice)
    return _Following(sent=selected, turn=before.turn + 1, choice=choice)


def _payload(items: Sequence[GalleryItem], following: _Following) -> bytes:
    tiles = [_tile(item) for item in items]
    header = {
        "list": content_digest(json.dumps(tiles), *(content_digest(item.thumbnail) for item in items))[:16],
        "items": tiles,
        "selected": following.sent,
        "turn": following.turn,
        "verdicts": {name: asdict(look) for name, look in VERDICTS.items()},
    }
    return pack(header, {str(i): item.thumbnail for i, item in enumerate(items)})


def _tile(item: GalleryItem) -> dict[str, str | None]:
    return {
        "id": item.id,
        "name": item.name,
        "score": None if item.score is None else format_number(item.score),
        "verdict": item.verdict,
        "truth": item.truth,
        "mistake": _mistake(item),
        "error": item.error,
    }


def _mistake(item: GalleryItem) -> str | None:
    """The shop floor's word for a verdict that the data set contradicts."""
    if item.truth is None:
        return None
    if item.truth == GOOD:
        return "false reject" if item.verdict == "NG" else None
    return "escape" if item.verdict == "OK" else None


def _check(items: Sequence[GalleryItem], selected: str | None) -> None:
    count = Counter(item.id for item in items)
    twice = [name for name, n in count.items() if n > 1]
    if twice:
        raise DataError(f"{len(twice)} ids stand for more than one item, such as {twice[0]!r}; each must be its own.")
    if selected is not None and selected not in count:
        raise ConfigError(
            f"The selected item is {selected!r}; allowed: the id of one of the {len(items)} items, or None."
        )
    for item in items:
        if item.score is not None and not math.isfinite(item.score):
            raise DataError(f"The score of {item.name} is {item.score}; allowed: a finite number, or None.")
        if item.score is None and item.verdict is not None:
            raise DataError(f"{item.name} has the verdict {item.verdict} and no score; a verdict needs a score.")
        if item.verdict is not None and item.verdict not in VERDICTS:
            raise DataError(f"The verdict of {item.name} is {item.verdict!r}; allowed: {', '.join(VERDICTS)}, or None.")
