"""Scoring on a cluster: what it costs, and that nothing is lost or scored twice. From the project's folder::

    python -m benchmarks.cluster                                   all of it
    python -m benchmarks.cluster --only speed                      cluster, plain loop and `predict` in turn
    python -m benchmarks.cluster --only kills --images 5000        an actor, a node and the driver killed
    python -m benchmarks.cluster --only growth --sizes 1000 10000  cost per image and memory of the driver

Images are drawn here, some of them defective, a few damaged; many names are given to 40 files, each of which is decoded
anew. All machines are this one: two nodes are two sets of Ray's processes. Costs are CPU seconds of all processes below
the command, Ray's included, so that they mean about the same on a busy machine.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from benchmarks.folder import MODEL, draw
from skrd4ad.data.synthetic.write import write_synthetic

DAMAGED = 5
SAMPLE_SECONDS = 0.25
"""Between two readings of CPU seconds and memory; what a process uses after its last one is not counted."""


@contextmanager
def cluster(*processors: int) -> Iterator[object]:
    """A Ray cluster with a node for each number of processors."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": processors[0], "include_dashboard": False})
    for number in processors[1:]:
        made.add_node(num_cpus=number)
    try:
        yield made
    finally:
        made.shutdown()


def folder_of(place: Path, count: int, side: int) -> Path:
    """So many images of good and defective parts, and ``DAMAGED`` files that are none."""
    folder = place / f"images-{count}"
    drawn = place / "drawn"
    if not drawn.exists():
        drawn.mkdir()
        draw(drawn, side, ".png")
        write_synthetic(place / "bad", classes=("machined_disc",), train=1, test_good=1, per_defect=4, size=side)
    files = sorted(drawn.glob("*.png")) + sorted((place / "bad" / "machined_disc" / "test").rglob("*.png"))
    folder.mkdir()
    for index in range(count - DAMAGED):
        source = files[index % len(files)]
        os.link(source, folder / f"{index:07}{source.suffix}")
    for index in range(DAMAGED):
        (folder / f"{index * count // DAMAGED:07}-damaged.png").write_bytes(b"no image")
    return folder


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "skrd4ad", *map(str, arguments)]


def score(folder: Path, out: Path, *more: object) -> list[str]:
    return command("score", folder, "--model", MODEL, "--out", out, "--tiled", "off", *more)


def rows(out: Path) -> list[dict[str, object]]:
    return [row for file in sorted((out / "scores").iterdir()) for row in pq.read_table(file).to_pylist()]


