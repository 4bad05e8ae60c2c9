"""What the published command prints and writes besides models: the table of figures, scores, overlays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.cli.output import Output
from skrd4ad.data.images.read import read_image
from skrd4ad.errors import DataError
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.inspection.input_files import output_names
from skrd4ad.services.inspection.inspect import png_bytes
from skrd4ad.types import DatasetClass
from skrd4ad.visualize import overlay

COLUMNS = (
    ("image_auroc", "image AUROC"),
    ("pixel_auroc", "pixel AUROC"),
    ("aupro", "AUPRO (exact)"),
    ("aupro_paper", "AUPRO (paper protocol)"),
)


def table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Figures of each class and their mean over the classes that have them; ``-`` where one is undefined.

    Args:
        rows: title and metrics of each class.
    """
    mean = {key: _mean([metrics.get(key) for _, metrics in rows]) for key, _ in COLUMNS}
    width = max(len(title) for title, _ in [*rows, ("class", {})]) + 2
    lines = ["".join([f"{'class':<{width}}", *(f"{title:>{len(title) + 2}}" for _, title in COLUMNS)])]
    for title, metrics in [*rows, ("mean", mean)]:
        cells = (f"{_figure(metrics.get(key)):>{len(column) + 2}}" for key, column in COLUMNS)
        lines.append("".join([f"{title:<{width}}", *cells]))
    return "\n".join(lines)


def print_scores(data: DatasetClass, scores: NDArray[np.float32], output: Output) -> None:
    """One line a test image: score, defect type, file."""
    for sample, score in zip(data.test, scores.tolist(), strict=True):
        output.say(f"{score:.4f}  {sample.defect_type}  {sample.path}")


def write_overlays(
    data: DatasetClass, maps: NDArray[np.float32], *, calibration: Calibration | None, folder: Path
) -> None:
    """An overlay for each test image, all on one scale: the model's, or without thresholds that of the highest score.

    Args:
        data: the class.
        maps: (N, S, S), of its test images.
        calibration: of the model; without one the heat shows the upper half of all scores, and no outlines.
        folder: made when missing.

    Raises:
        DataError: an overlay cannot be written.
    """
    top = float(maps.max())
    threshold, saturates = (
        (top / 2, top) if calibration is None else (calibration.image_threshold, calibration.heat_top)
    )
    paths = [sample.path for sample in data.test]
    try:
        for path, name, plane in zip(paths, output_names(paths), maps, strict=True):
            target = folder / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            picture = overlay(
                read_image(path), plane, threshold=threshold, top=saturates, outlines=calibration is not None
            )
            target.write_bytes(png_bytes(picture))
    except OSError as error:
        raise DataError(f"Overlays cannot be written to {folder}: {error}. Choose another --img_path.") from error


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
