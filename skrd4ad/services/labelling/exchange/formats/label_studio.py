"""Label Studio's JSON: brushes, polygons, rectangles, ellipses, and choices on whole images.

Coordinates are percent of width and height. A brush is run lengths of RGBA pixels in a bit stream, row by row (see
https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack); what is drawn has an alpha above 0.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data import rle
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

TABLE = "label_studio.json"
_RUN_BITS = (3, 4, 8, 16)
_WORD_BITS = 8


def is_label_studio(document: object) -> bool:
    """Whether a JSON document looks like tasks of Label Studio."""
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(task, dict) and "data" in task and _annotations(task) is not None for task in document)
    )


def read_label_studio(tables: Tables, names: Sequence[str], collector: Collector) -> None:
    """Images of Label Studio's tasks; what is wrong with single ones is listed as problems."""
    for table in names:
        for number, task in enumerate(tables.json(table), start=1):
            where = f"task {task.get('id', number)}"
            try:
                named = _image_of(task)
                done = [each for each in _annotations(task) or [] if not each.get("was_cancelled")]
                if len(done) > 1:
                    collector.remarks["annotated several times: the last one was taken"] += 1
                results = listed(done[-1].get("result"), "the result") if done else []
                shape = next((shape for each in results if (shape := _shape(each)) is not None), None)
                regions = [region for each in results if (region := _region(each, shape)) is not None]
            except (DataError, AttributeError, TypeError, KeyError) as error:
                collector.problems.append(Problem(where, str(error)))
                continue
            collector.add(where=where, named=named, table=table, regions=regions, shape=shape)


def _annotations(task: dict[str, Any]) -> list[Any] | None:
    found = task.get("annotations", task.get("completions"))
    return found if isinstance(found, list) else None


def _image_of(task: dict[str, Any]) -> str:
    data = task["data"]
    texts = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    if not texts:
        raise DataError("its data names no image")
    return next((value for key, value in data.items() if key in ("image", "img", "captioning", "ocr")), texts[0])


def _shape(result: dict[str, Any]) -> Shape | None:
    if "original_width" not in result or "original_height" not in result:
        return None
    return shape_of(result["original_height"], result["original_width"])


def _region(result: dict[str, Any], shape: Shape | None) -> Region | None:
    """None for relations and texts."""
    kind, value = result.get("type"), result.get("value")
    if not isinstance(kind, str) or not isinstance(value, dict):
        return None
    if kind == "choices":
        return Region(category=_label(value, kind), whole=True)
    kinds = ("brushlabels", "polygonlabels", "ellipselabels", "rectanglelabels", "keypointlabels")
    if kind not in kinds:
        return None
    category = _label(value, kind)
    if result.get("image_rotation"):
        raise DataError("its image was turned in Label Studio; turn it back there")
    if kind in ("rectanglelabels", "keypointlabels") or shape is None:
        return Region(category=category)
    height, width = shape

    def share(name: str) -> float:
        return number_of(value.get(name), name) / 100

    if kind == "brushlabels":
        if value.get("format") != "rle":
            raise DataError(f"a brush is stored as {value.get('format')!r:.30}; allowed: rle")
        mask = decode_brush(listed(value.get("rle"), "a brush"), shape)
        return Region(category=category, runs=(rle.encode(mask),), area=float(mask.sum()))
    if kind == "ellipselabels":
        middle = share("x") * width, share("y") * height
        radii = share("radiusX") * width, share("radiusY") * height
        return polygon_region(
            category, ellipse(*middle, *radii, degrees=number_of(value.get("rotation") or 0, "rotation"))
        )
    points = listed(value.get("points"), "a polygon")
    if len(points) < 3 or any(not isinstance(point, list) or len(point) != 2 for point in points):
        raise DataError("a polygon has something else than pairs x, y of at least three corners")
    corners = np.array([[number_of(x, "x") * width / 100, number_of(y, "y") * height / 100] for x, y in points])
    return polygon_region(category, _whole_pixels(corners))


def _whole_pixels(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners that percent have moved from whole pixels by rounding alone are put back."""
    near = np.rint(corners)
    return np.where(np.abs(corners - near) < 1e-6, near, corners)


def _label(value: dict[str, Any], kind: str) -> str:
    labels = listed(value.get(kind), "the labels")
    if len(labels) > 1:
        raise DataError(f"a region has several labels: {', '.join(map(str, labels))}")
    return str(labels[0]) if labels else "defect"


def decode_brush(content: Sequence[Any], shape: Shape) -> NDArray[np.bool_]:
    """The mask (H, W) of a brush: where the alpha of its RGBA pixels is above 0."""
    try:
        bits = np.unpackbits(np.array(content, np.uint8))
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError("a brush holds something else than numbers from 0 to 255") from error
    at = 0

    def read(count: int) -> int:
        nonlocal at
        if at + count > bits.size:
            raise DataError("a brush ends before its pixels do")
        at += count
        return int("".join(map(str, bits[at - count : at].tolist())) or "0", 2)

    total = read(32)
    if total != 4 * shape[0] * shape[1]:
        raise DataError(f"a brush has {total} values; an image of {shape[1]} x {shape[0]} has 4 for each pixel")
    word = read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = np.zeros(total, np.uint8)
    done = 0
    while done < total:
        is_run = read(1)
        length = 1 + read(sizes[read(2)])
        end = min(done + length, total)
        if is_run:
            values[done:end] = min(read(word), 255)
        else:
            if at + word * length > bits.size:
                raise DataError("a brush ends before its pixels do")
            words = bits[at : at + word * length].reshape(length, word)
            values[done:end] = words[: end - done].any(axis=1)
            at += word * length
        done = end
    return values[3::4].reshape(shape) > 0


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """A mask (H, W) as Label Studio stores a brush."""
    flat = mask.ravel()
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = 4 * np.diff(np.append(starts, flat.size))
    parts = [f"{4 * flat.size:032b}", f"{_WORD_BITS - 1:05b}", *(f"{bits - 1:04b}" for bits in _RUN_BITS)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        left = length
        while left:
            run = min(left, 2 ** _RUN_BITS[-1])
            size = next(index for index, bits in enumerate(_RUN_BITS) if run <= 2**bits)
            parts.append(f"1{size:02b}{run - 1:0{_RUN_BITS[size]}b}{255 if flat[start] else 0:08b}")
            left -= run
    text = "".join(parts)
    text += "0" * (-len(text) % 8)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()


def task(number: int, name: str, shape: Shape, *, label: str, mask: NDArray[np.bool_] | None) -> dict[str, Any]:
    """An image with a brush, or with a choice on the whole image."""
    common = {
        "id": f"r{number}",
        "origin": "manual",
        "to_name": "image",
        "image_rotation": 0,
        "original_width": shape[1],
        "original_height": shape[0],
    }
    result = {**common, "type": "choices", "from_name": "decision", "value": {"choices": [label]}}
    if mask is not None:
        value = {"format": "rle", "rle": encode_brush(mask), "brushlabels": [label]}
        result = {**common, "type": "brushlabels", "from_name": "defect", "value": value}
    annotation = {"id": number, "was_cancelled": False, "ground_truth": False, "result": [result]}
    return {"id": number, "data": {"image": name}, "annotations": [annotation], "predictions": []}


def document_bytes(tasks: Iterable[dict[str, Any]]) -> bytes:
    """The JSON file."""
    return (json.dumps(list(tasks), ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n").encode()
