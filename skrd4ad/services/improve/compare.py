"""Two models on the same labelled images, of which neither has learnt and no first limit was taken."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import SeenImages
from skrd4ad.services.evaluation.compare import compare
from skrd4ad.services.evaluation.compare_images import ImageChange, image_changes
from skrd4ad.services.improve.agreement import Labels, labels_of, read_book, read_seen
from skrd4ad.services.improve.labelled import LabelledEvaluation, evaluation_of_labels
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.services.jobs.queue import JobHandle
from skrd4ad.storage.labelled_images import LabelBook, LabelledImage


@dataclass(frozen=True, kw_only=True)
class LabelComparison:
    """The old model and the new one on the same images, as :mod:`skrd4ad.services.evaluation.compare` takes them."""

    old: LabelledEvaluation
    new: LabelledEvaluation
    images: tuple[ImageChange, ...]
    seen: int
    """Decided images left out, as a model has learnt from them or took its first limits from them."""
    without_score: int
    is_exact: bool
    """False when it is not known of both models which images they have learnt from."""

    @property
    def has_both_kinds(self) -> bool:
        """Whether there are good and defective images, so that figures can be compared."""
        return len(set(self.old.labels.tolist())) == 2


def compare_on_labels(
    old: ModelInfo, new: ModelInfo, *, books: tuple[LabelBook, LabelBook], seen: tuple[SeenImages, SeenImages]
) -> LabelComparison:
    """Labelled images of a class, from the scores of both models that are there already."""
    both = [labels_of(info, book, its) for info, book, its in zip((old, new), books, seen, strict=True)]
    decided = [{d: image.label for d, image in book.images.items() if image.label != "unsure"} for book in books]
    # labels may change between the two readings: only what both agree on is compared
    known = {digest for digest, label in decided[0].items() if decided[1].get(digest) == label}
    unseen = known - seen[0].held_out - seen[1].held_out - seen[1].learnt
    unseen &= {image.digest for image in both[0].images} & {image.digest for image in both[1].images}
    compared = unseen & _scored(both[0].images) & _scored(both[1].images)
    first, second = (
        evaluation_of_labels(replace(each, images=tuple(i for i in each.images if i.digest in compared)))
        for each in both
    )
    return LabelComparison(
        old=first,
        new=second,
        images=image_changes(first, second, tuple((index, index) for index in range(len(compared)))),
        seen=len(known - unseen),
        without_score=len(unseen - compared),
        is_exact=all(labels.is_exact for labels in both),
    )


def in_sample(labels: Labels) -> int:
    """Good images whose scores the current limits were taken from: they flatter the model's agreement."""
    used = frozenset() if labels.info.calibration is None else frozenset(labels.info.calibration.scores)
    return sum(image.score in used for image in labels.of("good"))


@dataclass(frozen=True, kw_only=True)
class LabelComparisonRequest:
    """Two model folders, to compare on the labelled images of their class."""

    old: str
    new: str


def _title(request: LabelComparisonRequest) -> str:
    return f"Comparison of {Path(request.old).name} and {Path(request.new).name} on labelled images"


def _run(request: LabelComparisonRequest, job: JobHandle) -> Mapping[str, Any]:
    old, new = read_info(Path(request.old)), read_info(Path(request.new))
    seen = job.task.beside(lambda: (read_seen(old), read_seen(new)))
    found = compare_on_labels(old, new, books=(read_book(old), read_book(new)), seen=seen)
    compare(found.old, found.new, task=job.task)
    return asdict(request)


LABEL_COMPARISON = JobKind(name="compare-labels", lane="short", request=LabelComparisonRequest, title=_title, run=_run)
"""Its result is its request; what was found is read by :func:`skrd4ad.services.evaluation.compare.find_comparison`."""


def _scored(images: tuple[LabelledImage, ...]) -> set[str]:
    return {image.digest for image in images if image.score is not None}
