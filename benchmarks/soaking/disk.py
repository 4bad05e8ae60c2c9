"""A disk that is full in the middle of a write: said in one line, nothing half written is taken for whole.

As root the workspace, the models and the temporary files lie on a small tmpfs, which a file fills until so many bytes
are left: what does not fit gets ENOSPC, as on a disk. Without root nothing can be mounted; then no file may grow beyond
so many bytes (RLIMIT_FSIZE, EFBIG), which meets the large files only.
"""

import json
import os
import random
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from benchmarks.soaking.app import World, new_world, running
from benchmarks.soaking.client import Client, StepMissing, chromium
from benchmarks.soaking.journal import Figure, Journal, broken_models, none_of
from skrd4ad.digests import file_digest
from skrd4ad.model_folder.folder import WEIGHTS, read_history
from skrd4ad.services.labelling.annotate import decide
from skrd4ad.services.labelling.queue import items_of, order_of_queue

DISK_MB = 400
LABELLED = 8
PAGE_DECISIONS = 4
COMMAND_SECONDS = 600


@dataclass
class Disk:
    """Space that can be taken away."""

    root: Path
    mounted: bool
    limit: int | None = None
    """Bytes that a file of a process started now may have; None for any."""

    @property
    def used(self) -> int:
        found = os.statvfs(self.root)
        return (found.f_blocks - found.f_bavail) * found.f_frsize

    @contextmanager
    def left(self, number: int) -> Iterator[None]:
        """So many bytes are left within the block."""
        if not self.mounted:
            self.limit = number
            yield
            self.limit = None
            return
        filler = self.root / "filler"
        found = os.statvfs(self.root)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - number))
        try:
            yield
        finally:
            filler.unlink()


def soak(root: Path, *, writes: int, seed: int) -> list[Figure]:
    """Run commands that write, each once with all the space it wants and then with less; then label on a full disk."""
    chance = random.Random(seed)
    with _disk(root) as disk:
        with new_world(disk.root, images=20, seed=seed, TMPDIR=str(disk.root / "tmp")) as world:
            (disk.root / "tmp").mkdir()
            for item in items_of(world.queue, order_of_queue(world.queue))[:LABELLED]:
                decide(item, chance.choice(["good", "defect"]), reviewer="Anna")
            figures = _commands(world, disk, chance, writes=writes)
            if disk.mounted:
                figures += _page(world, disk, chance)
        return figures


def _commands(world: World, disk: Disk, chance: random.Random, *, writes: int) -> list[Figure]:
    problems: list[str] = []
    failed = 0
    weights = file_digest(world.model / WEIGHTS)
    needed = {name: _needed(name, world, disk, problems) for name in COMMANDS}
    for turn in range(writes):
        name = COMMANDS[turn % len(COMMANDS)]
        out = world.root / f"out-{turn}"
        history = read_history(world.model)
        with disk.left(chance.randrange(0, max(1, needed[name]))):
            code, said = _run(name, world, out, disk)
        failed += code != 0
        problems += _complaints(name, code, said)
        problems += [f"{name}: {problem}" for problem in torn_files(out)]
        problems += [f"{name}: {reason}" for reason in broken_models()]
        after = read_history(world.model)
        if name != "calibrate" and after != history:
            problems.append(f"{name}: the calibrations of the model have changed")
        if code and name == "calibrate" and (after is None or history is None or after.versions != history.versions):
            problems.append("calibrate: it failed, and the versions have changed")
        if file_digest(world.model / WEIGHTS) != weights:
            problems.append(f"{name}: the weights of the model have changed")
        print(f"write {turn + 1} of {writes}: {name}, exit {code}: {said.strip().splitlines()[-1:]}", flush=True)
    way = "a full tmpfs (ENOSPC)" if disk.mounted else "a limit of the size of files (EFBIG)"
    for name in COMMANDS:  # with space again
        code, said = _run(name, world, world.root / f"again-{name.replace(' ', '-')}", disk)
        problems += [f"{name}, with space again: exit {code}, {said[-200:]}"] if code else []
    return [
        Figure(f"commands on {way}, of these failed", f"{writes}, {failed}", "60, –", failed > 0),
        none_of("commands with a traceback, a torn file, a changed model", problems),
    ]


