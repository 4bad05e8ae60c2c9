"""Pictures, thumbnails and maps of the images that are labelled, read ahead so that the next image is there at once."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.errors import SkrdError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import Limits
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.inspection.inspect import StartMap, start_map
from skrd4ad.services.labelling.files import labelled_image, load_mask_file
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.types import Levels
from skrd4ad.ui.components.gallery import thumbnail
from skrd4ad.ui.components.pictures import jpeg

KEPT_PICTURES, KEPT_MAPS, KEPT_THUMBNAILS = 6, 48, 4000
PATIENCE = 0.4
"""Seconds that the first thumbnails are waited for."""
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as it is shown."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    jpeg: bytes


class BoundedCache(Generic[_T]):
    """Results by key, the ones used last; each is made once, by whoever comes first. Safe to share between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._made: OrderedDict[str, Future[_T]] = OrderedDict()

    def get(self, key: str, make: Callable[[], _T]) -> _T:
        """The result; what ``make`` raises is raised to all who wait for it, and not kept."""
        with self._lock:
            future = self._made.get(key)
            if future is not None:
                self._made.move_to_end(key)
            else:
                mine = self._made[key] = Future()
                while len(self._made) > self._size:
                    self._made.popitem(last=False)
        if future is not None:
            try:
                return future.result()
            except CancelledError:
                return self.get(key, make)
        try:
            mine.set_result(make())
        except BaseException as error:
            with self._lock:
                self._made.pop(key, None)
            if isinstance(error, SkrdError):
                mine.set_exception(error)
            else:  # Streamlit breaks a run off by an exception that is no business of others who wait
                mine.cancel()
            raise
        return mine.result()

    def ready(self, key: str) -> _T | None:
        """The result when it is there already."""
        with self._lock:
            future = self._made.get(key)
        if future is None or not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()


class ImageCache:
    """What is kept of images for all sessions of the server."""

    def __init__(self) -> None:
        self._pictures: BoundedCache[Picture] = BoundedCache(KEPT_PICTURES)
        self._thumbnails: BoundedCache[bytes] = BoundedCache(KEPT_THUMBNAILS)
        self._maps: BoundedCache[StartMap] = BoundedCache(KEPT_MAPS)
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="label-pictures")
        self._small = ThreadPoolExecutor(1, thread_name_prefix="label-thumbnails")
        self._asked: dict[str, Future[None]] = {}
        self._model: tuple[str, Predictor | None] = ("", None)

    def picture(self, item: QueueItem, levels: Levels | None = None) -> Picture:
        """The picture of an image; ``levels``: of the model that is looked at."""
        return self._pictures.get(_key(item, levels), lambda: _read_picture(item, levels))

    def thumbnails(self, items: Sequence[QueueItem], levels: Levels | None = None) -> list[bytes]:
        """Thumbnails, empty where there is none yet: those are made in the background.

        It waits a moment for the first ones, when there is none at all.
        """
        asked = [
            self._later(self._small, f"thumbnail {_key(item, levels)}", partial(self._make_thumbnail, item, levels))
            for item in items
            if self._thumbnails.ready(_key(item, levels)) is None
        ]
        if len(asked) == len(items):
            wait(asked, timeout=PATIENCE)
        return [self._thumbnails.ready(_key(item, levels)) or b"" for item in items]

    def start_map(
        self, item: QueueItem, info: ModelInfo, limits: Limits | None, load: Callable[[], Predictor]
    ) -> StartMap:
        """The map of an image; the model is only loaded when the map is not there."""
        return self._maps.get(f"{map_key(info)} {item.digest}", lambda: self._start_map(item, info, limits, load))

    def read_ahead(self, items: Iterable[QueueItem], info: ModelInfo, limits: Limits | None) -> None:
        """Make pictures in the background, and their maps when the model is loaded."""
        digest, predictor = self._model

        def loaded() -> Predictor:
            assert predictor is not None, "it is asked for only when it is there"
            return predictor

        for item in items:
            if self._pictures.ready(_key(item, info.levels)) is None:
                name = f"picture {_key(item, info.levels)}"
                self._later(self._ahead, name, partial(self.picture, item, info.levels))
            name = f"{map_key(info)} {item.digest}"
            if predictor is not None and digest == info.digest and self._maps.ready(name) is None:
                make = partial(self.start_map, item, info, limits, loaded)
                self._later(self._ahead, f"map {name}", make)

    def _start_map(
        self, item: QueueItem, info: ModelInfo, limits: Limits | None, load: Callable[[], Predictor]
    ) -> StartMap:
        image = self.picture(item, info.levels).image
        predictor = load()
        self._model = (info.digest, predictor)
        return start_map(predictor, image, limits)

    def _make_thumbnail(self, item: QueueItem, levels: Levels | None) -> None:
        kept = self._pictures.ready(_key(item, levels))
        image = labelled_image(item, levels=levels) if kept is None else kept.image
        self._thumbnails.get(_key(item, levels), lambda: thumbnail(image))

    def _later(self, pool: ThreadPoolExecutor, name: str, make: Callable[[], object]) -> Future[None]:
        """Ask for something once, however often it is wanted meanwhile."""

        def work() -> None:
            try:
                make()
            except SkrdError:
                return  # told where the image itself is shown
            finally:
                self._asked.pop(name, None)

        asked = self._asked.get(name)
        if asked is not None and not asked.done():
            return asked
        self._asked[name] = future = pool.submit(work)
        return future


def _key(item: QueueItem, levels: Levels | None) -> str:
    return item.digest if levels is None else f"{item.digest} {levels}"


def _read_picture(item: QueueItem, levels: Levels | None) -> Picture:
    image = labelled_image(item, levels=levels)
    return Picture(image, jpeg(image))


@st.cache_resource(show_spinner=False)
def pictures() -> ImageCache:
    """Those of this server."""
    return ImageCache()


@st.cache_data(max_entries=16, show_spinner=False)
def kept_mask(file: str) -> NDArray[np.bool_]:
    """A mask by its file, which is named by its content; (H, W)."""
    return load_mask_file(file)


def map_key(info: ModelInfo) -> str:
    """Changes with the model's weights and calibration."""
    return f"{info.digest} {info.calibration.version if info.calibration else 0} {info.calibration_versions}"
