"""Synthetic classes: parts drawn by a procedure, with defects whose masks are exact, written in the MVTec layout."""

import itertools
import json
import struct
import tempfile
import threading
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.layouts.find import find_classes
from skrd4ad.data.synthetic import blister, disc, fabric, screw
from skrd4ad.data.synthetic.canvas import generator, photograph
from skrd4ad.errors import DataError
from skrd4ad.paths import workspace
from skrd4ad.task import QUIET, Task
from skrd4ad.types import GOOD, DatasetClass, Split

TOLERANCE = 5
"""A pixel belongs to the mask where defect and defect-free rendering of the same part differ by more grey levels
than this in some channel."""
SMALLEST_REGION = 6
"""Changed regions of fewer pixels are put back to the defect-free rendering: each counts as a region in AUPRO,
and no one could see them."""
VERSION = 2
"""Of the drawings; folders written by another version are drawn again."""
MARKER = ".skrd4ad-synthetic.json"
_BLOCK = 0xFFFF
"""Bytes in a stored block of deflate (RFC 1951), at most."""
_DRAWING_DEFAULT = threading.Lock()
"""Held while the default set is drawn: others who ask for it meanwhile wait and read."""
NOTE = "synthetic images with exact masks"


_PAINTERS = {
    "machined_disc": disc.paint,
    "tablet_blister": blister.paint,
    "woven_fabric": fabric.paint,
    "loose_screw": screw.paint,
}
SYNTHETIC_CLASSES: dict[str, tuple[str, ...]] = {
    "machined_disc": disc.DEFECTS,
    "tablet_blister": blister.DEFECTS,
    "woven_fabric": fabric.DEFECTS,
    "loose_screw": screw.DEFECTS,
}
"""Defect types of every synthetic class."""
DEFAULT_CLASSES = ("machined_disc", "tablet_blister", "woven_fabric")
"""Classes that are drawn where none is named."""


