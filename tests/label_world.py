"""A workspace with labelled images, for tests of what leaves it and comes back."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.digests import content_digest
from skrd4ad.paths import workspace
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.review import keep_upload
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import (
    Order,
    QueueCounts,
    QueueFilter,
    QueueItem,
    queue_counts,
    queue_page,
    save_class_image,
)
from skrd4ad.storage.predictions import save_image

DATASET, CLASS = "parts", "disc"
ALL = QueueFilter(dataset=DATASET, class_name=CLASS, model_digest="")
WIDTH, HEIGHT = 24, 16


def picture(seed: int, *, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A PNG file that differs with its seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def random_mask(seed: int) -> NDArray[np.bool_]:
    """A mask with several regions, holes and pixels at the border."""
    random = np.random.default_rng(seed)
    return random.random((HEIGHT, WIDTH)) < random.choice([0.1, 0.4, 0.7])


def put(name: str, content: bytes, *, split: str | None = None, known_type: str | None = None) -> QueueItem:
    """Put an image among those of the class."""
    path = keep_upload(content, name=name)
    digest = content_digest(content)
    with workspace_database().write() as session:
        save_image(session, digest=digest, name=name, file=path.relative_to(workspace()))
        save_class_image(
            session,
            digest=digest,
            dataset=DATASET,
            class_name=CLASS,
            origin="inspect",
            split=split,
            known_type=known_type,
        )
    return annotate.item_of(ALL, digest)


def page_of_queue(
    wanted: QueueFilter, *, order: Order = "closest", limit: int = 50
) -> tuple[list[QueueItem], QueueCounts]:
    """Images under a filter, and the counts of all images under it."""
    with workspace_database().read() as session:
        return queue_page(session, wanted, order=order, limit=limit), queue_counts(session, wanted)


def item(name: str) -> QueueItem:
    """The image of that name as it stands now."""
    return next(each for each in items() if each.name == name)


def items() -> list[QueueItem]:
    """All images of the class."""
    return page_of_queue(ALL, limit=10_000)[0]


def fill_workspace() -> None:
    """Twelve good images, defects of three kinds, with and without mask, an unsure and an undecided one; histories,
    comments and names that are hard for file names and spreadsheets."""
    for index in range(12):
        decided = put(
            f"good {index}.png", picture(index), split=(None, "train", "test")[min(index, 2)] if index < 3 else None
        )
        annotate.decide(decided, "good", reviewer="A. Weber")
    for index, (name, kind) in enumerate(
        [
            ("a/part.png", "scratch"),
            ("b/part.png", "scratch"),
            ("=cmd|' /C calc'!A0.png", None),
            ("..\\..\\évil:?.PNG", "dent & hole"),
            ("part_mask.png", "ok"),
        ]
    ):
        decided = put(name, picture(100 + index), known_type="scratch" if index == 0 else None)
        annotate.draw(decided, random_mask(index), reviewer="Ünal, B.", defect_type=kind)
    annotate.decide(item("b/part.png"), "good", reviewer="A. Weber", comment='+ only dirt,\r\nsaid "B"')
    annotate.undo(item("b/part.png"), reviewer="Ünal, B.")
    annotate.draw(item("b/part.png"), random_mask(50), reviewer="Ünal, B.")
    annotate.decide(put("photograph", picture(200)), "defect", reviewer="=1+1", defect_type="Scratch")
    annotate.draw(put("shadow.png", picture(201)), random_mask(9), reviewer="A. Weber")
    annotate.decide(item("shadow.png"), "unsure", reviewer="A. Weber", comment="'- shadow?")
    put("nobody.png", picture(202))


def holding(one: QueueItem) -> tuple[object, ...]:
    """What holds for an image, without what belongs to the workspace alone."""
    return one.name, one.latest


@contextmanager
def other_workspace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another workspace until the end of the block."""
    with monkeypatch.context() as patch:
        patch.setenv("SKRD4AD_HOME", str(folder))
        yield folder


def files_of(folder: Path) -> Mapping[str, bytes]:
    """All files below a folder with their content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
