"""What runs a converted graph: OpenVINO or ONNX Runtime behind one function from images to named arrays."""

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.export import optional_dependencies
from skrd4ad.export.graph import INPUT
from skrd4ad.export.manifest import Export, Precision, compile_properties, require_intact

Session = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
"""Runs a graph: images (N, S, S, 3) to its outputs by name. May be called from several threads."""


def open_session(
    export: Export, *, threads: int | None, precision: Precision | None = None, streams: int = 1
) -> Session:
    """What runs an export, for any number of images at once: a graph with a fixed batch is fed in parts.

    ``threads``: None leaves them to the runtime. ``streams``: calls from so many threads are computed side by side,
    each on its share of the cores; 1 is the quickest for one call, more do more calls a second.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"The number of threads is {threads}; allowed: 1 or more.")
    require_intact(export)
    settings = export.manifest.settings
    if streams > 1 and threads is None:
        threads = os.cpu_count() or 1
    run: Session
    if settings.format == "onnx":
        run = _onnx_session(export, threads and max(1, threads // streams))
    else:
        run = _OpenVINOSession(export, threads, precision or settings.precision, streams)
    return run if settings.batch is None else _in_parts(run, settings.batch)


def _onnx_session(export: Export, threads: int | None) -> Session:
    onnxruntime = optional_dependencies.onnxruntime()
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(export.main_file), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CheckpointError(f"{export.main_file} cannot be opened by ONNX Runtime: {error}.") from error
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True))


class _OpenVINOSession:
    """A graph compiled for any number of images, and when it is first of use for one alone, which runs faster so."""

    def __init__(self, export: Export, threads: int | None, precision: Precision, streams: int) -> None:
        self._file = export.main_file
        self._properties: dict[str, Any] = {**compile_properties("openvino", precision), "NUM_STREAMS": str(streams)}
        if threads is not None:
            self._properties["INFERENCE_NUM_THREADS"] = threads
        self._compiled: dict[int | None, Any] = {None: self._compile(None)}
        self._lock = threading.Lock()
        self._requests = threading.local()  # one request runs one batch at a time
        self._sizes: set[int] = {1} if export.manifest.settings.batch is None else set()

    def __call__(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        size = len(images) if len(images) in self._sizes else None
        own = self._requests.__dict__.setdefault("by_size", {})
        if size not in own:
            with self._lock:
                if size not in self._compiled:
                    self._compiled[size] = self._compile(size)
            own[size] = self._compiled[size].create_infer_request()
        return {output.get_any_name(): values for output, values in own[size].infer({INPUT: images}).items()}

    def _compile(self, size: int | None) -> Any:
        """For so many images, or any number of them (None)."""
        core = optional_dependencies.openvino().Core()
        try:
            model = core.read_model(str(self._file))
            if size is not None:
                model.reshape([size, *model.inputs[0].partial_shape[1:]])
            return core.compile_model(model, "CPU", self._properties)
        except RuntimeError as error:
            raise CheckpointError(f"{self._file} cannot be opened by OpenVINO: {error}.") from error


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
