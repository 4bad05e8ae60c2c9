"""The service under load, on this machine alone. From the project's folder::

    python -m benchmarks.serve               throughput against `predict FOLDER`, latency at 80 %, swaps, a kill
    python -m benchmarks.serve --images 80 --rounds 1

Images are drawn here, and seen whole. Throughput: `predict` on a folder, in this process and without its start, and one
worker with eight clients in turn; the clients' own work counts against the service. Latency: requests are sent at 80 %
of that rate whatever the answers do, and timed from when they were due. Swaps: while clients ask for the class, newer
models of it come, and new limits; one of two workers is killed by SIGKILL. A client sends again what was refused at the
door or cut off with its connection; any other answer than a verdict is a lost request.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from benchmarks.folder import MODEL, draw, many
from skrd4ad.cli import main as skrd4ad
from skrd4ad.model_folder.folder import save_calibration
from skrd4ad.model_folder.info import read_info

CLIENTS = 8
SWAPS = 20
Post = Callable[[bytes], str]


@contextmanager
def service(root: Path, *, workers: int) -> Iterator[tuple[psutil.Process, str]]:
    """A service of the models below a folder, and its host and port."""
    command = [sys.executable, "-m", "skrd4ad", "serve", "--out", str(root), "--port", "0", "--json"]
    command += ["--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads("".join([*iter(process.stdout.readline, "}\n"), "}"]))["url"]
        try:
            yield psutil.Process(process.pid), url.removeprefix("http://")
        finally:
            process.terminate()


def client_of(address: str, retried: Counter[str]) -> Post:
    """Sends an image on a connection of its thread, again where that was cut; gives the run that answered."""
    kept = threading.local()

    def post(image: bytes) -> str:
        while True:
            if not hasattr(kept, "line"):
                kept.line = HTTPConnection(address, timeout=120)
            try:
                kept.line.request(
                    "POST", "/v1/inspect?model=machined_disc&tiled=off", image, {"Content-Type": "image/png"}
                )
                answer = kept.line.getresponse()
                body = answer.read()
            except (OSError, HTTPException) as error:
                kept.line.close()
                del kept.line
                retried[type(error).__name__] += 1
                time.sleep(0.05)
                continue
            if answer.status != 200:
                return f"lost: {answer.status} {body.decode()[:200]}"
            said = json.loads(body)
            return f"{Path(said['model']).name} calibration {said['calibration']}"

    return post


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def predict(folder: Path, out: Path) -> None:
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
        assert skrd4ad(["predict", "--model", str(MODEL), str(folder), "--out", str(out), "--tiled", "off"]) == 0


def throughput(images: list[bytes], given: argparse.Namespace, place: Path) -> tuple[float, float]:
    """Images a second by ``predict`` and by the service, in turn."""
    rates: dict[str, list[float]] = {"predict": [], "serve": []}
    folder, alone = many(draw(place, given.side, ".png"), place / "many", given.images), place / "alone"
    alone.mkdir()
    shutil.copy(next(folder.iterdir()), alone)
    with service(MODEL.parents[2], workers=1) as (_, address), ThreadPoolExecutor(CLIENTS) as pool:
        post = client_of(address, Counter())
        for turn in range(given.rounds + 1):
            whole = seconds(lambda: predict(folder, place / "out")) - seconds(lambda: predict(alone, place / "out"))
            served = seconds(lambda: list(pool.map(post, (images[n % len(images)] for n in range(given.images)))))
            if turn:  # the first fills the caches
                rates["predict"].append((given.images - 1) / whole)
                rates["serve"].append(given.images / served)
        found = statistics.median(rates["predict"]), statistics.median(rates["serve"])
        print(f"{given.images} images of {given.side}x{given.side}, median of {given.rounds} rounds", flush=True)
        print(f"  predict FOLDER {found[0]:7.1f} images a second\n  serve          {found[1]:7.1f}")
        print(f"  ratio          {found[1] / found[0]:7.2f}", flush=True)
        latency(post, images, rate=0.8 * found[1], given=given)
    return found


def latency(post: Post, images: list[bytes], *, rate: float, given: argparse.Namespace) -> None:
    """Milliseconds from when a request was due until its answer, at a rate in images a second."""
    begun = time.perf_counter() + 0.1

    def one(number: int) -> float:
        due = begun + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        said = post(images[number % len(images)])
        assert not said.startswith("lost"), said
        return time.perf_counter() - due

    with ThreadPoolExecutor(32) as pool:
        taken = sorted(pool.map(one, range(max(200, given.images))))
    middle, late = (1000 * taken[int(share * (len(taken) - 1))] for share in (0.5, 0.99))
    print(f"at 80 % of that ({rate:.1f} a second, {len(taken)} requests)")
    print(f"  p50 {middle:.0f} ms, p99 {late:.0f} ms, p99/p50 {late / middle:.1f}", flush=True)


def swaps(images: list[bytes], place: Path) -> None:
    """Models and limits that change, and a worker that is killed, under load."""
    folder = place / "models" / "synthetic" / "machined_disc"
    shutil.copytree(MODEL, folder / "run-00")
    retried: Counter[str] = Counter()
    done = threading.Event()
    with service(place / "models", workers=2) as (watcher, address), ThreadPoolExecutor(4) as pool:
        post = client_of(address, retried)
        assert post(images[0]) == "run-00 calibration 1"

        def ask(number: int) -> Counter[str]:
            said: Counter[str] = Counter()
            while not done.is_set():
                said[post(images[number % len(images)])] += 1
            return said

        asking = [pool.submit(ask, number) for number in range(4)]
        for swap in range(1, SWAPS + 1):
            time.sleep(1)
            newest = folder / f"run-{swap // 2:02}"
            if swap % 2:
                info = read_info(newest)
                assert info.calibration is not None
                save_calibration(newest, replace(info.calibration, image_threshold=30.0 + swap, method="manual"))
            else:
                hidden = Path(shutil.copytree(MODEL, place / "new"))
                values = json.loads((hidden / "config.json").read_text())
                values["created_at"] = f"2030-01-01T00:00:{swap:02}+00:00"
                (hidden / "config.json").write_text(json.dumps(values))
                hidden.rename(newest)
            if swap == SWAPS // 2:
                victim = next(each for each in watcher.children() if "spawn_main" in " ".join(each.cmdline()))
                victim.kill()
        time.sleep(3)
        done.set()
        said = sum((each.result() for each in asking), Counter())
    lost = {text: count for text, count in said.items() if text.startswith("lost")}
    print(f"{SWAPS} swaps and a kill of one of two workers under load: {said.total()} requests, {len(said)} answerers")
    print(f"  sent again after a cut or refused connection {dict(retried)}, lost {sum(lost.values())} {lost or ''}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["SKRD4AD_HOME"] = str(Path(name) / "home")
        place = Path(name) / "images"
        place.mkdir()
        images = [each.read_bytes() for each in draw(place, given.side, ".png")]
        throughput(images, given, Path(name))
        swaps(images, Path(name))


if __name__ == "__main__":
    main()
