"""Giving a model folder the converted graph that it carries."""

import shutil
from dataclasses import replace

from skrd4ad.export.carried import FAILED, GRAPH_SETTINGS, why_no_graph
from skrd4ad.export.certificate import TOLERANCES, export_digest, write_certificate
from skrd4ad.export.check import CheckImages, compare, compared_by
from skrd4ad.export.manifest import Export, ExportLimits
from skrd4ad.export.runtimes import ExportedModel, MaskedModel
from skrd4ad.export.write import convert_scoring
from skrd4ad.files import locked, temporary_folder
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import GRAPH
from skrd4ad.regions import ScoringMask
from skrd4ad.task import QUIET, Task

MOST_IMAGES = 40
"""That the graph is compared with torch on."""


def keep_graph(predictor: Predictor, images: CheckImages, *, task: Task = QUIET) -> str:
    """Convert a model, compare the graph with it, and store it in the model folder with its certificate. What is there
    already is left alone, also where it failed the comparison: it would fail again.

    Returns why the graph cannot be used, in words; empty when it can.

    Raises:
        CheckpointError: the model cannot be converted.
        StorageError: the model folder cannot be written.
    """
    info = predictor.info
    target = info.folder / GRAPH
    with locked(info.folder):
        why = why_no_graph(info)
        if not why or why.startswith(FAILED):
            return why
        with temporary_folder(info.folder) as scratch:
            export = convert_scoring(predictor, GRAPH_SETTINGS, out=scratch / GRAPH, task=task.part(0, 0.7))
            _certify(export, predictor, images, task=task.part(0.7, 1))
            shutil.rmtree(target, ignore_errors=True)
            export.folder.rename(target)
        return why_no_graph(info)


def _certify(export: Export, predictor: Predictor, images: CheckImages, *, task: Task) -> None:
    calibration = predictor.info.calibration
    certificate = compare(
        MaskedModel(predictor, ScoringMask()),
        ExportedModel(export),
        images,
        limits=None if calibration is None else ExportLimits.of(calibration, ignored_pixels=0),
        tolerance=TOLERANCES["fp32"],
        task=task,
    )
    certificate = replace(
        certificate,
        model_digest=predictor.info.digest,
        export_digest=export_digest(export),
        environment=compared_by(export),
    )
    write_certificate(export, certificate)
