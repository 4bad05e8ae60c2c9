"""Opening a model by the runtime that is wanted, or by the fastest one that was found for it."""

import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np

from skrd4ad.errors import CheckpointError, ConfigError, DataError, StorageError
from skrd4ad.export.benchmark import MOST_IMAGES, Measured, judged, measure, remembered
from skrd4ad.export.carried import why_no_graph
from skrd4ad.export.check import CheckImages, given_images, images_of
from skrd4ad.export.manifest import Precision
from skrd4ad.export.runtimes import RuntimeChoice, is_converted, load_runtime, runtime_cache
from skrd4ad.files import require_writable
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import ModelInfo, read_info
from skrd4ad.models.installed import is_installed, require_torch
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass, ImageSize, height_width

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

RuntimeWish = Literal["auto", "torch", "openvino", "onnxruntime"]
VARIABLE = "SKRD4AD_RUNTIME"
"""Runtime of the app: one of :data:`RuntimeWish`."""
_DRIVERS = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/dxg", "/dev/kfd", r"C:\Windows\System32\nvcuda.dll")
"""Files of which one is there where torch may find a graphics card: Linux, Jetson, WSL, ROCm, Windows."""
_GENERATED = 8


@dataclass(frozen=True, kw_only=True)
class RuntimeRequest:
    """How a model is to be run; settings that do not go together raise a ConfigError."""

    runtime: RuntimeWish = "auto"
    precision: Precision | None = None
    """None for fp32, or with auto for what was measured."""
    device: str = "auto"
    """One of :data:`skrd4ad.config.DEVICES`."""

    def __post_init__(self) -> None:
        if self.runtime not in get_args(RuntimeWish):
            raise ConfigError(f"The runtime is {self.runtime!r}; allowed: {', '.join(get_args(RuntimeWish))}.")
        on_processor = self.device in ("auto", "cpu")
        if self.precision is not None and self.runtime == "auto" and on_processor:
            raise ConfigError(
                f"The precision is {self.precision!r} for the runtime auto, which chooses the precision itself; name a "
                "runtime, such as openvino, or leave the precision out."
            )
        if not on_processor and self.runtime not in ("auto", "torch"):
            raise ConfigError(
                f"The device is {self.device!r} and the runtime {self.runtime!r}; only torch computes there."
            )


def open_predictor(
    folder: Path,
    wish: RuntimeRequest,
    *,
    data: DatasetClass | None = None,
    exact: bool = False,
    streams: int = 1,
    weights: Path | None = None,
    background: "Background | None" = None,
    task: Task = QUIET,
) -> Predictor:
    """A model by the runtime that is wanted.

    Auto is a graphics card if there is one; otherwise what :data:`VARIABLE` says, or the fastest runtime that was found
    to say the same as torch, or OpenVINO by the graph that the model folder carries, which needs no torch. A model
    without a graph is given one first, where torch is installed.

    Args:
        data: of the model, for int8.
        exact: auto takes only runtimes in fp32, for figures and limits.
        streams: threads that will ask for batches at the same time.
        background: looks for a faster runtime meanwhile.

    Raises:
        ConfigError: there is neither a graph nor torch.
    """
    device = torch_device(wish)
    if device is not None and device.type != "cpu":
        return _on_accelerator(folder, device, wish.precision or "fp32", data=data, weights=weights, task=task)
    if wish.runtime != "auto":
        choice = RuntimeChoice(wish.runtime, wish.precision or "fp32")
    elif background is not None:
        choice, _ = background.choice_for(read_info(folder), exact=exact)
    else:
        choice = _runtime_with_graph(read_info(folder), exact=exact, weights=weights, task=task)
    return load_runtime(
        folder, choice, normals=() if data is None else data.train, streams=streams, weights=weights, task=task
    )


def runtime_now(info: ModelInfo, *, exact: bool = False) -> RuntimeChoice:
    """The runtime that auto stands for on a processor while nothing is converted.

    Raises:
        ConfigError: there is neither a graph nor torch.
    """
    known = known_runtime(info, exact=exact)
    if known is None and not is_installed("torch"):
        raise ConfigError(
            f"{info.folder} has no converted graph to be run without torch: {why_no_graph(info)}. Open it once where "
            "torch is installed, by `skrd4ad runtimes --model DIR`, or install torch here."
        )
    return known or RuntimeChoice("torch")


