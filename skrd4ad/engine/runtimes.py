"""One small interface to what looks at images: torch, OpenVINO or ONNX Runtime, and exported models."""

import hashlib
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import skrd4ad
from skrd4ad.engine import toolkits
from skrd4ad.engine.checkpoint import ModelInfo, read_info
from skrd4ad.engine.export import convert_model
from skrd4ad.engine.export_manifest import (
    Export,
    ExportSettings,
    compile_properties,
    read_export,
    require_intact,
)
from skrd4ad.engine.files import locked, require_writable
from skrd4ad.engine.graph import GRAPH_VERSION, INPUT
from skrd4ad.engine.predict import Maps, Predictor
from skrd4ad.engine.scoring import Surface, muted_map, score_under
from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.paths import workspace
from skrd4ad.types import Progress

RuntimeName = Literal["torch", "openvino", "onnxruntime"]

Session = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
"""Runs a graph: images (N, S, S, 3) to its outputs by name. May be called from several threads."""


class Looks(Protocol):
    """What a runtime says of B images."""

    @property
    def maps(self) -> NDArray[np.float32]:
        """(B, S, S)."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """(B,)."""


class Runtime(Protocol):
    """What looks at images. :class:`skrd4ad.engine.predict.Predictor` is the one of torch."""

    @property
    def image_size(self) -> int:
        """Side S of the images and maps."""

    def batch(self, images: Tensor) -> Looks:
        """Maps and scores of images that have the model's size: (B, 3, S, S) uint8 RGB, any B from 1."""


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Maps and scores as verdicts use them, in the order of the images."""

    maps: NDArray[np.float32]
    """(B, S, S): 0 where the image is ignored."""
    scores: NDArray[np.float32]
    """(B,): to be compared with the limits."""


class ConvertedModel:
    """All that a predictor computes, raw, by another runtime. Safe to share between threads."""

    def __init__(self, export: Export, *, threads: int | None = None) -> None:
        """Open a conversion.

        Args:
            export: from :func:`skrd4ad.engine.export.convert_model`.
            threads: to compute with; None leaves it to the runtime.

        Raises:
            CheckpointError: a file of it is missing or was changed.
        """
        self._run = open_session(export, threads=threads)
        self.image_size = export.manifest.image_size

    def batch(self, images: Tensor) -> Maps:
        """Maps of images that have the model's size: (B, 3, S, S) uint8 RGB."""
        found = self._run(_pixels(images))
        return Maps(levels=found["levels"], maps=found["map"], scores=found["score"], embeddings=found["embedding"])


class ExportedModel:
    """An export as its users run it, with the scores that its limits are compared with."""

    def __init__(self, export: Export, *, threads: int | None = None) -> None:
        """Open an export.

        Args:
            export: from :func:`skrd4ad.engine.export.export_model`.
            threads: to compute with; None leaves it to the runtime.

        Raises:
            CheckpointError: a file of it is missing or was changed.
            ConfigError: the runtime's Python package is not installed.
        """
        self._run = open_session(export, threads=threads)
        self._min_area = export.manifest.min_area
        self.image_size = export.manifest.image_size

    def batch(self, images: Tensor) -> Verdicts:
        """Maps and scores of images that have the model's size: (B, 3, S, S) uint8 RGB."""
        found = self._run(_pixels(images))
        if self._min_area <= 1:
            return Verdicts(maps=found["map"], scores=found["score"])
        return _verdicts(found["map"], Surface(min_area=self._min_area))


@dataclass(frozen=True, eq=False)
class UnderSurface:
    """A raw runtime, with maps and scores as verdicts use them."""

    runtime: Runtime
    surface: Surface
    """Which pixels count."""

    @property
    def image_size(self) -> int:
        """Side S of the images and maps."""
        return self.runtime.image_size

    def batch(self, images: Tensor) -> Verdicts:
        """Maps and scores of images that have the model's size: (B, 3, S, S) uint8 RGB."""
        return _verdicts(self.runtime.batch(images).maps, self.surface)


