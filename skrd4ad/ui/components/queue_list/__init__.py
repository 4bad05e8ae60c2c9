"""A window of the queue: thumbnails with what the model says and what people decided."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from skrd4ad.format import format_number
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.storage.label_queue import QueueFilter, QueueItem
from skrd4ad.types import Verdict, verdict_of
from skrd4ad.ui.components.browser import load_component
from skrd4ad.ui.components.envelope import pack
from skrd4ad.ui.components.presses import handled_presses
from skrd4ad.ui.theme import LABEL_LOOKS, VERDICTS

_component = load_component(Path(__file__).parent, "../envelope.js", "../presses.js")


def queue_list(
    items: Sequence[QueueItem],
    thumbnails: Sequence[bytes],
    wanted: QueueFilter,
    *,
    selected: str | None,
    before: int,
    after: int,
    key: str,
) -> None:
    """Show a window of the queue, which has so many images ``before`` and ``after`` it; ``wanted`` has the limits.

    A thumbnail is a JPEG, empty while there is none. ``selected`` is the digest of the image that is open; it need not
    be in the window. What is pressed comes with ``presses.new_presses(key)``: open (with the image), earlier, later.
    """
    header = {
        "rows": [row_of(item, wanted) for item in items],
        "selected": selected,
        "before": before,
        "after": after,
        "verdicts": {name: asdict(look) for name, look in VERDICTS.items()},
        "looks": {label: asdict(look) for label, look in LABEL_LOOKS.items()},
        **handled_presses(key),
    }
    payload = pack(header, {str(index): thumbnail for index, thumbnail in enumerate(thumbnails)})
    _component(key=key, data=payload, on_presses_change=lambda: None)


def row_of(item: QueueItem, wanted: QueueFilter) -> dict[str, str | None]:
    """An image as the browser shows it."""
    return {
        "id": item.digest,
        "name": item.name,
        "score": None if item.score is None else format_number(item.score),
        "verdict": verdict_under(item, wanted),
        "label": item.label,
        "type": item.defect_type,
        "who": item.latest.reviewer if item.label != "none" else None,
        "note": _note(item),
    }


def verdict_under(item: QueueItem, wanted: QueueFilter) -> Verdict | None:
    """What the limits of a filter make of an image; None without a score or a limit."""
    if item.score is None or wanted.reject is None:
        return None
    return verdict_of(item.score, review=wanted.review, reject=wanted.reject, refusal=item.refusal)


def _note(item: QueueItem) -> str | None:
    if item.note is not None:
        return "cannot be read"
    if not stored_path(item.file).is_file():
        return "file missing"
    return None
