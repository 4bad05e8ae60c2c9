"""Opening a model by the runtime that is wanted, or by the fastest one that was found for it."""

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
from typing import Literal, get_args

import cv2
import numpy as np

from skrd4ad.data.images.read import read_image
from skrd4ad.errors import ConfigError, ImageError
from skrd4ad.export.benchmark import MOST_IMAGES, Measured, measure, remembered
from skrd4ad.export.check import CheckImages, given_images, images_of
from skrd4ad.export.manifest import Precision
from skrd4ad.export.runtimes import RuntimeChoice, by_runtime, is_converted, runtime_cache
from skrd4ad.export.write import spread
from skrd4ad.files import require_writable
from skrd4ad.inference.predict import Predictor, by_network
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.devices import CudaNetwork, DeviceName, choose_device
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass

RuntimeWish = Literal["auto", "torch", "openvino", "onnxruntime"]
VARIABLE = "SKRD4AD_RUNTIME"
"""Runtime of the app: one of :data:`RuntimeWish`."""
WORTH = 200
"""Images from which on it pays to find the fastest runtime first."""
_FEWEST = 8
_GENERATED = 8


@dataclass(frozen=True, kw_only=True)
class RuntimeRequest:
    """How a model is to be run; settings that do not go together raise a ConfigError."""

    runtime: RuntimeWish = "auto"
    precision: Precision | None = None
    """None for fp32, or with auto for what was measured."""
    device: DeviceName = "auto"

    def __post_init__(self) -> None:
        if self.runtime not in get_args(RuntimeWish):
            raise ConfigError(f"The runtime is {self.runtime!r}; allowed: {', '.join(get_args(RuntimeWish))}.")
        if self.precision is not None and self.runtime == "auto":
            raise ConfigError(
                f"The precision is {self.precision!r} for the runtime auto, which chooses the precision itself; name a "
                "runtime, such as openvino, or leave the precision out."
            )
        if self.device == "cuda" and self.runtime not in ("auto", "torch"):
            raise ConfigError(f"The device is 'cuda' and the runtime {self.runtime!r}; only torch computes there.")


def open_predictor(
    folder: Path,
    wish: RuntimeRequest,
    *,
    images: Sequence[Path] = (),
    data: DatasetClass | None = None,
    exact: bool = False,
    streams: int = 1,
    weights: Path | None = None,
    background: "Background | None" = None,
    task: Task = QUIET,
) -> Predictor:
    """A model by the runtime that is wanted.

    Auto is a graphics card if there is one; otherwise the fastest runtime that was found to say the same as torch. When
    nobody has looked for it yet and there are ``WORTH`` images, that is done here, or by ``background`` while torch is
    used.

    Args:
        images: that the model will look at.
        data: of the model, for int8.
        exact: auto takes only runtimes in fp32, for figures and limits.
        streams: threads that will ask for batches at the same time.
    """
    device = choose_device(wish.device)
    predictor = Predictor.load(folder, weights=weights, task=task)
    if device.type == "cuda" and wish.runtime in ("auto", "torch"):
        model = predictor.model
        network = CudaNetwork(model, device)
        look = by_network(network, size=predictor.image_size, normality=model.normality)
        return Predictor(model, predictor.info, look=look, runtime="torch on the graphics card")
    if wish.runtime != "auto":
        choice = RuntimeChoice(wish.runtime, wish.precision or "fp32")
        return by_runtime(predictor, choice, normals=() if data is None else data.train, streams=streams)
    if background is not None:
        choice, _ = background.choice_for(predictor.info, exact=exact, search=len(images) >= WORTH)
        return by_runtime(predictor, choice, streams=streams)
    measured = remembered(predictor.info)
    if measured is None and len(images) >= WORTH:
        measured = _measured_on(predictor, images, task)
    return predictor if measured is None else by_runtime(predictor, measured.fastest(exact=exact), streams=streams)


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
    if data is None:
        with tempfile.TemporaryDirectory() as folder:
            return measure(predictor, _made_up(Path(folder), predictor.image_size), precisions=(), task=task)
    precisions = ("fp32", "bf16", "int8") if int8 else ("fp32", "bf16")
    images = images_of(data, most=MOST_IMAGES)
    return measure(predictor, images, precisions=precisions, normals=data.train if int8 else (), task=task)


def _measured_on(predictor: Predictor, images: Sequence[Path], task: Task) -> Measured | None:
    """On some of the images that are waiting; None when too few of those can be read."""
    readable = []
    for index in spread(len(images), MOST_IMAGES):
        with suppress(ImageError):
            read_image(images[index], levels=predictor.info.levels)
            readable.append(images[index])
    return None if len(readable) < _FEWEST else measure(predictor, given_images(readable), task=task)


def _made_up(folder: Path, size: int) -> CheckImages:
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(_GENERATED)]
    for number, path in enumerate(paths):
        rough = rng.integers(0, 256, (4 << number % 4, 4 << number % 4, 3)).astype(np.uint8)
        cv2.imwrite(str(path), cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC))
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
        wanted = os.environ.get(VARIABLE, "auto")
        if wanted != "auto":
            choice = RuntimeChoice(RuntimeRequest(runtime=wanted).runtime)  # type: ignore[arg-type]
            return choice, f"Runs on {choice.words}, as {VARIABLE} says."
        measured = remembered(info)
        if measured is not None and is_converted(info, measured.fastest(exact=exact)):
            return measured.fastest(exact=exact), words_of(measured)
        begun = search and self._begin(info)
        doing = "; looking for a faster runtime in the background" if begun else ""
        return RuntimeChoice("torch"), f"Runs on torch{doing}."

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


def words_of(measured: Measured) -> str:
    """One line on what was chosen and why."""
    times = {each.choice: each.milliseconds for each in measured.candidates}
    fastest, torch_ms = measured.fastest(), times[RuntimeChoice("torch")]
    if fastest == RuntimeChoice("torch"):
        return f"Runs on torch, {torch_ms:.3g} ms an image: no other runtime was faster and said the same."
    line = f"Runs on {fastest.words}, {times[fastest]:.3g} ms an image; torch took {torch_ms:.3g}."
    return line if measured.calibration is None else f"{line} Verdicts were compared on {measured.images}."
