"""Verdicts from an export for OpenVINO, without its program: python use_export_openvino.py FOLDER part.png [more …]

Needs openvino, numpy, Pillow, and read_pixels.py, which lies in the folder and reads files as the model's own
program does (TIFF by tifffile and imagecodecs, DICOM by pydicom). The image is resized as there, too, or turned and
cropped to the part: find_part.py lies beside such a model, and needs OpenCV.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openvino
from PIL import Image

sys.path.insert(0, sys.argv[1])
from read_pixels import read_pixels


def has_region(mask, pixels):
    """Whether some 8-connected region of the mask (H, W) has so many pixels."""
    labels, before = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0), None
    while before is None or (labels != before).any():  # each pixel takes the highest number around it
        before, wide = labels, np.pad(labels, 1)
        rows = np.maximum(np.maximum(wide[:-2], wide[1:-1]), wide[2:])
        labels = np.where(mask, np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]), 0)
    return np.bincount(labels[mask], minlength=1).max() >= pixels


folder = Path(sys.argv[1])
about = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
model = openvino.compile_model(folder / "model.xml", "CPU", about["compile"])  # left alone, it may compute in bf16
(height, width), batch, limits = about["input"]["shape"][1:3], about["batch"] or 1, about["limits"]
levels = (about["levels"]["black"], about["levels"]["white"]) if about.get("levels") else None
if about.get("alignment"):  # the model sees the part alone
    from find_part import aligned
for path in sys.argv[2:]:
    image, part = read_pixels(path, levels), None
    if about.get("alignment"):
        part = aligned(image, (height, width), SimpleNamespace(**about["alignment"]))
        if part is None:
            print(f"{path}: no map, cannot judge: no part found")
            continue
    whole = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(whole) if part is None else part.pixels
    found = model(np.repeat(pixels[None], batch, axis=0))
    score, plane, verdict = float(found["score"][0]), found["map"][0], "no limits, so no verdict"
    if part is not None:  # the part and its surroundings count, where they are in the photograph
        plane = part.on_photograph(plane)
        score = float(plane.max())
    if not np.isfinite(plane).all():
        verdict = "cannot judge: the map holds values that are no numbers"
    elif limits:
        review, reject, area = limits["review_threshold"], limits["image_threshold"], limits["min_area"]
        ng, doubtful = (x is not None and has_region(plane > x, area) for x in (reject, review))
        verdict = "NG" if ng else "REVIEW" if doubtful else "OK"
    print(f"{path}: highest of the map {score:.6f}, {verdict}")
