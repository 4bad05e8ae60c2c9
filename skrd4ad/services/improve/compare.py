"""Two models on the same labelled images, of which neither has learnt and no first limit was taken."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from skrd4ad.metrics.bootstrap import PairedDifference, paired_differences
from skrd4ad.metrics.evaluation import evaluate
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import SeenImages
from skrd4ad.services.improve.agreement import (
    Agreement,
    ImageFigures,
    LabelBook,
    LabelledImage,
    Labels,
    agreement,
    image_figures,
    labels_of,
    score_set,
)
from skrd4ad.storage.annotations import Label
from skrd4ad.types import Verdict

RIGHT: Mapping[Label, Verdict] = {"good": "OK", "defect": "NG"}
WRONG: Mapping[Label, Verdict] = {"good": "NG", "defect": "OK"}


@dataclass(frozen=True, kw_only=True)
class Side:
    """One model on the images of the comparison."""

    info: ModelInfo
    images: tuple[LabelledImage, ...]
    """With its scores, by digest; good and defective ones only."""
    agreement: Agreement | None
    """By its own calibration; None without one."""
    figures: ImageFigures
    in_sample: int
    """Good images among these whose scores its current limits were taken from: they flatter it."""


@dataclass(frozen=True)
class PairedImage:
    """What both models say of one image, each by its own limits."""

    image: LabelledImage
    """With the score of the old model."""
    old: Verdict
    new: Verdict
    new_score: float

    @property
    def turn(self) -> str:
        """``better`` when the new model comes nearer to what people decided, ``worse`` when it goes away from it, else
        ``same``."""
        ranks = {RIGHT[self.image.label]: 2, "REVIEW": 1, WRONG[self.image.label]: 0}
        before, after = ranks[self.old], ranks[self.new]
        return "better" if after > before else "worse" if after < before else "same"


@dataclass(frozen=True, kw_only=True)
class LabelComparison:
    """The old model and the new one on the same images."""

    old: Side
    new: Side
    pairs: tuple[PairedImage, ...]
    """By digest; none when one of the models has no calibration."""
    seen: int
    """Decided images left out, as a model has learnt from them or took its first limits from them."""
    without_score: int
    """Decided images left out, as one of the models has not looked at them."""
    is_exact: bool
    """False when it is not known of both models which images they have learnt from."""

    @property
    def changes(self) -> tuple[PairedImage, ...]:
        """Images whose verdict is another with the new model."""
        return tuple(pair for pair in self.pairs if pair.old != pair.new)


def compare_on_labels(
    old: ModelInfo, new: ModelInfo, *, books: tuple[LabelBook, LabelBook], seen: tuple[SeenImages, SeenImages]
) -> LabelComparison:
    """Compare two models of one class on its labelled images.

    Args:
        books: labelled images of the class with the scores of the old model, and with those of the new one.

    Raises:
        DataError: a stored score is not finite.
    """
    both = [labels_of(info, book, its) for info, book, its in zip((old, new), books, seen, strict=True)]
    decided = {image.digest for book in books for image in book.images.values() if image.label in RIGHT}
    # labels may change between the two readings: only what both agree on is compared
    known = set(books[0].images) & set(books[1].images) & decided
    known = {d for d in known if books[0].images[d].label == books[1].images[d].label}
    unseen = {
        image.digest
        for image in both[0].images
        if image.digest not in seen[0].held_out | seen[1].held_out | seen[1].learnt
    } & known
    unseen &= {image.digest for image in both[1].images}
    scored = [{image.digest for image in labels.images if image.score is not None} for labels in both]
    compared = unseen & scored[0] & scored[1]
    sides = [_side(labels, compared) for labels in both]
    return LabelComparison(
        old=sides[0],
        new=sides[1],
        pairs=_pairs(*sides),
        seen=len(known - unseen),
        without_score=len(unseen - compared),
        is_exact=all(labels.is_exact for labels in both),
    )


def auroc_difference(comparison: LabelComparison) -> PairedDifference:
    """Image AUROC of the new model less that of the old one on the same images, with its 95 % interval.

    Raises:
        DataError: a stored score is not finite.
    """
    old, new = (score_set(side.images) for side in (comparison.old, comparison.new))
    found = paired_differences(old, new, metrics_a=evaluate(old), metrics_b=evaluate(new))
    return found["image_auroc"]


def _side(labels: Labels, compared: set[str]) -> Side:
    chosen = replace(labels, images=tuple(image for image in labels.images if image.digest in compared))
    calibration = labels.info.calibration
    used = frozenset() if calibration is None else frozenset(calibration.scores)
    return Side(
        info=labels.info,
        images=chosen.images,
        agreement=agreement(chosen),
        figures=image_figures(chosen.images),
        in_sample=sum(image.label == "good" and image.score in used for image in chosen.images),
    )


def _pairs(old: Side, new: Side) -> tuple[PairedImage, ...]:
    limits = (old.info.calibration, new.info.calibration)
    if limits[0] is None or limits[1] is None:
        return ()
    pairs = []
    for before, after in zip(old.images, new.images, strict=True):
        assert before.score is not None and after.score is not None, "both models have looked at what is compared"
        pairs.append(PairedImage(before, limits[0].verdict(before.score), limits[1].verdict(after.score), after.score))
    return tuple(pairs)
