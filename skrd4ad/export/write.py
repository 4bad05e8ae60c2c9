"""A trained model as ONNX or OpenVINO IR, self-contained from raw pixels to the anomaly map and the score."""

import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import skrd4ad
from skrd4ad.data.images.read import read_image, resize_image
from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.export import optional_dependencies
from skrd4ad.export.convert import Read, write_onnx, write_openvino
from skrd4ad.export.graph import ScoringGraph, VerdictGraph, trace
from skrd4ad.export.manifest import (
    MANIFEST,
    Export,
    ExportLimits,
    ExportManifest,
    ExportSettings,
    file_entries,
    read_export,
)
from skrd4ad.files import new_folder, write_json
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import data_digest
from skrd4ad.regions import ignored_pixels
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Sample

EXPORTS = "exports"
"""Folder in a model folder that holds its exports."""
MOST_NORMALS = 300
"""Good images that int8 takes the ranges of values from."""

_CONVERTING = threading.Lock()
"""Torch traces one model at a time, and of two conversions at once the second would keep what OpenVINO does to the
loggers during the first."""


def export_model(
    predictor: Predictor,
    settings: ExportSettings,
    *,
    out: Path | None = None,
    normals: Sequence[Sample] = (),
    task: Task = QUIET,
) -> Export:
    """Write a model with its current limits for other runtimes.

    Pixels that the calibration ignores are 0 in the map inside the graph. A smallest region of more than one pixel
    cannot be computed inside; the manifest says so, and ``docs/use_export.py`` shows what to do.

    ``out``: folder to write, must not exist; None for a new one among the model's exports. ``normals``: good images of
    training, needed for int8: never test images. At most ``MOST_NORMALS`` are used, evenly spread.
    """
    quantised = settings.precision == "int8"
    chosen = _normals(normals) if quantised else []
    info, size = predictor.info, predictor.image_size
    surface = scoring_mask_of(info)
    ignored = None if surface.ignored is None else ignored_pixels(surface.ignored, height=size, width=size)
    manifest = ExportManifest(
        settings=settings,
        image_size=size,
        outputs=VerdictGraph.outputs,
        model=_origin(info),
        limits=None
        if info.calibration is None
        else ExportLimits.of(info.calibration, ignored_pixels=0 if ignored is None else int(ignored.sum())),
        quantisation=_quantisation(chosen) if quantised else None,
        environment=_environment(settings),
    )
    task.check()
    graph = VerdictGraph(ScoringGraph(predictor.model, size=size), ignored=ignored)
    reads = _readers(chosen, size=size, task=task) if quantised else None
    target = out or free_folder(info.folder / EXPORTS, settings.name)
    return _write(graph, manifest, target, normals=reads, task=task)


def convert_scoring(
    predictor: Predictor,
    settings: ExportSettings,
    *,
    out: Path,
    normals: Sequence[Sample] = (),
    task: Task = QUIET,
) -> Export:
    """Write all that a predictor computes of a model, for the runtimes of this program itself.

    ``normals``: good images of training, needed for int8; at most ``MOST_NORMALS`` are used, evenly spread.
    """
    size, quantised = predictor.image_size, settings.precision == "int8"
    chosen = _normals(normals) if quantised else []
    manifest = ExportManifest(
        settings=settings,
        image_size=size,
        outputs=ScoringGraph.outputs,
        model=_origin(predictor.info),
        limits=None,
        quantisation=_quantisation(chosen) if quantised else None,
        environment=_environment(settings),
    )
    reads = _readers(chosen, size=size, task=task) if quantised else None
    return _write(ScoringGraph(predictor.model, size=size), manifest, out, normals=reads, task=task)


def _normals(samples: Sequence[Sample]) -> list[Sample]:
    """Good images for int8."""
    if not samples:
        raise ConfigError(
            "int8 takes the ranges of values from good training images, and there are none at hand. Name the data set "
            "the model was trained on, or choose another precision."
        )
    return [samples[place] for place in spread(len(samples), MOST_NORMALS)]


def spread(count: int, most: int) -> list[int]:
    """Up to ``most`` of the places 0 to ``count`` - 1, evenly spread from the first to the last."""
    return [] if count == 0 else np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _write(
    graph: VerdictGraph | ScoringGraph,
    manifest: ExportManifest,
    target: Path,
    *,
    normals: Sequence[Read] | None,
    task: Task,
) -> Export:
    settings = manifest.settings
    with new_folder(target) as folder, _CONVERTING:
        try:
            task.report(0, 0, "reading the network's operations")
            program = trace(graph, size=manifest.image_size, batch=settings.batch)
            task.report(0, 0, "converting")
            _convert(program, manifest, folder / settings.main_file, normals=normals)
        except RuntimeError as error:  # of torch and of OpenVINO alike
            raise CheckpointError(f"The model cannot be converted to {settings.format}: {error}") from error
        task.check()
        write_json(folder / MANIFEST, replace(manifest, files=file_entries(folder)).to_plain())
    return read_export(target)


def _convert(
    program: torch.export.ExportedProgram, manifest: ExportManifest, file: Path, *, normals: Sequence[Read] | None
) -> None:
    settings, facts = manifest.settings, manifest.facts()
    halve = settings.precision == "fp16"
    if settings.format == "onnx":
        write_onnx(program, file, outputs=manifest.outputs, metadata=facts, halve=halve)
        return
    write_openvino(
        program,
        file,
        size=manifest.image_size,
        batch=settings.batch,
        outputs=manifest.outputs,
        metadata=facts,
        halve=halve,
        normals=normals,
    )


def _readers(samples: Sequence[Sample], *, size: int, task: Task) -> list[Callable[[], NDArray[np.uint8]]]:
    def read(place: int) -> NDArray[np.uint8]:
        task.report(place + 1, len(samples), f"quantising with good image {place + 1} of {len(samples)}")
        return resize_image(read_image(samples[place].path), size)[None]

    return [partial(read, place) for place in range(len(samples))]


def free_folder(parent: Path, name: str) -> Path:
    """The first of ``name``, ``name-2``, … that is not in a folder."""
    names = (name, *(f"{name}-{n}" for n in range(2, 1000)))
    return next(parent / each for each in names if not (parent / each).exists())


def _origin(info: ModelInfo) -> dict[str, Any]:
    return {
        "dataset": info.dataset,
        "class": info.class_name,
        "run": info.folder.name,
        "net": info.model.net,
        "res": info.model.res,
        "digest": info.digest,
        "teacher_digest": info.teacher_digest,
    }


def _quantisation(samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "tool": f"nncf {optional_dependencies.nncf().__version__}",
        "images": len(samples),
        "data": f"{len(samples)} good training images, evenly spread; no test image",
        "digest": data_digest(samples),
    }


def _environment(settings: ExportSettings) -> dict[str, str]:
    toolkit = optional_dependencies.onnx() if settings.format == "onnx" else optional_dependencies.openvino()
    return {
        "skrd4ad": skrd4ad.__version__,
        "torch": torch.__version__,
        settings.format: toolkit.__version__,
        "python": platform.python_version(),
    }
