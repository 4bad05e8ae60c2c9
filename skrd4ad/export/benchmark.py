"""Which runtime is fastest for a model on this machine and says the same as torch: measured once, and remembered."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import skrd4ad
from skrd4ad import documents
from skrd4ad.data.dataset import load_images
from skrd4ad.digests import content_digest
from skrd4ad.errors import CheckpointError, ConfigError, DependencyError
from skrd4ad.export import optional_dependencies
from skrd4ad.export.certificate import TOLERANCES, Certificate
from skrd4ad.export.check import CheckImages, compare
from skrd4ad.export.manifest import GRAPH_VERSION, ExportLimits
from skrd4ad.export.runtimes import MaskedModel, RuntimeChoice, by_runtime, runtime_cache
from skrd4ad.files import write_json
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.installed import version_of
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Sample

FORMAT = 1
MOST_IMAGES = 40
"""That runtimes are compared on."""
ROUNDS = 7
"""In which every runtime looks at one image; the quickest counts, as other programs only ever slow one down."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A runtime as it was measured."""

    choice: RuntimeChoice
    milliseconds: float | None
    """For one image of the model's size, from pixels to the score; None when it could not be run."""
    certificate: Certificate | None
    """What it says of the images, against torch; None for torch itself and for what could not be run."""
    problem: str = ""
    """Why it is not chosen without being asked for; empty when it may be."""

    @property
    def usable(self) -> bool:
        """Whether verdicts may come from it."""
        return not self.problem and self.milliseconds is not None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All runtimes of a model on this machine."""

    candidates: tuple[Candidate, ...]
    images: str
    calibration: int | None
    """Version of the calibration whose verdicts were compared."""
    environment: dict[str, str]

    def fastest(self, *, exact: bool = False) -> RuntimeChoice:
        """The fastest runtime that says the same as torch."""
        usable = [each for each in self.candidates if each.usable and not (exact and each.choice.precision != "fp32")]
        return min(usable, key=lambda each: each.milliseconds or 0.0).choice

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "format": FORMAT,
            "fastest": documents.to_plain(self.fastest()),
            "candidates": [
                {
                    **documents.to_plain(each.choice),
                    "milliseconds": each.milliseconds,
                    "problem": each.problem,
                    "certificate": None if each.certificate is None else each.certificate.to_plain(),
                }
                for each in self.candidates
            ],
            "images": self.images,
            "calibration": self.calibration,
            "environment": self.environment,
        }

    @staticmethod
    def from_plain(values: Mapping[str, Any], what: str) -> "Measured":
        """What was measured, from its JSON form; ``what`` names it in messages."""
        remedy = "Measure the runtimes again."
        candidates = values.get("candidates")
        if isinstance(candidates, list):
            # in the file a runtime and its precision stand beside what was measured, and a certificate is a document
            values = {**values, "candidates": [_nested(each, what) for each in candidates]}
        found = documents.decode(values, Measured, what=what, format=FORMAT, ignore=("fastest",), remedy=remedy)
        if not any(each.usable and each.choice.precision == "fp32" for each in found.candidates):
            raise documents.damaged(what, "no runtime in fp32 may be used", remedy=remedy)
        return found


def _nested(candidate: Any, what: str) -> Any:
    if not isinstance(candidate, dict):
        return candidate
    rest = {name: value for name, value in candidate.items() if name not in ("runtime", "precision")}
    rest["choice"] = {name: candidate[name] for name in ("runtime", "precision") if name in candidate}
    if isinstance(certificate := rest.get("certificate"), dict):
        rest["certificate"] = documents.to_plain(Certificate.from_plain(certificate, what))
    return rest


def measure(
    predictor: Predictor,
    images: CheckImages,
    *,
    precisions: Sequence[str] = ("fp32", "bf16"),
    normals: Sequence[Sample] = (),
    task: Task = QUIET,
) -> Measured:
    """Run a model by every runtime on the same images, keep what was found, and return it.

    A runtime in another precision than fp32 may be chosen only when the model has limits and every verdict agrees.
    int8 is measured when it is asked for and used when it is named; it is never chosen by itself.
    """
    reference = Predictor(predictor.model, predictor.info)
    calibration = predictor.info.calibration
    opened: dict[RuntimeChoice, Predictor] = {RuntimeChoice("torch"): reference}
    found = {RuntimeChoice("torch"): Candidate(choice=RuntimeChoice("torch"), milliseconds=None, certificate=None)}
    for choice in _candidates(precisions):
        task.report(0, 0, f"preparing {choice.text}")
        try:
            opened[choice] = by_runtime(reference, choice, normals=normals)
            certificate, problem = judged(reference, opened[choice], choice, images, task=task)
            found[choice] = Candidate(choice=choice, milliseconds=None, certificate=certificate, problem=problem)
        except (ConfigError, DependencyError, CheckpointError) as error:
            found[choice] = Candidate(choice=choice, milliseconds=None, certificate=None, problem=str(error))
    task.report(0, 0, "measuring the speed")
    times = _milliseconds(opened, images)
    measured = Measured(
        candidates=tuple(replace(each, milliseconds=times.get(choice)) for choice, each in found.items()),
        images=images.text,
        calibration=None if calibration is None else calibration.version,
        environment=_environment(),
    )
    write_json(_file(predictor.info), measured.to_plain())
    return measured


def judged(
    reference: Predictor, other: Predictor, choice: RuntimeChoice, images: CheckImages, *, task: Task = QUIET
) -> tuple[Certificate, str]:
    """What a model says by a runtime against torch in fp32, and why verdicts may not come from it unasked; empty when
    they may."""
    calibration, mask = reference.info.calibration, scoring_mask_of(reference.info)
    limits = None if calibration is None else ExportLimits.of(calibration, ignored_pixels=0)
    certificate = compare(
        MaskedModel(reference, mask),
        MaskedModel(other, mask),
        images,
        limits=limits,
        tolerance=TOLERANCES[choice.precision],
        task=task,
    )
    return certificate, _problem(choice, certificate, limits)


def remembered(info: ModelInfo) -> Measured | None:
    """What was measured of a model with its current calibration, on this machine and with these versions; or None."""
    if not runtime_cache().is_dir():
        return None  # finding out the versions takes longer than all else here
    file = _file(info)
    try:
        return Measured.from_plain(documents.read_values(file), str(file)) if file.is_file() else None
    except CheckpointError:
        return None  # it is measured anew


def _candidates(precisions: Sequence[str]) -> list[RuntimeChoice]:
    chosen = [RuntimeChoice("openvino"), RuntimeChoice("onnxruntime")]
    if "bf16" in precisions and _computes_bf16():
        chosen.append(RuntimeChoice("openvino", "bf16"))
    if "int8" in precisions:
        chosen.append(RuntimeChoice("openvino", "int8"))
    return chosen


def _computes_bf16() -> bool:
    try:
        return optional_dependencies.computes_bf16()
    except DependencyError:
        return False


def _problem(choice: RuntimeChoice, certificate: Certificate, limits: ExportLimits | None) -> str:
    if not certificate.passed:
        return "; ".join(certificate.problems)
    if choice.precision == "fp32":
        return ""
    if limits is None:
        return "the model has no limits, so nobody knows whether verdicts agree"
    if choice.precision == "int8":
        return "int8 is used only when it is named"
    return "" if certificate.verdict_flips == certificate.ties else f"{certificate.verdict_flips} verdicts differ"


def _milliseconds(opened: dict[RuntimeChoice, Predictor], images: CheckImages) -> dict[RuntimeChoice, float]:
    """One image at a time, all runtimes in turn, so that a machine that is busy for a while slows all of them alike."""
    size = next(iter(opened.values())).image_size
    info = next(iter(opened.values())).info
    image = load_images(images.samples[:1], size, levels=info.levels, alignment=info.alignment)
    times: dict[RuntimeChoice, list[float]] = {choice: [] for choice in opened}
    for _ in range(ROUNDS):
        for choice, predictor in opened.items():
            predictor.batch(image)  # the caches were filled by another runtime
            begun = time.perf_counter()
            predictor.batch(image)
            times[choice].append(1000 * (time.perf_counter() - begun))
    return {choice: round(min(each), 3) for choice, each in times.items()}


def _environment() -> dict[str, str]:
    packages = {name: version_of(name) for name in ("torch", "openvino", "onnxruntime")}
    return {
        "processor": optional_dependencies.processor_name(),
        "cores": str(os.cpu_count()),
        "skrd4ad": skrd4ad.__version__,
        **packages,
    }


def _file(info: ModelInfo) -> Path:
    calibration = None if info.calibration is None else info.calibration.version
    parts = (FORMAT, GRAPH_VERSION, info.digest, info.teacher_digest, calibration, sorted(_environment().items()))
    name = content_digest("|".join(map(str, parts)))[:32]
    return runtime_cache() / f"{name}.json"
