"""What a training reports besides how far it is."""

from dataclasses import dataclass
from typing import Literal

Phase = Literal["weights", "reading", "training", "finishing"]


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where a training stands; the record of its reports."""

    phase: Phase
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    """Mean training loss of this epoch so far."""
    holdout_score: float | None = None
    """Distillation loss on the held-out good images after the last epoch; lower is better."""
    images_per_second: float | None = None

    def __str__(self) -> str:
        """The figures that are known, for the command line."""
        parts = []
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4f}")
        if self.holdout_score is not None:
            parts.append(f"held out {self.holdout_score:.4f}")
        if self.images_per_second is not None:
            parts.append(f"{self.images_per_second:.0f} images/s")
        return ", ".join(parts)
