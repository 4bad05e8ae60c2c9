"""One small interface to what looks at images: torch, OpenVINO or ONNX Runtime, and exported models."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import skrd4ad
from skrd4ad.digests import content_digest
from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.export.carried import GRAPH_SETTINGS, carried_graph
from skrd4ad.export.certificate import export_digest
from skrd4ad.export.manifest import (
    GRAPH_VERSION,
    SCORING_OUTPUTS,
    Export,
    ExportSettings,
    Precision,
    read_export,
    require_intact,
)
from skrd4ad.export.sessions import open_session
from skrd4ad.files import locked, require_writable
from skrd4ad.inference.maps import Maps
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.installed import require_torch, version_of
from skrd4ad.paths import workspace
from skrd4ad.regions import ScoringMask, muted_map, score_under
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Sample

MOST_COMPILED = 32
"""Models whose compiled graphs are kept, some 20 MB each for EfficientNet-Lite0."""

RuntimeName = Literal["torch", "openvino", "onnxruntime"]
PRECISIONS: dict[RuntimeName, tuple[Precision, ...]] = {
    "torch": ("fp32", "bf16", "fp16"),
    "openvino": ("fp32", "bf16", "int8"),
    "onnxruntime": ("fp32",),
}


@dataclass(frozen=True)
class RuntimeChoice:
    """A runtime, and what it computes in."""

    runtime: RuntimeName
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS.get(self.runtime, ()):
            allowed = "; ".join(f"{name} in {', '.join(precisions)}" for name, precisions in PRECISIONS.items())
            raise ConfigError(f"The runtime is {self.runtime!r} in {self.precision!r}; allowed: {allowed}.")

    @property
    def text(self) -> str:
        """Such as "openvino bf16"; torch in fp32 is the reference."""
        return self.runtime if self == RuntimeChoice("torch") else f"{self.runtime} {self.precision}"


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Maps and scores of B images as verdicts use them."""

    maps: NDArray[np.float32]
    """(B, H, W): 0 where the image is ignored."""
    scores: NDArray[np.float32]
    """(B,): to be compared with the limits."""


class ExportedModel:
    """An export as its users run it, with the scores that its limits are compared with."""

    def __init__(self, export: Export, *, threads: int | None = None) -> None:
        self._run = open_session(export, threads=threads)
        self._min_area = export.manifest.min_area
        self.image_size = export.manifest.image_size

    def batch(self, images: NDArray[np.uint8]) -> Verdicts:
        """Maps and scores of images that have the model's size: (B, H, W, 3) RGB."""
        found = self._run(images)
        if self._min_area <= 1:
            return Verdicts(maps=found["map"], scores=found["score"])
        return _verdicts(found["map"], ScoringMask(min_area=self._min_area))


class MaskedModel:
    """A predictor with maps and scores as verdicts use them, under the mask of a calibration."""

    def __init__(self, predictor: Predictor, mask: ScoringMask) -> None:
        self._predictor, self._mask = predictor, mask
        self.image_size = predictor.image_size
        self.levels, self.alignment = predictor.info.levels, predictor.info.alignment

    def batch(self, images: NDArray[np.uint8]) -> Verdicts:
        """Maps and scores of images that have the model's size: (B, H, W, 3) RGB."""
        return _verdicts(self._predictor.batch(images).maps, self._mask)


def load_runtime(
    folder: Path,
    choice: RuntimeChoice,
    *,
    normals: Sequence[Sample] = (),
    threads: int | None = None,
    streams: int = 1,
    weights: Path | None = None,
    task: Task = QUIET,
) -> Predictor:
    """A trained model by a runtime of one's choice; in fp32 all of them give the same maps to about 1e-5.

    OpenVINO takes the graph that the folder carries. Otherwise the first call for a model converts it, which takes
    seconds and for int8 needs ``normals``, good images of training; the conversion stays in the workspace. ``threads``
    and ``streams``: see :func:`skrd4ad.export.sessions.open_session`.
    """
    if choice.runtime == "torch":
        if choice.precision != "fp32":
            raise ConfigError(
                f"The precision is {choice.precision!r}, and torch computes in fp32 on the processor; name another "
                "device, such as cuda, or the runtime openvino."
            )
        return Predictor.load(folder, weights=weights, task=task)
    predictor = Predictor.lazy(folder, weights=weights)
    return by_runtime(predictor, choice, normals=normals, threads=threads, streams=streams)


