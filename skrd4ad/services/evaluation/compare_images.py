"""The images that two evaluations have in common, and what each model says of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skrd4ad.errors import DataError
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.evaluation.result import EvaluatedImage, StoredEvaluation
from skrd4ad.types import Verdict

Pairs = tuple[tuple[int, int], ...]
"""Places of the same images in two evaluations."""


@dataclass(frozen=True, kw_only=True)
class ImageChange:
    """One image under both models."""

    name: str
    path: Path
    label: int
    defect_type: str
    place_a: int
    """In the first evaluation."""
    place_b: int
    score_a: float
    """The score that the verdict is made with. Scores of two models have no common scale."""
    score_b: float
    verdict_a: Verdict | None
    """None without a calibration that fits."""
    verdict_b: Verdict | None
    rank_a: float
    """Share of the good images that score below it, 0 to 1: comparable between models."""
    rank_b: float

    @property
    def flipped(self) -> bool:
        """Whether the verdicts differ."""
        return None not in (self.verdict_a, self.verdict_b) and self.verdict_a != self.verdict_b


def common_images(a: StoredEvaluation, b: StoredEvaluation) -> Pairs:
    """Places of the images that both evaluations have with the same label and mask.

    Raises:
        DataError: there are none, or only good ones, or only defective ones.
    """
    waiting: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for image in b.images:
        waiting[_identity(image)].append(image.place)
    pairs = tuple((image.place, places.pop(0)) for image in a.images if (places := waiting.get(_identity(image))))
    kinds = {a.images[place].label for place, _ in pairs}
    if not pairs:
        raise DataError(
            f"The two evaluations have no image in common: {len(a.images)} images of {a.summary.dataset}/"
            f"{a.summary.class_name} and {len(b.images)} of {b.summary.dataset}/{b.summary.class_name}. Evaluate both "
            "models on the same images, with the same labels and masks."
        )
    if len(kinds) < 2:
        raise DataError(
            f"The {len(pairs)} images that both evaluations have are all {'defective' if 1 in kinds else 'good'}; a "
            "comparison needs good and defective ones. Evaluate both models on the same images."
        )
    return pairs


def _identity(image: EvaluatedImage) -> tuple[object, ...]:
    return image.content, image.label, image.mask_content


def image_changes(
    a: StoredEvaluation, b: StoredEvaluation, pairs: Pairs, calibrations: Sequence[Calibration | None]
) -> tuple[ImageChange, ...]:
    """Every image under both models: flipped verdicts first, then by how far their ranks among good images differ.

    Args:
        a: the first evaluation.
        b: the second.
        pairs: places of the same images.
        calibrations: of both; no verdicts where one is None.
    """
    ranks = [_ranks(stored, [pair[side] for pair in pairs]) for side, stored in enumerate((a, b))]
    changes = []
    for number, (place_a, place_b) in enumerate(pairs):
        first, second = a.images[place_a], b.images[place_b]
        verdicts = [
            None if calibration is None else calibration.verdict(image.verdict_score)
            for calibration, image in zip(calibrations, (first, second), strict=True)
        ]
        changes.append(
            ImageChange(
                name=first.name,
                path=first.path,
                label=first.label,
                defect_type=first.defect_type,
                place_a=place_a,
                place_b=place_b,
                score_a=first.verdict_score,
                score_b=second.verdict_score,
                verdict_a=verdicts[0],
                verdict_b=verdicts[1],
                rank_a=ranks[0][number],
                rank_b=ranks[1][number],
            )
        )
    return tuple(sorted(changes, key=lambda change: (not change.flipped, -abs(change.rank_b - change.rank_a))))


def _ranks(stored: StoredEvaluation, places: Sequence[int]) -> list[float]:
    """Share of the good images among the chosen ones that score below each."""
    scores = stored.verdict_scores[list(places)]
    good = np.sort(scores[stored.labels[list(places)] == 0])
    below: list[float] = (np.searchsorted(good, scores, side="left") / good.size).tolist()
    return below
