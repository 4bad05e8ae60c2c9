"""Single values of files to import: each is checked where it enters, as anybody may have written it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.services.labelling.annotate import LONGEST_COMMENT, defect_type_name, reviewer_name
from skrd4ad.services.labelling.exchange.records import MaskRef, Said
from skrd4ad.storage.annotations import LABELS, Label
from skrd4ad.types import GOOD, Split

MOST_REVISIONS = 10_000
LONGEST_FILE_NAME = 1000
_DIGEST = re.compile(r"[0-9a-f]{64}")


def said_of(values: Mapping[str, object], *, mask: MaskRef | None) -> Said:
    """A decision from the values of a row; those that are missing are empty.

    Raises:
        DataError: a value cannot be used.
    """
    label = label_of(values.get("label"))
    kind = type_of(values.get("defect_type"))
    if kind is not None and label != "defect":
        raise DataError(f"the defect type {kind!r} stands beside the label {label!r}; only a defect has a type")
    if mask is not None and label not in ("defect", "unsure"):
        raise DataError(f"a mask stands beside the label {label!r}; only a defect and what is unsure have one")
    return Said(
        label=label,
        defect_type=kind,
        mask=mask,
        comment=comment_of(values.get("comment")),
        reviewer=_reviewer_of(values.get("reviewer")),
        made_at=moment_of(values.get("made_at")),
        revision=number_of(values.get("revision"), "revision") or 0,
        undoes=number_of(values.get("undoes"), "undoes"),
    )


def require_history(history: tuple[Said, ...]) -> tuple[Said, ...]:
    """A history whose revisions are 1, 2, 3, … and complete.

    Raises:
        DataError: it is not.
    """
    if [one.revision for one in history] != list(range(1, len(history) + 1)):
        raise DataError("the revisions of its history are not 1, 2, 3, … without a gap")
    for one in history:
        if not one.reviewer or one.made_at is None:
            raise DataError(f"revision {one.revision} of its history lacks who decided, or when")
        if one.undoes is not None and one.undoes >= one.revision:
            raise DataError(f"revision {one.revision} of its history takes back {one.undoes}, which is not before it")
    return history


def text_of(value: object, what: str, *, longest: int = LONGEST_FILE_NAME) -> str:
    """Text; empty for nothing.

    Raises:
        DataError: it is none, too long, or has characters that cannot be stored.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{what} is {value!r:.60}; allowed: text")
    if len(value) > longest:
        raise DataError(f"{what} has {len(value)} characters; allowed: up to {longest}")
    if "\0" in value or not _is_valid(value):
        raise DataError(f"{what} {value!r:.60} has characters that cannot be stored")
    return value


def label_of(value: object) -> Label:
    """A label; nothing is ``none``.

    Raises:
        DataError: it is another word.
    """
    word = text_of(value, "the label").strip().lower() or "none"
    if word not in LABELS:
        raise DataError(f"the label is {word!r:.60}; allowed: {', '.join(LABELS)}")
    return word


def type_of(value: object) -> str | None:
    """A defect type, or None.

    Raises:
        DataError: it cannot be one.
    """
    try:
        return defect_type_name(text_of(value, "the defect type"))
    except ConfigError as error:
        raise DataError(str(error)) from error


def digest_of(value: object) -> str | None:
    """A SHA-256 in hexadecimal, or None.

    Raises:
        DataError: it is something else.
    """
    word = text_of(value, "sha256").strip().lower()
    if word and not _DIGEST.fullmatch(word):
        raise DataError(f"sha256 is {word!r:.70}; allowed: 64 hexadecimal digits, or nothing")
    return word or None


def split_of(value: object) -> Split | None:
    """``train``, ``test`` or None.

    Raises:
        DataError: it is another word.
    """
    word = text_of(value, "the split").strip().lower()
    if word not in ("", "train", "test"):
        raise DataError(f"the split is {word!r:.60}; allowed: train, test, or nothing")
    return cast(Split, word) if word else None


def known_type_of(value: object) -> str | None:
    """What a data set says of an image: ``good``, the name of a defect, or None.

    Raises:
        DataError: it cannot be one.
    """
    return GOOD if value == GOOD else type_of(value)


def comment_of(value: object) -> str:
    """A comment, trimmed.

    Raises:
        DataError: it is no text, or too long.
    """
    return text_of(value, "the comment", longest=LONGEST_COMMENT).strip()


def moment_of(value: object) -> datetime | None:
    """A moment in UTC, or None.

    Raises:
        DataError: it is none, or has no time zone.
    """
    word = text_of(value, "made_at").strip()
    if not word:
        return None
    try:
        moment = datetime.fromisoformat(word).astimezone(UTC)
        has_zone = datetime.fromisoformat(word).tzinfo is not None
    except (ValueError, OverflowError):
        has_zone = False
    if not has_zone:
        raise DataError(f"made_at is {word!r:.60}; allowed: the form of 2026-01-31T14:05:09+00:00, or nothing")
    return moment


def number_of(value: object, what: str) -> int | None:
    """A revision's number, or None.

    Raises:
        DataError: it is something else.
    """
    if value is None or value == "":
        return None
    allowed = f"allowed: a whole number from 1 to {MOST_REVISIONS}"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{what} is {value!r:.60}; {allowed}")
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value.strip()):
        raise DataError(f"{what} is {value!r:.60}; {allowed}")
    number = int(value)
    if not 1 <= number <= MOST_REVISIONS:
        raise DataError(f"{what} is {number}; {allowed}")
    return number


def _reviewer_of(value: object) -> str:
    given = text_of(value, "the reviewer")
    try:
        return reviewer_name(given) if given.strip() else ""
    except ConfigError as error:
        raise DataError(str(error)) from error


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
