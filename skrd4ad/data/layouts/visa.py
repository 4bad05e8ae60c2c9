"""VisA as published: ``CLASS/Data/{Images,Masks}`` with the splits in ``split_csv/*.csv``."""

import csv
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath

from skrd4ad.data.layouts.folders import images_by_stem, subfolders
from skrd4ad.data.layouts.hints import Hints
from skrd4ad.data.layouts.masks import mask_of
from skrd4ad.errors import LayoutError
from skrd4ad.format import plural
from skrd4ad.types import GOOD, DatasetClass, Remark, Sample, Split

COLUMNS = ("object", "split", "label", "image", "mask")
SPLIT_FILES = {
    "visa": "1cls.csv",
    "visa-2cls-highshot": "2cls_highshot.csv",
    "visa-2cls-fewshot": "2cls_fewshot.csv",
}
"""The split file that each layout reads, as the repository of the data set names them."""
Row = dict[str, str]
_Lookup = Callable[[Path], dict[str, Path]]
"""Images of a folder by stem in lower case; each folder is listed once."""


def split_file(root: Path, layout: str = "visa") -> Path:
    """The file that says which image is for what."""
    return root / "split_csv" / SPLIT_FILES[layout]


def is_class(folder: Path) -> bool:
    """Whether a folder holds ``Data/Images``."""
    return (folder / "Data" / "Images").is_dir()


def fits(root: Path) -> bool:
    """Whether the folder, or a folder in it, looks like VisA."""
    return split_file(root).is_file() or is_class(root) or any(is_class(p) for p in subfolders(root))


def read_classes(root: Path, layout: str, hints: Hints) -> list[DatasetClass]:
    """All classes that have a folder, with the samples that the split file lists for them. An image that is listed and
    missing stays a sample, so that it is reported and not lost. A mask that is not listed is looked for by its stem.
    Defects that a split with two classes gives for training are left out."""
    path = split_file(root, layout)
    rows = _rows_by_class(root, path)
    names = {p.name for p in subfolders(root) if is_class(p)}
    if unlisted := sorted(names - set(rows)):
        raise LayoutError(
            f"{path} lists no images of {', '.join(unlisted)}; it lists {', '.join(sorted(rows))}. "
            "Add rows for them, or move their folders away."
        )
    lookup = cache(lambda folder: images_by_stem([folder]))
    classes = []
    for name in sorted(names):
        samples = [_sample(root, row, lookup, hints) for row in rows[name]]
        unused = [s.path for s in samples if s.split == "train" and s.label == 1]
        message = f"{plural(len(unused), 'defect')} in train: not used; training takes good parts only."
        classes.append(
            DatasetClass(
                dataset=root.name,
                name=name,
                root=root / name,
                layout=str(replace(hints, layout=layout)),
                samples=tuple(s for s in samples if s.split == "test" or s.label == 0),
                remarks=(Remark("note", "train-defects", message, tuple(unused)),) if unused else (),
            )
        )
    return classes


def _rows_by_class(root: Path, path: Path) -> dict[str, list[Row]]:
    if not path.is_file():
        whole = root.parent if is_class(root) else root
        raise LayoutError(
            f"{root}: VisA needs the file split_csv/{path.name} in the data set's root, beside the class folders. "
            f"Give the root (perhaps {whole}) and put the file from the VisA download there."
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [c for c in COLUMNS if c not in (reader.fieldnames or ())]:
                raise LayoutError(
                    f"{path}: the columns are {', '.join(reader.fieldnames or ()) or 'none'}; missing: "
                    f"{', '.join(missing)}; needed: {', '.join(COLUMNS)}."
                )
            rows: dict[str, list[Row]] = defaultdict(list)
            for row in reader:
                rows[row["object"]].append(_checked(row, path, reader.line_num))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(f"{path} cannot be read as CSV ({error}). Take it from the VisA download again.") from error
    return rows


def _checked(row: dict[str, str | None], path: Path, line: int) -> Row:
    values = {column: row[column] or "" for column in COLUMNS}
    row_name = f"{path}, line {line}: "
    if values["split"] not in ("train", "test"):
        raise LayoutError(f"{row_name}split is {values['split']!r}; allowed: train, test.")
    if values["label"] not in ("normal", "anomaly"):
        raise LayoutError(f"{row_name}label is {values['label']!r}; allowed: normal, anomaly.")
    for column in ("image", "mask"):
        relative = PurePosixPath(values[column])
        if relative.is_absolute() or ".." in relative.parts or (column == "image" and not relative.name):
            raise LayoutError(f"{row_name}{column} is {values[column]!r}; allowed: a path inside {path.parent.parent}.")
    return values


def _sample(root: Path, row: Row, lookup: _Lookup, hints: Hints) -> Sample:
    path = _existing(root / row["image"], lookup)
    split: Split = "train" if row["split"] == "train" else "test"
    if row["label"] == "normal":
        return Sample(path=path, split=split, label=0, defect_type=GOOD)
    kind = path.parent.name
    mask = _existing(root / row["mask"], lookup) if row["mask"] else None
    if mask is None or not mask.is_file():
        mask = mask_of(path, lookup(root / row["object"] / "Data" / "Masks" / kind))
    return Sample(path=path, split=split, label=1, defect_type=kind, mask_path=mask, mask_values=hints.mask_values)


def _existing(path: Path, lookup: _Lookup) -> Path:
    """The listed file, or the one of the same stem where only suffix or letter case differ."""
    return path if path.is_file() else lookup(path.parent).get(path.stem.casefold(), path)
