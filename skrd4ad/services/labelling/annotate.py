"""Labelling: what a person decides on an image is stored at once, as a revision that nothing overwrites."""

from collections.abc import Iterable
from dataclasses import replace
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.read import image_size
from skrd4ad.errors import ConfigError, StorageError
from skrd4ad.services.access import needs, signed
from skrd4ad.services.labelling.files import save_mask_file, stored_path
from skrd4ad.storage import annotations, label_queue
from skrd4ad.storage.annotations import Label, Revision
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import QueueFilter, QueueItem
from skrd4ad.types import GOOD

LONGEST_NAME = 80
LONGEST_COMMENT = 2000


def reviewer_name(given: str) -> str:
    """A reviewer's name, trimmed.

    Raises:
        ConfigError: it is empty, too long, or has characters that cannot be shown.
    """
    name = " ".join(given.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ConfigError(
            f"The reviewer's name has {len(name)} characters; allowed: 1 to {LONGEST_NAME} printable ones. Every "
            "decision is stored with the name of who made it."
        )
    return name


def defect_type_name(given: str | None) -> str | None:
    """A defect type's name, trimmed; None for none.

    Raises:
        ConfigError: it is too long, cannot be the name of a folder, or is ``good``.
    """
    name = " ".join((given or "").split())
    if not name:
        return None
    fine = len(name) <= LONGEST_NAME and name.isprintable() and not set(name) & set('/\\:*?"<>|')
    if not fine or name.startswith(".") or name.endswith(".") or name.casefold() == GOOD:
        raise ConfigError(
            f"The defect type {name!r} cannot be used; allowed: up to {LONGEST_NAME} characters that a folder may have "
            f"in its name, without a dot at either end, and not {GOOD!r}. Exports make a folder of each type."
        )
    return name


def item_of(wanted: QueueFilter, digest: str) -> QueueItem:
    """One image of the class as it stands now, whether or not the filter lets it through."""
    with workspace_database().read() as session:
        item = label_queue.queue_item(session, wanted, digest)
    if item is None:
        raise StorageError(f"The image {digest[:12]} is not among those of {wanted.class_name}; choose another one.")
    return item


@needs("inspector", "decide on an image")
def decide(
    item: QueueItem, label: Label, *, reviewer: str, defect_type: str | None = None, comment: str | None = None
) -> Revision:
    """Store a decision on an image as the reviewer saw it; the label none takes a decision back.

    The mask stays with a defect and with what is unsure; a good part has none, and neither has one without a label. A
    comment of None keeps the one it has.

    Raises:
        ConflictError: somebody else decided since; nothing is stored.
    """
    kind = defect_type_name(defect_type)
    if kind is not None and label != "defect":
        raise ConfigError(f"The defect type {kind!r} was given with the label {label!r}; only a defect has a type.")
    comment = _comment(item.latest.comment if comment is None else comment)
    mask_file = item.mask_file if label in ("defect", "unsure") else None
    return _add(item, Revision(label=label, defect_type=kind, mask_file=mask_file, comment=comment), reviewer=reviewer)


@needs("inspector", "draw on an image")
def draw(item: QueueItem, mask: NDArray[np.bool_], *, reviewer: str, defect_type: str | None = None) -> Revision:
    """Store a drawing as it stands after a stroke. A part with a mask is a defect, unless it was unsure.

    ``mask`` is (H, W) at the size of the image, true where the part is defective; an empty one takes the mask away. A
    defect type of None keeps the one it has.

    Raises:
        ConflictError: somebody else decided since; nothing is stored.
    """
    width, height = image_size(stored_path(item.file)) if item.width is None else (item.width, item.height)
    if mask.shape != (height, width):
        raise ConfigError(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels; allowed: the image's, {width} x {height}."
        )
    drawn = bool(mask.any())
    label: Label = "defect" if drawn and item.label != "unsure" else item.label
    kind = defect_type_name(defect_type) or item.defect_type
    revision = Revision(
        label=label,
        defect_type=kind if label == "defect" else None,
        mask_file=save_mask_file(mask) if drawn else None,
        comment=item.latest.comment,
    )
    return _add(item, revision, reviewer=reviewer)


@needs("inspector", "take a decision back")
def undo(item: QueueItem, *, reviewer: str) -> Revision | None:
    """Take the last decision that still holds back, by a revision that says what held before; None without one.

    Called again, it goes further back: an undo is not undone.

    Raises:
        ConflictError: somebody else decided since; nothing is stored.
    """
    holding = still_holding(history_of(item.digest))
    if not holding:
        return None
    before = holding[-2] if len(holding) > 1 else Revision(label="none")
    return _add(item, replace(before, undoes=holding[-1].number), reviewer=reviewer)


def history_of(digest: str) -> list[Revision]:
    """All decisions on an image, oldest first."""
    with workspace_database().read() as session:
        return annotations.revisions_of(session, digest)


def still_holding(history: Iterable[Revision]) -> list[Revision]:
    """Decisions that were not taken back, oldest first."""
    holding: list[Revision] = []
    for each in history:
        if each.undoes is None:
            holding.append(each)
        else:
            holding = [one for one in holding if one.number != each.undoes]
    return holding


def _add(item: QueueItem, revision: Revision, *, reviewer: str) -> Revision:
    named = replace(revision, reviewer=reviewer_name(signed(reviewer)))
    with workspace_database().write() as session:
        return annotations.add_revision(session, image_digest=item.digest, base=item.latest.number, revision=named)


def _comment(text: str) -> str:
    stripped = text.strip()
    if len(stripped) > LONGEST_COMMENT:
        raise ConfigError(f"The comment has {len(stripped)} characters; allowed: up to {LONGEST_COMMENT}.")
    if any(category(character) in ("Cc", "Cs") for part in stripped.split() for character in part):
        raise ConfigError("The comment has characters that cannot be shown; type it again without them.")
    return stripped
