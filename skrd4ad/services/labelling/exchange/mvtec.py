"""The MVTec layout: what an image shows is said by its folder; what folders cannot say is in the tables beside them."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from skrd4ad.data.doctor.report import plural
from skrd4ad.data.images.read import is_image
from skrd4ad.data.layouts.folders import GOOD_NAMES, mask_of
from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange import fields
from skrd4ad.services.labelling.exchange.csv_format import LABELS, read_csv
from skrd4ad.services.labelling.exchange.records import Found, Labelled, Place, Problem, Read, Said
from skrd4ad.services.labelling.exchange.sources import Bundle
from skrd4ad.types import GOOD, Split

TRUTH = "ground_truth"
UNSURE = "unsure"
"""Folder beside the class: no reader of the layout takes what is in it for good or defective."""
UNTYPED = "defect"
"""Folder of defects without a type."""


def type_folder(defect_type: str | None) -> str:
    """Folder of a defect type: a name that does not read as good parts, and that every system can have."""
    if defect_type is None:
        return UNTYPED
    name = defect_type.rstrip(". ")
    return f"{UNTYPED}_{name}" if name.casefold() in GOOD_NAMES else name


def image_place(each: Labelled, *, class_folder: str) -> str:
    """Where an image stands in the export."""
    if each.item.label == "unsure":
        return f"{UNSURE}/{each.file_name}"
    kind = GOOD if each.item.label == "good" else type_folder(each.item.defect_type)
    return f"{class_folder}/{each.split}/{kind}/{each.file_name}"


def mask_place(each: Labelled, *, class_folder: str) -> str | None:
    """Where the mask of an image stands in the export; None for an unsure image, which has no place in the layout."""
    if each.item.label == "unsure":
        return None
    stem = PurePosixPath(each.file_name).stem
    return f"{class_folder}/{TRUTH}/{type_folder(each.item.defect_type)}/{stem}_mask.png"


def is_layout(bundle: Bundle) -> bool:
    """Whether there are images in folders of ``train`` or ``test``."""
    return any(_spot(name) is not None for name in bundle.files)


def read_mvtec(bundle: Bundle, *, class_name: str) -> Read:
    """Images of one class. The folders say what holds; ``labels.csv`` adds what was decided before.

    Args:
        bundle: folder or ZIP file.
        class_name: class to take where there are several.

    Raises:
        DataError: there are several classes, none of that name; or the tables cannot be read.
    """
    spots = {name: spot for name in bundle.files if (spot := _spot(name)) is not None}
    chosen = _chosen_class(spots.values(), class_name)
    table = next((name for name in bundle.tables(".csv") if PurePosixPath(name).name == LABELS), None)
    told = Read(format="mvtec", found=(), problems=()) if table is None else read_csv(bundle, table)
    rows = _Rows(told.found)
    masks = _masks(bundle, chosen)
    found, problems = [], list(told.problems)
    for name, spot in spots.items():
        place = bundle.files[name]
        if spot.class_folder != chosen or isinstance(place, bytes):
            continue
        mask = mask_of(Path(name), masks[spot.kind.casefold()])
        try:
            at = None if mask is None else bundle.find(mask.as_posix())
            found.append(_found(name, place, spot, at, rows.take(name, place)))
        except DataError as error:
            problems.append(Problem(name, str(error)))
    # what is left are rows of unsure images, and of those that somebody took out of their folders
    unsure = [each for each in rows.left if each.said.label == "unsure"]
    notes = []
    if gone := len(rows.left) - len(unsure):
        notes.append(f"Left out: {plural(gone, 'image')} of {table} no longer in the folders.")
    return Read(format="mvtec", found=(*found, *unsure), problems=tuple(problems), notes=tuple(notes))


class _Rows:
    """Rows of the table, each for one image: that at its place, else the one that was moved and kept its name."""

    def __init__(self, found: Iterable[Found]) -> None:
        self._left = {each.where: each for each in found}
        self._by_place = {each.place: each for each in self._left.values() if each.place is not None}
        moved = [each for each in self._left.values() if each.place is None]
        names = Counter(PurePosixPath(each.named).name for each in moved)
        self._moved = {name: each for each in moved if names[name := PurePosixPath(each.named).name] == 1}

    @property
    def left(self) -> list[Found]:
        return list(self._left.values())

    def take(self, name: str, place: Place) -> Found | None:
        row = self._by_place.get(place) or self._moved.pop(PurePosixPath(name).name, None)
        return None if row is None else self._left.pop(row.where, None)


@dataclass(frozen=True)
class _Spot:
    """Where an image stands in the layout."""

    class_folder: str
    split: Split
    kind: str
    """Folder that says what the image shows."""


def _found(name: str, place: Place, at: _Spot, mask: Place | None, row: Found | None) -> Found:
    good = at.kind.casefold() in GOOD_NAMES
    if row is None:
        said = Said(
            label="good" if good else "defect",
            defect_type=None if good or at.kind == UNTYPED else fields.type_of(at.kind),
            mask=mask,
        )
        return Found(
            where=name,
            named=name,
            place=place,
            digest=None,
            name=fields.text_of(PurePosixPath(name).name, "its name"),
            said=said,
            split=at.split,
            known_type=GOOD if good else fields.type_of(at.kind),
        )
    if good:
        return replace(row, where=name, said=replace(row.said, label="good", defect_type=None, mask=None))
    told = type_folder(row.said.defect_type)
    kind = row.said.defect_type if told.casefold() == at.kind.casefold() else fields.type_of(at.kind)
    return replace(row, where=name, said=replace(row.said, label="defect", defect_type=kind, mask=mask))


def _spot(name: str) -> _Spot | None:
    """Place of a file in the layout; None for other files."""
    *outer, split, kind, _ = ("", "", *PurePosixPath(name).parts)
    if split.lower() not in ("train", "test") or not is_image(Path(name)):
        return None
    return _Spot("/".join(filter(None, outer)), "train" if split.lower() == "train" else "test", kind)


def _masks(bundle: Bundle, class_folder: str) -> dict[str, dict[str, Path]]:
    """Names of masks by the folder of their type and their stem, both in lower case."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for name in bundle.files:
        *outer, truth, kind, file = ("", "", *PurePosixPath(name).parts)
        if truth.lower() == TRUTH and "/".join(filter(None, outer)) == class_folder and is_image(Path(name)):
            found[kind.casefold()].setdefault(Path(file).stem.casefold(), Path(name))
    return found


def _chosen_class(spots: Iterable[_Spot], class_name: str) -> str:
    folders = sorted({spot.class_folder for spot in spots})
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
