"""Datumaro's own JSON: ``annotations/SUBSET.json`` and ``images/SUBSET``, with masks, polygons, boxes and labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data import rle
from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange.formats.collect import (
    Collector,
    Region,
    ellipse,
    hints_of,
    is_number,
    listed,
    polygon_of,
    polygon_region,
    shape_of,
)
from skrd4ad.services.labelling.exchange.formats.tables import Tables
from skrd4ad.services.labelling.exchange.records import Problem, Shape

_NO_AREA = ("bbox", "points", "polyline", "rotated_bbox", "cuboid_2d")


def is_datumaro(document: object) -> bool:
    """Whether a JSON document looks like one of Datumaro."""
    return isinstance(document, dict) and {"categories", "items"} <= set(document)


def read_datumaro(tables: Tables, names: Sequence[str], collector: Collector) -> None:
    """Images of Datumaro's files; what is wrong with single ones is listed as problems."""
    for name in names:
        document = tables.json(name)
        labels = [each["name"] for each in document["categories"].get("label", {}).get("labels", ())]
        for item in listed(document["items"], "items"):
            where = f"item {item.get('id')!s:.200}"
            try:
                media = item.get("image") or item.get("media") or {}
                size = media.get("size")
                annotations = listed(item.get("annotations"), "annotations")
                shape = shape_of(*size) if size else _shape_of_masks(annotations)
                regions = [region for each in annotations if (region := _region(each, labels)) is not None]
            except (DataError, AttributeError, TypeError, KeyError, IndexError) as error:
                collector.problems.append(Problem(where, str(error)))
                continue
            collector.add(
                where=where,
                named=str(media.get("path") or item.get("id")),
                table=name,
                regions=regions,
                shape=shape,
                hints=hints_of(name),
            )


def _shape_of_masks(annotations: Sequence[dict[str, Any]]) -> Shape | None:
    return next((shape_of(*each["rle"]["size"]) for each in annotations if each.get("type") == "mask"), None)


def _region(drawn: dict[str, Any], labels: Sequence[str]) -> Region | None:
    kind, number = drawn.get("type"), drawn.get("label_id")
    category = labels[number] if isinstance(number, int) else "defect"
    if kind == "mask":
        counts = _counts(drawn["rle"])
        return Region(category=category, runs=(counts,), area=float(counts[1::2].sum()))
    if kind == "polygon":
        return polygon_region(category, polygon_of(drawn.get("points")))
    if kind == "ellipse":
        x0, y0, x1, y1 = (each if is_number(each) else 0.0 for each in listed(drawn.get("points"), "an ellipse"))
        return polygon_region(category, ellipse((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2))
    if kind == "label":
        return Region(category=category, whole=True)
    if kind in _NO_AREA:
        return Region(category=category)
    if kind == "caption":
        return None
    known = ", ".join(("mask", "polygon", "ellipse", "label", "caption", *_NO_AREA))
    raise DataError(f"an annotation of the type {kind!r:.30}; known: {known}")


def _counts(values: dict[str, Any]) -> NDArray[np.int64]:
    counts = values["counts"]
    return rle.from_text(counts) if isinstance(counts, str) else rle.from_numbers(listed(counts, "the run lengths"))
