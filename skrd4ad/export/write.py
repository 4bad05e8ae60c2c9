"""A trained model as ONNX or OpenVINO IR, self-contained from raw pixels to the anomaly map and the score."""

import platform
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import skrd4ad
from skrd4ad.data.dataset import spread
from skrd4ad.data.images import find_part, read_pixels
from skrd4ad.data.images.model_input import model_input
from skrd4ad.data.images.read import read_image
from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.export import optional_dependencies
from skrd4ad.export.convert import write_onnx, write_openvino
from skrd4ad.export.graph import ScoringGraph, VerdictGraph, trace
from skrd4ad.export.manifest import (
    EXPORTS,
    GRAPH_VERSION,
    MANIFEST,
    Export,
    ExportLimits,
    ExportManifest,
    ExportSettings,
    free_folder,
    read_export,
)
from skrd4ad.files import FileEntry, new_folder, write_json
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import data_digest
from skrd4ad.regions import ignored_pixels
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Sample, height_width

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
    """Write a model with its current limits for other runtimes; ``out`` None: a new folder among its exports.

    Pixels that the calibration ignores are 0 in the map inside the graph. A smallest region of more than one pixel
    cannot be computed inside; the manifest says so, and ``docs/use_export.py`` shows what to do. int8 needs
    ``normals``, good images of training, of which ``MOST_NORMALS`` are used, evenly spread.
    """
    info, size = predictor.info, predictor.image_size
    mask = scoring_mask_of(info)
    ignored = None if mask.ignored is None else ignored_pixels(mask.ignored, *height_width(size))
    limits = None
    if info.calibration is not None:
        limits = ExportLimits.of(info.calibration, ignored_pixels=0 if ignored is None else int(ignored.sum()))
    graph = VerdictGraph(ScoringGraph(predictor.model, size=size), ignored=ignored)
    target = out or free_folder(info.folder / EXPORTS, settings.name)
    return _write(graph, info, settings, target, limits=limits, normals=normals, task=task)


def convert_scoring(
    predictor: Predictor, settings: ExportSettings, *, out: Path, normals: Sequence[Sample] = (), task: Task = QUIET
) -> Export:
    """Write all that a predictor computes of a model, for the runtimes of this program itself."""
    graph = ScoringGraph(predictor.model, size=predictor.image_size)
    return _write(graph, predictor.info, settings, out, limits=None, normals=normals, task=task)


def _write(
    graph: VerdictGraph | ScoringGraph,
    info: ModelInfo,
    settings: ExportSettings,
    target: Path,
    *,
    limits: ExportLimits | None,
    normals: Sequence[Sample],
    task: Task,
) -> Export:
    quantised, size = settings.precision == "int8", info.model.image_size
    if quantised and not normals:
        raise ConfigError(
            "int8 takes the ranges of values from good training images, and there are none at hand. Name the data set "
            "the model was trained on, or choose another precision."
        )
    chosen = [normals[index] for index in spread(len(normals), MOST_NORMALS)] if quantised else []
    manifest = ExportManifest(
        settings=settings,
        image_size=size,
        outputs=graph.outputs,
        model={
            "dataset": info.dataset,
            "class": info.class_name,
            "run": info.folder.name,
            "net": info.model.net,
            "res": info.model.res,
            "digest": info.digest,
            "teacher_digest": info.teacher_digest,
        },
        limits=limits,
        levels=info.levels,
        alignment=info.alignment,
        quantisation=_quantisation(chosen) if quantised else None,
        environment=_environment(settings),
        graph_version=GRAPH_VERSION,
    )
    task.check()

    def read(index: int) -> NDArray[np.uint8]:
        task.report(index + 1, len(chosen), f"quantising with good image {index + 1} of {len(chosen)}")
        return model_input(read_image(chosen[index].path, levels=info.levels), size, info.alignment)[0][None]

    with new_folder(target) as folder, _CONVERTING:
        file, halve = folder / settings.main_file, settings.precision == "fp16"
        try:
            task.report(0, 0, "reading the network's operations")
            program = trace(graph, size=size, batch=settings.batch)
            task.report(0, 0, "converting")
            if settings.format == "onnx":
                write_onnx(program, file, outputs=graph.outputs, metadata=manifest.facts(), halve=halve)
            else:
                write_openvino(
                    program,
                    file,
                    size=size,
                    batch=settings.batch,
                    outputs=graph.outputs,
                    metadata=manifest.facts(),
                    halve=halve,
                    normals=[partial(read, index) for index in range(len(chosen))] if quantised else None,
                )
        except RuntimeError as error:  # of torch and of OpenVINO alike
            raise CheckpointError(f"The model cannot be converted to {settings.format}: {error}") from error
        if isinstance(graph, VerdictGraph):  # this program has its own
            for module in (read_pixels, *([] if info.alignment is None else [find_part])):
                shutil.copyfile(str(module.__file__), folder / Path(str(module.__file__)).name)
        task.check()
        files = {path.name: FileEntry.of(path) for path in sorted(folder.iterdir())}
        write_json(folder / MANIFEST, replace(manifest, files=files).to_plain())
    return read_export(target)


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