def _runtime_with_graph(info: ModelInfo, *, exact: bool, weights: Path | None, task: Task) -> RuntimeChoice:
    """The same, after a model of an earlier build was given its graph."""
    choice, known = runtime_now(info, exact=exact), known_runtime(info, exact=exact)
    if known is not None or give_graph(Predictor.load(info.folder, weights=weights, task=task), task=task):
        return choice
    return RuntimeChoice("openvino")


def known_runtime(info: ModelInfo, *, exact: bool = False) -> RuntimeChoice | None:
    """The runtime that can be used at once: as :data:`VARIABLE` says, as it was measured, or by the model's own graph;
    None when there is none but torch."""
    wanted = os.environ.get(VARIABLE, "auto")
    if wanted != "auto":
        return RuntimeChoice(RuntimeRequest(runtime=wanted).runtime)  # type: ignore[arg-type]
    return _ready_runtime(info, remembered(info), exact=exact)


def _ready_runtime(info: ModelInfo, measured: Measured | None, *, exact: bool) -> RuntimeChoice | None:
    if measured is not None and is_converted(info, fastest := measured.fastest(exact=exact)):
        return fastest
    return None if why_no_graph(info) else RuntimeChoice("openvino")


def give_graph(predictor: Predictor, data: DatasetClass | None = None, *, task: Task = QUIET) -> str:
    """Give a model the converted graph that it carries; see :func:`skrd4ad.export.keep.keep_graph`.

    Returns why it has none, in words; empty when it has one. The images to compare on are those of ``data``, or of the
    class the model was trained on where it is at hand, or generated ones.
    """
    from skrd4ad.export.keep import MOST_IMAGES as MOST_COMPARED
    from skrd4ad.export.keep import keep_graph

    try:
        with tempfile.TemporaryDirectory() as scratch:
            images = _comparable(data, predictor, Path(scratch), most=MOST_COMPARED)
            why = keep_graph(predictor, images, task=task)
    except (ConfigError, CheckpointError, DataError, StorageError) as error:
        why = str(error)
    if why:
        log.warning("%s has no converted graph and runs on torch: %s", predictor.info.folder, why)
    return why


def _comparable(data: DatasetClass | None, predictor: Predictor, scratch: Path, *, most: int) -> CheckImages:
    from skrd4ad.services.datasets import class_of_model

    with suppress(DataError):
        return images_of(data or class_of_model(predictor.info), most=most)
    return _made_up(scratch, predictor.image_size)


def torch_device(wish: RuntimeRequest) -> "torch.device | None":
    """Where torch computes, where that was asked for or there may be a graphics card; None when it is not asked.
    Importing torch takes seconds, so the driver is looked for first."""
    maybe = wish.runtime in ("auto", "torch") and any(Path(name).exists() for name in _DRIVERS)
    if wish.device == "cpu" or (wish.device == "auto" and not (maybe and is_installed("torch"))):
        return None
    require_torch(f"The device {wish.device!r}")
    from skrd4ad.models.devices import choose_device

    return choose_device(wish.device)


def _on_accelerator(
    folder: Path,
    device: "torch.device",
    precision: Precision,
    *,
    data: DatasetClass | None,
    weights: Path | None,
    task: Task,
) -> Predictor:
    """A model by torch on an accelerator: in fp32, or in a smaller type that changes no verdict there.

    Raises:
        ConfigError: verdicts differ, or the model has no limits, so nobody can tell.
    """
    from skrd4ad.inference.network import on_device

    choice = RuntimeChoice("torch", precision)
    predictor = Predictor.load(folder, weights=weights, task=task)
    look = on_device(predictor.model, device, size=predictor.image_size, precision=precision)  # type: ignore[arg-type]
    found = predictor.computed_by(look, runtime=f"torch {precision} on {device}")
    if precision != "fp32":
        with tempfile.TemporaryDirectory() as scratch:
            images = _comparable(data, predictor, Path(scratch), most=MOST_IMAGES)
            _, problem = judged(predictor, found, choice, images, task=task)
        if problem:
            raise ConfigError(
                f"The precision is {precision!r} on {device}, and there {problem}. Leave the precision out: fp32 says "
                "the same as the processor."
            )
    return found


