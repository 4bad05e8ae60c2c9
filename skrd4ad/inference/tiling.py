"""Images that show more than one field of view of the training: overlapping tiles, blended without seams.

A tile covers as many pixels of the image as a training image had, so that the model sees everything at the scale it
has learnt. The whole image is brought to that scale first; tiles are cut from it at the model's size.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.read import resize_image
from skrd4ad.errors import ConfigError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.reference import Reference
from skrd4ad.task import QUIET, Task
from skrd4ad.types import ImageSize, Prediction, height_width

Tiling = Literal["auto", "on", "off"]
LARGER = 1.5
"""Tiles are considered when the image's shorter side exceeds that of the training images by this factor."""
OVERLAP = 0.25
"""Share of a tile that it has in common with the next, at least."""
BATCH = 8
LEVEL_STEP = 4
"""Level maps of tiled images are kept at this fraction of the map's size: no level holds finer detail, and three of
them at full size would need three times the memory of the map."""
_SAMPLE = 12
"""Tiles that are looked at to decide between the views, and to compare with the training images."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the tiles of an image lie, in pixels of the map."""

    size: tuple[int, int]
    """Height and width of a tile."""
    width: int
    """Of the map, before padding."""
    height: int
    lefts: tuple[int, ...]
    tops: tuple[int, ...]
    scale: float
    """Pixels of the image for one of the map, along the width."""

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Top and left of every tile."""
        return [(top, left) for top in self.tops for left in self.lefts]

    @property
    def text(self) -> str:
        """Such as "tiled 4x3 at 1:1"."""
        scale = f"1:{self.scale:.3g}" if self.scale >= 1 else f"{1 / self.scale:.3g}:1"
        return f"tiled {len(self.lefts)}x{len(self.tops)} at {scale}"


def tiles_look_better(predictor: Predictor, image: NDArray[np.uint8], reference: Reference) -> bool:
    """Whether tiles look more like the training images to the teacher than the whole image, (H, W, 3) RGB, does."""
    grid = tile_grid(
        image.shape[1], image.shape[0], size=predictor.image_size, tile_pixels=(reference.width, reference.height)
    )
    tiles = _spread(_cut(_at_scale(image, grid), grid))
    whole = resize_image(image, predictor.image_size)
    distances = [reference.distance(embedding) for embedding in _embeddings(predictor, [whole, *tiles])]
    return float(np.median(distances[1:])) < distances[0]


def tile_grid(
    width: int, height: int, *, size: ImageSize, tile_pixels: tuple[int, int], overlap: float = OVERLAP
) -> Grid:
    """Tiles that cover an image. ``size``: of a tile in pixels of the map, sides multiples of 4. ``tile_pixels``:
    width and height in pixels of the image that a tile covers. ``overlap``: share of a tile that it has in common with
    the next, at least."""
    if not 0 <= overlap <= 0.75 or min(tile_pixels) < 1:
        raise ConfigError(
            f"The overlap is {overlap!r} and a tile covers {tile_pixels[0]} x {tile_pixels[1]} pixels; allowed: an "
            "overlap from 0 to 0.75, and one pixel or more."
        )
    tile_height, tile_width = height_width(size)
    map_width = max(1, round(width * tile_width / tile_pixels[0]))
    map_height = max(1, round(height * tile_height / tile_pixels[1]))
    return Grid(
        size=(tile_height, tile_width),
        width=map_width,
        height=map_height,
        lefts=_starts(map_width, tile_width, overlap),
        tops=_starts(map_height, tile_height, overlap),
        scale=tile_pixels[0] / tile_width,
    )


def predict_tiled(
    predictor: Predictor,
    image: NDArray[np.uint8],
    *,
    tile_pixels: tuple[int, int],
    overlap: float = OVERLAP,
    task: Task = QUIET,
) -> tuple[Prediction, NDArray[np.float32], list[NDArray[np.uint8]]]:
    """Prediction for an image (H, W, 3) RGB from overlapping tiles, their embeddings (N, C), and some of them to
    compare with the training images, (H, W, 3) each.

    A tile covers ``tile_pixels``, width and height, of the image; shorter sides are mirrored. The map (h, w) has one
    pixel for a pixel that the model sees, the level maps are (L, h / 4, w / 4). Every tile is one more chance of a
    false reject: what a calibration promises, it promises for one field of view.
    """
    grid = tile_grid(
        image.shape[1], image.shape[0], size=predictor.image_size, tile_pixels=tile_pixels, overlap=overlap
    )
    tiles = _cut(_at_scale(image, grid), grid)
    if len(tiles) == 1 and (grid.height, grid.width) == grid.size:
        found = predictor.batch(np.stack(tiles))
        task.report(1, 1)
        return replace(found.prediction(0), view=grid.text), found.embeddings, tiles
    blended, levels, embeddings = _blended(predictor, tiles, grid, task=task)
    prediction = Prediction(anomaly_map=blended, level_maps=levels, score=float(blended.max()), view=grid.text)
    return prediction, embeddings, _spread(tiles)


def tile_weights(starts: tuple[int, ...], size: int) -> NDArray[np.float32]:
    """(N, size): weights of tiles along one side; at every position those of all tiles there sum to 1. Half a cosine
    wave over what two neighbours have in common, so that neither value nor slope jumps."""
    total = starts[-1] + size
    raw = np.zeros((len(starts), total))
    for index, start in enumerate(starts):
        rising = 0 if index == 0 else starts[index - 1] + size - start
        falling = 0 if index == len(starts) - 1 else start + size - starts[index + 1]
        positions = np.arange(size) + 0.5
        up = np.ones(size) if rising == 0 else np.clip(positions / rising, 0, 1)
        down = np.ones(size) if falling == 0 else np.clip((size - positions) / falling, 0, 1)
        raw[index, start : start + size] = np.sin(np.pi / 2 * up) ** 2 * np.sin(np.pi / 2 * down) ** 2
    raw /= raw.sum(axis=0)
    return np.stack([raw[index, start : start + size] for index, start in enumerate(starts)]).astype(np.float32)


def _blended(
    predictor: Predictor, tiles: list[NDArray[np.uint8]], grid: Grid, *, task: Task
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Map (h, w), level maps (L, h / 4, w / 4) and embeddings (N, C)."""
    (height, width), step, corners = grid.size, LEVEL_STEP, grid.corners
    down = dict(zip(grid.tops, tile_weights(grid.tops, height), strict=True))
    across = dict(zip(grid.lefts, tile_weights(grid.lefts, width), strict=True))
    padded = (grid.tops[-1] + height, grid.lefts[-1] + width)
    blended = np.zeros(padded, np.float32)
    levels: NDArray[np.float32] | None = None
    embeddings = []
    for begin in range(0, len(tiles), BATCH):
        task.check()
        found = predictor.batch(np.stack(tiles[begin : begin + BATCH]))
        embeddings.append(found.embeddings)
        if levels is None:
            levels = np.zeros((found.levels.shape[1], padded[0] // step, padded[1] // step), np.float32)
        for (top, left), plane, level in zip(corners[begin : begin + BATCH], found.maps, found.levels, strict=True):
            weights = down[top][:, None] * across[left]
            blended[top : top + height, left : left + width] += weights * plane
            blocks = (weights * level).reshape(len(level), height // step, step, width // step, step)
            rows, columns = (slice(at // step, (at + side) // step) for at, side in ((top, height), (left, width)))
            levels[:, rows, columns] += blocks.mean(axis=(2, 4))
        task.report(min(begin + BATCH, len(tiles)), len(tiles))
    assert levels is not None, "a grid has at least one tile"
    return (
        np.ascontiguousarray(blended[: grid.height, : grid.width]),
        np.ascontiguousarray(levels[:, : math.ceil(grid.height / step), : math.ceil(grid.width / step)]),
        np.concatenate(embeddings),
    )


def _starts(length: int, size: int, overlap: float) -> tuple[int, ...]:
    """Starts of tiles along a side, evenly spread, at multiples of ``LEVEL_STEP``; the last may reach past the end."""
    if length <= size:
        return (0,)
    stride = size * (1 - overlap)
    count = math.ceil((length - size) / stride) + 1
    last = LEVEL_STEP * math.ceil((length - size) / LEVEL_STEP)
    return tuple(LEVEL_STEP * round(last * index / (count - 1) / LEVEL_STEP) for index in range(count))


def _at_scale(image: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The image at the scale of the map, mirrored at the right and below where tiles reach past its end."""
    scaled = resize_image(image, (grid.height, grid.width))
    below = grid.tops[-1] + grid.size[0] - grid.height
    right = grid.lefts[-1] + grid.size[1] - grid.width
    if not below and not right:
        return scaled
    return np.asarray(cv2.copyMakeBorder(scaled, 0, below, 0, right, cv2.BORDER_REFLECT), np.uint8)


def _cut(scaled: NDArray[np.uint8], grid: Grid) -> list[NDArray[np.uint8]]:
    """Views of the tiles; nothing is copied."""
    height, width = grid.size
    return [scaled[top : top + height, left : left + width] for top, left in grid.corners]


def _spread(tiles: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Up to ``_SAMPLE`` of the tiles, from the first to the last; copies, so that the large image can go."""
    chosen = np.unique(np.linspace(0, len(tiles) - 1, _SAMPLE).round().astype(int))
    return [tiles[index].copy() for index in chosen]


def _embeddings(predictor: Predictor, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    batches = (tiles[begin : begin + BATCH] for begin in range(0, len(tiles), BATCH))
    return np.concatenate([predictor.batch(np.stack(batch)).embeddings for batch in batches])
