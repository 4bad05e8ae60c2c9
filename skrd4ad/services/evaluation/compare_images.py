"""The images that two evaluations have in common, and what each model says of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from skrd4ad.errors import DataError
from skrd4ad.services.evaluation.result import EvaluatedImage, MeasuredImages
from skrd4ad.types import Verdict

Turn = Literal["better", "worse", "same"]
_NEARNESS: tuple[Mapping[Verdict, int], Mapping[Verdict, int]] = (
    {"NG": 0, "REVIEW": 1, "OK": 2},
    {"OK": 0, "REVIEW": 1, "NG": 2},
)
"""How near a verdict is to the label: of good images, and of defective ones."""
Pairs = tuple[tuple[int, int], ...]
"""Indices of the same images in two evaluations."""


@dataclass(frozen=True, kw_only=True)
class ImageChange:
    """One image under both models."""

    name: str
    path: Path
    label: int
    defect_type: str
    place_a: int
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
        return self.turn != "same"

    @property
    def turn(self) -> Turn:
        """Whether the second verdict is nearer to the label (better) or farther from it (worse) than the first."""
        if self.verdict_a is None or self.verdict_b is None:
            return "same"
        before, after = (_NEARNESS[self.label][verdict] for verdict in (self.verdict_a, self.verdict_b))
        return "better" if after > before else "worse" if after < before else "same"


def common_images(a: MeasuredImages, b: MeasuredImages) -> Pairs:
    """Indices of the images that both evaluations have with the same label and mask."""
    waiting: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for image in b.images:
        waiting[_identity(image)].append(image.place)
    pairs = tuple((image.place, indices.pop(0)) for image in a.images if (indices := waiting.get(_identity(image))))
    kinds = {a.images[index].label for index, _ in pairs}
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


def image_changes(a: MeasuredImages, b: MeasuredImages, pairs: Pairs) -> tuple[ImageChange, ...]:
    """Every image under both models: flipped verdicts first, then by how far their ranks among good images differ."""
    limits = [side.limits()[0] for side in (a, b)]
    ranks = [_ranks(side, [pair[number] for pair in pairs]) for number, side in enumerate((a, b))]
    changes = []
    for (place_a, place_b), rank_a, rank_b in zip(pairs, *ranks, strict=True):
        first, second = a.images[place_a], b.images[place_b]
        verdicts = [
            None if calibration is None else calibration.verdict(image.verdict_score)
            for calibration, image in zip(limits, (first, second), strict=True)
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
                rank_a=rank_a,
                rank_b=rank_b,
            )
        )
    return tuple(sorted(changes, key=lambda change: (not change.flipped, -abs(change.rank_b - change.rank_a))))


def _ranks(measured: MeasuredImages, indices: Sequence[int]) -> list[float]:
    """Share of the good images among the chosen ones that score below each; 0 when there are none."""
    scores = measured.verdict_scores[list(indices)]
    good = np.sort(scores[measured.labels[list(indices)] == 0])
    below: list[float] = (np.searchsorted(good, scores, side="left") / max(good.size, 1)).tolist()
    return below
