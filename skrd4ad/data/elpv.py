"""ELPV: electroluminescence images of real solar cells, read from the PyPI package ``elpv-dataset``."""

import importlib.util
from pathlib import Path
from typing import Literal

from skrd4ad.digests import content_digest
from skrd4ad.errors import DataError
from skrd4ad.types import GOOD, DatasetClass, Sample, Split

LICENCE = "CC BY-NC-SA 4.0"
NOTE = (
    "Cells whose graders did not agree (defect probability between 0 and 1) are left out; good cells are split "
    "75 % train / 25 % test by a hash of the file name, defective cells are all test."
)
TRAIN_SHARE = 0.75
DEFECT_TYPE = "defective"
CELL_TYPES: tuple[Literal["mono", "poly"], ...] = ("mono", "poly")
_REINSTALL = "Reinstall it with: pip install --force-reinstall elpv-dataset"


_Cell = tuple[Path, float, str]


def elpv_classes() -> list[DatasetClass]:
    """The classes ``solar_cell_mono`` and ``solar_cell_poly``; images are 300x300 grey PNG, without masks."""
    root = data_folder()
    cells = _read_labels(root / "labels.csv")
    return [
        DatasetClass(
            dataset="elpv",
            name=f"solar_cell_{cell_type}",
            root=root,
            layout="elpv",
            samples=tuple(_sample(path, p == 1) for path, p, kind in cells if kind == cell_type and p in (0, 1)),
            licence=LICENCE,
            note=NOTE,
        )
        for cell_type in CELL_TYPES
    ]


def split_of_good(file_name: str) -> Split:
    """Split of a good cell: depends on nothing but its file name."""
    return "train" if int(content_digest(file_name)[:16], 16) < TRAIN_SHARE * 2**64 else "test"


def data_folder() -> Path:
    """Where the package has its images.

    Raises:
        DataError: it is not installed.
    """
    # found, not imported: the package's own loader would read every image into memory
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("The data set elpv needs the package elpv-dataset. Install it with: pip install elpv-dataset")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _read_labels(csv: Path) -> list[_Cell]:
    try:
        lines = csv.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The labels {csv} of the package elpv-dataset cannot be read. {_REINSTALL}") from error
    cells = [_cell(csv, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if missing := {*CELL_TYPES} - {kind for _, _, kind in cells}:
        kinds = " and no ".join(sorted(missing))
        raise DataError(f"The labels {csv} of the package elpv-dataset list no {kinds} cells. {_REINSTALL}")
    return cells


def _cell(csv: Path, number: int, line: str) -> _Cell:
    expected = "expected: an image of the package, a probability from 0 to 1, mono or poly"
    try:
        name, probability, cell_type = line.split()
        cell = (csv.parent / name, float(probability), cell_type)
        if not 0 <= cell[1] <= 1 or cell_type not in CELL_TYPES or not cell[0].is_file():
            raise ValueError(line)
    except ValueError as error:
        raise DataError(f"Line {number} of {csv} is {line!r}; {expected}. {_REINSTALL}") from error
    return cell


def _sample(path: Path, is_defect: bool) -> Sample:
    if is_defect:
        return Sample(path=path, split="test", label=1, defect_type=DEFECT_TYPE)
    return Sample(path=path, split=split_of_good(path.name), label=0, defect_type=GOOD)
