"""From the bytes of a request to an inspection: limits on what is taken, and who waits for how long."""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, get_args

from starlette.requests import Request

from skrd4ad.data.images.decode import image_header
from skrd4ad.errors import ConfigError
from skrd4ad.inference.predictions import Inspection, Limits, decode, limits_of
from skrd4ad.inference.tiling import Tiling
from skrd4ad.serve.batching import Batcher, PendingImage
from skrd4ad.serve.metrics import ServeMetrics
from skrd4ad.serve.models import OpenModel, ServedModels
from skrd4ad.serve.problems import Refusal, too_busy
from skrd4ad.serve.settings import ServeSettings


class Inspections:
    """What a worker looks at images with."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.models = ServedModels(settings)
        self.metrics = ServeMetrics(self.models)
        self.batcher = Batcher(observe=self._began)
        self._under_way = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request, before its body is read.

        Raises:
            Refusal: there is none free.
        """
        most = self.settings.most_requests
        if self._under_way >= most:
            raise too_busy(429, f"{most} inspections are under way, and no more are taken. Try again in a second.")
        self._under_way += 1
        self.metrics.requests.set(self._under_way)
        try:
            yield
        finally:
            self._under_way -= 1
            self.metrics.requests.set(self._under_way)

    async def look(
        self,
        source: bytes | Inspection,
        model: OpenModel,
        *,
        name: str = "image",
        limits: Limits | None,
        tiling: Tiling = "auto",
    ) -> Inspection:
        """What a model says of an image: the bytes of its file, or one that is decoded already.

        Raises:
            ImageError: it is no usable image.
            Refusal: it has too many pixels, or the model's map is damaged.
        """
        if isinstance(source, bytes):
            header = await asyncio.to_thread(image_header, source, name=name)
            pixels = header.width * header.height
            decoded: Callable[[], Inspection] = partial(decode, (name, source), levels=model.info.levels)
        else:
            assert source.image is not None
            pixels = source.image.shape[0] * source.image.shape[1]
            decoded = lambda: source  # noqa: E731
        if pixels > self.settings.max_pixels:
            raise Refusal(
                422,
                f"{name} has {pixels} pixels; allowed: up to {self.settings.max_pixels}. Crop it or make it smaller.",
            )
        image = PendingImage(model=model, limits=limits, tiling=tiling, pixels=pixels, decode=decoded)
        result = self.batcher.submit(image)
        self.metrics.waiting.set(self.batcher.waiting)
        inspection = await asyncio.wrap_future(result)
        self.metrics.count_verdict(model.name, inspection.outcome)
        if inspection.error is not None:
            raise Refusal(422, inspection.error)
        return inspection

    def close(self) -> None:
        """End the threads once all that waits is done."""
        self.batcher.close()

    def _began(self, size: int) -> None:
        self.metrics.batches.observe(size)
        self.metrics.waiting.set(self.batcher.waiting)


def inspections_of(request: Request) -> Inspections:
    """What the worker that answers a request looks at images with."""
    found: Inspections = request.app.state.inspections
    return found


def limits_for(model: OpenModel, query: Mapping[str, str]) -> Limits | None:
    """The model's limits, or by ``threshold`` of the query."""
    threshold = _number_in(query, "threshold")
    return model.limits if threshold is None else limits_of(model.info, threshold)


def tiling_in(query: Mapping[str, str]) -> Tiling:
    """``tiled`` of a query."""
    return choice_in(query, "tiled", get_args(Tiling), default="auto")


def choice_in(query: Mapping[str, str], name: str, allowed: tuple[str, ...], *, default: Any) -> Any:
    """A value of a query, or the default where there is none.

    Raises:
        ConfigError: it is none that is allowed.
    """
    value = query.get(name)
    if value is not None and value not in allowed:
        raise ConfigError(f"{name} is {value!r}; allowed: {', '.join(allowed)}, or leave it out.")
    return default if value is None else value


def scale_in(query: Mapping[str, str]) -> float | None:
    """``mm_per_pixel`` of a query, None where there is none."""
    scale = _number_in(query, "mm_per_pixel")
    if scale is not None and not 0 < scale < math.inf:
        raise ConfigError(f"mm_per_pixel is {scale}; allowed: a number above 0.")
    return scale


def _number_in(query: Mapping[str, str], name: str) -> float | None:
    value = query.get(name)
    try:
        return None if value is None else float(value)
    except ValueError:
        raise ConfigError(f"{name} is {value!r}; allowed: a number.") from None
