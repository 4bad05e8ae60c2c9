"""Reading the queue as a page shows it: the whole order at once, but only a window of its images."""

from collections.abc import Sequence

from skrd4ad.inference.predictions import Limits
from skrd4ad.inference.scoring import comparable_versions
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.storage import label_queue
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import Order, QueueCounts, QueueFilter, QueueItem


def filter_of(info: ModelInfo, limits: Limits | None) -> QueueFilter:
    """All images of a model's class, with its scores against limits; narrow it with ``dataclasses.replace``.

    A score that was taken while other pixels counted than count now is as good as none.
    """
    return QueueFilter(
        dataset=info.dataset,
        class_name=info.class_name,
        model_digest=info.digest,
        reject=None if limits is None else limits.reject,
        review=None if limits is None else limits.review,
        calibrations=comparable_versions(info),
    )


def order_of_queue(wanted: QueueFilter, *, order: Order = "closest") -> list[str]:
    """Digests of all images under a filter, in order."""
    with workspace_database().read() as session:
        return label_queue.queue_digests(session, wanted, order=order)


def items_of(wanted: QueueFilter, digests: Sequence[str]) -> list[QueueItem]:
    """Some images of the class as they stand now, in the order of their digests; those that are gone are left out."""
    with workspace_database().read() as session:
        return label_queue.queue_items(session, wanted, digests)


def counts_of(wanted: QueueFilter) -> QueueCounts:
    """Counts of all images under a filter."""
    with workspace_database().read() as session:
        return label_queue.queue_counts(session, wanted)


def names_of(wanted: QueueFilter) -> tuple[list[str], list[str]]:
    """Defect types and reviewers to choose from in a class."""
    with workspace_database().read() as session:
        return label_queue.names_of_class(session, dataset=wanted.dataset, class_name=wanted.class_name)