def render(
    class_name: str, *, index: int, split: Split, defect_type: str = GOOD, seed: int = 0, size: int = 256
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Image (size, size, 3) RGB and mask (size, size) of one part. The part, its light and the sensor's noise depend on
    class, split, index and seed alone, so the same arguments with ``defect_type="good"`` give the defect-free rendering
    that the mask is measured against (``TOLERANCE``)."""
    _check(class_name, split=split, defect_type=defect_type, index=index, size=size)
    key = (class_name, split, index, seed)
    good = _shoot(key, GOOD, 0, size)
    if defect_type == GOOD:
        return good, np.zeros((size, size), bool)
    # a defect may fall where it cannot be seen, such as a scratch across a hole: then it is drawn elsewhere
    visible = max(SMALLEST_REGION, size * size // 3000)
    for attempt in itertools.count():
        image, mask = _without_specks(_shoot(key, defect_type, attempt, size), good)
        if mask.sum() >= visible:
            return image, mask
    raise AssertionError("unreachable")


def write_synthetic(
    root: Path,
    *,
    classes: Sequence[str] | None = None,
    train: int = 120,
    test_good: int = 30,
    per_defect: int = 12,
    size: int = 256,
    seed: int = 0,
    task: Task = QUIET,
) -> list[DatasetClass]:
    """Write classes (None: ``DEFAULT_CLASSES``) in the MVTec layout and return them; a folder written before is
    replaced."""
    names = sorted(DEFAULT_CLASSES if classes is None else set(classes))
    for name in names:
        _check(name, split="train", defect_type=GOOD, index=0, size=size)
    if not names or train < 1 or min(test_good, per_defect) < 0:
        raise DataError(
            f"Nothing to draw: {len(names)} classes, {train} train images, {test_good} good test images, {per_defect} "
            "of each defect; allowed: one class or more, 1 train image or more, 0 test images or more."
        )
    root = root.expanduser().resolve()
    jobs = [(name, *job) for name in names for job in _plan(name, train, test_good, per_defect)]
    made_of = {"version": VERSION, "classes": names, "train": train, "test_good": test_good}
    made_of |= {"per_defect": per_defect, "size": size, "seed": seed}
    try:
        _refuse_foreign(root)
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as temporary:
            fresh = Path(temporary) / "fresh"
            for done, (name, split, defect_type, number, index) in enumerate(jobs, start=1):
                image, mask = render(name, index=index, split=split, defect_type=defect_type, seed=seed, size=size)
                _write_png(fresh / name / split / defect_type / f"{number:03d}.png", image)
                if defect_type != GOOD:
                    mask_file = fresh / name / "ground_truth" / defect_type / f"{number:03d}_mask.png"
                    _write_png(mask_file, mask.astype(np.uint8) * 255)
                task.report(done, len(jobs))
            (fresh / MARKER).write_text(json.dumps(made_of), encoding="utf-8")
            if root.exists():
                root.rename(fresh.with_name("old"))  # goes with the temporary folder
            fresh.rename(root)
    except OSError as error:
        raise DataError(f"The folder {root} cannot be written: {error}. Choose a folder you may write to.") from error
    return _read(root)


def synthetic_classes(task: Task = QUIET) -> list[DatasetClass]:
    """The default classes, drawn on first use into the workspace's ``datasets/synthetic``."""
    with _DRAWING_DEFAULT:
        if not is_drawn():
            return write_synthetic(_default_root(), task=task)
    return _read(_default_root())


def is_drawn() -> bool:
    """Whether the default classes are there already, as this build draws them."""
    return _version_of(_default_root()) == VERSION


def _default_root() -> Path:
    return workspace() / "datasets" / "synthetic"


def _check(class_name: str, *, split: str, defect_type: str, index: int, size: int) -> None:
    if class_name not in SYNTHETIC_CLASSES:
        raise DataError(f"The synthetic class is {class_name!r}; allowed: {', '.join(SYNTHETIC_CLASSES)}.")
    allowed = (GOOD, *SYNTHETIC_CLASSES[class_name])
    if defect_type not in allowed:
        raise DataError(f"The defect type of {class_name} is {defect_type!r}; allowed: {', '.join(allowed)}.")
    if split not in get_args(Split):
        raise DataError(f"The split is {split!r}; allowed: {', '.join(get_args(Split))}.")
    if index < 0 or not 64 <= size <= 1024:
        raise DataError(f"Index {index} or size {size} is not possible; allowed: index from 0, size from 64 to 1024.")


def _shoot(key: tuple[str, str, int, int], defect_type: str, attempt: int, size: int) -> NDArray[np.uint8]:
    part, camera = generator(*key, "part"), generator(*key, "camera")
    flaw = generator(*key, defect_type, attempt)
    return photograph(_PAINTERS[key[0]](part, flaw, defect_type, size), camera)


def _without_specks(image: NDArray[np.uint8], good: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    changed = cv2.absdiff(image, good).max(axis=2) > TOLERANCE
    _, regions, stats, _ = cv2.connectedComponentsWithStats(changed.astype(np.uint8), connectivity=8)
    speck = changed & (stats[:, cv2.CC_STAT_AREA] < SMALLEST_REGION)[regions]
    return np.where(speck[..., None], good, image), changed & ~speck


def _plan(name: str, train: int, test_good: int, per_defect: int) -> list[tuple[Split, str, int, int]]:
    """Split, defect type, file number and part index of every image; no two images show the same part."""
    plan: list[tuple[Split, str, int, int]] = [("train", GOOD, n, n) for n in range(train)]
    plan += [("test", GOOD, n, n) for n in range(test_good)]
    for position, defect_type in enumerate(SYNTHETIC_CLASSES[name]):
        first = test_good + position * per_defect
        plan += [("test", defect_type, n, first + n) for n in range(per_defect)]
    return plan


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H, W) grey or (H, W, 3) RGB pixels, without compression: compressors differ, and the bytes must not."""
    height, width = image.shape[:2]
    colour = 0 if image.ndim == 2 else 2
    rows = image.reshape(height, -1)
    content = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()  # 0: no filter
    blocks = [content[start : start + _BLOCK] for start in range(0, len(content), _BLOCK)]
    stored = b"".join(
        struct.pack("<BHH", index == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for index, block in enumerate(blocks)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
        + _chunk(b"IDAT", b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(content)))
        + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _version_of(root: Path) -> int | None:
    """Version of the drawings in a folder; None where it is not one of ours."""
    try:
        marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    version = marker.get("version") if isinstance(marker, dict) else None
    return version if isinstance(version, int) else None


def _refuse_foreign(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is a file; synthetic images need a folder. Name a new or empty folder.")
    if root.is_dir() and any(root.iterdir()) and _version_of(root) is None:
        raise DataError(
            f"The folder {root} is not empty and was not written by this program, so it is left alone. "
            "Name a new or empty folder."
        )


def _read(root: Path) -> list[DatasetClass]:
    found = find_classes(root, layout="mvtec")
    return [replace(c, dataset="synthetic", licence="MIT", note=NOTE) for c in found]
