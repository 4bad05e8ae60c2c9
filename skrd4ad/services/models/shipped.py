"""The evaluation that comes in a model folder: written by who makes the model, and taken over into the workspace."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from skrd4ad import documents
from skrd4ad.errors import CheckpointError
from skrd4ad.files import locked, new_folder, remove_folder, write_json
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import needs
from skrd4ad.services.evaluation.result import (
    IGNORED,
    IGNORED_BY_MASKS,
    MASKS,
    SMALL,
    SMALL_MAPS,
    EvaluationSummary,
    StoredEvaluation,
)
from skrd4ad.services.evaluation.store import FORMAT, IMAGES, SUMMARY, evaluations_folder
from skrd4ad.types import height_width

SHIPPED = "evaluation"
"""Folder in a model folder."""
_TAKEN = ".taken-over"
"""Keys of what was taken over once; what was removed since does not come back."""


@needs("engineer", "evaluate a model")
def ship_evaluation(stored: StoredEvaluation) -> Path:
    """Put an evaluation into the folder of its model, with small maps; it names no folder of this machine."""
    folder, summary = stored.summary.model_folder / SHIPPED, stored.summary
    height, width = (-(-side // SMALL) for side in height_width(summary.image_size))
    small = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in stored.maps()]
    details = documents.read_values(stored.folder / IMAGES)
    for image, kept in zip(stored.images, details["images"], strict=True):
        kept["path"] = str(image.path.relative_to(summary.root))
        kept["mask_path"] = image.mask_path and str(image.mask_path.relative_to(summary.root))
    if folder.exists():
        remove_folder(folder)
    with new_folder(folder) as temporary:
        np.save(temporary / SMALL_MAPS, np.stack(small).astype(np.float16), allow_pickle=False)
        for name in (MASKS, IGNORED, IGNORED_BY_MASKS):
            if (stored.folder / name).is_file():
                shutil.copyfile(stored.folder / name, temporary / name)
        write_json(temporary / IMAGES, details, indent=None)
        write_json(temporary / SUMMARY, replace(summary, model_folder=Path(), root=Path()), format=FORMAT, indent=None)
    return folder


def take_over_evaluations(models: Sequence[ModelInfo]) -> None:
    """Bring the evaluations that came with models into the workspace, each once. A damaged one is left alone."""
    shipped = [info for info in models if (info.folder / SHIPPED / SUMMARY).is_file()]
    if not shipped:
        return
    root = evaluations_folder()
    taken = root / _TAKEN
    with locked(root):
        known = taken.read_text(encoding="utf-8").split() if taken.is_file() else []
        for info in shipped:
            if info.digest in known:
                continue
            try:
                summary = documents.read(info.folder / SHIPPED / SUMMARY, EvaluationSummary, format=FORMAT)
                if not (root / summary.key).exists() and summary.model_digest == info.digest:
                    with new_folder(root / summary.key) as temporary:
                        for file in (info.folder / SHIPPED).iterdir():
                            shutil.copyfile(file, temporary / file.name)
                        write_json(
                            temporary / SUMMARY, replace(summary, model_folder=info.folder), format=FORMAT, indent=None
                        )
            except CheckpointError:
                pass
            known.append(info.digest)
        taken.write_text("\n".join(known), encoding="utf-8")
