"""A folder of images: overlapped decoding, scoring and writing against one image at a time. From the project's folder::

    python -m benchmarks.folder                              images a second, both ways in turn
    python -m benchmarks.folder --memory 200 2000 20000      peak memory of `skrd4ad predict` on so many images

Images are drawn here: machined discs, resized to the side that is asked for. Both ways use the same runtime, write the
same files, and see images whole, as a model does whose training images were as large. For memory, many names are given
to a few files, each of which is decoded anew.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from skrd4ad.data.images.read import list_images, read_image
from skrd4ad.data.synthetic.write import write_synthetic
from skrd4ad.export.runtimes import RuntimeChoice, load_runtime
from skrd4ad.inference.predictions import STREAMS
from skrd4ad.parallel import ordered_map
from skrd4ad.services.inspection.inspect import inspect_images, write_outputs

MODEL = Path("checkpoints/synthetic/machined_disc/demo")
DISTINCT = 40


def draw(folder: Path, side: int, suffix: str) -> list[Path]:
    """``DISTINCT`` files of the side."""
    write_synthetic(folder / "drawn", classes=("machined_disc",), train=DISTINCT, test_good=1, per_defect=1, size=256)
    paths = []
    for index, path in enumerate(list_images(folder / "drawn" / "machined_disc" / "train" / "good")):
        target = folder / f"{index:03}{suffix}"
        image = cv2.resize(read_image(path), (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(target), image[..., ::-1])
        paths.append(target)
    return paths


def many(paths: list[Path], folder: Path, count: int) -> Path:
    """A folder with ``count`` names for the files."""
    folder.mkdir()
    for index in range(count):
        source = paths[index % len(paths)]
        os.link(source, folder / f"{index:06}{source.suffix}")
    return folder


def measure_speed(given: argparse.Namespace) -> None:
    choice = RuntimeChoice(given.runtime, given.precision)
    alone, predictor = load_runtime(MODEL, choice), load_runtime(MODEL, choice, streams=STREAMS)
    with tempfile.TemporaryDirectory() as place:
        paths = draw(Path(place), given.side, given.suffix)
        paths = [paths[n % len(paths)] for n in range(given.images)]
        out = Path(place) / "out"

        def one_at_a_time() -> None:
            for path in paths:
                [inspection] = inspect_images(alone, [(path.name, path)], tiling="off")
                write_outputs(inspection, out, name=path.stem)

        def overlapped() -> None:
            found = inspect_images(predictor, ((path.name, path) for path in paths), tiling="off")
            written = ordered_map(
                lambda inspection: write_outputs(inspection, out, name=inspection.name), found, workers=2, ahead=4
            )
            for _ in written:
                pass

        ways = {"one at a time": one_at_a_time, "overlapped": overlapped}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for name, way in (*ways.items(), *(list(ways.items()) * given.rounds)):
            begun = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begun)
    # the first round fills the caches
    rate = {name: given.images / statistics.median(times[1:]) for name, times in seconds.items()}
    print(f"{given.images} images of {given.side}x{given.side} ({given.suffix}), {predictor.runtime}")
    for name, value in rate.items():
        print(f"  {name:16}{value:8.1f} images a second")
    print(f"  ratio           {rate['overlapped'] / rate['one at a time']:8.2f}")


def measure_memory(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as place:
        paths = draw(Path(place), given.side, given.suffix)
        for count in given.memory:
            folder = many(paths, Path(place) / str(count), count)
            script = (
                "import sys, resource; from skrd4ad.cli import main; code = main(sys.argv[1:]); "
                "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
            )
            command = ["predict", "--model", str(MODEL), str(folder), "--out", str(Path(place) / "out")]
            command += ["--runtime", given.runtime, "--precision", given.precision, "--tiled", "off"]
            begun = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", script, *command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=True,
            )
            elapsed = time.perf_counter() - begun
            peak = int(done.stderr.split()[-1]) / 1024
            print(f"  {count:7} images  peak {peak:6.0f} MiB  {count / elapsed:6.1f} images a second", flush=True)
            subprocess.run(["rm", "-rf", str(Path(place) / "out"), str(folder)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--suffix", default=".png")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtime", default="openvino")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--memory", type=int, nargs="+", metavar="N", help="numbers of images")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if given.memory:
        measure_memory(given)
    else:
        measure_speed(given)


if __name__ == "__main__":
    main()
