"""The labelling session of one reviewer: the image in hand, what is stored of it, and what could not be.

Every step is stored at once. What could not be stored, because somebody else decided meanwhile or the disk is full, is
kept here until the reviewer says what is to become of it.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import AccessError, ConfigError, SkrdError
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.queue import names_of
from skrd4ad.storage.annotations import Label, Revision
from skrd4ad.storage.label_queue import Order, QueueFilter, QueueItem
from skrd4ad.ui.components.presses import session_token
from skrd4ad.ui.label.image_cache import kept_mask
from skrd4ad.ui.label.queue_view import QueueView
from skrd4ad.ui.theme import decision_text

REMEMBERED = 32
"""Images whose state the reviewer has seen lately."""
UNSTORED = "not stored"
"""Stands for the file of a mask that has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PendingChange:
    """What the reviewer did to an image and the workspace does not have."""

    error: SkrdError
    mask: NDArray[np.bool_] | None = None
    label: Label | None = None
    """None when nothing was decided."""
    defect_type: str | None = None
    comment: str | None = None


class LabelSession:
    """The queue and the image in hand."""

    def __init__(self, wanted: QueueFilter, order: Order) -> None:
        self.pending: dict[str, PendingChange] = {}
        self.note = ""
        """What just happened, for the reviewer."""
        self.trouble: SkrdError | None = None
        """Why the last step could not be done."""
        self.current: str | None = None
        self._seen: OrderedDict[str, QueueItem] = OrderedDict()
        self._steps: list[str] = []
        self._strokes: set[tuple[str, int]] = set()
        self._turn = 0
        self._browser: tuple[str, str | None] | None = None
        self._noticed: tuple[str, int] | None = None
        self.look_up(wanted, order)

    def look_up(self, wanted: QueueFilter, order: Order) -> None:
        """Look the queue up anew; the image in hand stays there when it is still in the queue."""
        self.queue = QueueView(wanted, order)
        self.types, self.reviewers = names_of(wanted)
        if self.current not in self.queue:
            self._steps.clear()
            self.current = self.queue.next_open(None) or next(iter(self.queue.digests), None)
        if self.current is not None:
            self.open(self.current)

    @property
    def item(self) -> QueueItem:
        """The image in hand as the reviewer saw it last, with what was stored for them since."""
        assert self.current is not None, "an empty queue has no image in hand"
        return self._seen[self.current]

    def attempt(self, act: Callable[[], object]) -> None:
        """Do a step of the reviewer; what goes wrong becomes ``trouble``."""
        self.trouble = None
        try:
            act()
        except SkrdError as error:
            self.trouble = error

    # ---- going through the queue ----

    def open(self, digest: str) -> None:
        """Take an image in hand, as it is now."""
        self._see(annotate.item_of(self.queue.wanted, digest))
        self.current = digest
        self.note = ""
        self.queue.include(digest)
        self.queue.keep_in_sight(digest)

    def step(self, way: int) -> None:
        """Go to the next image (1) or the one before (-1)."""
        neighbour = self.queue.neighbour(self.item.digest, way)
        if neighbour is None:
            self.note = "This is the last image of the queue." if way > 0 else "This is the first image of the queue."
        else:
            self.open(neighbour)

    def go_on(self) -> None:
        """Go to the next image that nobody has decided on."""
        following = self.queue.next_open(self.current)
        if following is None:
            self.note = "All images of this queue are decided."
        else:
            self.open(following)

    # ---- deciding ----

    def decide(
        self, label: Label, *, reviewer: str, defect_type: str | None = None, comment: str | None = None
    ) -> bool:
        """Store a decision on the image in hand, unless it holds already; False when it could not be stored."""
        item = self.item
        if (mine := self.pending.get(item.digest)) is not None:  # it waits for its turn
            self.pending[item.digest] = replace(mine, label=label, defect_type=defect_type, comment=comment)
            return False
        decision = (label, defect_type, item.latest.comment if comment is None else comment.strip())
        if decision == (item.label, item.defect_type, item.latest.comment):
            return True
        try:
            revision = annotate.decide(item, label, reviewer=reviewer, defect_type=defect_type, comment=comment)
        except (ConfigError, AccessError):
            raise
        except SkrdError as error:
            kept = PendingChange(error=error, label=label, defect_type=defect_type, comment=comment)
            self.pending[item.digest] = kept
            return False
        self._stored(item, revision)
        self._steps.append(item.digest)
        if revision.defect_type is not None and revision.defect_type not in self.types:
            self.types.append(revision.defect_type)
        return True

    def draw(self, digest: str, mask: NDArray[np.bool_], *, reviewer: str) -> None:
        """Store a drawing (H, W); one that is as it was before the last stroke takes that stroke back.

        The reviewer may be at the next image already.
        """
        file = self._stored_drawing(self._seen[digest], mask, reviewer=reviewer)
        if digest == self.current:
            self._browser = (digest, file)  # it has drawn it

    def _stored_drawing(self, item: QueueItem, mask: NDArray[np.bool_], *, reviewer: str) -> str | None:
        digest = item.digest
        if (mine := self.pending.get(digest)) is not None:  # it waits for its turn
            self.pending[digest] = replace(mine, mask=mask)
            return UNSTORED
        try:
            if _is_drawn(item, mask):  # the browser's report may come twice when runs of the page overtake each other
                return item.mask_file
            undone = annotate.undo(item, reviewer=reviewer) if self._takes_back(item, mask) else None
            revision = annotate.draw(item, mask, reviewer=reviewer) if undone is None else undone
        except SkrdError as error:
            self.pending[digest] = PendingChange(error=error, mask=mask)
            return UNSTORED
        self._stored(item, revision)
        if undone is None:
            self._steps.append(digest)
            self._strokes.add((digest, revision.number))
        else:
            self._forget_step(digest)
        return revision.mask_file

    def take_back(self, *, reviewer: str) -> None:
        """Take back the last step on the image in hand, else that on the image of the last step, and go there."""
        item: QueueItem | None = self.item
        if item is not None and not _holding(item):
            item = self._back_to_last_step(item)
        if item is None:
            return
        last = _holding(item)[-1]
        revision = annotate.undo(item, reviewer=reviewer)
        assert revision is not None
        self._stored(item, revision)
        self._forget_step(item.digest)
        self.note = f"Taken back: {decision_text(last.label, last.defect_type)} by {last.reviewer}."

    def _back_to_last_step(self, item: QueueItem) -> QueueItem | None:
        """The image of the last step, in hand; None when there is no step, or somebody else decided since."""
        before = next((digest for digest in reversed(self._steps) if digest != item.digest), None)
        if before is None:
            self.note = "There is nothing to take back on this image."
            return None
        left = self._seen.get(before)
        self.open(before)
        now = self.item
        if left is None or now.latest.number != left.latest.number or not _holding(now):
            self._forget_step(before)
            self.note = "This image was changed since your last step, so nothing was taken back."
            return None
        return now

    # ---- two reviewers on one image ----

    def changed(self) -> QueueItem | None:
        """The image in hand as it is now, when somebody else changed it since the reviewer saw it."""
        now = annotate.item_of(self.queue.wanted, self.item.digest)
        self.notices(now)
        if now.latest.number != self.item.latest.number:
            return now
        self._see(now)  # the model may have looked at it meanwhile
        return None

    def notices(self, now: QueueItem) -> bool:
        """Whether the image in hand was changed by somebody else, and this is the first time it is seen."""
        news = (now.digest, now.latest.number)
        if now.latest.number == self.item.latest.number or self._noticed == news:
            return False
        self._noticed = news
        return True

    def take_theirs(self) -> None:
        """Look at the image in hand as it is now; what was not stored is dropped."""
        self.pending.pop(self.item.digest, None)
        self.open(self.item.digest)

    def store_mine(self, *, reviewer: str) -> None:
        """Store what was not stored, after what the others did; what fails again is still kept."""
        digest = self.item.digest
        now = annotate.item_of(self.queue.wanted, digest)
        mine = self.pending.pop(digest)
        self._see(now)
        if mine.mask is not None:
            self.draw(digest, mine.mask, reviewer=reviewer)
        if mine.label is not None:
            self.decide(mine.label, reviewer=reviewer, defect_type=mine.defect_type, comment=mine.comment)

    # ---- the drawing in the browser ----

    def drawing_id(self) -> str:
        """Names the drawing of the image in hand; another one when the browser is to take a mask from here.

        The session is a part of it: a restarted server gets the last report of the browser again, and must not take it
        for a drawing on what it has sent.
        """
        digest = self.item.digest
        wanted = (digest, self.item.mask_file if self._pending_mask is None else UNSTORED)
        if self._browser != wanted:
            self._turn += 1
            self._browser = wanted
        return f"{digest}:{session_token()}:{self._turn}"

    def drawing(self) -> NDArray[np.bool_] | None:
        """The mask that the image in hand has: what was not stored, else what was; None for none."""
        pending, stored = self._pending_mask, self.item.mask_file
        return pending if pending is not None or stored is None else kept_mask(stored)

    @property
    def _pending_mask(self) -> NDArray[np.bool_] | None:
        mine = self.pending.get(self.item.digest)
        return None if mine is None else mine.mask

    # ---- what is kept ----

    def _see(self, item: QueueItem) -> None:
        self._seen[item.digest] = item
        self._seen.move_to_end(item.digest)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _stored(self, item: QueueItem, revision: Revision) -> None:
        """The image as the reviewer left it. It is not read again: another decision since would go unseen."""
        self.note = ""
        self._see(replace(item, latest=revision))

    def _takes_back(self, item: QueueItem, mask: NDArray[np.bool_]) -> bool:
        """Whether a drawing is that from before the last step, and the step was a stroke of this session."""
        holding = _holding(item)
        if not holding or (item.digest, holding[-1].number) not in self._strokes:
            return False
        before = holding[-2].mask_file if len(holding) > 1 else None
        return np.array_equal(kept_mask(before), mask) if before else not mask.any()

    def _forget_step(self, digest: str) -> None:
        if digest in self._steps:
            last = max(index for index, each in enumerate(self._steps) if each == digest)
            del self._steps[last]


def _is_drawn(item: QueueItem, mask: NDArray[np.bool_]) -> bool:
    return not mask.any() if item.mask_file is None else np.array_equal(kept_mask(item.mask_file), mask)


def _holding(item: QueueItem) -> list[Revision]:
    return annotate.still_holding(annotate.history_of(item.digest))
