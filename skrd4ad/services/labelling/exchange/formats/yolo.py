"""YOLO's segmentation: a text file for each image, a line ``class x y x y …`` for each polygon, in shares of width and
height. Images lie in ``images`` and texts in ``labels`` beside it, or both in one folder; ``data.yaml`` names classes.

Polygons are written along the edges of pixels and read here without loss, a part with a hole as polygons that share an
edge. Programs that fill polygons with their outline (such as ``cv2.fillPoly``) make them up to a pixel wider.
"""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from skrd4ad.data import polygons
from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange.formats.collect import (
    Collector,
    Region,
    image_by_stem,
    number_of,
    polygon_region,
)
from skrd4ad.services.labelling.exchange.formats.tables import Tables
from skrd4ad.services.labelling.exchange.records import Problem

TABLE = "data.yaml"
LABELS = "labels"
_OTHERS = ("train.txt", "val.txt", "test.txt", "classes.txt", "readme.txt")
_NAMES = ("data.yaml", "data.yml", "obj.names", "classes.txt")
_DIGITS = 10


def label_texts(tables: Tables) -> dict[str, str]:
    """Texts of labels by the images they belong to: those with the stem of an image, in ``labels`` or beside it."""
    texts = {name for name in tables.named(".txt") if PurePosixPath(name).name.lower() not in _OTHERS}
    found: dict[str, str] = {}
    for stem, images in image_by_stem(tables.bundle).items() if texts else ():
        parts = PurePosixPath(stem).parts
        moved = ["/".join((*parts[:at], LABELS, *parts[at + 1 :])) for at, part in enumerate(parts) if part == "images"]
        for name in (f"{each}.txt" for each in (*reversed(moved), stem)):
            if name in texts:
                found.update(dict.fromkeys(images, name))
                break
    return found


def is_yolo(tables: Tables) -> bool:
    """Whether a bundle holds texts of labels, and says so by a folder or a list of classes."""
    named = any(PurePosixPath(name).name.lower() in _NAMES for name in tables.bundle.files)
    if any(LABELS in PurePosixPath(name).parts for name in tables.named(".txt")):
        return named or bool(label_texts(tables))
    return named and bool(label_texts(tables))


def read_yolo(tables: Tables, collector: Collector) -> None:
    """Images with texts of labels; those without that lie beside are left out. Texts without an image are of images in
    the workspace. What is wrong with single ones is a problem."""
    names, texts = _class_names(tables), label_texts(tables)
    folders = {str(PurePosixPath(image).parent) for image in texts}
    for images in image_by_stem(tables.bundle).values():
        beside = [image for image in images if image not in texts and str(PurePosixPath(image).parent) in folders]
        if beside:
            collector.remarks["without a text of labels: left out"] += len(beside)
    alone = {
        PurePosixPath(name).stem: name
        for name in set(tables.named(".txt")) - set(texts.values())
        if LABELS in PurePosixPath(name).parts and PurePosixPath(name).name.lower() not in _OTHERS
    }
    for image, text in sorted({**texts, **alone}.items()):
        location = tables.bundle.files.get(image)
        try:
            lines = [line.split() for line in tables.text(text).splitlines()]
            regions = [_region(words, names, f"{text}, line {at}") for at, words in enumerate(lines, start=1) if words]
        except DataError as error:
            collector.problems.append(Problem(text, str(error)))
            continue
        known = None if isinstance(location, bytes) else location
        collector.add(where=text, named=image, table=text, regions=regions, relative=True, location=known)


def _region(words: Sequence[str], names: dict[int, str], where: str) -> Region:
    if not words[0].isdecimal():
        raise DataError(f"{where} begins with {words[0]!r:.30}; allowed: the number of a class")
    category = names.get(int(words[0]), f"class {words[0]}")
    values = np.array([number_of(word, where) for word in words[1:]])
    if len(values) in (4, 5):
        return Region(category=category, area=float(values[2] * values[3]))
    if len(values) < 6 or len(values) % 2:
        raise DataError(f"{where} has {len(values)} numbers after its class; allowed: 4, or pairs x, y from 6 on")
    return polygon_region(category, values.reshape(-1, 2))


def _class_names(tables: Tables) -> dict[int, str]:
    """Names by number, of ``data.yaml``, ``obj.names`` or ``classes.txt``; empty where there is none."""
    for name in (*tables.named(".yaml"), *tables.named(".yml")):
        try:
            document: Any = yaml.safe_load(tables.text(name))
        except yaml.YAMLError as error:
            raise DataError(f"{name} is no YAML file, or it is damaged: {error!s:.200}") from error
        names = document.get("names") if isinstance(document, dict) else None
        if isinstance(names, list):
            return {number: str(each) for number, each in enumerate(names)}
        if isinstance(names, dict):
            return {int(number): str(each) for number, each in names.items() if str(number).isdecimal()}
    for suffix, wanted in ((".names", None), (".txt", "classes.txt")):
        for name in tables.named(suffix):
            if wanted is None or PurePosixPath(name).name.lower() == wanted:
                return dict(enumerate(line.strip() for line in tables.text(name).splitlines() if line.strip()))
    return {}


def label_lines(mask: NDArray[np.bool_], number: int) -> str:
    """Lines of a mask (H, W) for a class."""
    height, width = mask.shape
    lines = []
    for ring in polygons.trace(mask):
        values = " ".join(f"{x / width:.{_DIGITS}g} {y / height:.{_DIGITS}g}" for x, y in ring)
        lines.append(f"{number} {values}\n")
    return "".join(lines)


def document_bytes(names: Iterable[str], splits: Iterable[str]) -> bytes:
    """``data.yaml``: where the images of each split are, and the names of the classes."""
    values: dict[str, Any] = {"path": "."}
    there = set(splits)
    values |= {"train": "images/train", "val": "images/test"} if "test" in there else {"train": "images/train"}
    values["names"] = dict(enumerate(names))
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()
