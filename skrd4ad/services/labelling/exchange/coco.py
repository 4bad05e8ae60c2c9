"""COCO: one JSON file, an annotation for each connected region of a mask, readable by every tool that knows the format.

Compressed run lengths are exact; polygons run along the edges of pixels and are exact as well, here and in pycocotools.
``iscrowd`` is 0 for both: 1 would take a region out of COCO's own evaluation. What COCO has no word for stands under
the key ``skrd4ad`` of an image, which other tools pass over. Files of other programs are read too: every entry is
checked before anything is made of it.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, Literal, TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data import polygons, rle
from skrd4ad.data.images.read import MAX_PIXELS
from skrd4ad.errors import DataError
from skrd4ad.format import plural
from skrd4ad.services.labelling.exchange import fields
from skrd4ad.services.labelling.exchange.records import (
    CocoMask,
    ExportImage,
    ImportEntry,
    Location,
    MaskSource,
    ParsedLabels,
    Problem,
    Shape,
    exported_values,
)
from skrd4ad.services.labelling.exchange.sources import Bundle
from skrd4ad.storage.annotations import Revision

Segmentation = Literal["rle", "polygons"]
TABLE = "annotations.json"
IMAGES = "images"
OWN = "skrd4ad"
"""Key of an image under which our own values stand."""
UNTYPED = "defect"
"""Category of defects without a type."""
_FARTHEST = 1e7
"""Coordinates beyond this are of no image."""
Values = Mapping[str, Any]


def image_entry(
    image: ExportImage, *, number: int, shape: Shape, masks: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Any]:
    """An image; ``masks`` are those of its history by their files, each (H, W)."""
    item = image.item
    runs = {file: _run_lengths(mask) for file, mask in masks.items()}
    own: dict[str, Any] = {
        "name": item.name,
        "sha256": item.digest,
        "label": item.label,
        "defect_type": item.defect_type,
        "comment": item.latest.comment,
        "split": image.split,
        "dataset_split": item.split,
        "dataset_type": item.known_type,
    }
    if item.label == "unsure" and item.mask_file is not None:
        own["mask"] = runs[item.mask_file]  # an annotation would tell other tools that it is a defect
    own["history"] = [exported_values(each, runs[each.mask_file] if each.mask_file else None) for each in image.history]
    return {"id": number, "file_name": image.file_name, "width": shape[1], "height": shape[0], OWN: own}


def annotation_entries(mask: NDArray[np.bool_], segmentation: Segmentation) -> Iterator[dict[str, Any]]:
    """An annotation for each 8-connected region of a mask (H, W), without ids; areas and boxes in whole pixels."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for region in range(1, count):
        x, y, width, height, area = statistics[region].tolist()
        inside = labels[y : y + height, x : x + width] == region
        if segmentation == "rle":
            whole = np.zeros_like(mask)
            whole[y : y + height, x : x + width] = inside
            segments: Any = _run_lengths(whole)
        else:
            segments = [[value for px, py in ring for value in (px + x, py + y)] for ring in polygons.trace(inside)]
        yield {"segmentation": segments, "area": area, "bbox": [x, y, width, height], "iscrowd": 0}


