"""Images of several requests are looked at together, and none suffers from another."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from skrd4ad.inference.predictions import PIXELS_AT_ONCE, Inspection
from skrd4ad.serve import batching
from skrd4ad.serve.batching import Batcher, PendingImage
from tests.limits import LONG

FIRST, SECOND = (type("Model", (), {"predictor": None, "reference": None})() for _ in range(2))


def pending(name: str, *, model: Any = FIRST, tiling: Any = "auto", pixels: int = 1) -> PendingImage:
    inspection = Inspection(name=name, image=np.zeros((1, 1, 3), np.uint8))
    return PendingImage(model=model, limits=None, tiling=tiling, pixels=pixels, decode=lambda: inspection)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Names of the images of each batch; the one called ``bad`` makes its batch fail."""
    batches: list[list[str]] = []

    def inspect(_predictor: Any, decoded: Sequence[Inspection], **_: Any) -> list[Inspection]:
        batches.append([each.name for each in decoded])
        if "bad" in batches[-1]:
            raise MemoryError("bad")
        return list(decoded)

    monkeypatch.setattr(batching, "inspect_batch", inspect)
    return batches


def run(images: Sequence[PendingImage], *, threads: int) -> None:
    """Look at images that all wait before the first is taken."""
    batcher = Batcher(threads=threads)
    with batcher._changed:
        for image in images:
            batcher.submit(image)
    batcher.close()


def test_only_what_is_asked_alike_goes_together(looked: list[list[str]]) -> None:
    images = [
        *(pending(f"a{number}") for number in range(10)),
        *(pending(f"b{number}", model=SECOND) for number in range(2)),
        pending("c", model=SECOND, tiling="on"),
        *(pending(f"d{number}", pixels=PIXELS_AT_ONCE // 2) for number in range(3)),
    ]
    run(images, threads=1)
    assert [len(batch) for batch in looked] == [8, 2, 2, 1, 2, 1]
    assert [image.result.result(LONG).name for image in images] == [name for batch in looked for name in batch]


def test_each_thread_takes_its_share(looked: list[list[str]]) -> None:
    run([pending(f"{number}") for number in range(8)], threads=4)
    assert max(map(len, looked)) == 2 and sum(map(len, looked)) == 8


def test_what_fails_fails_alone_and_what_nobody_waits_for_is_not_looked_at(looked: list[list[str]]) -> None:
    images = [pending(name) for name in ("good", "bad", "gone", "fine")]
    assert images[2].result.cancel()
    run(images, threads=1)
    assert looked == [["good", "bad", "fine"], ["good"], ["bad"], ["fine"]]
    assert [images[number].result.result(LONG).name for number in (0, 3)] == ["good", "fine"]
    with pytest.raises(MemoryError):
        images[1].result.result(LONG)


def test_a_closed_batcher_has_no_threads() -> None:
    before = threading.active_count()
    run([], threads=3)
    assert threading.active_count() == before
