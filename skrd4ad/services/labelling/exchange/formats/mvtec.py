"""The MVTec layout: what an image shows is said by its folder; what folders cannot say is in the tables beside them."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from skrd4ad.data.images.read import is_image
from skrd4ad.data.layouts.folders import is_good, is_mask_folder
from skrd4ad.data.layouts.masks import mask_of
from skrd4ad.errors import DataError
from skrd4ad.format import plural
from skrd4ad.services.labelling.exchange import fields
from skrd4ad.services.labelling.exchange.formats.csv_format import LABELS, read_csv
from skrd4ad.services.labelling.exchange.records import ExportImage, ImportEntry, Location, ParsedLabels, Problem
from skrd4ad.services.labelling.exchange.sources import Bundle
from skrd4ad.storage.annotations import Revision
from skrd4ad.types import GOOD, Split

TRUTH = "ground_truth"
UNSURE = "unsure"
"""Folder beside the class: no reader of the layout takes what is in it for good or defective."""
UNTYPED = "defect"
"""Folder of defects without a type."""
_Spot = tuple[str, Split, str]
"""Where an image stands in the layout: folder of the class, split, and the folder that says what the image shows."""


def type_folder(defect_type: str | None) -> str:
    """Folder of a defect type: a name that reads neither as good parts nor as masks, and that every system can have."""
    if defect_type is None:
        return UNTYPED
    name = defect_type.rstrip(". ")
    return f"{UNTYPED}_{name}" if is_good(Path(name)) or is_mask_folder(Path(name)) else name


def export_paths(image: ExportImage, *, class_folder: str) -> tuple[str, str | None]:
    """Where an image and its mask stand in the export; an unsure image has no place for its mask in the layout."""
    if image.item.label == "unsure":
        return f"{UNSURE}/{image.file_name}", None
    folder = type_folder(image.item.defect_type)
    kind = GOOD if image.item.label == "good" else folder
    mask = f"{class_folder}/{TRUTH}/{folder}/{PurePosixPath(image.file_name).stem}_mask.png"
    return f"{class_folder}/{image.split}/{kind}/{image.file_name}", mask


def is_layout(bundle: Bundle) -> bool:
    """Whether there are images in folders of ``train`` or ``test``."""
    return any(_spot(name) is not None for name in bundle.files)


def read_mvtec(bundle: Bundle, *, class_name: str) -> ParsedLabels:
    """Images of one class. The folders say what holds; ``labels.csv`` adds the revisions before.

    Where there are several classes, that of ``class_name`` is taken.
    """
    spots = {name: spot for name in bundle.files if (spot := _spot(name)) is not None}
    chosen = _chosen_class(sorted({folder for folder, _, _ in spots.values()}), class_name)
    table = next((name for name in bundle.tables(".csv") if PurePosixPath(name).name == LABELS), None)
    rows = ParsedLabels(format="csv", masks={}) if table is None else read_csv(bundle, table)
    problems, masks = [*rows.problems], {**rows.masks}

    # a row belongs to the image at its path, else to the one that was moved and kept its name
    left = {row.where: row for row in rows.entries}
    by_location = {row.location: row for row in rows.entries if row.location is not None}
    moved = [row for row in rows.entries if row.location is None]
    names = Counter(PurePosixPath(row.named).name for row in moved)
    by_name = {name: row for row in moved if names[name := PurePosixPath(row.named).name] == 1}

    mask_files = _mask_files(bundle, chosen)
    entries: list[ImportEntry] = []
    for name, (class_folder, split, kind) in spots.items():
        location = bundle.files[name]
        if class_folder != chosen or isinstance(location, bytes):
            continue
        row = by_location.get(location) or by_name.pop(PurePosixPath(name).name, None)
        row = None if row is None else left.pop(row.where, None)
        try:
            file = mask_of(Path(name), mask_files[kind.casefold()])
            mask = None if file is None else bundle.find(file.as_posix())
            if mask is not None:
                masks[str(mask)] = mask
            row = row or _new_entry(name, location, split, kind)
            entries.append(replace(row, where=name, latest=_decision(row.latest, kind, mask)))
        except DataError as error:
            problems.append(Problem(name, str(error)))
    # what is left are rows of unsure images, and of those that somebody took out of their folders
    unsure = [row for row in left.values() if row.latest.label == "unsure"]
    gone = len(left) - len(unsure)
    return ParsedLabels(
        format="mvtec",
        entries=(*entries, *unsure),
        masks=masks,
        problems=tuple(problems),
        notes=(f"Left out: {plural(gone, 'image')} of {table} no longer in the folders.",) if gone else (),
    )


def _new_entry(name: str, location: Location, split: Split, kind: str) -> ImportEntry:
    """An image that no table tells of."""
    good = is_good(Path(kind))
    return ImportEntry(
        where=name,
        named=name,
        location=location,
        digest="",
        name=fields.text_of(PurePosixPath(name).name, "its name"),
        latest=Revision(label="defect", defect_type=None if good or kind == UNTYPED else fields.type_of(kind)),
        split=split,
        known_type=GOOD if good else fields.type_of(kind),
    )


def _decision(told: Revision, kind: str, mask: Location | None) -> Revision:
    """What the folder says of an image, with what its row tells besides."""
    if is_good(Path(kind)):
        return replace(told, label="good", defect_type=None, mask_file=None)
    same = type_folder(told.defect_type).casefold() == kind.casefold()
    defect_type = told.defect_type if same else fields.type_of(kind)
    return replace(told, label="defect", defect_type=defect_type, mask_file=None if mask is None else str(mask))


def _spot(name: str) -> _Spot | None:
    """None for files that are no images of the layout."""
    *outer, split, kind, _ = ("", "", *PurePosixPath(name).parts)
    if split.lower() not in ("train", "test") or not is_image(Path(name)):
        return None
    return "/".join(filter(None, outer)), "train" if split.lower() == "train" else "test", kind


def _mask_files(bundle: Bundle, class_folder: str) -> dict[str, dict[str, Path]]:
    """Names of masks by the folder of their type and their stem, both in lower case."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for name in bundle.files:
        *outer, truth, kind, file = ("", "", *PurePosixPath(name).parts)
        if truth.lower() == TRUTH and "/".join(filter(None, outer)) == class_folder and is_image(Path(name)):
            found[kind.casefold()].setdefault(Path(file).stem.casefold(), Path(name))
    return found


def _chosen_class(folders: Sequence[str], class_name: str) -> str:
    if len(folders) == 1:
        return folders[0]
    named = [folder for folder in folders if PurePosixPath(folder).name.casefold() == class_name.casefold()]
    if len(named) != 1:
        found = ", ".join(PurePosixPath(folder).name or "(without a name)" for folder in folders) or "none"
        raise DataError(
            f"None of the classes {found} is {class_name!r}. Give the folder of the one that is meant, or import into "
            "the class of that name."
        )
    return named[0]
