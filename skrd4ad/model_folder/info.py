"""What is known of a trained model without its weights."""

import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import skrd4ad
from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.model_folder.calibration import Calibration

PATCH_IMAGES = "patch_images"
"""Key of the data of a model: SHA-256 of the training images in the order that its patches name them by."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Everything about a trained model but its weights; ``config.json`` with the calibration and the metrics."""

    dataset: str
    class_name: str
    model: ModelConfig
    train: TrainConfig | None
    """None for an imported model."""
    teacher_digest: str
    data: dict[str, Any] = field(default_factory=dict)
    """Where the training images came from, how many, their digest, licence and note."""
    history: tuple[dict[str, Any], ...] = ()
    """One entry an epoch: epoch, loss, holdout_score."""
    selected_epoch: int | None = None
    test_selected: bool = False
    """The epoch was chosen on the test set, so every figure of this model is optimistic."""
    training_seconds: float | None = None
    origin: str = "trained here"
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    environment: dict[str, str] = field(default_factory=lambda: versions())
    digest: str = ""
    """SHA-256 of ``model.safetensors``; set when the folder is written."""
    calibration: Calibration | None = None
    """The current one."""
    calibration_versions: int = 0
    """How many calibrations there are or were."""
    metrics: dict[str, Any] | None = None
    """What ``evaluate`` found last, with its protocol."""
    folder: Path = Path()

    @property
    def title(self) -> str:
        """One line for people."""
        skips = {1: "no skip", 2: "1 skip", 3: "2 skips"}[self.model.res]
        return f"{self.class_name} · {self.model.net} · {skips} · {self.folder.name}"


def versions() -> dict[str, str]:
    """Versions of what a model is made with."""
    return {"skrd4ad": skrd4ad.__version__, "torch": torch.__version__, "python": platform.python_version()}
