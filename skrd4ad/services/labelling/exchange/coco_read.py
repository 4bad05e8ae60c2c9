"""Reading COCO files, of this program and of others: every entry is checked before anything is made of it."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data import rle
from skrd4ad.data.doctor.report import plural
from skrd4ad.data.images.read import MAX_PIXELS
from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange import fields
from skrd4ad.services.labelling.exchange.coco import IMAGES, OWN, category_of
from skrd4ad.services.labelling.exchange.records import Drawn, Found, MaskRef, Place, Problem, Read, Said
from skrd4ad.services.labelling.exchange.sources import Bundle

_FARTHEST = 1e7
"""Coordinates beyond this are of no image."""
Values = Mapping[str, Any]


def read_coco(bundle: Bundle, name: str, *, empty_is_good: bool) -> Read:
    """Images of a COCO file.

    Args:
        bundle: what the file is in.
        name: of the file.
        empty_is_good: whether images without an annotation, of which the file says nothing else, are good parts;
            otherwise they are left out.

    Raises:
        DataError: the file is no COCO file; what is wrong with single entries is listed as problems.
    """
    document = _document(bundle, name)
    problems: list[Problem] = []
    annotations = _by_image(document, problems)
    found: list[Found] = []
    remarks: Counter[str] = Counter()
    for number, entry in _entries(document["images"], "image", problems):
        of_image = annotations.pop(number, [])
        own = entry.get(OWN)
        if not of_image and not isinstance(own, dict) and not empty_is_good:
            remarks["without annotations: left out; they can be taken as good parts"] += 1
            continue
        try:
            found.append(_found(bundle, name, entry, own if isinstance(own, dict) else None, of_image, remarks))
        except DataError as error:
            problems.append(Problem(f"image {number}", str(error)))
    problems += [
        Problem(f"annotations of image {number}", "there is no such image in the file") for number in annotations
    ]
    notes = tuple(f"{plural(count, 'image')} {what}." for what, count in remarks.items())
    return Read(format="coco", found=tuple(found), problems=tuple(problems), notes=notes)


def _document(bundle: Bundle, name: str) -> dict[str, list[Any]]:
    try:
        document = json.loads(bundle.text(name))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is no JSON file, or it is damaged: {error}.") from error
    lists = ("images", "annotations", "categories")
    wrong = [key for key in lists if not isinstance(document, dict) or not isinstance(document.get(key), list)]
    if wrong:
        raise DataError(
            f"{name} is no COCO file: it lacks the {'list' if len(wrong) == 1 else 'lists'} {', '.join(wrong)}."
        )
    return {key: document[key] for key in lists}


def _entries(values: Sequence[Any], what: str, problems: list[Problem]) -> Iterator[tuple[int | str, Values]]:
    """Entries by their ids; those without, and those whose id came before, are problems."""
    seen: set[int | str] = set()
    for place, entry in enumerate(values, start=1):
        number = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(number, bool) or not isinstance(number, int | str):
            problems.append(Problem(f"{what} number {place}", "it has no id"))
        elif number in seen:
            problems.append(Problem(f"{what} {number}", "its id came before"))
        else:
            seen.add(number)
            yield number, entry


def _by_image(document: Mapping[str, list[Any]], problems: list[Problem]) -> dict[int | str, list[Values]]:
    """Annotations by the id of their image, each with the name of its category under ``category``."""
    names: dict[int | str, str] = {}
    for number, entry in _entries(document["categories"], "category", problems):
        try:
            names[number] = fields.type_of(entry.get("name")) or category_of(None)
        except DataError as error:
            problems.append(Problem(f"category {number}", str(error)))
    found: dict[int | str, list[Values]] = defaultdict(list)
    for number, entry in _entries(document["annotations"], "annotation", problems):
        image, category = entry.get("image_id"), entry.get("category_id")
        if isinstance(image, int | str) and isinstance(category, int | str) and category in names:
            found[image].append({**entry, "category": names[category]})
        else:
            problems.append(Problem(f"annotation {number}", "its image_id or category_id is none of the file's"))
    return found


def _found(
    bundle: Bundle, table: str, entry: Values, own: Values | None, annotations: Sequence[Values], remarks: Counter[str]
) -> Found:
    shape = _shape(entry)
    named = fields.text_of(entry.get("file_name"), "file_name").strip()
    if not named:
        raise DataError("it has no file_name")
    told = own or {}
    history = fields.require_history(tuple(_past(each, shape) for each in _listed(told.get("history"), "history")))
    return Found(
        where=f"image {entry['id']}",
        named=named,
        place=_place(bundle, table, named),
        digest=fields.digest_of(told.get("sha256")),
        name=fields.text_of(told.get("name"), "name") or PurePosixPath(named.replace("\\", "/")).name,
        said=_said(told, shape, annotations, remarks, ours=own is not None),
        history=history,
        split=fields.split_of(told.get("dataset_split")),
        known_type=fields.known_type_of(told.get("dataset_type")),
        shape=shape,
    )


def _said(
    own: Values, shape: tuple[int, int], annotations: Sequence[Values], remarks: Counter[str], *, ours: bool
) -> Said:
    """What holds: the annotations; where there are none, what the file says otherwise."""
    comment = fields.comment_of(own.get("comment"))
    if not annotations:
        values = own if ours else {"label": "good"}
        mask = values.get("mask")
        return fields.said_of(values, mask=None if mask is None else _drawn([{"segmentation": mask}], shape))
    category = _largest_category(annotations, remarks)
    kind = fields.type_of(own.get("defect_type"))
    return Said(
        label="defect",
        defect_type=kind if ours and category == category_of(kind) else category,
        mask=_mask_of(annotations, shape, remarks),
        comment=comment,
    )


def _largest_category(annotations: Sequence[Values], remarks: Counter[str]) -> str:
    areas: dict[str, float] = defaultdict(float)
    for each in annotations:
        area = each.get("area")
        areas[each["category"]] += area if _is_number(area) else 0
    if len(areas) > 1:
        remarks["with several types of defect: the one with the largest area was taken"] += 1
    return max(areas, key=areas.__getitem__)


def _mask_of(annotations: Sequence[Values], shape: tuple[int, int], remarks: Counter[str]) -> MaskRef | None:
    if all(each.get("segmentation") for each in annotations):
        return _drawn(annotations, shape)
    # a box is no mask, and a mask that lacks a defect would be measured as if the rest were good
    remarks["with boxes but no mask: taken as defects without a mask"] += 1
    return None


def _drawn(annotations: Sequence[Values], shape: tuple[int, int]) -> Drawn:
    runs: list[NDArray[np.int64]] = []
    polygons: list[NDArray[np.float64]] = []
    for each in annotations:
        segmentation = each["segmentation"]
        if isinstance(segmentation, dict):
            runs.append(_runs(segmentation, shape))
        else:
            polygons += [_polygon(values) for values in _listed(segmentation, "the segmentation")]
    return Drawn(shape, tuple(runs), tuple(polygons))


def _runs(segmentation: Values, shape: tuple[int, int]) -> NDArray[np.int64]:
    if segmentation.get("size") != list(shape):
        raise DataError(
            f"the run lengths are of size {segmentation.get('size')!r:.60}, the image has {list(shape)} (height, width)"
        )
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        return rle.from_text(counts)
    return rle.from_numbers(_listed(counts, "the run lengths"))


def _polygon(values: object) -> NDArray[np.float64]:
    numbers = _listed(values, "a polygon")
    if len(numbers) < 6 or len(numbers) % 2 or not all(map(_is_number, numbers)):
        raise DataError("a polygon has something else than pairs x, y of at least three corners")
    return np.array(numbers, np.float64).reshape(-1, 2)


def _past(values: object, shape: tuple[int, int]) -> Said:
    if not isinstance(values, dict):
        raise DataError("an entry of its history is no object")
    mask = values.get("mask")
    return fields.said_of(values, mask=None if mask is None else _drawn([{"segmentation": mask}], shape))


def _shape(entry: Values) -> tuple[int, int]:
    height, width = entry.get("height"), entry.get("width")
    sides = [side for side in (height, width) if isinstance(side, int) and not isinstance(side, bool) and side > 0]
    if len(sides) != 2 or sides[0] * sides[1] > MAX_PIXELS:
        raise DataError(
            f"height and width are {height!r:.30} and {width!r:.30}; allowed: whole numbers, up to {MAX_PIXELS} pixels"
        )
    return sides[0], sides[1]


def _place(bundle: Bundle, table: str, named: str) -> Place | None:
    """Where an image is: beside the file, in ``images`` beside it or beside its folder, or the only one so called."""
    place = bundle.find(named, beside=table)
    for usual in (f"{IMAGES}/{named}", f"../{IMAGES}/{named}"):
        with suppress(DataError):  # outside the folders that may be read: nobody asked for a file there
            place = place or bundle.find(usual, beside=table)
    if place is not None:
        return place
    endings = [place for name, place in bundle.files.items() if name.endswith(f"/{named}")]
    only = endings[0] if len(endings) == 1 else None
    return None if isinstance(only, bytes) else only


def _listed(value: object, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{what} is {value!r:.60}; allowed: a list")
    return value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _FARTHEST
