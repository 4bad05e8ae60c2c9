"""The queue in the order it had when it was looked up: deciding on an image does not move the others."""

from dataclasses import replace

from skrd4ad.services.labelling.queue import counts_of, items_of, order_of_queue
from skrd4ad.storage.label_queue import Order, QueueCounts, QueueFilter, QueueItem

WINDOW = 40
"""Rows of the queue that are shown; the whole may have thousands."""
AHEAD = 3
"""Rows that are always in sight before and after the image in hand."""


class QueueView:
    """An order of images, and the window of it that is shown."""

    def __init__(self, wanted: QueueFilter, order: Order) -> None:
        self.wanted = wanted
        self.order = order
        self.digests: list[str] = order_of_queue(wanted, order=order)
        self.first = 0
        """Where the window begins."""
        self._indices = {digest: index for index, digest in enumerate(self.digests)}
        self._then = self.counts()

    @property
    def _everything(self) -> QueueFilter:
        return replace(self.wanted, labels=(), defect_types=(), reviewers=())

    def counts(self) -> QueueCounts:
        """Counts as they are now, without regard to what people decided: progress is counted on them."""
        return counts_of(self._everything)

    def news_since(self, counts: QueueCounts) -> str:
        """What came since the order was looked up: ``3 new``, ``8 newly scored``, both, or nothing."""
        new = max(0, counts.total - self._then.total)
        scored = max(0, counts.total - counts.unscored - (self._then.total - self._then.unscored) - new)
        return ", ".join(f"{count:,} {what}" for count, what in ((new, "new"), (scored, "newly scored")) if count)

    def __contains__(self, digest: object) -> bool:
        return digest in self._indices

    def index_of(self, digest: str | None) -> int:
        """Index of an image in the order; -1 for one that is not in it."""
        return self._indices.get(digest or "", -1)

    def include(self, digest: str) -> None:
        """Keep an image in reach that the filter does not let through."""
        if digest not in self._indices:
            self.digests.insert(0, digest)
            self._indices = {each: index for index, each in enumerate(self.digests)}

    def neighbour(self, digest: str, way: int) -> str | None:
        """The next image (1) or the one before (-1); None at the end."""
        index = self.index_of(digest) + way
        return self.digests[index] if 0 <= index < len(self.digests) else None

    def following(self, digest: str, n: int) -> list[QueueItem]:
        """The images after one, as they are now."""
        start = self.index_of(digest) + 1
        return items_of(self.wanted, self.digests[start : start + n])

    def next_open(self, digest: str | None) -> str | None:
        """The image after one that nobody has decided on, else one before it; None when all are decided."""
        index = self.index_of(digest)
        later, earlier = self.digests[index + 1 :], self.digests[: max(index, 0)]
        near = (item.digest for item in items_of(self.wanted, later[:WINDOW]) if item.label == "none")
        if (found := next(near, None)) is not None:
            return found
        undecided = set(order_of_queue(replace(self._everything, labels=("none",)), order="newest"))
        return next((each for each in [*later, *earlier] if each in undecided), None)

    # ---- the window ----

    def window(self) -> list[QueueItem]:
        """The images of the window as they are now."""
        return items_of(self.wanted, self.digests[self.first : self.first + WINDOW])

    @property
    def after(self) -> int:
        """How many images are after the window."""
        return max(0, len(self.digests) - self.first - WINDOW)

    def scroll_to(self, first: int) -> None:
        """Move the window."""
        self.first = max(0, min(first, len(self.digests) - WINDOW))

    def keep_in_sight(self, digest: str) -> None:
        """Move the window when an image is outside of it or at its edge."""
        index = self.index_of(digest)
        if not self.first + AHEAD <= index < self.first + WINDOW - AHEAD:
            self.scroll_to(index - AHEAD)