COMMANDS = ("calibrate", "predict", "train", "evaluate", "bundle", "labels", "report")
"""What writes."""


def _arguments(name: str, world: World, out: Path) -> list[object]:
    model = ["--model", world.model]
    source = ["--data", world.parts, "--class", "machined_disc"]
    tests = world.parts / "machined_disc" / "test"
    quick = ["--image-size", 64, "--epochs", 1, "--batch-size", 4, "--holdout", 0.25, "--no-evaluate"]
    return {
        "calibrate": [*model, "--who", "Anna"],
        "predict": [tests, *model, "--out", out],
        "train": [*source, *quick, "--out", world.root / "models"],
        "evaluate": [*model, *source, "--fresh"],
        "bundle": [*model, "--out", out.with_suffix(".zip")],
        "labels": ["export", "parts/machined_disc", "--format", "mvtec", "--unsure", "--out", out],
        "report": [tests / "good", *model, "--out", out.with_suffix(".pdf"), "--html", out.with_suffix(".html")],
    }[name]


def _run(name: str, world: World, out: Path, disk: Disk) -> tuple[int, str]:
    def limited() -> None:
        if disk.limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (disk.limit, resource.RLIM_INFINITY))

    command = [sys.executable, "-m", "skrd4ad", name, *map(str, _arguments(name, world, out))]
    done = subprocess.run(
        command,
        env=world.variables,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        preexec_fn=limited,
    )
    return done.returncode, done.stdout + done.stderr


def _needed(name: str, world: World, disk: Disk, problems: list[str]) -> int:
    """Bytes that a command adds, or the size of its largest file where nothing is mounted; it must do its work."""
    before = disk.used
    out = world.root / f"first-{name}"
    code, said = _run(name, world, out, disk)
    if code:
        problems.append(f"{name}, with all space: exit {code}, {said[-300:]}")
    return (disk.used - before + 65536) if disk.mounted else 2**20


def _complaints(name: str, code: int, said: str) -> list[str]:
    if "Traceback" in said or code not in (0, 1):
        return [f"{name}: exit {code}, {said.strip()[-300:]}"]
    return []


def torn_files(out: Path) -> list[str]:
    """Files of an output that are not whole."""
    found = []
    files = [*out.parent.glob(f"{out.name}.*"), *([p for p in out.rglob("*") if p.is_file()] if out.is_dir() else [])]
    for file in files:
        try:
            if file.suffix == ".png":
                with Image.open(file) as image:
                    image.load()
            elif file.suffix == ".json":
                json.loads(file.read_text())
            elif file.suffix == ".pdf" and b"%%EOF" not in file.read_bytes()[-64:]:
                found.append(f"{file.name} is cut off")
            elif file.suffix == ".zip":
                zipfile.ZipFile(file).close()
        except (OSError, ValueError, UnidentifiedImageError, zipfile.BadZipFile) as error:
            found.append(f"{file.name} is cut off: {error}")
    return found


def _page(world: World, disk: Disk, chance: random.Random) -> list[Figure]:
    """The Label page while there is no space and when there is again."""
    problems: list[str] = []
    with running(world) as app, chromium() as browser:
        journal = Journal(world.root.parent / "journal.jsonl")
        client = Client(browser, app, journal, name="Anna")
        try:
            client.open_label()
            for _ in range(PAGE_DECISIONS):
                client.decide(chance)
                with disk.left(0):
                    client.page.keyboard.press("g")
                    client.page.wait_for_timeout(3000)
                    for path in ("calibrate", "overview", "inspect"):
                        client.open(path)
                client.open_label()
        except StepMissing as error:
            problems.append(str(error))
        problems += client.problems
        lost = journal.lost(world.model)
        client.close()
        logged = app.tracebacks()
    return [
        Figure("full disks under the app, decisions confirmed", f"{PAGE_DECISIONS}, {journal.confirmed}", "–", True),
        none_of("confirmed and lost", lost),
        none_of("tracebacks on a page, steps that did not come", problems),
        Figure("tracebacks in the log of the app", str(logged), "0", logged == 0),
    ]


@contextmanager
def _disk(root: Path) -> Iterator[Disk]:
    place = root / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "soak", str(place)]
    mounted = hasattr(os, "geteuid") and os.geteuid() == 0
    mounted = mounted and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield Disk(place, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)
