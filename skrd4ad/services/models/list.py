"""Trained models of the workspace, and folders that cannot be used."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skrd4ad.errors import CheckpointError
from skrd4ad.model_folder.folder import find_models, read_info
from skrd4ad.model_folder.info import ModelInfo, has_guards
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.paths import checkpoints


@dataclass(frozen=True)
class BrokenModel:
    """A model folder that cannot be used, and why."""

    folder: Path
    reason: str


def list_models(root: Path | None = None, *, archived: bool = False) -> tuple[list[ModelInfo], list[BrokenModel]]:
    """Usable models, newest first in each class, and folders that are damaged."""
    models: list[ModelInfo] = []
    broken: list[BrokenModel] = []
    for folder in find_models(checkpoints() if root is None else root):
        try:
            info, about = read_info(folder), read_metadata(folder)
            if archived or not about.archived:
                models.append(info)
        except CheckpointError as error:
            broken.append(BrokenModel(folder, str(error)))
        except OSError as error:
            broken.append(BrokenModel(folder, f"{error.filename or folder} cannot be read: {error.strerror or error}."))
    models.sort(key=lambda info: info.created_at, reverse=True)
    models.sort(key=lambda info: (info.dataset, info.class_name))
    return models, broken


def default_model(models: Sequence[ModelInfo]) -> ModelInfo | None:
    """The first of models, newest first, that is no first look, and waits for nobody to use it in place of the one it
    went on from."""
    there = {info.digest for info in models}

    def waits(info: ModelInfo) -> bool:
        return info.first_look or (predecessor_digest(info) in there and not read_metadata(info.folder).adopted)

    return next((info for info in models if not waits(info)), models[0] if models else None)


def predecessor_digest(info: ModelInfo) -> str | None:
    """Digest of the model that a model went on from; None when it began anew."""
    started = info.data.get("started_from")
    return str(started["digest"]) if isinstance(started, dict) and "digest" in started else None


def model_name(info: ModelInfo) -> str:
    """Name of a model in all that lists models: ``dataset/class/run``."""
    return f"{info.dataset}/{info.class_name}/{info.folder.name}"


def listed(info: ModelInfo) -> dict[str, Any]:
    """JSON-ready form of a model in a list of models."""
    return {
        "name": model_name(info),
        "folder": str(info.folder),
        "title": info.title,
        "dataset": info.dataset,
        "class": info.class_name,
        "net": info.model.net,
        "res": info.model.res,
        "image_size": info.model.image_size,
        "created_at": info.created_at,
        "origin": info.origin,
        "digest": info.digest,
        "threshold": None if info.calibration is None else info.calibration.image_threshold,
        "calibration": None if info.calibration is None else info.calibration.version,
        "calibration_versions": info.calibration_versions,
        "test_fitted": info.calibration is not None and info.calibration.test_fitted,
        "test_selected": info.test_selected,
        "guards": has_guards(info.folder),
        "metrics": info.metrics,
        "error": None,
    }