def load_runtime(
    folder: Path,
    name: RuntimeName,
    *,
    threads: int | None = None,
    weights: Path | None = None,
    progress: Progress | None = None,
) -> Predictor | ConvertedModel:
    """A trained model by a runtime of one's choice; all of them give the same maps, raw, to about 1e-5.

    The first call for a model converts it, which takes seconds, and keeps the conversion in the workspace.

    Args:
        folder: model folder.
        name: torch, openvino or onnxruntime.
        threads: to compute with; None leaves it to the runtime. Torch has one number of threads for the process, which
            is not changed here.
        weights: weights file of the teacher to use instead of the usual places.
        progress: called with bytes done and total while the teacher's weights are downloaded.

    Raises:
        ConfigError: there is no such runtime, or its Python package is not installed.
        CheckpointError: this is no model folder, or it is damaged, or the workspace cannot be written.
        StorageError: the workspace cannot be made.
        WeightsError: the teacher's weights cannot be found, fetched or trusted.
    """
    if name not in get_args(RuntimeName):
        raise ConfigError(f"The runtime is {name!r}; allowed: {', '.join(get_args(RuntimeName))}.")
    if name == "torch":
        return Predictor.load(folder, weights=weights, progress=progress)
    settings = ExportSettings(format="onnx" if name == "onnxruntime" else "openvino")
    cache = workspace() / "cache" / "runtimes"
    require_writable(cache)
    target = cache / _key(read_info(folder), settings)
    # two at a time would convert the same model twice
    with locked(cache):
        if not _is_kept(target):
            convert_model(Predictor.load(folder, weights=weights, progress=progress), settings, out=target)
    return ConvertedModel(read_export(target), threads=threads)


def open_session(export: Export, *, threads: int | None) -> Session:
    """What runs an export, for any number of images at once: a graph with a fixed batch is fed in parts.

    Raises:
        CheckpointError: a file of it is missing or was changed, or the runtime cannot open it.
        ConfigError: the runtime's Python package is not installed.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"The number of threads is {threads}; allowed: 1 or more.")
    require_intact(export)
    settings = export.manifest.settings
    run = _onnx_session(export, threads) if settings.format == "onnx" else _openvino_session(export, threads)
    return run if settings.batch is None else _in_parts(run, settings.batch)


def _onnx_session(export: Export, threads: int | None) -> Session:
    onnxruntime = toolkits.onnxruntime()
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(export.main_file), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CheckpointError(f"{export.main_file} cannot be opened by ONNX Runtime: {error}.") from error
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True))


def _openvino_session(export: Export, threads: int | None) -> Session:
    properties: dict[str, Any] = {**compile_properties(export.manifest.settings)}
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = toolkits.openvino().Core().compile_model(str(export.main_file), "CPU", properties)
    except RuntimeError as error:
        raise CheckpointError(f"{export.main_file} cannot be opened by OpenVINO: {error}.") from error
    requests = threading.local()  # one request runs one batch at a time

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        found = requests.own.infer({INPUT: images})
        return {output.get_any_name(): values for output, values in found.items()}

    return run


def _in_parts(run: Session, batch: int) -> Session:
    def run_all(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        parts = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            # the last part is filled up; what is said of the filling is cut off
            full = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
            parts.append({name: values[: len(part)] for name, values in run(full).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return run_all


def _pixels(images: Tensor) -> NDArray[np.uint8]:
    """(B, 3, S, S) to (B, S, S, 3)."""
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def _verdicts(maps: NDArray[np.float32], surface: Surface) -> Verdicts:
    muted = np.stack([muted_map(plane, surface) for plane in maps])
    scores = [score_under(plane, Surface(min_area=surface.min_area)) for plane in muted]
    return Verdicts(maps=muted, scores=np.array(scores, np.float32))


def _is_kept(target: Path) -> bool:
    """Whether a conversion is there; a damaged one is taken away, as it can be made again."""
    if not target.exists():
        return False
    try:
        require_intact(read_export(target))
    except CheckpointError:
        shutil.rmtree(target)
        return False
    return True


def _key(info: ModelInfo, settings: ExportSettings) -> str:
    """Name of a conversion's folder: other weights, another graph or other versions make another one."""
    versions = [toolkits.onnx().__version__] if settings.format == "onnx" else [toolkits.openvino().__version__]
    parts = (GRAPH_VERSION, skrd4ad.__version__, info.digest, info.teacher_digest, info.model, settings, *versions)
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]
