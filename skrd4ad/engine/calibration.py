"""What turns scores into verdicts: thresholds, and where they came from."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from skrd4ad.errors import CheckpointError
from skrd4ad.metrics.thresholds import conformal_threshold
from skrd4ad.types import Verdict

DEFAULT_FALSE_REJECT_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds taken from good images that were held out from training."""

    image_threshold: float
    """A part is NG when its score is above this."""
    pixel_threshold: float
    """A pixel is drawn and counted as defective above this. A good part stays below it everywhere exactly when its
    score, the maximum of its map, does; so the promise about parts holds for it too, and both are equal."""
    heat_top: float
    """Score at which the heat map saturates."""
    n: int
    """Held-out good images."""
    target_false_reject_rate: float
    certified_false_reject_rate: float
    method: str
    scores: tuple[float, ...]
    """Scores of the held-out good images, ascending."""

    def verdict(self, score: float) -> Verdict:
        """NG above the threshold, OK up to it."""
        return "NG" if score > self.image_threshold else "OK"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**asdict(self), "scores": list(self.scores)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Calibration":
        """Calibration from its JSON form.

        Raises:
            CheckpointError: a value is missing or unknown.
        """
        try:
            return Calibration(**{**values, "scores": tuple(values["scores"])})
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"The calibration is damaged ({error}); calibrate the model again.") from error


def calibrate(scores: Sequence[float], *, false_reject_rate: float = DEFAULT_FALSE_REJECT_RATE) -> Calibration:
    """Thresholds for a target false-reject rate.

    Args:
        scores: image scores of good images that the model has not learnt from.
        false_reject_rate: share of good parts that may be rejected.

    Raises:
        ConfigError: the rate is not above 0 and below 1.
        DataError: there are no scores, or one is not finite.
    """
    found = conformal_threshold(scores, false_reject_rate=false_reject_rate)
    ascending = tuple(sorted(float(score) for score in scores))
    # no defect is known here, so the scale goes on above the threshold by twice what lies between it and a usual part
    spread = found.threshold - float(np.median(ascending))
    return Calibration(
        image_threshold=found.threshold,
        pixel_threshold=found.threshold,
        heat_top=found.threshold + (2 * spread or found.threshold or 1.0),
        n=found.n,
        target_false_reject_rate=found.target,
        certified_false_reject_rate=found.certified_rate,
        method=found.method,
        scores=ascending,
    )
