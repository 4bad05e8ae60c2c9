"""COCO: one JSON file, an annotation for each connected region of a mask, readable by every tool that knows the format.

Compressed run lengths are exact; polygons run along the edges of pixels and are exact as well, here and in pycocotools.
``iscrowd`` is 0 for both: 1 would take a region out of COCO's own evaluation. What COCO has no word for stands under
the key ``skrd4ad`` of an image, which other tools pass over.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data import polygons, rle
from skrd4ad.services.labelling.exchange.records import ExportImage, exported_values

Segmentation = Literal["rle", "polygons"]
TABLE = "annotations.json"
IMAGES = "images"
OWN = "skrd4ad"
"""Key of an image under which our own values stand."""
UNTYPED = "defect"
"""Category of defects without a type."""
Values = Mapping[str, Any]


def category_of(defect_type: str | None) -> str:
    """Name of the category of a defect type."""
    return defect_type or UNTYPED


def image_entry(
    image: ExportImage, *, number: int, shape: tuple[int, int], masks: Mapping[str, NDArray[np.bool_]]
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
    own["history"] = [
        exported_values(revision, runs[revision.mask_file] if revision.mask_file else None)
        for revision in image.history
    ]
    return {"id": number, "file_name": image.file_name, "width": shape[1], "height": shape[0], OWN: own}


def annotation_entries(
    mask: NDArray[np.bool_], *, image: int, category: int, segmentation: Segmentation
) -> Iterator[dict[str, Any]]:
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
        yield {
            "image_id": image,
            "category_id": category,
            "segmentation": segments,
            "area": area,
            "bbox": [x, y, width, height],
            "iscrowd": 0,
        }


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
