"""VisA as published: ``CLASS/Data/{Images,Masks}`` with the split in ``split_csv/1cls.csv``."""

import csv
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath

from skrd4ad.data.layouts.folders import ClassFolders, child, images_by_stem, mask_of, subfolders
from skrd4ad.errors import LayoutError
from skrd4ad.types import GOOD, DatasetClass, Sample, Split

COLUMNS = ("object", "split", "label", "image", "mask")
Row = dict[str, str]
_Lookup = Callable[[Path], dict[str, Path]]
"""Images of a folder by stem in lower case; each folder is listed once."""


def split_file(root: Path) -> Path:
    """The file that says which image is for what."""
    return root / "split_csv" / "1cls.csv"


def is_class(folder: Path) -> bool:
    """Whether a folder holds ``Data/Images``."""
    return (folder / "Data" / "Images").is_dir()


def fits(root: Path) -> bool:
    """Whether the folder, or a folder in it, looks like VisA."""
    return split_file(root).is_file() or is_class(root) or any(is_class(p) for p in subfolders(root))


def read_classes(root: Path) -> list[DatasetClass]:
    """All classes that have a folder, with the samples that the split file lists for them. An image that is listed and
    missing stays a sample, so that it is reported and not lost. A mask that is not listed is looked for by its stem."""
    rows = _rows_by_class(root)
    names = {p.name for p in subfolders(root) if is_class(p)}
    if unlisted := sorted(names - set(rows)):
        raise LayoutError(
            f"{split_file(root)} lists no images of {', '.join(unlisted)}; it lists {', '.join(sorted(rows))}. "
            "Add rows for them, or move their folders away."
        )
    lookup = cache(lambda folder: images_by_stem([folder]))
    return [
        DatasetClass(
            dataset=root.name,
            name=name,
            root=root / name,
            layout="visa",
            samples=tuple(_sample(root, row, lookup) for row in rows[name]),
        )
        for name in sorted(names)
    ]


def class_folders(cls: DatasetClass) -> ClassFolders:
    """Folders of a class."""
    images, masks = child(cls.root / "Data", "Images"), child(cls.root / "Data", "Masks")
    return ClassFolders(
        images=tuple(subfolders(images)),
        masks=tuple((folder, (child(images, folder.name),)) for folder in subfolders(masks)),
        containers=tuple(p for p in (images, masks) if p.is_dir()),
    )


def _rows_by_class(root: Path) -> dict[str, list[Row]]:
    path = split_file(root)
    if not path.is_file():
        whole = root.parent if is_class(root) else root
        raise LayoutError(
            f"{root}: VisA needs the file split_csv/1cls.csv in the data set's root, beside the class folders. "
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


def _sample(root: Path, row: Row, lookup: _Lookup) -> Sample:
    path = _existing(root / row["image"], lookup)
    split: Split = "train" if row["split"] == "train" else "test"
    if row["label"] == "normal":
        return Sample(path=path, split=split, label=0, defect_type=GOOD)
    kind = path.parent.name
    mask = _existing(root / row["mask"], lookup) if row["mask"] else None
    if mask is None or not mask.is_file():
        mask = mask_of(path, lookup(root / row["object"] / "Data" / "Masks" / kind))
    return Sample(path=path, split=split, label=1, defect_type=kind, mask_path=mask)


def _existing(path: Path, lookup: _Lookup) -> Path:
    """The listed file, or the one of the same stem where only suffix or letter case differ."""
    return path if path.is_file() else lookup(path.parent).get(path.stem.casefold(), path)