def run(argv: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds of the process and of all below it, and peak MiB of the process alone."""
    begun = time.perf_counter()
    process = psutil.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    used: dict[tuple[int, float], float] = {}
    peak = 0.0
    while process.poll() is None:
        with suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss / 2**20)
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    times = each.cpu_times()
                    used[each.pid, each.create_time()] = times.user + times.system
        time.sleep(SAMPLE_SECONDS)
    taken = time.perf_counter() - begun
    assert process.returncode == 1, process.stderr.read()  # the damaged images
    return taken, sum(used.values()), peak


def speed(given: argparse.Namespace, place: Path) -> None:
    """Images a second by ``predict``, by ``score`` and by ``score --cluster``, in turn; start and end included."""
    folder = folder_of(place, given.images, given.side)
    ways = {
        "predict FOLDER": lambda out: command("predict", folder, "--model", MODEL, "--out", out, "--tiled", "off"),
        "score": lambda out: score(folder, out),
        "score --cluster": lambda out: score(folder, out, "--cluster", "local", "--threads", given.threads),
    }
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for turn in range(given.rounds):
        for name, way in ways.items():
            taken[name].append(run(way(place / f"{name}-{turn}")))
    print(f"{given.images} images of {given.side}x{given.side}, median of {given.rounds} rounds, starts included")
    base = statistics.median(each[0] for each in taken["predict FOLDER"])
    for name, found in taken.items():
        seconds, cpu, peak = (statistics.median(column) for column in zip(*found, strict=True))
        rate = given.images / seconds
        print(
            f"  {name:16}{rate:8.1f} images a second, {1000 * cpu / given.images:6.1f} CPU ms an image, "
            f"{peak:6.0f} MiB, ratio {base / seconds:.2f}",
            flush=True,
        )


def kills(given: argparse.Namespace, place: Path) -> None:
    """An actor, a node and the driver killed in one scoring, held against one that nothing happened to."""
    folder, out = folder_of(place, given.images, given.side), place / "killed"
    run(score(folder, place / "whole", "--part", given.part))
    expected = rows(place / "whole")

    def done() -> int:
        return len(list((out / "scores").glob("part-*")))

    def wait_for(parts: int) -> None:
        while done() < parts:
            time.sleep(0.1)

    with cluster(2, 2) as made:
        argv = score(folder, out, "--part", given.part, "--cluster", made.address)  # type: ignore[attr-defined]
        driver = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        wait_for(3)
        victim = next(
            p for p in psutil.process_iter(["cmdline"]) if "ray::MapWorker" in "".join(p.info["cmdline"] or ())
        )
        victim.send_signal(signal.SIGKILL)
        print(f"an actor killed after {done()} parts", flush=True)
        wait_for(done() + 2)
        made.remove_node(made.worker_nodes.copy().pop(), allow_graceful=False)  # type: ignore[attr-defined]
        print(f"a node killed after {done()} parts", flush=True)
        wait_for(done() + 3)
        driver.kill()
        driver.wait()
        kept = {file: file.stat().st_mtime_ns for file in (out / "scores").glob("part-*")}
        print(f"the driver killed after {len(kept)} parts", flush=True)
        made.add_node(num_cpus=2)  # type: ignore[attr-defined]
        run(argv)
    again = sum(file.stat().st_mtime_ns != at for file, at in kept.items())
    found = rows(out)
    print(f"{len(found)} rows of {given.images} images, {len({row['id'] for row in found})} ids, {again} parts twice")
    print(f"  equal to what was scored without a cluster, row for row: {found == expected}")
    predicted = predict_rows(folder, place / "predicted")
    same = [{name: value for name, value in row.items() if name != "id"} for row in found]
    print(f"  equal to `predict --json`, row for row: {same == predicted}")
    assert found == expected and same == predicted and not again


def predict_rows(folder: Path, out: Path) -> list[dict[str, object]]:
    """Entries of ``predict --json``, in the order of the ids."""
    argv = command("predict", folder, "--model", MODEL, "--out", out, "--tiled", "off", "--json")
    document = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=False).stdout)
    for entry in document["images"]:
        del entry["files"]
    return sorted(document["images"], key=lambda entry: Path(entry["path"]).name.encode())


def growth(given: argparse.Namespace, place: Path) -> None:
    """What an image costs, and the memory of the driver, for more and more of them on one node. The start, which is
    what one part of images took, is taken away."""
    start, begun = 0.0, 0
    for size in (given.part, *given.sizes):
        folder = folder_of(place, size, given.side)
        argv = score(
            folder, place / f"out-{size}", "--part", given.part, "--cluster", "local", "--threads", given.threads
        )
        seconds, cpu, peak = run(argv)
        print(
            f"  {size:7} images  {seconds:6.0f} s, {cpu:6.0f} CPU s, of which after the start "
            f"{1000 * (cpu - start) / (size - begun):6.1f} CPU ms an image; driver's peak {peak:6.0f} MiB",
            flush=True,
        )
        start, begun = start or cpu, begun or size
        shutil.rmtree(folder)


PARTS: dict[str, Callable[[argparse.Namespace, Path], None]] = {"speed": speed, "kills": kills, "growth": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["SKRD4AD_HOME"] = str(Path(name) / "home")
        for part in given.only or PARTS:
            (Path(name) / part).mkdir()
            PARTS[part](given, Path(name) / part)


if __name__ == "__main__":
    main()