def by_runtime(
    predictor: Predictor,
    choice: RuntimeChoice,
    *,
    normals: Sequence[Sample] = (),
    threads: int | None = None,
    streams: int = 1,
) -> Predictor:
    """A model by another runtime. Arguments and errors as for :func:`load_runtime`."""
    if choice.runtime == "torch":
        return Predictor(predictor.model, predictor.info)
    settings = _stored_as(choice)
    export = carried_graph(predictor.info) if settings == GRAPH_SETTINGS else None
    if export is None:
        export = _converted(predictor, settings, normals)
    cache = _compiled_models(export) if settings.format == "openvino" else None
    run = open_session(export, threads=threads, precision=choice.precision, streams=streams, cache=cache)

    def look(images: NDArray[np.uint8]) -> Maps:
        found = run(images)
        scores, maps, levels, embeddings = (found[name] for name in SCORING_OUTPUTS)
        return Maps(levels=levels, maps=maps, scores=scores, embeddings=embeddings)

    return predictor.computed_by(look, runtime=choice.text)


def is_converted(info: ModelInfo, choice: RuntimeChoice) -> bool:
    """Whether a runtime can be had without converting the model first."""
    if choice.runtime == "torch":
        return True
    settings = _stored_as(choice)
    return (runtime_cache() / _key(info, settings)).is_dir() or (
        settings == GRAPH_SETTINGS and carried_graph(info) is not None
    )


def runtime_cache() -> Path:
    """Folder of the conversions, and of what was measured of them; need not exist."""
    return workspace() / "cache" / "runtimes"


def _stored_as(choice: RuntimeChoice) -> ExportSettings:
    """What is converted for a choice; bf16 is computed from the files of fp32."""
    if choice.runtime == "onnxruntime":
        return ExportSettings(format="onnx")
    return ExportSettings(format="openvino", precision="int8" if choice.precision == "int8" else "fp32")


def _converted(predictor: Predictor, settings: ExportSettings, normals: Sequence[Sample]) -> Export:
    """What the workspace keeps of a model for a runtime, made when it is not there or damaged."""
    cache = runtime_cache()
    require_writable(cache)
    target = cache / _key(predictor.info, settings)
    if not _is_intact(target):
        # two at a time would convert the same model twice
        with locked(cache):
            if not _is_intact(target):
                require_torch(f"Converting a model for {settings.format}")
                from skrd4ad.export.write import convert_scoring

                shutil.rmtree(target, ignore_errors=True)
                convert_scoring(predictor, settings, out=target, normals=normals)
    return read_export(target)


def _compiled_models(export: Export) -> Path | None:
    """Folder for what OpenVINO compiles of an export, named by the digest of its manifest and so by the contents of
    graph and weights; the ones used least lately go. None where the workspace cannot be written."""
    parent = workspace() / "cache" / "compiled"
    folder = parent / export_digest(export)[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        others = sorted((each for each in parent.iterdir() if each != folder), key=lambda each: each.stat().st_mtime)
    except OSError:
        return None
    for old in others[: max(0, len(others) + 1 - MOST_COMPILED)]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _verdicts(maps: NDArray[np.float32], mask: ScoringMask) -> Verdicts:
    scores = [score_under(plane, mask) for plane in maps]
    return Verdicts(maps=np.stack([muted_map(plane, mask) for plane in maps]), scores=np.array(scores, np.float32))


def _is_intact(target: Path) -> bool:
    """Whether a conversion is there and undamaged."""
    try:
        require_intact(read_export(target))
    except CheckpointError:
        return False
    return True


def _key(info: ModelInfo, settings: ExportSettings) -> str:
    """Name of a conversion's folder: other weights, another graph or other versions make another one."""
    version = version_of(settings.format)
    parts = (GRAPH_VERSION, skrd4ad.__version__, info.digest, info.teacher_digest, info.model, settings, version)
    return content_digest("|".join(map(str, parts)))[:32]
