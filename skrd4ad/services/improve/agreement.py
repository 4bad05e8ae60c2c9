"""How a model does on the images people labelled: agreement and image figures, from stored scores, in milliseconds.

Images that the model has learnt from are left out everywhere. People label what they choose to look at, often what lies
near the limit; so these figures tell models apart on these images, and are not the rates of the process.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from skrd4ad.errors import DataError
from skrd4ad.inference.scoring import comparable_versions
from skrd4ad.metrics.bootstrap import Interval, bootstrap
from skrd4ad.metrics.consequences import Counts
from skrd4ad.metrics.evaluation import Metrics, evaluate
from skrd4ad.metrics.ranking import auroc
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import SeenImages, seen_images_of
from skrd4ad.services.datasets import class_of_model
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.labelled_images import LabelBook, LabelledImage, read_labels, unlabelled_scores
from skrd4ad.types import GOOD, EvaluationSet, Verdict, verdict_of

UNNAMED_DEFECT = "defect"
FEWEST_FOR_CLOSENESS = 10
"""Scores on either side below which nothing is said of how the labelled images were chosen."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What people decided on the images of a model's class, with the scores of that model."""

    info: ModelInfo
    images: tuple[LabelledImage, ...]
    """By digest; without those the model has learnt from. A score that was taken of other pixels than count now is
    None."""
    learnt: int
    is_exact: bool
    in_class: int
    """Images of the class, with a label or not."""

    def of(self, label: str) -> tuple[LabelledImage, ...]:
        """Images with a label."""
        return tuple(image for image in self.images if image.label == label)

    @property
    def without_score(self) -> int:
        """Good and defective images that the model must see before they count."""
        return sum(image.score is None for image in self.images if image.label != "unsure")


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Verdicts of a model beside what people decided, by counts; images in the order of their digests."""

    good: Counts
    defect: Counts
    unsure: Counts
    false_rejects: tuple[LabelledImage, ...]
    escapes: tuple[LabelledImage, ...]

    @property
    def agreed(self) -> int:
        """Good parts that are OK, and defects that are NG."""
        return self.good.ok + self.defect.ng

    @property
    def compared(self) -> int:
        """Decided images with a verdict of OK or NG."""
        return self.agreed + self.good.ng + self.defect.ok

    @property
    def reviewed(self) -> int:
        """Decided images that the model leaves to a person."""
        return self.good.review + self.defect.review

    @property
    def rate(self) -> float | None:
        """Share of the images compared on which both agree; None without any."""
        return self.agreed / self.compared if self.compared else None


def read_book(info: ModelInfo, before: LabelBook | None = None) -> LabelBook:
    """All labelled images of a model's class; quick when ``before`` is what was read last."""
    with workspace_database().read() as session:
        return read_labels(
            session, dataset=info.dataset, class_name=info.class_name, model_digest=info.digest, before=before
        )


def read_seen(info: ModelInfo) -> SeenImages:
    """What a model has seen of images, as far as its data set is at hand."""
    try:
        return seen_images_of(info, class_of_model(info))
    except DataError:
        return seen_images_of(info, None)


def labels_of(info: ModelInfo, book: LabelBook, seen: SeenImages) -> Labels:
    """Labelled images that a model can be judged by."""
    fresh = comparable_versions(info)
    images = []
    learnt = 0
    for digest in sorted(book.images):
        image = book.images[digest]
        if digest in seen.learnt or (not seen.is_exact and image.split == "train"):
            learnt += 1
        elif image.score is not None and image.calibration not in fresh:
            images.append(replace(image, score=None))
        else:
            images.append(image)
    return Labels(info=info, images=tuple(images), learnt=learnt, is_exact=seen.is_exact, in_class=book.in_class)


def agreement(labels: Labels, *, reject: float | None = None, review: float | None = None) -> Agreement | None:
    """Verdicts beside labels; None when the model has no calibration and no limit is given."""
    if reject is None:
        if labels.info.calibration is None:
            return None
        reject, review = labels.info.calibration.image_threshold, labels.info.calibration.review_threshold
    found: dict[str, dict[Verdict, list[LabelledImage]]] = {
        label: {"OK": [], "REVIEW": [], "NG": []} for label in ("good", "defect", "unsure")
    }
    for image in labels.images:
        if image.score is not None:
            found[image.label][verdict_of(image.score, review=review, reject=reject)].append(image)
    good, defect, unsure = (_counts(found[label]) for label in ("good", "defect", "unsure"))
    return Agreement(
        good=good,
        defect=defect,
        unsure=unsure,
        false_rejects=tuple(found["good"]["NG"]),
        escapes=tuple(found["defect"]["OK"]),
    )


def image_figures(images: Sequence[LabelledImage]) -> Metrics:
    """Figures of good and defective images with a score, without those of pixels; others are passed over."""
    found = score_set(images)
    if not len(found.labels):
        return Metrics(image_auroc=None, image_ap=None, image_f1_max=None, n_good=0, n_defect=0, n_masks=0)
    return evaluate(found)


def auroc_interval(images: Sequence[LabelledImage]) -> Interval | None:
    """95 % interval of the image AUROC, by drawing the images again; None with fewer than two of a kind.

    It says how far the figure would move with other images chosen the same way, and nothing of how they were chosen.
    """
    return bootstrap(score_set(images)).intervals["image_auroc"]


def score_set(images: Sequence[LabelledImage]) -> EvaluationSet:
    """Labels and scores of good and defective images with a score, in their order; without maps."""
    decided = [image for image in images if image.label in ("good", "defect") and image.score is not None]
    return EvaluationSet(
        labels=np.array([image.label == "defect" for image in decided], np.int64),
        scores=np.array([image.score for image in decided], np.float32),
        defect_types=tuple(defect_type_of(image) for image in decided),
    )


def defect_type_of(image: LabelledImage) -> str:
    """``good``, the type of the defect, or ``defect`` where nobody named one."""
    return GOOD if image.label == "good" else image.defect_type or UNNAMED_DEFECT


def closeness_of_labelled(labels: Labels, seen: SeenImages) -> float | None:
    """How the labelled images were chosen, as far as scores tell: the chance that one of them lies closer to the limit
    than an image without a label; 0.5 for a choice that had nothing to do with the limit.

    None without a calibration, or with too few images on one side to tell.
    """
    info = labels.info
    if info.calibration is None:
        return None
    with workspace_database().read() as session:
        unlabelled = unlabelled_scores(
            session, dataset=info.dataset, class_name=info.class_name, model_digest=info.digest
        )
    mine = [image.score for image in labels.images if image.score is not None]
    others = [score for digest, score in unlabelled.items() if digest not in seen.learnt]
    if min(len(mine), len(others)) < FEWEST_FOR_CLOSENESS:
        return None
    limit = info.calibration.image_threshold
    nearness = [-abs(score - limit) for score in (*mine, *others)]
    return auroc([1] * len(mine) + [0] * len(others), nearness)


def _counts(by_verdict: dict[Verdict, list[LabelledImage]]) -> Counts:
    return Counts(ok=len(by_verdict["OK"]), review=len(by_verdict["REVIEW"]), ng=len(by_verdict["NG"]))
