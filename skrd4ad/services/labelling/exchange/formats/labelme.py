"""labelme: a JSON file beside each image, with polygons, masks as PNG within, circles, and flags of the whole image."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np

from skrd4ad.data import rle
from skrd4ad.data.images.read import read_mask
from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange.formats.collect import (
    Collector,
    Region,
    ellipse,
    listed,
    number_of,
    polygon_region,
    shape_of,
)
from skrd4ad.services.labelling.exchange.formats.tables import Tables
from skrd4ad.services.labelling.exchange.records import Problem, Shape

_NO_AREA = ("rectangle", "point", "line", "linestrip", "points", "oriented_rectangle")


def is_labelme(document: object) -> bool:
    """Whether a JSON document looks like one of labelme."""
    return isinstance(document, dict) and {"shapes", "imagePath"} <= set(document)


def read_labelme(tables: Tables, names: Sequence[str], collector: Collector) -> None:
    """The images of labelme's files; what is wrong with single ones is listed as problems."""
    for name in names:
        document = tables.json(name)
        try:
            shape = shape_of(document.get("imageHeight"), document.get("imageWidth"))
            regions = [_region(each, shape) for each in listed(document["shapes"], "shapes")]
            flags = document.get("flags") or {}
            regions += [Region(category=flag, whole=True) for flag, is_set in flags.items() if is_set is True]
        except (DataError, AttributeError, TypeError, KeyError) as error:
            collector.problems.append(Problem(name, str(error)))
            continue
        collector.add(where=name, named=document["imagePath"], table=name, regions=regions, shape=shape)


def _region(drawn: dict[str, Any], shape: Shape) -> Region:
    category, kind = str(drawn.get("label") or "defect"), drawn.get("shape_type") or "polygon"
    points = np.array(
        [[number_of(x, "x"), number_of(y, "y")] for x, y in listed(drawn.get("points"), "points")], np.float64
    )
    if kind == "polygon" and len(points) >= 3:
        return polygon_region(category, points)
    if kind == "circle" and len(points) == 2:
        radius = float(np.hypot(*(points[1] - points[0])))
        x, y = points[0].tolist()
        return polygon_region(category, ellipse(x, y, radius, radius))
    if kind == "mask" and len(points) == 2 and isinstance(drawn.get("mask"), str):
        return _mask_region(category, drawn["mask"], points[0], shape)
    if kind in _NO_AREA:
        return Region(category=category)
    raise DataError(
        f"a shape of the kind {kind!r:.30} with {len(points)} points; known: polygon of 3 or more, mask, circle, "
        f"{', '.join(_NO_AREA)}"
    )


def _mask_region(category: str, content: str, corner: Any, shape: Shape) -> Region:
    """A mask that covers a box of the image; its first point is the corner of the box."""
    try:
        inside = read_mask(base64.b64decode(content, validate=True), name="a mask")
    except binascii.Error as error:
        raise DataError("a mask is no PNG in base64") from error
    x, y = (int(each) for each in corner)
    height, width = inside.shape
    if not (0 <= x <= x + width <= shape[1] and 0 <= y <= y + height <= shape[0]):
        raise DataError(f"a mask of {width} x {height} at {x}, {y} is not within the image")
    whole = np.zeros(shape, bool)
    whole[y : y + height, x : x + width] = inside
    return Region(category=category, runs=(rle.encode(whole),), area=float(whole.sum()))
