"""CVAT for images 1.1 (XML): polygons, boxes, ellipses, masks, and tags of whole images.

A mask is the run lengths of its box, row by row, the first run false. Written are masks, one for each region, which are
exact, and a tag for images without a mask.
"""

from collections.abc import Iterable, Iterator, Sequence
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data import rle
from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange.formats.collect import (
    Collector,
    Region,
    ellipse,
    hints_of,
    number_of,
    polygon_region,
    shape_of,
)
from skrd4ad.services.labelling.exchange.formats.tables import Tables
from skrd4ad.services.labelling.exchange.records import Problem, Shape

TABLE = "annotations.xml"
_NO_AREA = frozenset({"polyline", "points", "cuboid", "skeleton"})


def is_cvat(text: str) -> bool:
    """Whether a text looks like a file of CVAT."""
    return "<annotations" in text[:4096] and "<!DOCTYPE" not in text


def read_cvat(tables: Tables, names: Sequence[str], collector: Collector) -> None:
    """Images of CVAT files; what is wrong with single ones is listed as problems."""
    for name in names:
        try:
            root = ElementTree.fromstring(tables.text(name))
        except ElementTree.ParseError as error:
            raise DataError(f"{name} is no XML file, or it is damaged: {error}.") from error
        if root.find("track") is not None:
            raise DataError(f"{name} holds tracks of CVAT for video. Export it as “CVAT for images 1.1”.")
        for image in root.iter("image"):
            where = f"image {image.get('name') or image.get('id')}"
            try:
                shape = shape_of(_whole(image.get("height")), _whole(image.get("width")))
                regions = [_region(each, shape) for each in image]
            except DataError as error:
                collector.problems.append(Problem(where, str(error)))
                continue
            collector.add(
                where=where,
                named=image.get("name", ""),
                table=name,
                regions=regions,
                shape=shape,
                hints=[image.get("subset", ""), *hints_of(name)],
            )


def _region(drawn: ElementTree.Element, shape: Shape) -> Region:
    category = drawn.get("label") or "defect"

    def value(name: str) -> float:
        return number_of(drawn.get(name), f"{name} of a {drawn.tag}")

    if drawn.tag == "polygon":
        pairs = [pair.split(",") for pair in (drawn.get("points") or "").split(";")]
        if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
            raise DataError("a polygon has something else than pairs x, y of at least three corners")
        return polygon_region(category, np.array([[number_of(x, "x"), number_of(y, "y")] for x, y in pairs]))
    if drawn.tag == "ellipse":
        turn = number_of(drawn.get("rotation") or 0, "rotation")
        return polygon_region(category, ellipse(value("cx"), value("cy"), value("rx"), value("ry"), degrees=turn))
    if drawn.tag == "mask":
        left, top, width, height = (int(value(name)) for name in ("left", "top", "width", "height"))
        if not (0 <= left <= left + width <= shape[1] and 0 <= top <= top + height <= shape[0]):
            raise DataError(f"a mask of {width} x {height} at {left}, {top} is not within the image")
        counts = np.array([number_of(each, "a run length") for each in (drawn.get("rle") or "").split(",")], np.int64)
        whole = np.zeros(shape, bool)
        # the run lengths of COCO go down the columns, these along the rows
        whole[top : top + height, left : left + width] = rle.decode(counts, (width, height)).T
        return Region(category=category, runs=(rle.encode(whole),), area=float(whole.sum()))
    if drawn.tag == "box":
        area = (value("xbr") - value("xtl")) * (value("ybr") - value("ytl"))
        return Region(category=category, area=area)
    if drawn.tag == "tag":
        return Region(category=category, whole=True)
    if drawn.tag in _NO_AREA:
        return Region(category=category)
    raise DataError(f"it holds a <{drawn.tag}>; known: polygon, mask, ellipse, box, tag, {', '.join(sorted(_NO_AREA))}")


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def regions_of(mask: NDArray[np.bool_]) -> Iterator[tuple[tuple[int, int, int, int], NDArray[np.bool_]]]:
    """8-connected regions of a mask (H, W): box x, y, width, height, and the pixels in it."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for region in range(1, count):
        x, y, width, height, _area = statistics[region].tolist()
        yield (x, y, width, height), labels[y : y + height, x : x + width] == region


def image_element(
    number: int, name: str, shape: Shape, *, label: str, mask: NDArray[np.bool_] | None, subset: str
) -> str:
    """An image with a mask for each region, or with a tag."""
    lines = [
        f'  <image id="{number}" name={quoteattr(name)} subset={quoteattr(subset)} width="{shape[1]}" '
        f'height="{shape[0]}">'
    ]
    if mask is None:
        lines.append(f'    <tag label={quoteattr(label)} source="manual"></tag>')
    for (x, y, width, height), inside in regions_of(mask) if mask is not None else ():
        counts = ", ".join(map(str, rle.encode(np.asfortranarray(inside.T)).tolist()))
        lines.append(
            f'    <mask label={quoteattr(label)} source="manual" occluded="0" rle="{counts}" left="{x}" top="{y}" '
            f'width="{width}" height="{height}" z_order="0"></mask>'
        )
    return "\n".join([*lines, "  </image>"])


def document_bytes(images: Iterable[str], labels: Iterable[str]) -> bytes:
    """The XML file; ``images`` are those of :func:`image_element`, ``labels`` all their labels."""
    known = "".join(f"<label><name>{_escaped(each)}</name><attributes></attributes></label>" for each in labels)
    head = f"  <version>1.1</version>\n  <meta><job><labels>{known}</labels></job></meta>"
    return "\n".join(
        ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", head, *images, "</annotations>", ""]
    ).encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
