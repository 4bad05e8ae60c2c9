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
from skrd4ad.types import GOOD, Verdict
from skrd4ad.ui.components.browser import SharedValue, load_component
from skrd4ad.ui.components.envelope import pack
from skrd4ad.ui.components.pictures import require_image
from skrd4ad.ui.theme import VERDICTS

THUMBNAIL_SIDE = 160
"""Pixels of a thumbnail's longer side: sharp in a tile on a screen with two pixels to a CSS pixel."""
_THUMBNAIL_QUALITY = 80

_component = load_component(Path(__file__).parent, "../page_keys.js")


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
    verdict: Verdict | None
    """None for a model without a limit, or a file that cannot be read."""
    truth: str | None = None
    """What the data set says: ``good`` or the defect type; None when it says nothing."""
    error: str | None = None
    """Why the file cannot be read."""


def thumbnail(image: NDArray[np.uint8]) -> bytes:
    """JPEG of an image (H, W, 3) RGB, its longer side at most ``THUMBNAIL_SIDE`` pixels."""
    require_image(image)
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()


def gallery(items: Sequence[GalleryItem], *, selected: str | None, key: str, film: bool = False) -> str | None:
    """Show items as tiles, in their order.

    Args:
        items: The tiles; the browser gets them again only when they change.
        selected: Id to highlight; None leaves it to the user. A page keeps the answer of this call and passes it on the
            next run: another id moves the selection there.
        key: Widget key.
        film: One row, which scrolls sideways, in place of rows as far as they are needed.

    Returns:
        Id of the tile the user chose last. None while the gallery is untouched, since ``selected`` last overruled the
        user, or when the chosen one is no longer among the items.
    """
    _check(items, selected)
    state: Mapping[str, Any] = st.session_state.get(key) or {}
    reported = state.get("choice")
    choice = (str(reported["id"]), int(reported["turn"])) if reported else None
    memory = f"{key}-following"
    before: SharedValue[str | None] | None = st.session_state.get(memory)
    shared = SharedValue(sent=selected, turn=1, choice=choice) if before is None else before.follow(selected, choice)
    _component(key=key, data=_payload(items, shared, film=film), on_choice_change=lambda: None)
    st.session_state[memory] = shared  # after the call above, where Streamlit may break the run off
    return shared.chosen if any(item.id == shared.chosen for item in items) else None


def _payload(items: Sequence[GalleryItem], shared: SharedValue[str | None], *, film: bool = False) -> bytes:
    tiles = [_tile(item) for item in items]
    header = {
        "list": content_digest(json.dumps(tiles), *(content_digest(item.thumbnail) for item in items))[:16],
        "items": tiles,
        "selected": shared.sent,
        "turn": shared.turn,
        "film": film,
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
        "mistake": mistake_of(item.verdict, truth=item.truth),
        "error": item.error,
    }


def mistake_of(verdict: Verdict | None, *, truth: str | None) -> str | None:
    """The shop floor's word for a verdict that the data set contradicts."""
    if truth == GOOD and verdict == "NG":
        return "false reject"
    return "escape" if truth not in (GOOD, None) and verdict == "OK" else None


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
