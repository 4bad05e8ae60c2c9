"""The app as a process that is killed and started again, and the workspace that it runs on."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.data.synthetic.write import write_synthetic
from skrd4ad.inference.predictions import limits_of
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.labelling.queue import filter_of
from skrd4ad.services.labelling.review import send_to_review
from skrd4ad.storage.label_queue import QueueFilter
from skrd4ad.storage.labelled_images import PredictionRow
from skrd4ad.training.train import train

ROOT = Path(__file__).parents[2]
SIZE = (180, 140)
"""Width and height of the images in the queue."""
START_SECONDS = 300.0
WORKER = "skrd4ad.services.jobs.worker"


@dataclass(frozen=True)
class World:
    """A workspace with a small model, its data set, and images to decide on. This process reads the same workspace."""

    root: Path
    model: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def parts(self) -> Path:
        """Root of the data set, in the MVTec layout."""
        return self.root / "data" / "parts"

    @property
    def info(self) -> ModelInfo:
        return read_info(self.model)

    @property
    def queue(self) -> QueueFilter:
        """All images of the class."""
        info = self.info
        return filter_of(info, limits_of(info))

    @property
    def variables(self) -> dict[str, str]:
        """The environment of every process on this workspace."""
        return {
            **os.environ,
            "SKRD4AD_HOME": str(self.home),
            "SKRD4AD_CHECKPOINTS": str(self.root / "models"),
            "SKRD4AD_DATA_ROOTS": str(self.root / "data"),
            "SKRD4AD_RUNTIME": "torch",
            "SKRD4AD_NICENESS": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            **self.environment,
        }

    def add_images(self, number: int, *, seed: int) -> None:
        """Put images of noise into the queue."""
        random = np.random.default_rng(seed)
        folder = self.root / "sent"
        folder.mkdir(exist_ok=True)
        requests = []
        for index in range(number):
            file = folder / f"part_{seed}_{index:04}.png"
            Image.fromarray(random.integers(60, 200, (SIZE[1], SIZE[0], 3), np.uint8)).save(file)
            requests.append((file.name, file, PredictionRow(2.0 + index, "NG", 1.0, 1, None)))
        send_to_review(self.info, requests)

    def command(self, *arguments: object) -> subprocess.Popen[str]:
        """The command line beside the app."""
        command = [sys.executable, "-m", "skrd4ad", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=self.variables, stdout=pipe, stderr=subprocess.STDOUT, text=True)


@contextmanager
def new_world(root: Path, *, images: int, seed: int, **environment: str) -> Iterator[World]:
    """A workspace below ``root`` until the end of the block; ``environment`` is added to that of its processes."""
    before = dict(os.environ)
    try:
        sizes = {"train": 12, "test_good": 4, "per_defect": 2, "size": 64}
        write_synthetic(root / "data" / "parts", classes=("machined_disc",), **sizes)
        disc = open_dataset(root / "data" / "parts")[0]
        settings = TrainConfig(epochs=2, batch_size=4, holdout=0.25)
        source = str(root / "data" / "parts")
        info = train(disc, model=ModelConfig(image_size=64), config=settings, out=root / "models", source=source)
        world = World(root, info.folder, environment)
        world.home.mkdir()
        os.environ |= {name: value for name, value in world.variables.items() if name.startswith("SKRD4AD_")}
        world.add_images(images, seed=seed)
        yield world
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ |= before


class App:
    """The app's own process on a workspace."""

    def __init__(self, world: World) -> None:
        self.world = world
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.log = world.root / f"app-{self._port}.log"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), f"--server.port={self._port}"]
        command += ["--server.address=127.0.0.1", "--server.headless=true", "--browser.gatherUsageStats=false"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=self.world.variables, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self.is_healthy(timeout=1):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The app did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def is_healthy(self, *, timeout: float) -> bool:
        """Whether ``/_stcore/health`` answers."""
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=timeout) as answer:
            return bool(answer.status == 200)
        return False

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def kill(self) -> None:
        """Kill the process as ``kill -9`` does, without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """As Ctrl-C in its terminal, and by force after a while."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def tracebacks(self) -> int:
        """In what it wrote to its log."""
        return self.log.read_text(errors="replace").count("Traceback (most recent call last)")


@contextmanager
def running(world: World) -> Iterator[App]:
    """The app until the end of the block, and no worker of its workspace after it."""
    app = App(world)
    try:
        app.start()
        yield app
    finally:
        app.stop()
        kill_workers(world)


def workers_of(world: World) -> list[psutil.Process]:
    """The processes that run jobs of a workspace, also those whose app has ended."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            if WORKER in (process.info["cmdline"] or ()) and process.environ().get("SKRD4AD_HOME") == str(world.home):
                found.append(process)
    return found


def kill_workers(world: World) -> int:
    """``kill -9`` to the workers of a workspace; returns how many there were."""
    workers = workers_of(world)
    for process in workers:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(workers, timeout=10)
    return len(workers)


def memory_of(process: psutil.Process) -> float:
    """Megabytes that would be free without the process."""
    return float(process.memory_full_info().uss) / 2**20


def find_chromium() -> str | None:
    """The system's Chromium; None for Playwright's own."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
