"""The app while a model is trained in it, against the app alone. From the project's folder::

    python -m benchmarks.responsiveness

One page run is the Overview page from its first line to its last, as Streamlit runs it for every visit; scoring is one
image by the disc demo. A training of efficientnet_lite0 runs in a thread of this process, as the app's queue runs it:
once giving way to the pages, as it does, and once as a thread like any other.
"""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from streamlit.testing.v1 import AppTest

from benchmarks.inference import DEMO
from benchmarks.plain import parser_of
from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.data.synthetic import write_synthetic
from skrd4ad.engine.progress import Observer
from skrd4ad.engine.runtimes import Choice, load_runtime
from skrd4ad.engine.train import train
from skrd4ad.errors import TrainingCancelled
from skrd4ad.services.owners import NICENESS, give_way


@contextmanager
def training(folder: Path, *, polite: bool) -> Iterator[None]:
    """A training in a thread of its own, from its first epoch on until the block ends."""
    stop, begun = threading.Event(), threading.Event()

    def check() -> None:
        if stop.is_set():
            raise TrainingCancelled("enough")

    def work() -> None:
        if polite:
            give_way(NICENESS)
        observer = Observer(check=check, epoch=lambda _: begun.set())
        with suppress(TrainingCancelled):
            train(
                open_dataset(folder / "parts")[0],
                model=ModelConfig(),
                config=TrainConfig(epochs=10_000),
                out=folder / "models",
                source="drawn",
                observer=observer,
            )

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(300)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def times(way: Callable[[], object], count: int) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds."""
    way()
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        way()
        found.append(1000 * (time.perf_counter() - begun))
    return statistics.median(found), statistics.quantiles(found, n=20)[-1]


def main() -> None:
    given = parser_of(__doc__, runs=30).parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ |= {"SKRD4AD_HOME": str(folder / "home"), "SKRD4AD_RUNTIME": "torch"}
        write_synthetic(folder / "parts", classes=("machined_disc",), train=60, test_good=1, per_defect=1, size=256)
        predictor = load_runtime(DEMO, Choice("openvino"))
        image = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
        app = AppTest.from_file(str(Path("app.py").absolute()), default_timeout=120)
        ways: dict[str, Callable[[], object]] = {
            "a run of the Overview page": app.run,
            "scoring one image": lambda: predictor.batch(image),
        }
        found = {"idle": {name: times(way, given.runs) for name, way in ways.items()}}
        for title, polite in (("training, giving way", True), ("training, like any thread", False)):
            with training(folder, polite=polite):
                found[title] = {name: times(way, given.runs) for name, way in ways.items()}
    for name in ways:
        print(name)
        for title, each in found.items():
            median, high = each[name]
            ratio = median / found["idle"][name][0]
            print(f"  {title:28} p50 {median:7.1f} ms  p95 {high:7.1f} ms  {ratio:5.2f}x idle", flush=True)


if __name__ == "__main__":
    main()
