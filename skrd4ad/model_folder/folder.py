"""Model folders: ``<dataset>/<class>/<run>/`` with weights, settings, thresholds, metrics and a card for people.

Their networks are written and read by :mod:`skrd4ad.model_folder.network`.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.config import ModelConfig
from skrd4ad.errors import CheckpointError
from skrd4ad.files import locked, new_file, write_json
from skrd4ad.model_folder.calibration import Calibration, CalibrationHistory
from skrd4ad.model_folder.card import model_card
from skrd4ad.model_folder.info import (
    CALIBRATION,
    CARD,
    CONFIG,
    METRICS,
    WEIGHTS,
    ModelInfo,
    read_history,
    read_info,
)
from skrd4ad.model_folder.unfinished import is_unfinished, state_file
from skrd4ad.types import height_width


def save_metrics(folder: Path, metrics: dict[str, Any]) -> ModelInfo:
    """Store what an evaluation found in a model folder, and bring its card up to date."""
    with locked(folder):
        info = replace(read_info(folder), metrics=metrics)
        write_json(folder / METRICS, metrics)
        _write_card(info)
    return info


def save_calibration(
    folder: Path, calibration: Calibration, *, ignore_mask: NDArray[np.bool_] | None = None
) -> ModelInfo:
    """Add a calibration to the history of a model folder and make it the current one; its card is brought up to date.

    Its version is given here. ``ignore_mask``: (H, W) of any size, true where the map is ignored; None keeps the mask
    that the calibration names.
    """
    with locked(folder):
        info, history = read_info(folder), read_history(folder)
        pixels = math.prod(height_width(info.model.image_size))
        if calibration.min_area > pixels:
            raise CheckpointError(
                f"The smallest region that counts is {calibration.min_area} pixels; the map has only {pixels}. "
                "Choose a smaller one."
            )
        version = 1 if history is None else history.next_version
        if ignore_mask is not None:
            calibration = replace(calibration, ignore=f"ignore-{version}.png")
            from PIL import Image

            with new_file(folder / f"ignore-{version}.png") as temporary:
                Image.fromarray(ignore_mask.astype(np.uint8) * 255).save(temporary, format="PNG")
        elif calibration.ignore is not None and not (folder / calibration.ignore).is_file():
            raise CheckpointError(f"There is no {calibration.ignore} in {folder}; draw the ignored regions again.")
        added = (
            CalibrationHistory(1, (replace(calibration, version=1),)) if history is None else history.added(calibration)
        )
        return _store_history(info, added)


def use_version(folder: Path, version: int) -> ModelInfo:
    """Make an earlier calibration of a model folder the current one again; its history stays as it is."""
    with locked(folder):
        info, history = read_info(folder), read_history(folder)
        if history is None:
            raise CheckpointError(f"{folder} has no calibration yet; `skrd4ad calibrate` makes one.")
        return _store_history(info, history.using(version))


def find_models(root: Path) -> Iterator[Path]:
    """Model folders below a folder, by name; those whose training is not complete are passed over."""
    if not root.is_dir():
        return
    for config in sorted(root.glob(f"*/*/*/{CONFIG}")):
        folder = config.parent
        if not folder.name.startswith(".") and (folder / WEIGHTS).is_file() and not is_unfinished(folder):
            yield folder


def run_folder(out: Path, *, dataset: str, class_name: str, model: ModelConfig) -> Path:
    """A model folder's path for a new run, named by the time and the network; not made here. It is neither that of a
    model nor that of an unfinished training."""
    moment = datetime.now().strftime("%Y%m%d-%H%M%S")
    base = out / folder_name(dataset) / folder_name(class_name) / f"{moment}-{model.net}-res{model.res}"
    free = (base.with_name(f"{base.name}{suffix}") for suffix in ["", *(f"-{n}" for n in range(2, 1000))])
    return next(folder for folder in free if not folder.exists() and not state_file(folder).exists())


def folder_name(name: str) -> str:
    """A name as a folder: letters, digits, dots, dashes and underscores are kept."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "unnamed"


def _store_history(info: ModelInfo, history: CalibrationHistory) -> ModelInfo:
    saved = replace(info, calibration=history.current, calibration_versions=len(history.versions))
    write_json(info.folder / CALIBRATION, history.to_plain())
    _write_card(saved)
    return saved


def _write_card(info: ModelInfo) -> None:
    with new_file(info.folder / CARD) as temporary:
        temporary.write_text(model_card(info), encoding="utf-8")
