"""How quickly the label queue answers: ``python -m benchmarks.label_queue [--images 10000] [--postgresql]``.

Two classes in one database, one of 100 images and one of many, each with scores of two models and up to five decisions
an image; no image files. What the Label page asks is timed on both in turn, so that the load of the machine falls on
both alike: the whole order, a window of it, the counts, the names to choose from, one image, and storing a decision.
"""

import argparse
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from statistics import median

from sqlalchemy import insert

from skrd4ad.services.labelling.annotate import decide, history_of, item_of
from skrd4ad.services.labelling.queue import counts_of, items_of, names_of, order_of_queue
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import QueueFilter
from skrd4ad.storage.tables import Annotation, ClassImage, StoredImage, StoredPrediction, utc_now
from tests.label_world import page_of_queue
from tests.postgres_server import running_postgres

FEW = 100
MODEL, OTHER_MODEL = "m" * 64, "n" * 64
LABELS = ("good", "defect", "unsure", "none")
TYPES = ("scratch", "dent", "bent pin", "stain", "missing")
REVIEWERS = ("Ada", "Bo", "Cy")
WINDOW = 40


def fill(class_name: str, images: int) -> None:
    """A class whose images all have scores, and each but the tenth part one to five decisions."""
    rng = random.Random(class_name)
    begin = utc_now() - timedelta(days=30)
    rows: dict[type, list[dict[str, object]]] = {StoredImage: [], ClassImage: [], StoredPrediction: [], Annotation: []}
    for number in range(images):
        digest = hashlib.sha256(f"{class_name} {number}".encode()).hexdigest()
        decisions = 0 if rng.random() < 0.1 else rng.randint(1, 5)
        at = begin + timedelta(seconds=number)
        rows[StoredImage].append(
            {
                "digest": digest,
                "name": f"{number:06}.png",
                "file": f"uploads/{digest}.png",
                "added_at": at,
                "width": 1024,
                "height": 768,
                "revision": decisions,
            }
        )
        rows[ClassImage].append(
            {
                "dataset": "parts",
                "class_name": class_name,
                "image_digest": digest,
                "origin": rng.choice(("inspect", "dataset", "watch", "import")),
                "split": "test",
                "known_type": rng.choice(("good", *TYPES)),
                "added_at": at,
            }
        )
        for model in (MODEL, OTHER_MODEL):
            rows[StoredPrediction].append(
                {
                    "image_digest": digest,
                    "model_digest": model,
                    "model_folder": "/models/parts/run",
                    "calibration": 1,
                    "threshold": 0.5,
                    "score": rng.random(),
                    "verdict": "NG",
                    "made_at": at,
                    "review_since": at if rng.random() < 0.3 else None,
                }
            )
        for revision in range(1, decisions + 1):
            label = rng.choice(LABELS)
            defect = label == "defect"
            rows[Annotation].append(
                {
                    "image_digest": digest,
                    "revision": revision,
                    "label": label,
                    "defect_type": rng.choice(TYPES) if defect else None,
                    "mask_file": f"masks/{digest}.png" if defect else None,
                    "reviewer": rng.choice(REVIEWERS),
                    "comment": "",
                    "made_at": at,
                }
            )
    with workspace_database().write() as session:
        for table, values in rows.items():
            session.execute(insert(table), values)


def everything(wanted: QueueFilter, rng: random.Random) -> None:
    """What opening the page and one decision ask for."""
    order = order_of_queue(wanted)
    items_of(wanted, order[:WINDOW])
    counts_of(wanted)
    names_of(wanted)
    one_decision(wanted, rng, order)


def one_decision(wanted: QueueFilter, rng: random.Random, order: list[str] | None = None) -> None:
    digests = order or order_of_queue(wanted)
    item = item_of(wanted, rng.choice(digests))
    history_of(item.digest)
    decide(item, "defect", reviewer="Ada", defect_type=rng.choice(TYPES))


def steps(rng: random.Random) -> dict[str, Callable[[QueueFilter], object]]:
    return {
        "page and counts": lambda wanted: page_of_queue(wanted),
        "page of open ones": lambda wanted: page_of_queue(replace(wanted, labels=("none",))),
        "page of NG, by score": lambda wanted: page_of_queue(replace(wanted, verdicts=("NG",)), order="highest"),
        "whole order": lambda wanted: order_of_queue(wanted),
        "window of 40": lambda wanted: items_of(wanted, order_of_queue(wanted)[:WINDOW]),
        "names to choose from": lambda wanted: names_of(wanted),
        "one decision": lambda wanted: one_decision(wanted, rng),
        "the page, all of it": lambda wanted: everything(wanted, rng),
    }


def measure(images: int, repeats: int) -> None:
    sizes = {"few": FEW, "many": images}
    for name, count in sizes.items():
        fill(name, count)
    few, many = (
        QueueFilter(
            dataset="parts", class_name=name, model_digest=MODEL, reject=0.5, review=0.4, calibrations=(None, 1)
        )
        for name in sizes
    )
    print(f"{'':<22}{FEW:>10,}{images:>12,}     ratio")
    for name, step in steps(random.Random(0)).items():
        times: dict[QueueFilter, list[float]] = {few: [], many: []}
        for _ in range(repeats):
            for wanted, taken in times.items():
                begun = time.perf_counter()
                step(wanted)
                taken.append(time.perf_counter() - begun)
        of_few, of_many = (1000 * median(taken) for taken in times.values())
        print(f"{name:<22}{of_few:>7.1f} ms{of_many:>9.1f} ms{of_many / of_few:>10.1f}", flush=True)


@contextmanager
def fresh_workspace(url: str | None) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as home:
        os.environ["SKRD4AD_HOME"] = home
        os.environ.pop("SKRD4AD_DATABASE_URL", None)
        if url is not None:
            os.environ["SKRD4AD_DATABASE_URL"] = url
        yield
        workspace_database().close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--postgresql", action="store_true", help="also on a PostgreSQL server made for this")
    arguments = parser.parse_args()
    print(f"SQLite, median of {arguments.repeats}")
    with fresh_workspace(None):
        measure(arguments.images, arguments.repeats)
    if arguments.postgresql:
        print(f"\nPostgreSQL, median of {arguments.repeats}")
        # as safe as a server is by itself: what is stored is on the disk
        durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
        with running_postgres(**durable) as server, server.new_database() as name, fresh_workspace(server.url(name)):
            measure(arguments.images, arguments.repeats)


if __name__ == "__main__":
    main()
