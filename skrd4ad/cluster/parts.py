"""A model that scores parts of a manifest into Parquet: the same rows on this machine and on any other."""

import io
import time
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from skrd4ad.errors import ImageError
from skrd4ad.inference.predictions import STREAMS, Source, limits_of, predict_images
from skrd4ad.inference.tiling import Tiling
from skrd4ad.parallel import ordered_map
from skrd4ad.services.inspection.inspect import to_record
from skrd4ad.services.inspection.runtimes import RuntimeRequest, RuntimeWish, open_predictor
from skrd4ad.task import QUIET, Task

REGION = pa.struct(
    [
        ("area", pa.int64()),
        ("peak", pa.float64()),
        ("mean", pa.float64()),
        ("box", pa.list_(pa.int64())),
        ("centroid", pa.list_(pa.float64())),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),
        ("score", pa.float64()),
        ("raw_score", pa.float64()),
        ("verdict", pa.string()),
        ("threshold", pa.float64()),
        ("review_threshold", pa.float64()),
        ("calibration", pa.int64()),
        ("view", pa.string()),
        ("refusal", pa.string()),
        ("regions", pa.list_(REGION)),
        ("error", pa.string()),
    ]
)
"""The entry of ``skrd4ad predict --json`` for each image, with its id."""
FETCHERS = 8
"""Threads that fetch images from elsewhere, which is mostly waiting."""
TRIES = 4
MOST_BYTES = 2**30
"""Of an image from elsewhere."""


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """How images are scored; goes to every worker."""

    runtime: RuntimeWish
    threshold: float | None = None
    tiling: Tiling = "auto"


class PartScorer:
    """A model that scores one part at a time."""

    def __init__(self, folder: Path, settings: ScoreSettings) -> None:
        self._settings = settings
        # fp32 everywhere: what one machine found to be the quickest must not decide the digits
        self._predictor = open_predictor(folder, RuntimeRequest(runtime=settings.runtime), exact=True, streams=STREAMS)
        self._limits = limits_of(self._predictor.info, settings.threshold)

    @property
    def runtime(self) -> str:
        """What computes, in words."""
        return self._predictor.runtime

    def score(self, part: pa.Table, *, task: Task = QUIET) -> bytes:
        """A Parquet file with a row for each image of a part, in its order; see :data:`SCHEMA`. ``task`` is checked
        between images."""
        ids, paths = (part[name].to_pylist() for name in ("id", "path"))
        sources = ordered_map(_source, paths, workers=FETCHERS, ahead=2 * FETCHERS)
        found = predict_images(self._predictor, sources, limits=self._limits, tiling=self._settings.tiling, task=task)
        rows = [{"id": image_id, **to_record(each)} for image_id, each in zip(ids, found, strict=True)]
        content = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), content, compression="zstd")
        return content.getvalue()


def _source(path: str) -> Source:
    """An image of this machine as its path, one from elsewhere as its bytes, or why it cannot be had."""
    if "://" not in path:
        return path, Path(path)
    for tried in range(1, TRIES + 1):
        try:
            return path, _fetched(path)
        except (FileNotFoundError, PermissionError, IsADirectoryError, ImageError) as error:
            return path, ImageError(f"{path} cannot be read: {error}.")
        except Exception as error:  # noqa: BLE001 - each file system of fsspec raises what its library raises
            if tried == TRIES:
                return path, ImageError(f"{path} could not be fetched, {TRIES} times: {type(error).__name__}: {error}.")
            time.sleep(2 ** (tried - 1))
    raise AssertionError


def _fetched(uri: str) -> bytes:
    with fsspec.open(uri, "rb") as file:
        content: bytes = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ImageError(f"it has more than {MOST_BYTES // 2**20} MiB")
    return content
