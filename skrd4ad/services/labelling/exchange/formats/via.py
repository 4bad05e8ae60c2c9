"""VGG Image Annotator (VIA) 1 and 2: a JSON file with polygons, circles, ellipses and rectangles.

It does not tell the sizes of images. See https://www.robots.ox.ac.uk/~vgg/software/via/.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange.formats.collect import (
    Collector,
    Region,
    ellipse,
    listed,
    number_of,
    polygon_region,
)
from skrd4ad.services.labelling.exchange.formats.tables import Tables
from skrd4ad.services.labelling.exchange.records import Problem

_PROJECT = "_via_img_metadata"
_NO_AREA = ("rect", "point", "polyline", "line")
_NAMES = ("defect", "type", "class", "label", "category", "name")
"""Attributes that name what a region shows, where it has several."""


def is_via(document: object) -> bool:
    """Whether a JSON document looks like one of VIA."""
    images = document.get(_PROJECT, document) if isinstance(document, dict) else None
    return (
        isinstance(images, dict)
        and bool(images)
        and all(isinstance(each, dict) and {"filename", "regions"} <= set(each) for each in images.values())
    )


def read_via(tables: Tables, names: Sequence[str], collector: Collector) -> None:
    """Images of VIA's files; what is wrong with single ones is listed as problems."""
    for name in names:
        document = tables.json(name)
        for values in document.get(_PROJECT, document).values():
            where = f"image {values['filename']!s:.200}"
            try:
                drawn = values["regions"]
                drawn = list(drawn.values()) if isinstance(drawn, dict) else listed(drawn, "regions")
                regions = [_region(each) for each in drawn]
                if label := _label(values.get("file_attributes")):
                    regions.append(Region(category=label, whole=True))
            except (DataError, AttributeError, TypeError, KeyError) as error:
                collector.problems.append(Problem(where, str(error)))
                continue
            collector.add(where=where, named=values["filename"], table=name, regions=regions)


def _region(values: Mapping[str, Any]) -> Region:
    drawn = values["shape_attributes"]
    category, kind = _label(values.get("region_attributes")) or "defect", drawn.get("name")

    def value(name: str) -> float:
        return number_of(drawn.get(name), name)

    if kind == "polygon":
        xs, ys = (listed(drawn.get(name), name) for name in ("all_points_x", "all_points_y"))
        if len(xs) != len(ys) or len(xs) < 3:
            raise DataError("a polygon has something else than pairs x, y of at least three corners")
        return polygon_region(
            category, np.array([[number_of(x, "x"), number_of(y, "y")] for x, y in zip(xs, ys, strict=True)])
        )
    if kind == "circle":
        return polygon_region(category, ellipse(value("cx"), value("cy"), value("r"), value("r")))
    if kind == "ellipse":
        degrees = float(np.rad2deg(number_of(drawn.get("theta") or 0, "theta")))
        return polygon_region(category, ellipse(value("cx"), value("cy"), value("rx"), value("ry"), degrees=degrees))
    if kind in _NO_AREA:
        return Region(category=category, area=value("width") * value("height") if kind == "rect" else 0.0)
    raise DataError(f"a region of the kind {kind!r:.30}; known: polygon, circle, ellipse, {', '.join(_NO_AREA)}")


def _label(attributes: object) -> str:
    """What attributes name; of check boxes those that are set."""
    if not isinstance(attributes, dict):
        return ""
    named = {str(key).casefold(): value for key, value in attributes.items() if value}
    chosen = next((named[name] for name in _NAMES if name in named), None)
    if chosen is None and len(named) == 1:
        chosen = next(iter(named.values()))
    if isinstance(chosen, dict):
        chosen = ", ".join(str(key) for key, is_set in chosen.items() if is_set)
    return str(chosen or "")
