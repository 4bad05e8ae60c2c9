"""One small interface to what looks at images: torch, OpenVINO or ONNX Runtime, and exported models."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import skrd4ad
from skrd4ad.digests import content_digest
from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.export import optional_dependencies
from skrd4ad.export.graph import GRAPH_VERSION, SCORING_OUTPUTS
from skrd4ad.export.manifest import Export, ExportSettings, Precision, read_export, require_intact
from skrd4ad.export.sessions import open_session
from skrd4ad.export.write import convert_scoring
from skrd4ad.files import locked, require_writable
from skrd4ad.inference.predict import Maps, Predictor
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.regions import ScoringMask, muted_map, score_under
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Sample

RuntimeName = Literal["torch", "openvino", "onnxruntime"]
PRECISIONS: dict[RuntimeName, tuple[Precision, ...]] = {
    "torch": ("fp32",),
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
    def words(self) -> str:
        """Such as "openvino bf16"; torch alone computes in fp32 only."""
        return self.runtime if self.runtime == "torch" else f"{self.runtime} {self.precision}"


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Maps and scores of B images as verdicts use them."""

    maps: NDArray[np.float32]
    """(B, S, S): 0 where the image is ignored."""
    scores: NDArray[np.float32]
    """(B,): to be compared with the limits."""


class ExportedModel:
    """An export as its users run it, with the scores that its limits are compared with."""

    def __init__(self, export: Export, *, threads: int | None = None) -> None:
        self._run = open_session(export, threads=threads)
        self._min_area = export.manifest.min_area
        self.image_size = export.manifest.image_size

    def batch(self, images: Tensor) -> Verdicts:
        """Maps and scores of images that have the model's size: (B, 3, S, S) uint8 RGB."""
        found = self._run(_pixels(images))
        if self._min_area <= 1:
            return Verdicts(maps=found["map"], scores=found["score"])
        return _verdicts(found["map"], ScoringMask(min_area=self._min_area))


class MaskedModel:
    """A predictor with maps and scores as verdicts use them, under the mask of a calibration."""

    def __init__(self, predictor: Predictor, mask: ScoringMask) -> None:
        self._predictor, self._mask = predictor, mask
        self.image_size = predictor.image_size
        self.levels = predictor.info.levels

    def batch(self, images: Tensor) -> Verdicts:
        """Maps and scores of images that have the model's size: (B, 3, S, S) uint8 RGB."""
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

    The first call for a model converts it, which takes seconds and for int8 needs ``normals``, good images of training;
    the conversion stays in the workspace. ``threads`` and ``streams``: see
    :func:`skrd4ad.export.sessions.open_session`.
    """
    predictor = Predictor.load(folder, weights=weights, task=task)
    return by_runtime(predictor, choice, normals=normals, threads=threads, streams=streams)


def by_runtime(
    predictor: Predictor,
    choice: RuntimeChoice,
    *,
    normals: Sequence[Sample] = (),
    threads: int | None = None,
    streams: int = 1,
) -> Predictor:
    """A loaded model by another runtime. Arguments and errors as for :func:`load_runtime`."""
    if choice.runtime == "torch":
        return Predictor(predictor.model, predictor.info)
    settings = _stored_as(choice)
    cache = runtime_cache()
    require_writable(cache)
    target = cache / _key(predictor.info, settings)
    if not _is_intact(target):
        # two at a time would convert the same model twice
        with locked(cache):
            if not _is_intact(target):
                shutil.rmtree(target, ignore_errors=True)
                convert_scoring(predictor, settings, out=target, normals=normals)
    run = open_session(read_export(target), threads=threads, precision=choice.precision, streams=streams)

    def look(images: Tensor) -> Maps:
        found = run(_pixels(images))
        scores, maps, levels, embeddings = (found[name] for name in SCORING_OUTPUTS)
        return Maps(levels=levels, maps=maps, scores=scores, embeddings=embeddings)

    return Predictor(predictor.model, predictor.info, look=look, runtime=choice.words)


def is_converted(info: ModelInfo, choice: RuntimeChoice) -> bool:
    """Whether a runtime can be had without converting the model first."""
    return choice.runtime == "torch" or (runtime_cache() / _key(info, _stored_as(choice))).is_dir()


def runtime_cache() -> Path:
    """Folder of the conversions, and of what was measured of them; need not exist."""
    return workspace() / "cache" / "runtimes"


def _stored_as(choice: RuntimeChoice) -> ExportSettings:
    """What is converted for a choice; bf16 is computed from the files of fp32."""
    if choice.runtime == "onnxruntime":
        return ExportSettings(format="onnx")
    return ExportSettings(format="openvino", precision="int8" if choice.precision == "int8" else "fp32")


def _pixels(images: Tensor) -> NDArray[np.uint8]:
    """(B, 3, S, S) to (B, S, S, 3)."""
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


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
    version = optional_dependencies.version_of(settings.format)
    parts = (GRAPH_VERSION, skrd4ad.__version__, info.digest, info.teacher_digest, info.model, settings, version)
    return content_digest("|".join(map(str, parts)))[:32]