def document_bytes(
    *, about: Values, images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: Iterable[str]
) -> bytes:
    """The JSON file; ``about`` is for our own key of ``info``, ``categories`` are in the order of their ids, from 1."""
    document = {
        "info": {"description": f"Labels of {about['dataset']}/{about['class']}", "version": "1.0", OWN: about},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": "defect"} for number, name in enumerate(categories, start=1)
        ],
    }
    return (json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n").encode()


def _run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Compressed run lengths, as pycocotools writes them."""
    return {"size": list(mask.shape), "counts": rle.to_text(rle.encode(mask))}


def read_coco(bundle: Bundle, name: str, *, empty_is_good: bool) -> ParsedLabels:
    """Images of a COCO file; what is wrong with single entries is listed as problems.

    ``empty_is_good``: images without an annotation, of which the file says nothing else, are good parts; otherwise they
    are left out.
    """
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
    reader = _Reader(bundle, name)
    annotations = reader.annotations_by_image(document["annotations"], document["categories"])
    entries: list[ImportEntry] = []
    for number, values in reader.with_ids(document["images"], "image"):
        of_image = annotations.pop(number, [])
        if not of_image and not isinstance(values.get(OWN), dict) and not empty_is_good:
            reader.remarks["without annotations: left out; they can be taken as good parts"] += 1
            continue
        try:
            entries.append(reader.entry(values, of_image))
        except DataError as error:
            reader.problems.append(Problem(f"image {number}", str(error)))
    reader.problems += [
        Problem(f"annotations of image {number}", "there is no such image in the file") for number in annotations
    ]
    return ParsedLabels(
        format="coco",
        entries=tuple(entries),
        masks=reader.masks,
        problems=tuple(reader.problems),
        notes=tuple(f"{plural(count, 'image')} {what}." for what, count in reader.remarks.items()),
    )


class _Reader:
    """Collects masks, problems and remarks while a file is read."""

    def __init__(self, bundle: Bundle, table: str) -> None:
        self._bundle = bundle
        self._table = table
        self.masks: dict[str, MaskSource] = {}
        self.problems: list[Problem] = []
        self.remarks: Counter[str] = Counter()
        """What was left out or understood in a certain way, and of how many images."""

    def with_ids(self, values: Sequence[Any], what: str) -> Iterator[tuple[int | str, Values]]:
        """Entries by their ids; those without, and those whose id came before, are problems."""
        seen: set[int | str] = set()
        for index, entry in enumerate(values, start=1):
            number = entry.get("id") if isinstance(entry, dict) else None
            if isinstance(number, bool) or not isinstance(number, int | str):
                self.problems.append(Problem(f"{what} number {index}", "it has no id"))
            elif number in seen:
                self.problems.append(Problem(f"{what} {number}", "its id came before"))
            else:
                seen.add(number)
                yield number, entry

    def annotations_by_image(
        self, annotations: Sequence[Any], categories: Sequence[Any]
    ) -> dict[int | str, list[Values]]:
        """Annotations by the id of their image, each with the name of its category under ``category``."""
        names: dict[int | str, str] = {}
        for number, entry in self.with_ids(categories, "category"):
            try:
                names[number] = fields.type_of(entry.get("name")) or UNTYPED
            except DataError as error:
                self.problems.append(Problem(f"category {number}", str(error)))
        found: dict[int | str, list[Values]] = defaultdict(list)
        for number, entry in self.with_ids(annotations, "annotation"):
            image, category = entry.get("image_id"), entry.get("category_id")
            if isinstance(image, int | str) and isinstance(category, int | str) and category in names:
                found[image].append({**entry, "category": names[category]})
            else:
                what = "its image_id or category_id is none of the file's"
                self.problems.append(Problem(f"annotation {number}", what))
        return found

    def entry(self, values: Values, annotations: Sequence[Values]) -> ImportEntry:
        """An image with its annotations."""
        height, width = values.get("height"), values.get("width")
        sides = [each for each in (height, width) if isinstance(each, int) and not isinstance(each, bool) and each > 0]
        if len(sides) != 2 or sides[0] * sides[1] > MAX_PIXELS:
            raise DataError(
                f"height and width are {height!r:.30} and {width!r:.30}; allowed: whole numbers, up to {MAX_PIXELS} "
                "pixels"
            )
        shape = (sides[0], sides[1])
        named = fields.text_of(values.get("file_name"), "file_name").strip()
        if not named:
            raise DataError("it has no file_name")
        own: Values | None = values[OWN] if isinstance(values.get(OWN), dict) else None
        told = own or {}
        history = []
        for revision in _listed(told.get("history"), "history"):
            if not isinstance(revision, dict):
                raise DataError("an entry of its history is no object")
            history.append(self._revision(revision, shape))
        if annotations:
            latest = self._annotated(own, annotations, shape)
        else:
            latest = self._revision({"label": "good"} if own is None else own, shape)
        return ImportEntry(
            where=f"image {values['id']}",
            named=named,
            location=self._location(named),
            digest=fields.digest_of(told.get("sha256")),
            name=fields.text_of(told.get("name"), "name") or PurePosixPath(named.replace("\\", "/")).name,
            latest=latest,
            history=fields.complete_history(history),
            split=fields.split_of(told.get("dataset_split")),
            known_type=fields.known_type_of(told.get("dataset_type")),
            shape=shape,
        )

    def _revision(self, values: Values, shape: Shape) -> Revision:
        """What our own values say."""
        mask = values.get("mask")
        name = None if mask is None else self._mask([{"segmentation": mask}], shape)
        return fields.revision_of(values, mask=name)

    def _annotated(self, own: Values | None, annotations: Sequence[Values], shape: Shape) -> Revision:
        """What annotations say: a defect of the type that covers the largest area."""
        areas: dict[str, float] = defaultdict(float)
        for each in annotations:
            area = each.get("area")
            areas[each["category"]] += area if _is_number(area) else 0
        if len(areas) > 1:
            self.remarks["with several types of defect: the one with the largest area was taken"] += 1
        category: str | None = max(areas, key=areas.__getitem__)
        if own is not None and category == ((kind := fields.type_of(own.get("defect_type"))) or UNTYPED):
            category = kind  # None where we had to name the category of a defect without a type
        mask = None
        if all(each.get("segmentation") for each in annotations):
            mask = self._mask(annotations, shape)
        else:  # a box is no mask, and a mask that lacks a defect would be measured as if the rest were good
            self.remarks["with boxes but no mask: taken as defects without a mask"] += 1
        comment = fields.comment_of((own or {}).get("comment"))
        return Revision(label="defect", defect_type=category, mask_file=mask, comment=comment)

    def _mask(self, annotations: Sequence[Values], shape: Shape) -> str:
        """Name of the union of segmentations, which is added to ``masks``."""
        runs: list[NDArray[np.int64]] = []
        outlines: list[NDArray[np.float64]] = []
        for each in annotations:
            segmentation = each["segmentation"]
            if isinstance(segmentation, dict):
                runs.append(_counts(segmentation, shape))
            else:
                outlines += [_polygon(values) for values in _listed(segmentation, "the segmentation")]
        name = f"segmentation {len(self.masks)}"
        self.masks[name] = CocoMask(shape, tuple(runs), tuple(outlines))
        return name

    def _location(self, named: str) -> Location | None:
        """Where an image is: beside the file, in ``images`` beside it or its folder, or the only one so called."""
        found = self._bundle.find(named, beside=self._table)
        for usual in (f"{IMAGES}/{named}", f"../{IMAGES}/{named}"):
            with suppress(DataError):  # outside the folders that may be read: nobody asked for a file there
                found = found or self._bundle.find(usual, beside=self._table)
        if found is not None:
            return found
        endings = [location for name, location in self._bundle.files.items() if name.endswith(f"/{named}")]
        only = endings[0] if len(endings) == 1 else None
        return None if isinstance(only, bytes) else only


def _counts(segmentation: Values, shape: Shape) -> NDArray[np.int64]:
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


def _listed(value: object, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{what} is {value!r:.60}; allowed: a list")
    return value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _FARTHEST
