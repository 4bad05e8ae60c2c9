"""Whether an export says the same as the model it was made from: both look at the same images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.dataset import iter_images, spread
from skrd4ad.errors import CheckpointError, DataError
from skrd4ad.export import optional_dependencies
from skrd4ad.export.certificate import TOLERANCES, Certificate, Tolerance, export_digest, write_certificate
from skrd4ad.export.manifest import Export, ExportLimits
from skrd4ad.export.runtimes import ExportedModel, MaskedModel
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.metrics.ranking import auroc
from skrd4ad.model_folder.info import ModelInfo, read_history
from skrd4ad.models.installed import version_of
from skrd4ad.regions import ScoringMask
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass, Sample, verdict_of

BATCH = 8
MOST_IMAGES = 200
TIE = 1e-5
"""Of the scale; so near to a limit rounding alone decides, as for the held-out image that a limit was taken from."""


@dataclass(frozen=True)
class CheckImages:
    """Images to compare with, and what they are."""

    samples: tuple[Sample, ...]
    text: str
    labelled: bool = True


def images_of(data: DatasetClass, *, most: int = MOST_IMAGES) -> CheckImages:
    """Images of a class to compare with: its test images, or its good training images where it has none. Nothing is
    fitted to them."""
    samples, kind = (data.test, "test") if data.test else (data.train, "good training")
    if not samples:
        raise DataError(f"The class {data.name} of {data.dataset} has no images to compare the export on; give some.")
    chosen = tuple(samples[index] for index in spread(len(samples), most))
    count = f"{len(chosen)}" if len(chosen) == len(samples) else f"{len(chosen)} of {len(samples)}"
    return CheckImages(chosen, f"{count} {kind} images of {data.dataset}/{data.name}")


def given_images(paths: Sequence[Path]) -> CheckImages:
    """Images without labels to compare with."""
    if not paths:
        raise DataError("There are no images to compare the export on; give some of parts like those it will see.")
    return CheckImages(
        tuple(Sample(path, "test", 0, "unknown") for path in paths), f"{len(paths)} images given", labelled=False
    )


def check_export(
    export: Export,
    predictor: Predictor,
    images: CheckImages,
    *,
    max_flips: float | None = None,
    threads: int | None = None,
    task: Task = QUIET,
) -> Certificate:
    """Compare an export with its model, and store the certificate beside it. ``max_flips``: share of verdicts that may
    differ, in place of what the precision is allowed."""
    origin, limits = export.manifest.model, export.manifest.limits
    if (origin.get("digest"), origin.get("teacher_digest")) != (
        predictor.info.digest,
        predictor.info.teacher_digest,
    ):
        raise CheckpointError(f"{export.folder} was made from another model than {predictor.info.folder}.")
    precision = export.manifest.settings.precision
    tolerance = TOLERANCES[precision]
    certificate = compare(
        MaskedModel(predictor, _scoring_mask(predictor.info, limits)),
        ExportedModel(export, threads=threads),
        images,
        limits=limits,
        tolerance=tolerance if max_flips is None else replace(tolerance, flips=max_flips),
        task=task,
    )
    problems = list(certificate.problems)
    if precision == "bf16" and not optional_dependencies.computes_bf16():
        problems.append(
            "this processor does not compute in bf16, so another precision was compared: check the export on a "
            "processor that does"
        )
    certificate = replace(
        certificate,
        problems=tuple(problems),
        model_digest=predictor.info.digest,
        export_digest=export_digest(export),
        environment=compared_by(export),
    )
    write_certificate(export, certificate)
    return certificate


def compare(
    reference: MaskedModel,
    other: MaskedModel | ExportedModel,
    images: CheckImages,
    *,
    limits: ExportLimits | None,
    tolerance: Tolerance,
    task: Task = QUIET,
) -> Certificate:
    """Compare what two runtimes say of the same images. ``limits``: which verdicts the scores lead to; None for
    none."""
    samples = images.samples
    expected, given = np.empty(len(samples)), np.empty(len(samples))
    largest, total = 0.0, 0.0
    batches = iter_images(
        samples, reference.image_size, batch=BATCH, levels=reference.levels, alignment=reference.alignment
    )
    for indices, pixels in batches:
        task.check()
        right, converted = reference.batch(pixels), other.batch(pixels)
        here = slice(indices.start, indices.stop)
        expected[here], given[here] = right.scores, converted.scores
        difference = np.abs(right.maps.astype(np.float64) - converted.maps)
        largest, total = max(largest, float(difference.max())), total + float(difference.mean() * len(indices))
        task.report(indices.stop, len(samples), f"comparing image {indices.stop} of {len(samples)}")
    labels = np.array([sample.label for sample in samples]) if images.labelled else np.array([], int)
    finite = bool(np.isfinite(given).all() and np.isfinite([largest, total]).all())
    difference = np.abs(given - expected)
    scale = abs(float(np.median(expected)) if limits is None else limits.image_threshold) or 1.0
    flipped, tied = _flips(expected, given, limits, scale=scale)
    auroc_torch = auroc(labels, expected) if labels.size else None
    found = Certificate(
        images=len(samples),
        data=images.text,
        good=int((labels == 0).sum()),
        defective=int((labels == 1).sum()),
        scale=scale,
        score_difference=float(difference.max()) if finite else None,
        mean_score_difference=float(difference.mean()) if finite else None,
        map_difference=largest if finite else None,
        mean_map_difference=total / len(samples) if finite else None,
        verdict_flips=None if limits is None else flipped,
        ties=tied,
        auroc_torch=auroc_torch,
        auroc_export=auroc(labels, given) if auroc_torch is not None and finite else None,
        tolerance=tolerance,
        problems=(),
    )
    return replace(found, problems=tuple(_problems(found)))


def _flips(
    expected: NDArray[np.float64], given: NDArray[np.float64], limits: ExportLimits | None, *, scale: float
) -> tuple[int, int]:
    """Images whose verdict is another one, and those of them whose expected score is on a limit."""
    if limits is None:
        return 0, 0
    review, reject = limits.review_threshold, limits.image_threshold
    right, found = (
        np.array([verdict_of(s, review=review, reject=reject) if math.isfinite(s) else "none" for s in scores.tolist()])
        for scores in (expected, given)
    )
    flipped, near = right != found, np.zeros(len(expected), bool)
    for limit in (reject, review):
        if limit is not None:
            near |= np.abs(expected - limit) <= TIE * scale
    return int(flipped.sum()), int((flipped & near).sum())


def compared_by(export: Export) -> dict[str, str]:
    """Processor and versions that an export is compared with torch on."""
    name, module = (
        ("onnxruntime", optional_dependencies.onnxruntime())
        if export.manifest.settings.format == "onnx"
        else ("openvino", optional_dependencies.openvino())
    )
    return {"processor": optional_dependencies.processor_name(), "torch": version_of("torch"), name: module.__version__}


def _scoring_mask(info: ModelInfo, limits: ExportLimits | None) -> ScoringMask:
    """Which pixels count under the calibration that an export was made with, which need not be the current one."""
    if limits is None:
        return ScoringMask()
    history = read_history(info.folder)
    if history is None:
        raise CheckpointError(f"{info.folder} has no calibration any more, but the export was made with one.")
    return scoring_mask_of(replace(info, calibration=history.of_version(limits.calibration)))


def _problems(found: Certificate) -> list[str]:
    if found.score_difference is None:
        return ["a score or a pixel of a map is not a number"]
    tolerance, problems = found.tolerance, []
    if found.score_difference > tolerance.score * found.scale:
        problems.append(
            f"a score differs by {found.score_difference:.3g}; allowed: {tolerance.score * found.scale:.3g}, which is "
            f"{tolerance.score:g} of the scale"
        )
    held_against = (found.verdict_flips or 0) - found.ties
    if held_against > tolerance.flips * found.images:
        problems.append(f"{held_against} of {found.images} verdicts differ; allowed: a share of {tolerance.flips:g}")
    if found.auroc_torch is not None and found.auroc_export is not None:
        loss = found.auroc_torch - found.auroc_export
        if loss > tolerance.auroc:
            problems.append(f"the AUROC is lower by {loss:.3g}; allowed: {tolerance.auroc:g}")
    return problems
