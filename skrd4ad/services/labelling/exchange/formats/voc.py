"""Pascal VOC's masks: ``JPEGImages``, and for each image a picture in ``SegmentationClass`` whose pixels are classes.

Classes are numbers of a palette, or colours of ``labelmap.txt`` (CVAT, Datumaro). 0 is the background, and 255, VOC's
border between regions, counts as neither.
"""

import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.data import rle
from skrd4ad.data.images.read import image_header, is_image
from skrd4ad.errors import DataError, ImageError
from skrd4ad.services.labelling.exchange.formats.collect import Collector, Region, image_by_stem
from skrd4ad.services.labelling.exchange.formats.tables import Tables
from skrd4ad.services.labelling.exchange.records import Problem

MASKS, IMAGES, LABELS = "SegmentationClass", "JPEGImages", "labelmap.txt"
_BORDER, _BORDER_COLOUR = 255, (224, 224, 192)
_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
Colour = tuple[int, ...]


def mask_names(tables: Tables) -> list[str]:
    """Pictures of classes."""
    return [name for name in tables.bundle.files if PurePosixPath(name).parent.name == MASKS and is_image(Path(name))]


def read_voc(tables: Tables, collector: Collector) -> None:
    """Images with a picture of classes, and those beside them without."""
    names, colours = _labels(tables)
    images = {
        PurePosixPath(stem).name: found[0]
        for stem, found in image_by_stem(tables.bundle).items()
        if not PurePosixPath(stem).parent.name.startswith("Segmentation")
    }
    masks = {
        location: name for name in mask_names(tables) if not isinstance(location := tables.bundle.files[name], bytes)
    }
    seen: set[str] = set()
    borders = 0
    for location, content in tables.bundle.read(masks):
        name = masks[location]
        stem = PurePosixPath(name).stem
        seen.add(stem)
        try:
            if isinstance(content, ImageError):
                raise content
            classes, border = _classes(content, name, colours)
        except DataError as error:
            collector.problems.append(Problem(name, str(error)))
            continue
        borders += border
        regions = [
            Region(
                category=names[number] if number < len(names) else f"class {number}",
                runs=(rle.encode(classes == number),),
                area=float((classes == number).sum()),
            )
            for number in np.unique(classes).tolist()
            if number
        ]
        shape = (classes.shape[0], classes.shape[1])
        collector.add(where=name, named=images.get(stem, f"{stem}.jpg"), table="", regions=regions, shape=shape)
    for stem, image in images.items():
        if stem not in seen and PurePosixPath(image).parent.name == IMAGES:
            collector.add(where=image, named=image, table="", regions=[])
    if borders:
        collector.remarks["with VOC's border (255) between regions: it counts as neither defect nor good"] += borders


def _classes(content: bytes, name: str, colours: dict[Colour, int]) -> tuple[NDArray[np.int64], bool]:
    """Numbers of classes (H, W), and whether a border was among them."""
    image_header(content, name=name)  # refuses what is no image, or too large
    image = Image.open(io.BytesIO(content))
    if image.mode in ("P", "L") and not colours:
        classes = np.array(image).astype(np.int64)
    else:
        pixels = np.asarray(image.convert("RGB")).astype(np.int64)
        coded = (pixels * (65536, 256, 1)).sum(axis=2)
        classes = np.full(coded.shape, -1, np.int64)
        known = {_BORDER_COLOUR: _BORDER} | (colours or {usual_colour(number): number for number in range(_BORDER)})
        known.setdefault((0, 0, 0), 0)
        for (red, green, blue), number in known.items():
            classes[coded == red * 65536 + green * 256 + blue] = number
        if (classes < 0).any():
            y, x = np.argwhere(classes < 0)[0].tolist()
            source = LABELS if colours else "VOC's palette"
            raise DataError(f"the colour {tuple(pixels[y, x].tolist())} at {x}, {y} is none of {source}")
    border = classes == _BORDER
    return np.where(border, 0, classes), bool(border.any())


def usual_colour(number: int) -> Colour:
    """Colour of a class in VOC's palette: the bits of its number in turn, from the highest bits of the colours on."""
    return tuple(sum((number >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))


def _labels(tables: Tables) -> tuple[Sequence[str], dict[Colour, int]]:
    """Names by number, and numbers by colour where there are: lines ``name:red,green,blue:parts:actions``."""
    for name in tables.named(".txt"):
        if PurePosixPath(name).name != LABELS:
            continue
        rows = [line.split(":") for line in tables.text(name).splitlines() if line.strip() and not line.startswith("#")]
        colours: dict[Colour, int] = {}
        for number, row in enumerate(rows):
            if len(row) > 1 and row[1].strip():
                parts = row[1].split(",")
                if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
                    raise DataError(f"{name} gives {row[0]} the colour {row[1]!r:.30}; allowed: red,green,blue")
                colours[tuple(map(int, parts))] = number
        return [row[0].strip() for row in rows], colours
    return _CLASSES, {}
