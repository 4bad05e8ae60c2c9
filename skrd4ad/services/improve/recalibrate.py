"""New limits from images that people labelled good, from scores that are there already: done in a moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skrd4ad.errors import DataError
from skrd4ad.format import plural
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.metrics.thresholds import smallest_certifiable
from skrd4ad.model_folder.seen_images import SeenImages
from skrd4ad.services.calibration.calibrate import Distributions, Proposal, ThresholdChoice, propose
from skrd4ad.services.calibration.scores import ScoredImage
from skrd4ad.services.improve.agreement import Agreement, Labels, agreement
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.storage.labelled_images import LabelledImage
from skrd4ad.types import Verdict

UNNAMED_DEFECT = "defect"
MOST_NAMES = 4


@dataclass(frozen=True)
class VerdictChange:
    """A labelled image whose verdict would be another."""

    image: LabelledImage
    before: Verdict
    after: Verdict


@dataclass(frozen=True, eq=False, kw_only=True)
class Recalibration:
    """New limits that are not stored yet, and what they do to the labelled images."""

    proposal: Proposal
    n: int
    """Images labelled good that the limits rest on."""
    certifiable: float
    """Smallest false-reject rate that so many images can certify."""
    before: Agreement | None
    """Under the current limits; None without any."""
    after: Agreement
    changes: tuple[VerdictChange, ...]
    """In the order of their scores."""


def confirmed_normals(labels: Labels) -> tuple[LabelledImage, ...]:
    """Images labelled good that the model has not learnt from, with a score."""
    return tuple(image for image in labels.of("good") if image.score is not None)


def label_distributions(labels: Labels, seen: SeenImages, *, with_defects: bool) -> Distributions:
    """Scores of labelled images, to choose limits by.

    Args:
        seen: what the model has seen of images; tells which are test images.
        with_defects: whether labelled defects may have a part in the choice, and are counted as escapes.

    Raises:
        DataError: no image labelled good has a score.
    """
    info = labels.info
    good = confirmed_normals(labels)
    if not good:
        raise DataError(
            f"No image of {info.class_name} that the model has not learnt from is labelled good and has a score. Label "
            "good images, and let the model score them."
        )
    defects = [image for image in labels.of("defect") if image.score is not None] if with_defects else []
    return Distributions(
        info=info,
        mask=scoring_mask_of(info),
        ignore=None if info.calibration is None else info.calibration.ignore,
        normals=tuple(sorted(image.score for image in good if image.score is not None)),
        normals_data=f"{plural(len(good), 'image')} labelled good by {_people(good)}",
        normals_are_tests=_any_test(good, seen),
        labelled=tuple(
            ScoredImage(stored_path(image.file), image.defect_type or UNNAMED_DEFECT, image.score)
            for image in defects
            if image.score is not None
        ),
        labelled_data=f"{plural(len(defects), 'image')} labelled defective by {_people(defects)}"
        if defects
        else "no labelled images",
        labelled_are_tests=_any_test(defects, seen),
        warnings=_warnings(labels),
    )


def recalibration(labels: Labels, seen: SeenImages, choice: ThresholdChoice, *, with_defects: bool) -> Recalibration:
    """New limits, and what they do to the labelled images. Nothing is stored: that is ``calibration.save``'s.

    Raises:
        ConfigError: a rate is outside what is allowed.
        DataError: the images that the choice needs are not there.
    """
    found = label_distributions(labels, seen, with_defects=with_defects)
    proposal = propose(found, choice)
    new = proposal.calibration
    after = agreement(labels, reject=new.image_threshold, review=new.review_threshold)
    assert after is not None, "a limit was given"
    return Recalibration(
        proposal=proposal,
        n=len(found.normals),
        certifiable=smallest_certifiable(len(found.normals)),
        before=agreement(labels),
        after=after,
        changes=_changes(labels, proposal),
    )


def _changes(labels: Labels, proposal: Proposal) -> tuple[VerdictChange, ...]:
    old, new = labels.info.calibration, proposal.calibration
    if old is None:
        return ()
    scored = sorted((image.score, image.digest, image) for image in labels.images if image.score is not None)
    verdicts = [VerdictChange(image, old.verdict(score), new.verdict(score)) for score, _, image in scored]
    return tuple(change for change in verdicts if change.before != change.after)


def _warnings(labels: Labels) -> tuple[str, ...]:
    warnings = []
    if not labels.is_exact:
        warnings.append(
            "The images this model was trained on are not at hand as they were, so it cannot be checked whether some "
            "of the labelled ones are among them."
        )
    if labels.without_score:
        warnings.append(f"{labels.without_score} labelled images have no score yet and do not count.")
    return tuple(warnings)


def _any_test(images: Iterable[LabelledImage], seen: SeenImages) -> bool:
    return any(image.split == "test" or image.digest in seen.tests for image in images)


def _people(images: Sequence[LabelledImage]) -> str:
    names = sorted({image.reviewer for image in images})
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} others"
