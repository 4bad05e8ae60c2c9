"""Single values of files to import: each is checked where it enters, as anybody may have written it.

Every function raises a ``DataError`` that says what was given and what is allowed.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.services.labelling.annotate import LONGEST_COMMENT, defect_type_name, reviewer_name
from skrd4ad.storage.annotations import LABELS, Revision
from skrd4ad.types import GOOD, Split

MOST_REVISIONS = 10_000
LONGEST_FILE_NAME = 1000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # a lone surrogate has no UTF-8


def revision_of(values: Mapping[str, object], *, mask: str | None) -> Revision:
    """A revision from the values of a row; those that are missing are empty."""
    label = text_of(values.get("label"), "the label").strip().lower() or "none"
    if label not in LABELS:
        raise DataError(f"the label is {label!r:.60}; allowed: {', '.join(LABELS)}")
    kind = type_of(values.get("defect_type"))
    if kind is not None and label != "defect":
        raise DataError(f"the defect type {kind!r} stands beside the label {label!r}; only a defect has a type")
    if mask is not None and label not in ("defect", "unsure"):
        raise DataError(f"a mask stands beside the label {label!r}; only a defect and what is unsure have one")
    reviewer = text_of(values.get("reviewer"), "the reviewer")
    try:
        reviewer = reviewer_name(reviewer) if reviewer.strip() else ""
    except ConfigError as error:
        raise DataError(str(error)) from error
    return Revision(
        label=label,
        defect_type=kind,
        mask_file=mask,
        comment=comment_of(values.get("comment")),
        reviewer=reviewer,
        made_at=_moment_of(values.get("made_at")),
        number=_number_of(values.get("revision"), "revision") or 0,
        undoes=_number_of(values.get("undoes"), "undoes"),
    )


def complete_history(history: Sequence[Revision]) -> tuple[Revision, ...]:
    """A history whose revisions are 1, 2, 3, … without a gap."""
    if [each.number for each in history] != list(range(1, len(history) + 1)):
        raise DataError("the revisions of its history are not 1, 2, 3, … without a gap")
    for each in history:
        if not each.reviewer or each.made_at is None:
            raise DataError(f"revision {each.number} of its history lacks who decided, or when")
        if each.undoes is not None and each.undoes >= each.number:
            raise DataError(f"revision {each.number} of its history takes back {each.undoes}, which is not before it")
    return tuple(history)


def text_of(value: object, what: str, *, longest: int = LONGEST_FILE_NAME) -> str:
    """Text; empty for nothing."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{what} is {value!r:.60}; allowed: text")
    if len(value) > longest:
        raise DataError(f"{what} has {len(value)} characters; allowed: up to {longest}")
    if _UNSTORABLE.search(value):
        raise DataError(f"{what} {value!r:.60} has characters that cannot be stored")
    return value


def type_of(value: object) -> str | None:
    """A defect type, or None."""
    try:
        return defect_type_name(text_of(value, "the defect type"))
    except ConfigError as error:
        raise DataError(str(error)) from error


def digest_of(value: object) -> str:
    """A SHA-256 in hexadecimal, or empty."""
    word = text_of(value, "sha256").strip().lower()
    if word and not _DIGEST.fullmatch(word):
        raise DataError(f"sha256 is {word!r:.70}; allowed: 64 hexadecimal digits, or nothing")
    return word


def split_of(value: object) -> Split | None:
    """``train``, ``test`` or None."""
    word = text_of(value, "the split").strip().lower()
    if word not in ("", "train", "test"):
        raise DataError(f"the split is {word!r:.60}; allowed: train, test, or nothing")
    return cast(Split, word) if word else None


def known_type_of(value: object) -> str | None:
    """What a data set says of an image: ``good``, the name of a defect, or None."""
    return GOOD if value == GOOD else type_of(value)


def comment_of(value: object) -> str:
    """A comment, trimmed."""
    return text_of(value, "the comment", longest=LONGEST_COMMENT).strip()


def _moment_of(value: object) -> datetime | None:
    word = text_of(value, "made_at").strip()
    if not word:
        return None
    try:
        moment = datetime.fromisoformat(word)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"made_at is {word!r:.60}; allowed: the form of 2026-01-31T14:05:09+00:00, or nothing")


def _number_of(value: object, what: str) -> int | None:
    if value is None or value == "":
        return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    is_digits = isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()) is not None
    number = int(cast(int | str, value)) if is_number or is_digits else 0
    if not 1 <= number <= MOST_REVISIONS:
        raise DataError(f"{what} is {value!r:.60}; allowed: a whole number from 1 to {MOST_REVISIONS}")
    return number
