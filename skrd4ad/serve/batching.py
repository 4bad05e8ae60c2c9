"""Images of many requests, looked at together: a few threads, each of which takes what waits for one model.

Nothing waits for a batch to fill: a thread takes its share of what is there. On a processor, whose graphs run one image
after the other, that keeps all threads busy; on an accelerator the images go through the network together.
"""

import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from skrd4ad.inference.predictions import BATCH, DECODERS, PIXELS_AT_ONCE, STREAMS, Inspection, Limits, inspect_batch
from skrd4ad.inference.tiling import Tiling
from skrd4ad.regions import ScoringMask
from skrd4ad.serve.models import OpenModel

THREADS = max(STREAMS, DECODERS)


@dataclass(frozen=True, eq=False, kw_only=True)
class PendingImage:
    """An image that is to be looked at."""

    model: OpenModel
    limits: Limits | None
    tiling: Tiling
    pixels: int
    decode: Callable[[], Inspection]
    """Called in the thread that looks at it, so that few images are in memory at a time."""
    result: "Future[Inspection]" = field(default_factory=Future)

    def goes_with(self, other: "PendingImage") -> bool:
        """Whether two images may be looked at together."""
        return (self.model, self.limits, self.tiling) == (other.model, other.limits, other.tiling)


class Batcher:
    """Threads that look at images."""

    def __init__(self, *, threads: int = THREADS, observe: Callable[[int], None] = lambda _: None) -> None:
        """Start the threads; ``observe`` is called with the number of images of each batch."""
        self._waiting: deque[PendingImage] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._observe = observe
        self._threads = [threading.Thread(target=self._run, name=f"batch-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Images that no thread has taken yet."""
        return len(self._waiting)

    def submit(self, image: PendingImage) -> "Future[Inspection]":
        """Have an image looked at. A result that is cancelled before its turn is not computed."""
        with self._changed:
            self._waiting.append(image)
            self._changed.notify()
        return image.result

    def close(self) -> None:
        """End the threads once all that waits is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._take():
            wanted = [image for image in batch if image.result.set_running_or_notify_cancel()]
            if wanted:
                self._observe(len(wanted))
                _look(wanted)

    def _take(self) -> list[PendingImage]:
        """Images for this thread, all of one model; none when all is done and closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            most = min(BATCH, math.ceil(len(self._waiting) / len(self._threads)))
            batch = [self._waiting.popleft()]
            pixels = batch[0].pixels
            while self._waiting and len(batch) < most and self._waiting[0].goes_with(batch[0]):
                pixels += self._waiting[0].pixels
                if pixels > PIXELS_AT_ONCE:
                    break
                batch.append(self._waiting.popleft())
            return batch


def _look(batch: list[PendingImage]) -> None:
    """Give each image its result; what fails in an unknown way fails alone."""
    model, limits = batch[0].model, batch[0].limits
    try:
        decoded = [image.decode() for image in batch]
        found = inspect_batch(
            model.predictor,
            decoded,
            limits=limits,
            mask=ScoringMask() if limits is None else limits.mask,
            reference=model.reference,
            tiling=batch[0].tiling,
        )
    except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
        if len(batch) == 1:
            batch[0].result.set_exception(error)
            return
        for image in batch:
            _look([image])
        return
    for image, inspection in zip(batch, found, strict=True):
        image.result.set_result(inspection)
