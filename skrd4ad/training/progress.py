"""How a training talks to whoever started it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Phase = Literal["weights", "reading", "training", "finishing"]


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where a training stands."""

    phase: Phase
    done: int = 0
    """Bytes of weights, images read, or steps of this epoch."""
    total: int = 0
    epoch: int = 0
    """Epochs done."""
    epochs: int = 0
    loss: float | None = None
    """Mean training loss of this epoch so far."""
    holdout_score: float | None = None
    """Distillation loss on the held-out good images after the last epoch; lower is better."""
    images_per_second: float | None = None
    eta_seconds: float | None = None
    step: str = ""
    """What is done now, in words; empty where phase and numbers say it."""


@dataclass(frozen=True)
class Observer:
    """How a training talks to whoever started it."""

    report: Callable[[TrainProgress], None] = lambda _progress: None
    check: Callable[[], None] = lambda: None
    """Called between steps; may wait, or raise to stop (what was done until the last full epoch is kept)."""
    epoch: Callable[[dict[str, Any]], None] = lambda _entry: None
    """Called after each epoch with its entry of the history."""
