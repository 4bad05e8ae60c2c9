"""Comparing the labels of a file with those of the workspace: what is new would be added, nothing be overwritten.

Where a file carries the history of an image, the histories are compared: an image without decisions here gets all of
them as they were made, and one whose history theirs goes on from gets the rest. Where both went different ways, the
decision here stays unless the other is asked for; it is then added as a decision of whoever imports.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from sqlalchemy.orm import Session

from skrd4ad.errors import ImageError
from skrd4ad.services.labelling.exchange.records import ImportEntry
from skrd4ad.services.labelling.exchange.validate import mask_id, outcome
from skrd4ad.services.labelling.files import load_mask_file
from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.label_exchange import histories_of

Kind = Literal["new", "newer", "same", "older", "differs", "undecided"]
"""What an image of the file is to the workspace: not decided on here; decided on further there; the same; decided on
further here; decided differently; without a decision in the file."""
Conflicts = Literal["keep", "theirs"]
"""What holds where both decided differently."""
CONFLICTS: tuple[Conflicts, ...] = get_args(Conflicts)


@dataclass(frozen=True)
class Merge:
    """What storing an image would do."""

    entry: ImportEntry
    kind: Kind
    revisions: tuple[Revision, ...]
    """They would follow those here; one without a number is made by whoever imports."""

    def added(self, conflicts: Conflicts) -> tuple[Revision, ...]:
        """Revisions that are added where both decided differently as it is asked for."""
        return () if self.kind == "differs" and conflicts == "keep" else self.revisions


def merges(session: Session, entries: Sequence[ImportEntry]) -> list[Merge]:
    """What storing each image would do, by what is stored now."""
    histories = histories_of(session, [entry.digest for entry in entries])
    known: dict[str, str] = {}
    return [
        _merge(entry, tuple(_with_mask_id(revision, known) for revision in histories.get(entry.digest, ())))
        for entry in entries
    ]


def _with_mask_id(revision: Revision, known: dict[str, str]) -> Revision:
    """A stored revision whose mask is the hash of its pixels, as those of a valid ``ImportEntry`` are."""
    file = revision.mask_file
    if file is None:
        return revision
    if file not in known:
        try:
            known[file] = mask_id(load_mask_file(file))
        except ImageError:
            known[file] = f"lost {file}"
    return replace(revision, mask_file=known[file])


def _merge(entry: ImportEntry, ours: tuple[Revision, ...]) -> Merge:
    theirs, latest = entry.history, entry.latest
    # a row or a folder that was changed after the export goes beyond its own history, and nobody knows by whom
    edited = bool(theirs) and (outcome(theirs[-1]), theirs[-1].comment) != (outcome(latest), latest.comment)
    ending = replace(latest, number=0, undoes=None)
    if edited:
        ending = replace(ending, reviewer="", made_at=None)
    elif theirs:
        ending = replace(ending, reviewer=theirs[-1].reviewer, made_at=theirs[-1].made_at)
    beyond = (ending,) if edited or not theirs else ()
    if not theirs and latest.label == "none":
        return Merge(entry, "undecided", ())
    if not ours:
        return Merge(entry, "new", theirs + beyond)
    if theirs[: len(ours)] == ours and (len(theirs) > len(ours) or edited):
        return Merge(entry, "newer", theirs[len(ours) :] + beyond)
    if outcome(ours[-1]) == outcome(latest):
        return Merge(entry, "same", ())
    if theirs and not edited and ours[: len(theirs)] == theirs:
        return Merge(entry, "older", ())
    return Merge(entry, "new" if ours[-1].label == "none" else "differs", (ending,))