def measure_model(
    predictor: Predictor, data: DatasetClass | None, *, int8: bool = False, task: Task = QUIET
) -> Measured:
    """Find the fastest runtime of a model, and remember it.

    All runtimes look at images of ``data``, the class it was trained on. Without it they look at generated ones, which
    tell whether a conversion is right but nothing of verdicts, so that only fp32 is compared. int8 needs the data.
    """
    if int8 and data is None:
        raise ConfigError("int8 needs the good training images of the model, which are not at hand; name their data.")
    require_writable(runtime_cache())
    give_graph(predictor, data, task=task)
    if data is None:
        with tempfile.TemporaryDirectory() as folder:
            return measure(predictor, _made_up(Path(folder), predictor.image_size), precisions=(), task=task)
    precisions = ("fp32", "bf16", "int8") if int8 else ("fp32", "bf16")
    images = images_of(data, most=MOST_IMAGES)
    return measure(predictor, images, precisions=precisions, normals=data.train if int8 else (), task=task)


def _made_up(folder: Path, size: ImageSize) -> CheckImages:
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(_GENERATED)]
    height, width = height_width(size)
    for number, path in enumerate(paths):
        rough = rng.integers(0, 256, (4 << number % 4, 4 << number % 4, 3)).astype(np.uint8)
        cv2.imwrite(str(path), cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC))
    return CheckImages(given_images(paths).samples, f"{_GENERATED} made-up images", labelled=False)


class Background:
    """Looks for the fastest runtime in a process of its own, so that nothing waits for it; one model at a time."""

    def __init__(self, command: Callable[[Path], Sequence[str]] | None = None) -> None:
        """Make an idle one; ``command`` measures the model in a folder, for tests."""
        self._command = command or (
            lambda folder: [
                sys.executable,
                "-m",
                "skrd4ad",
                "runtimes",
                "--model",
                str(folder),
                "--nice",
                "--end-with-parent",
            ]
        )
        self._lock = threading.Lock()
        self._running: tuple[str, subprocess.Popen[bytes], int] | None = None
        self._tried: set[str] = set()

    def choice_for(self, info: ModelInfo, *, exact: bool = False, search: bool = True) -> tuple[RuntimeChoice, str]:
        """The runtime to use now, and a line about it for people.

        ``exact`` takes only runtimes in fp32; ``search`` begins to measure when nobody has measured yet.
        """
        if os.environ.get(VARIABLE, "auto") != "auto":
            choice = known_runtime(info)
            assert choice is not None
            return choice, f"Runs on {choice.text}, as {VARIABLE} says."
        measured = remembered(info)
        known = _ready_runtime(info, measured, exact=exact)
        if measured is not None and known == measured.fastest(exact=exact):
            return known, measured_text(measured)
        choice = known or runtime_now(info, exact=exact)
        begun = search and is_installed("torch") and self._begin(info)
        doing = "; looking for a faster runtime in the background" if begun else ""
        return choice, f"Runs on {choice.text}{doing}."

    def _begin(self, info: ModelInfo) -> bool:
        """Whether the model is being measured; each is tried once."""
        with self._lock:
            key = f"{info.digest}:{info.calibration_versions}"
            if self._running is not None:
                if self._running[1].poll() is None:
                    return self._running[0] == key
                os.close(self._running[2])
                self._running = None
            if key in self._tried:
                return False
            self._tried.add(key)
            nothing = subprocess.DEVNULL
            # by its standard input it notices that this process, which alone holds the other end, is gone
            reading, writing = os.pipe()
            process = subprocess.Popen(self._command(info.folder), stdin=reading, stdout=nothing, stderr=nothing)
            os.close(reading)
            self._running = (key, process, writing)
            return True


@cache
def background() -> Background:
    """That of this process: pages and jobs share it, so that one model at a time is measured."""
    return Background()


def measured_text(measured: Measured) -> str:
    """One line on what was chosen and why."""
    times = {each.choice: each.milliseconds for each in measured.candidates}
    fastest, torch_ms = measured.fastest(), times[RuntimeChoice("torch")]
    if fastest == RuntimeChoice("torch"):
        return f"Runs on torch, {torch_ms:.3g} ms an image: no other runtime was faster and said the same."
    line = f"Runs on {fastest.text}, {times[fastest]:.3g} ms an image; torch took {torch_ms:.3g}."
    return line if measured.calibration is None else f"{line} Verdicts were compared on {measured.images}."
