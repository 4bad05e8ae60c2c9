"""Own folders: good images alone, or a folder of good images beside folders of defects, with or without masks."""

from dataclasses import replace
from pathlib import Path

from skrd4ad.data.images.read import list_images
from skrd4ad.data.layouts.folders import (
    MASK_ENDINGS,
    ClassFolders,
    child,
    images_by_stem,
    is_good,
    mask_of,
    samples_in,
    subfolders,
)
from skrd4ad.digests import content_digest
from skrd4ad.types import GOOD, DatasetClass, Sample

TRAIN_SHARE = 0.8
"""Share of the good images to learn from, where there are defects to test on."""
MASK_FOLDERS = ("ground_truth", "masks")


def fits(root: Path) -> bool:
    """Whether there is a folder of good images, or images directly in the folder."""
    return any(is_good(p) for p in subfolders(root)) or bool(list_images(root))


def read_class(root: Path) -> DatasetClass:
    """The one class of a folder. With defects, good images are split by a hash of their names: the same files are split
    alike on every machine, whatever they show. Without defects all of them are for training."""
    if not any(is_good(p) for p in subfolders(root)):
        good = [replace(s, label=0, defect_type=GOOD, mask_path=None) for s in samples_in(root, split="train")]
        return DatasetClass(dataset=root.name, name=root.name, root=root, layout="folder", samples=tuple(good))
    kinds = _image_folders(root)
    good = []
    for folder in filter(is_good, kinds):
        beside = _masks_beside(folder).values()
        good += [s for s in samples_in(folder, split="train") if s.path not in beside]
    defects = [s for folder in kinds if not is_good(folder) for s in _defects_in(folder, root)]
    note = ""
    if defects:
        test = _names_for_test(good)
        good = [replace(s, split="test") if s.path in test else s for s in good]
        note = f"Good images were split by file name, {TRAIN_SHARE:.0%} to learn from and the rest to test on."
    good.sort(key=lambda s: s.split == "test")
    return DatasetClass(
        dataset=root.name, name=root.name, root=root, layout="folder", samples=(*good, *defects), note=note
    )


def class_folders(cls: DatasetClass) -> ClassFolders:
    """Folders of a class."""
    if not any(is_good(p) for p in subfolders(cls.root)):
        return ClassFolders(images=(cls.root,))
    kinds = _image_folders(cls.root)
    masks: list[tuple[Path, tuple[Path, ...]]] = []
    for folder in _mask_folders(cls.root):
        masks.append((folder, tuple(kinds)))
        masks += [(inner, (child(cls.root, inner.name),)) for inner in subfolders(folder)]
    return ClassFolders(images=tuple(kinds), masks=tuple(masks), containers=(cls.root,))


def _mask_folders(root: Path) -> list[Path]:
    return [p for p in subfolders(root) if p.name.casefold() in MASK_FOLDERS]


def _image_folders(root: Path) -> list[Path]:
    return [p for p in subfolders(root) if p.name.casefold() not in MASK_FOLDERS]


def _defects_in(folder: Path, root: Path) -> list[Sample]:
    """Defects of one folder; masks lie beside them, or in a folder of masks, directly or by defect type."""
    truth = _mask_folders(root)
    masks = images_by_stem([*(child(p, folder.name) for p in truth), *truth])
    beside = _masks_beside(folder)
    return [
        replace(s, mask_path=beside.get(s.path) or mask_of(s.path, masks))
        for s in samples_in(folder, split="test")
        if s.path not in beside.values()
    ]


def _masks_beside(folder: Path) -> dict[Path, Path]:
    """Masks in the folder of their images: only files named like a mask of another image there."""
    endings = tuple(ending for ending in MASK_ENDINGS if ending)
    masks = {stem: path for stem, path in images_by_stem([folder]).items() if stem.endswith(endings)}
    found = {path: mask_of(path, masks) for path in list_images(folder) if path.stem.casefold() not in masks}
    return {path: mask for path, mask in found.items() if mask is not None}


def _names_for_test(good: list[Sample]) -> set[Path]:
    """The images at the end of the order of hashes; at least one for each side where there are two."""
    order = sorted((s.path for s in good), key=lambda p: (content_digest(p.name), p.parent.name))
    n_train = min(max(round(len(order) * TRAIN_SHARE), 1), max(len(order) - 1, 1))
    return set(order[n_train:])
