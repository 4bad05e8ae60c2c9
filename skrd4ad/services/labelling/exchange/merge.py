"""Comparing the labels of a file with those of the workspace: what is new would be added, nothing be overwritten.

Where a file carries the history of an image, the histories are compared: an image without decisions here gets all of
them as they were made, and one whose history theirs goes on from gets the rest. Where both went different ways, the
decision here stays unless the other is asked for; it is then added as a decision of whoever imports.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from sqlalchemy.orm import Session

from skrd4ad.errors import ImageError
from skrd4ad.services.labelling.exchange.plan import past
from skrd4ad.services.labelling.exchange.records import Said
from skrd4ad.services.labelling.exchange.validate import Checked, Ready, mask_id, outcome
from skrd4ad.services.labelling.files import load_mask_file
from skrd4ad.storage.label_exchange import histories_of

Kind = Literal["new", "newer", "same", "older", "differs", "undecided"]
"""What an image of the file is to the workspace: not decided on here; decided on further there; the same; decided on
further here; decided differently; without a decision in the file."""
Conflicts = Literal["keep", "theirs"]
"""What holds where both decided differently."""
CONFLICTS: tuple[Conflicts, ...] = get_args(Conflicts)


@dataclass(frozen=True)
class Step:
    """What storing an image would do."""

    ready: Ready
    kind: Kind
    added: tuple[Said, ...]
    """Decisions that would follow those here; masks are hashes of their pixels."""


class Merger:
    """Compares the labels of a file with those here."""

    def __init__(self, checked: Checked) -> None:
        self._checked = checked
        self._ids: dict[str, str] = {}

    def steps(self, session: Session) -> list[Step]:
        """What storing each image would do, by what is stored now."""
        histories = histories_of(session, [each.digest for each in self._checked.ready])
        return [
            _compared(each, tuple(self._with_id(past(row)) for row in histories.get(each.digest, ())))
            for each in self._checked.ready
        ]

    def _with_id(self, said: Said) -> Said:
        if not isinstance(said.mask, str):
            return said
        if said.mask not in self._ids:
            try:
                self._ids[said.mask] = mask_id(load_mask_file(said.mask))
            except ImageError:
                self._ids[said.mask] = f"lost {said.mask}"
        return replace(said, mask=self._ids[said.mask])


def _compared(ready: Ready, ours: tuple[Said, ...]) -> Step:
    theirs, said = ready.history, ready.said
    # a row or a folder that was changed after the export goes beyond its own history, and nobody knows by whom
    edited = bool(theirs) and (outcome(theirs[-1]), theirs[-1].comment) != (outcome(said), said.comment)
    latest = replace(said, revision=0, undoes=None)
    if theirs:
        who = "" if edited else theirs[-1].reviewer
        latest = replace(latest, reviewer=who, made_at=None if edited else theirs[-1].made_at)
    beyond = (latest,) if edited or not theirs else ()
    if not theirs and said.label == "none":
        return Step(ready, "undecided", ())
    if not ours:
        return Step(ready, "new", theirs + beyond)
    if theirs[: len(ours)] == ours and (len(theirs) > len(ours) or edited):
        return Step(ready, "newer", theirs[len(ours) :] + beyond)
    if outcome(ours[-1]) == outcome(said):
        return Step(ready, "same", ())
    if theirs and not edited and ours[: len(theirs)] == theirs:
        return Step(ready, "older", ())
    return Step(ready, "new" if ours[-1].label == "none" else "differs", (latest,))


def taken(step: Step, conflicts: Conflicts) -> tuple[Said, ...]:
    """Decisions that are added where both decided differently as it is asked for."""
    return () if step.kind == "differs" and conflicts == "keep" else step.added
