"""Evaluations on disk: one folder each under ``<workspace>/evaluations``, written in one go, quick to read back.

``evaluation.json`` holds the summary, ``images.json`` the images and curves, ``maps.npy`` the maps as float32,
``masks.npy`` the masks with eight pixels a byte, ``ignored.npy`` the pixels that do not count, and
``ignored_by_masks.npy`` those of each image where masks ignore some, packed like the masks.
"""

import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from skrd4ad import documents
from skrd4ad.errors import CheckpointError, DataError, StorageError
from skrd4ad.files import locked, new_folder, remove_folder, write_json
from skrd4ad.metrics.curves import Curve, CurveName
from skrd4ad.paths import workspace
from skrd4ad.services.access import needs
from skrd4ad.services.evaluation.result import (
    IGNORED,
    IGNORED_BY_MASKS,
    MAPS,
    MASKS,
    EvaluatedImage,
    EvaluationSummary,
    StoredEvaluation,
)
from skrd4ad.task import QUIET, Task
from skrd4ad.types import EvaluationSet

FORMAT = 2
SUMMARY, IMAGES = "evaluation.json", "images.json"

log = logging.getLogger(__name__)


def evaluations_folder() -> Path:
    """Where evaluations are kept; made when missing."""
    folder = workspace() / "evaluations"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The folder {folder} cannot be made: {error.strerror}. Set SKRD4AD_HOME to a folder that can be written."
        ) from error
    return folder


@needs("engineer", "evaluate a model")
def write_evaluation(
    summary: EvaluationSummary,
    *,
    images: tuple[EvaluatedImage, ...],
    curves: Mapping[CurveName, Curve],
    data: EvaluationSet,
    task: Task = QUIET,
) -> StoredEvaluation:
    """Keep an evaluation under its key, in place of one that is there, in one go."""
    assert data.maps is not None
    folder = evaluations_folder() / summary.key
    try:
        with locked(folder.parent):
            # whoever holds the lock writes alone, so what is half written was left by a process that died
            for left in (folder, *folder.parent.glob(".*")):
                shutil.rmtree(left, ignore_errors=True)
            with new_folder(folder) as temporary:
                np.save(temporary / MAPS, data.maps.astype(np.float32, copy=False), allow_pickle=False)
                task.check()
                if data.masks is not None:
                    packed = np.packbits(data.masks.reshape(len(images), -1), axis=1)
                    np.save(temporary / MASKS, packed, allow_pickle=False)
                if data.ignored is not None and data.ignored.ndim == 2:
                    np.save(temporary / IGNORED, data.ignored, allow_pickle=False)
                elif data.ignored is not None:
                    packed = np.packbits(data.ignored.reshape(len(images), -1), axis=1)
                    np.save(temporary / IGNORED_BY_MASKS, packed, allow_pickle=False)
                task.check()
                write_json(temporary / IMAGES, _Details(images, tuple(curves.values())), indent=None)
                write_json(temporary / SUMMARY, summary, format=FORMAT, indent=None)
    except CheckpointError as error:
        raise StorageError(f"The evaluation cannot be kept. {error}") from error
    stored = load_evaluation(summary.key)
    if stored is None:
        raise StorageError(f"The evaluation in {folder} cannot be read back; is the disk full or read by another?")
    return stored


def load_evaluation(key: str) -> StoredEvaluation | None:
    """An evaluation by its key; None when there is none, or when it is damaged."""
    folder = _folder_of(key)
    try:
        return None if folder is None else _load(folder)
    except _DAMAGED as error:
        log.warning("The evaluation %s is damaged and counts as missing: %s", folder, error)
        return None


def evaluation_problem(key: str) -> str:
    """Why an evaluation is damaged; empty when it is not, or when there is none."""
    folder = _folder_of(key)
    try:
        if folder is not None:
            _load(folder)
    except _DAMAGED as error:
        return str(error)
    return ""


def evaluation_folders() -> list[Path]:
    """The folders of all evaluations, damaged ones among them; each is named by its key."""
    return [found for each in sorted(evaluations_folder().iterdir()) if (found := _folder_of(each.name)) is not None]


def read_summary(key: str) -> EvaluationSummary | None:
    """What an evaluation found, without its images; None when there is none, or when it is damaged."""
    folder = _folder_of(key)
    if folder is None:
        return None
    try:
        return _summary(folder)
    except _DAMAGED as error:
        log.warning("The evaluation %s is damaged and counts as missing: %s", folder, error)
        return None


def all_summaries() -> Iterator[EvaluationSummary]:
    """Every evaluation that is not damaged, in no particular order."""
    for folder in evaluation_folders():
        summary = read_summary(folder.name)
        if summary is not None:
            yield summary


def list_evaluations() -> list[EvaluationSummary]:
    """All finished evaluations of this workspace, by data set, class and newest first; damaged ones are left out."""
    found = sorted(all_summaries(), key=lambda summary: summary.created_at, reverse=True)
    return sorted(found, key=lambda summary: (summary.dataset, summary.class_name))


@needs("engineer", "remove an evaluation")
def delete_evaluation(key: str) -> None:
    """Remove a finished evaluation from the workspace; model and data stay."""
    folder = _folder_of(key)
    if folder is None:
        raise StorageError(f"There is no evaluation {key!r} in this workspace; it may have been deleted.")
    try:
        remove_folder(folder)
    except OSError as error:
        raise StorageError(f"The evaluation in {folder} cannot be removed: {error.strerror}.") from error


def _folder_of(key: str) -> Path | None:
    """Folder of a key, which may come from anywhere; None when there is none."""
    if not re.fullmatch(r"[0-9a-f]+", key):
        return None
    folder = evaluations_folder() / key
    return folder if folder.is_dir() else None


def _summary(folder: Path) -> EvaluationSummary:
    summary = documents.read(folder / SUMMARY, EvaluationSummary, format=FORMAT)
    if summary.key != folder.name or not documents.is_moment(summary.created_at):
        raise documents.damaged(str(folder / SUMMARY), f"it is of {summary.key!r}, made at {summary.created_at!r}")
    return replace(summary, size_bytes=sum(file.stat().st_size for file in folder.iterdir()))


def _load(folder: Path) -> StoredEvaluation:
    """An evaluation with all that belongs to it; one of ``_DAMAGED`` where it does not fit together."""
    summary, details = _summary(folder), documents.read(folder / IMAGES, _Details)
    images, curves = details.images, {curve.name: curve for curve in details.curves}
    stored = StoredEvaluation(summary=summary, images=images, curves=curves, folder=folder)
    if any(len({curve.x.size, curve.y.size, curve.threshold.size}) != 1 for curve in details.curves):
        raise documents.damaged(str(folder / IMAGES), "the points of a curve differ in number")
    if len(images) != summary.n_images or [image.place for image in images] != list(range(len(images))):
        problem = f"{summary.n_images} images were measured, {len(images)} are listed"
        raise documents.damaged(str(folder / IMAGES), problem)
    stored.map_of(0)
    if any(image.mask_area is not None for image in images):
        stored.packed_masks()
    return stored


_DAMAGED = (OSError, CheckpointError, DataError, StorageError)


@dataclass(frozen=True)
class _Details:
    images: tuple[EvaluatedImage, ...]
    curves: tuple[Curve, ...]
