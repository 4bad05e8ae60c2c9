"""Which patch of which good training image a cell of a part was compared with, for a person to look at both."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.find_part import AlignedImage
from skrd4ad.data.images.model_input import model_input, on_image
from skrd4ad.data.images.read import read_image
from skrd4ad.digests import image_digest
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import PATCH_IMAGES
from skrd4ad.types import DatasetClass

AROUND = 1.5
"""Cells of the grid that are shown on each side of the one that was compared."""
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class NearestPatch:
    """A cell of a part, and the nearest good patch."""

    box: Box
    """x0, y0, x1, y1 of the surroundings of the cell, in pixels of the part's image."""
    path: Path
    good_box: Box
    """The same surroundings in that image."""
    distance: float
    """Of the two, in standardised descriptors; 0 is the same."""
    usual: float
    """Mean distance of the cells of good parts."""


def nearest_patch(
    predictor: Predictor, image: NDArray[np.uint8], data: DatasetClass, *, peak: tuple[float, float]
) -> NearestPatch | None:
    """The good patch that is nearest to the cell of a peak (x and y, each 0 to below 1 of width and height).

    ``image`` is (H, W, 3) uint8 RGB of any size, seen whole. None when the model compares with no patches, or its
    training image is no longer among the class's.
    """
    normality = predictor.model.normality  # brings torch with it, which nobody needs before
    import torch

    from skrd4ad.inference.network import tensor_of

    names = predictor.info.data.get(PATCH_IMAGES)
    if normality is None or normality.patches is None or not names:
        return None
    assert normality.source is not None and normality.usual is not None
    size, alignment = predictor.image_size, predictor.info.alignment
    seen, aligned = model_input(image, size, alignment)
    with torch.inference_mode():
        distances, patches = normality.nearest(predictor.model.teacher(tensor_of(seen[None])))
    rows, columns = patches.shape[1:]
    if aligned is not None:
        x, y = (share * side - 0.5 for share, side in zip(peak, image.shape[1::-1], strict=True))
        peak = tuple(aligned.frame @ (x, y, 1) + 0.5)
    row, column = (min(max(int(share * cells), 0), cells - 1) for share, cells in ((peak[1], rows), (peak[0], columns)))
    patch = int(patches[0, row, column])
    source, good_row, good_column = map(int, normality.source[patch].tolist())
    path = next((sample.path for sample in data.train if image_digest(sample.path) == names[source]), None)
    if path is None:
        return None
    good = read_image(path, levels=predictor.info.levels)
    return NearestPatch(
        box=_around(row, column, grid=(rows, columns), size=image.shape[:2], aligned=aligned),
        path=path,
        good_box=_around(
            good_row,
            good_column,
            grid=(rows, columns),
            size=good.shape[:2],
            aligned=model_input(good, size, alignment)[1],
        ),
        distance=float(distances[0, 0, row, column]),
        usual=float(normality.usual[patch, -1]),
    )


def _around(
    row: int, column: int, *, grid: tuple[int, int], size: tuple[int, ...], aligned: AlignedImage | None
) -> Box:
    """Pixels around a cell; moved inward at the border, so that both pictures show as much. Of an aligned image, the
    upright box around what the model saw there."""
    if aligned is not None:
        places = (np.array([[column, row]]) + 0.5 + (0.5 + AROUND) * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])) / (
            grid[1],
            grid[0],
        ) - 0.5
        x, y = on_image(places, aligned.frame).T
        left, top = max(0, math.floor(x.min())), max(0, math.floor(y.min()))
        return (
            min(left, size[1] - 1),
            min(top, size[0] - 1),
            max(min(size[1], math.ceil(x.max())), min(left, size[1] - 1) + 1),
            max(min(size[0], math.ceil(y.max())), min(top, size[0] - 1) + 1),
        )
    edges = []
    for cell, cells, pixels in zip((row, column), grid, size, strict=True):
        width = (1 + 2 * AROUND) * pixels / cells
        start = min(max((cell - AROUND) * pixels / cells, 0), max(pixels - width, 0))
        edges.append((round(start), min(pixels, max(round(start + width), round(start) + 1))))
    (top, bottom), (left, right) = edges
    return left, top, right, bottom
