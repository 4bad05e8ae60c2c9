"""What runs a converted graph: OpenVINO or ONNX Runtime behind one function from images to named arrays."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.export import optional_dependencies
from skrd4ad.export.manifest import INPUT, Export, Precision, compile_properties, require_intact
from skrd4ad.parallel import THREADS_VARIABLE, cores

Session = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
"""Runs a graph: images (N, H, W, 3) to its outputs by name. May be called from several threads."""


def open_session(
    export: Export,
    *,
    threads: int | None,
    precision: Precision | None = None,
    streams: int = 1,
    cache: Path | None = None,
) -> Session:
    """What runs an export, for any number of images at once: a graph with a fixed batch is fed in parts.

    ``threads``: None leaves them to the runtime. ``streams``: calls from so many threads are computed side by side,
    each on its share of the cores; 1 is the quickest for one call, more do more calls a second. ``cache``: folder where
    OpenVINO keeps what it compiled of this very export; None for nowhere.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"The number of threads is {threads}; allowed: 1 or more.")
    require_intact(export)
    settings = export.manifest.settings
    if threads is None and (streams > 1 or os.environ.get(THREADS_VARIABLE)):
        threads = cores()
    if settings.format == "openvino":
        return _openvino_session(export, threads, precision or settings.precision, streams, cache)
    run = _onnx_session(export, threads and max(1, threads // streams))
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


def _openvino_session(
    export: Export, threads: int | None, precision: Precision, streams: int, cache: Path | None
) -> Session:
    """A graph for any number of images is compiled for one, and runs one after the other: that is as fast as a batch on
    a processor, and takes a third of the memory."""
    properties: dict[str, Any] = {**compile_properties("openvino", precision), "NUM_STREAMS": str(streams)}
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = threads
    if cache is not None:
        properties["CACHE_DIR"] = str(cache)
    core = optional_dependencies.openvino().Core()
    batch = export.manifest.settings.batch or 1
    try:
        # read first: by the path alone OpenVINO takes what it kept, whether or not the weights are others now
        model = core.read_model(str(export.main_file))
        model.reshape([batch, *model.inputs[0].partial_shape[1:]])
        compiled = core.compile_model(model, "CPU", properties)
    except RuntimeError as error:
        raise CheckpointError(f"{export.main_file} cannot be opened by OpenVINO: {error}.") from error
    requests = threading.local()  # one request runs one batch at a time

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        # views of the request's memory, which the next call writes to
        found = requests.own.infer({INPUT: images}, share_inputs=True, share_outputs=True)
        return {output.get_any_name(): values for output, values in found.items()}

    return _in_parts(run, batch)


def _in_parts(run: Session, batch: int) -> Session:
    """Runs a graph for a fixed number of images; what it gives may be written to by its next call."""

    def run_all(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            # the last part is filled up; what is said of the filling is cut off
            filling = np.repeat(part[-1:], batch - len(part), axis=0)
            for name, values in run(np.concatenate([part, filling])).items():
                if name not in found:
                    found[name] = np.empty((len(images), *values.shape[1:]), values.dtype)
                found[name][start : start + len(part)] = values[: len(part)]
        return found

    return run_all
