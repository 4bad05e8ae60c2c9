"""COCO: one JSON file, an annotation for each connected region of a mask, readable by every tool that knows the format.

Compressed run lengths are exact; polygons run along the edges of pixels and are exact as well, here and in pycocotools.
Ids begin with 1, and ``iscrowd`` is 0: COCO's own evaluation matches no annotation of id 0, and takes crowds out. What
COCO has no word for stands under the key ``skrd4ad`` of an image, which other tools pass over. Files of other programs
are read too: every entry is checked before anything is made of it.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data import polygons, rle
from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange import fields
from skrd4ad.services.labelling.exchange.formats.collect import (
    UNTYPED,
    Collector,
    Region,
    area_inside,
    hints_of,
    is_number,
    listed,
    means_good,
    polygon_of,
    posix_name,
    shape_of,
)
from skrd4ad.services.labelling.exchange.formats.tables import Tables
from skrd4ad.services.labelling.exchange.records import ExportImage, ImportEntry, Problem, Shape, exported_values
from skrd4ad.storage.annotations import Revision

Segmentation = Literal["rle", "polygons"]
TABLE = "annotations.json"
OWN = "skrd4ad"
"""Key of an image under which our own values stand."""
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


def is_coco(document: object) -> bool:
    """Whether a JSON document looks like one of COCO."""
    return isinstance(document, dict) and {"images", "annotations"} <= set(document)


def read_coco(tables: Tables, names: Sequence[str], collector: Collector) -> None:
    """Images of COCO files; what is wrong with single entries is listed as problems."""
    for name in names:
        _Reader(collector, name, prefix=f"{name}: " if len(names) > 1 else "").read(tables.json(name))


class _Reader:
    """Reads one file."""

    def __init__(self, collector: Collector, table: str, *, prefix: str) -> None:
        self._collector = collector
        self._table = table
        self._prefix = prefix

    def read(self, document: Any) -> None:
        lists = ("images", "annotations", "categories")
        wrong = [key for key in lists if not isinstance(document, dict) or not isinstance(document.get(key), list)]
        if wrong:
            raise DataError(
                f"{self._table} is no COCO file: it lacks the {'list' if len(wrong) == 1 else 'lists'} "
                f"{', '.join(wrong)}."
            )
        annotations = self._annotations_by_image(document["annotations"], document["categories"])
        for number, values in self._with_ids(document["images"], "image"):
            of_image = annotations.pop(number, [])
            try:
                if isinstance(values.get(OWN), dict):
                    self._collector.entries.append(self._own_entry(values, values[OWN], of_image))
                else:
                    self._add(values, of_image)
            except DataError as error:
                self._problem(f"image {number}", str(error))
        for number in annotations:
            self._problem(f"annotations of image {number}", "there is no such image in the file")

    def _problem(self, where: str, what: str) -> None:
        self._collector.problems.append(Problem(f"{self._prefix}{where}", what))

    def _with_ids(self, values: Sequence[Any], what: str) -> Iterator[tuple[int | str, Values]]:
        """Entries by their ids; those without, and those whose id came before, are problems."""
        seen: set[int | str] = set()
        for index, entry in enumerate(values, start=1):
            number = entry.get("id") if isinstance(entry, dict) else None
            if isinstance(number, bool) or not isinstance(number, int | str):
                self._problem(f"{what} number {index}", "it has no id")
            elif number in seen:
                self._problem(f"{what} {number}", "its id came before")
            else:
                seen.add(number)
                yield number, entry

    def _annotations_by_image(
        self, annotations: Sequence[Any], categories: Sequence[Any]
    ) -> dict[int | str, list[Values]]:
        """Annotations by the id of their image, each with the name of its category under ``category``."""
        names: dict[int | str, str] = {}
        for number, entry in self._with_ids(categories, "category"):
            try:
                name = fields.text_of(entry.get("name"), "the name").strip()
                names[number] = name if means_good(name) else fields.type_of(name) or UNTYPED
            except DataError as error:
                self._problem(f"category {number}", str(error))
        found: dict[int | str, list[Values]] = defaultdict(list)
        for number, entry in self._with_ids(annotations, "annotation"):
            image, category = entry.get("image_id"), entry.get("category_id")
            if isinstance(image, int | str) and isinstance(category, int | str) and category in names:
                found[image].append({**entry, "category": names[category]})
            else:
                self._problem(f"annotation {number}", "its image_id or category_id is none of the file's")
        return found

    def _add(self, values: Values, annotations: Sequence[Values]) -> None:
        """An image that another program wrote."""
        shape = shape_of(values.get("height"), values.get("width"))
        self._collector.add(
            where=f"{self._prefix}image {values['id']}",
            named=values.get("file_name"),  # type: ignore[arg-type]  # it is checked there
            table=self._table,
            regions=[_region(each, shape) for each in annotations],
            shape=shape,
            hints=hints_of(self._table),
        )

    def _own_entry(self, values: Values, own: Values, annotations: Sequence[Values]) -> ImportEntry:
        """An image that this program wrote."""
        shape = shape_of(values.get("height"), values.get("width"))
        named = fields.text_of(values.get("file_name"), "file_name").strip()
        if not named:
            raise DataError("it names no image")
        history = []
        for revision in listed(own.get("history"), "history"):
            if not isinstance(revision, dict):
                raise DataError("an entry of its history is no object")
            history.append(self._revision(revision, shape))
        latest = self._revision(own, shape)
        if annotations:
            drawn = self._collector.decision([_region(each, shape) for each in annotations], shape, own=True)
            kind = fields.type_of(own.get("defect_type"))
            if drawn.defect_type == (kind or UNTYPED):  # we had to name the category of a defect without a type
                drawn = replace(drawn, defect_type=kind)
            latest = replace(drawn, comment=fields.comment_of(own.get("comment")))
        return ImportEntry(
            where=f"{self._prefix}image {values['id']}",
            named=named,
            location=self._collector.locate(named, self._table),
            digest=fields.digest_of(own.get("sha256")),
            name=fields.text_of(own.get("name"), "name") or posix_name(named).rpartition("/")[2],
            latest=latest,
            history=fields.complete_history(history),
            split=fields.split_of(own.get("dataset_split")),
            known_type=fields.known_type_of(own.get("dataset_type")),
            shape=shape,
        )

    def _revision(self, values: Values, shape: Shape) -> Revision:
        """What our own values say."""
        mask = values.get("mask")
        name = None
        if mask is not None:
            name = self._collector.mask([_region({"segmentation": mask, "category": UNTYPED}, shape)], shape)
        return fields.revision_of(values, mask=name)


def _region(annotation: Values, shape: Shape) -> Region:
    segmentation, told = annotation.get("segmentation"), annotation.get("area")
    told = told if is_number(told) else None
    category = annotation["category"]
    if not segmentation:
        return Region(category=category, area=told or 0.0)
    if isinstance(segmentation, dict):
        return Region(category=category, runs=(_counts(segmentation, shape),), area=told or 0.0)
    outlines = tuple(polygon_of(values) for values in listed(segmentation, "the segmentation"))
    inside = sum(map(area_inside, outlines))
    return Region(category=category, polygons=outlines, area=inside if told is None else told, told=told)


def _counts(segmentation: Values, shape: Shape) -> NDArray[np.int64]:
    if segmentation.get("size") != list(shape):
        raise DataError(
            f"the run lengths are of size {segmentation.get('size')!r:.60}, the image has {list(shape)} (height, width)"
        )
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        return rle.from_text(counts)
    return rle.from_numbers(listed(counts, "the run lengths"))
