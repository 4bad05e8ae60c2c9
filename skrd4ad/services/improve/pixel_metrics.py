"""Pixel figures on labelled images with masks, computed beside the page: a new mask moves them a second later."""

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skrd4ad.errors import SkrdError
from skrd4ad.metrics.aupro import aupro, pool_pixels
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.improve.labelled import label_set
from skrd4ad.storage.labelled_images import LabelledImage
from skrd4ad.task import QUIET, Status, Task
from skrd4ad.types import ImageSize, height_width

MOST_PIXELS = 12_000_000
"""Pixels of all maps together that figures are taken from: 183 images of 256x256. More would take longer than a person
waits; the images are then drawn by their digests, which have nothing to do with what they show."""
MASKED_SHARE = 2 / 3
KEPT = 8

log = logging.getLogger(__name__)

_Question = tuple[str, str]
_Key = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class PixelFigures:
    """How well a model finds the pixels of labelled defects."""

    pixel_auroc: float | None
    aupro: float | None
    """FPR up to 0.30."""
    n_good: int
    n_masks: int
    """Images that entered; fewer than there are when ``drawn``."""
    drawn: bool
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PixelState:
    """What is known of pixel figures now."""

    figures: PixelFigures | None
    """The latest; of labels as they were a moment ago while others are being computed."""
    is_current: bool
    progress: tuple[int, int]
    error: str | None


def pixel_images(images: Sequence[LabelledImage], *, image_size: ImageSize) -> tuple[list[LabelledImage], bool]:
    """Images that pixel figures are taken from, and whether there are more; none without a mask or a good image."""
    masked = [image for image in images if image.label == "defect" and image.mask_file is not None]
    good = [image for image in images if image.label == "good"]
    if not masked or not good:
        return [], False
    most = max(MOST_PIXELS // math.prod(height_width(image_size)), 2)
    n_masked = min(len(masked), max(int(MASKED_SHARE * most), most - len(good)))
    chosen = masked[:n_masked] + good[: most - n_masked]
    return chosen, len(chosen) < len(masked) + len(good)


def pixel_figures(
    info: ModelInfo, images: Sequence[LabelledImage], *, drawn: bool = False, task: Task = QUIET
) -> PixelFigures:
    """Pixel figures of a model on images as :func:`pixel_images` chose them; maps that are not kept yet are made."""
    data, left_out = label_set(info, images, task=task)
    assert data.maps is not None and data.masks is not None, "a set of labelled images has both"
    figures = PixelFigures(
        pixel_auroc=None,
        aupro=None,
        n_good=int(np.sum(data.has_mask & (data.labels == 0))),
        n_masks=int(np.sum(data.has_mask & (data.labels == 1))),
        drawn=drawn,
        left_out=left_out,
    )
    if not figures.n_masks or not figures.n_good:
        return figures
    pool = pool_pixels(data.maps, data.masks, labelled=data.has_mask, ignored=data.ignored)
    return replace(figures, pixel_auroc=pool.auroc, aupro=aupro(pool))


class PixelWorker:
    """Computes pixel figures in a thread of its own, so that neither a page nor the queue of jobs waits for them.

    One is enough for a process. Of each question only the newest form is answered.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted: dict[_Question, tuple[_Key, Callable[[Task], PixelFigures]]] = {}
        self._known: dict[_Question, tuple[_Key, PixelFigures | None, str | None]] = {}
        """Figures, or why there are none."""
        self._progress: dict[_Question, tuple[int, int]] = {}
        self._thread: threading.Thread | None = None

    def ask(self, info: ModelInfo, images: Sequence[LabelledImage], *, purpose: str) -> PixelState | None:
        """What is known of a model on labelled images, at once; None when no figure can be had of them.

        What is not known is computed meanwhile: ask again. Different images of one model are asked for under different
        purposes.
        """
        chosen, drawn = pixel_images(images, image_size=info.model.image_size)
        if not chosen:
            return None
        question = (info.digest, purpose)
        version = None if info.calibration is None else info.calibration.version
        key = (version, tuple((image.digest, image.label, image.mask_file) for image in chosen))
        with self._changed:
            known_key, figures, error = self._known.get(question, (None, None, None))
            is_current = known_key == key
            if not is_current:
                self._wanted[question] = (key, lambda task: pixel_figures(info, chosen, drawn=drawn, task=task))
                self._work_on()
            return PixelState(
                figures=figures,
                is_current=is_current,
                progress=self._progress.get(question, (0, 0)),
                error=error if is_current else None,
            )

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is computed any more; false when it takes longer than ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def _work_on(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work_off, name="pixel-figures", daemon=True)
            self._thread.start()

    def _work_off(self) -> None:
        while True:
            with self._changed:
                if not self._wanted:
                    self._thread = None
                    self._changed.notify_all()
                    return
                question, (key, work) = next(iter(self._wanted.items()))
            figures, error = self._answer(question, work)
            with self._changed:
                self._known.pop(question, None)
                self._known[question] = (key, figures, error)
                self._progress.pop(question, None)
                while len(self._known) > KEPT:
                    self._known.pop(next(iter(self._known)))
                if self._wanted[question][0] == key:
                    del self._wanted[question]

    def _answer(
        self, question: _Question, work: Callable[[Task], PixelFigures]
    ) -> tuple[PixelFigures | None, str | None]:
        def show(at: Status) -> None:
            self._progress[question] = (at.done, at.total)

        try:
            return work(Task(show=show)), None
        except SkrdError as error:
            return None, str(error)
        except Exception as error:
            # whatever goes wrong ends these figures, never the thread that the next ones wait for
            log.exception("Pixel figures failed")
            return None, f"{type(error).__name__}: {error}"
