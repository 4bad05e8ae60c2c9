"""Pictures whose defects are known by their masks alone: KolektorSDD, KolektorSDD2, DAGM, and own folders like them.

No folder says what is good. A picture is a defect when its mask marks a pixel.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from skrd4ad.data.images.read import list_images, read_mask_values
from skrd4ad.data.layouts.folders import all_images, child, is_mask_folder, subfolders
from skrd4ad.data.layouts.hints import Hints
from skrd4ad.data.layouts.hold_out import split_good, split_note
from skrd4ad.data.layouts.masks import masks_beside, with_masks
from skrd4ad.errors import ImageError
from skrd4ad.format import plural
from skrd4ad.types import GOOD, DatasetClass, Remark, Sample, Split

DEFECT = "defect"
"""Type of a defect that only a mask tells of."""
_KEPT = 100_000


def fits_kolektor_sdd(root: Path) -> bool:
    """Whether the folder holds the items ``kos01`` and on, with ``Part0.jpg`` and ``Part0_label.bmp``."""
    items = [p for p in subfolders(root) if p.name.casefold().startswith("kos")]
    return bool(items) and all(masks_beside(list_images(p)) for p in items[:1])


def fits_kolektor_sdd2(root: Path) -> bool:
    """Whether ``train`` and ``test`` hold ``10000.png`` and ``10000_GT.png``."""
    return any(masks_beside(list_images(p)) for p in (child(root, "train"), child(root, "test")) if p.is_dir())


def dagm_roots(root: Path) -> list[Path]:
    """Classes of DAGM: folders with ``Train`` and ``Test`` that hold images, and masks in ``Label``."""

    def fits(folder: Path) -> bool:
        parts = [child(folder, name) for name in ("train", "test")]
        return any(child(part, "label").is_dir() and bool(list_images(part)) for part in parts)

    return [root] if fits(root) else [p for p in subfolders(root) if fits(p)]


def read_kolektor_sdd(root: Path, hints: Hints) -> DatasetClass:
    """One class. No split was published with the images: that of own folders is taken, with no item on both sides."""
    images = [image for item in subfolders(root) for image in list_images(item)]
    samples, remarks = told_by_masks(images, root=root, split="train", hints=hints)
    split = split_good(samples, by=lambda image: image.parent.name)
    return _class(root, "kolektor-sdd", hints, split, remarks, note=split_note(split))


def read_flat(root: Path, hints: Hints) -> DatasetClass:
    """Own pictures directly in a folder, with masks that tell the defects among them; without masks all are good. What
    folders in it show is not known."""
    samples, remarks = told_by_masks(list_images(root), root=root, split="train", hints=hints)
    split = split_good(samples)
    return _class(root, "folder", hints, split, remarks, note=split_note(split))


def read_split_class(root: Path, *, dataset: str, layout: str, hints: Hints) -> DatasetClass:
    """A class of KolektorSDD2 or DAGM, from ``train`` and ``test``. Defects in train are not used."""
    samples: list[Sample] = []
    remarks: list[Remark] = []
    for split in ("train", "test"):
        folder = child(root, split)
        images = list_images(folder) if folder.is_dir() else []
        found, more = told_by_masks(images, root=root, split=split, hints=hints)
        samples, remarks = samples + found, remarks + more
    unused = [s for s in samples if s.split == "train" and s.label == 1]
    if unused:
        message = f"{plural(len(unused), 'defect')} in train: not used; training takes good parts only."
        remarks.append(Remark("note", "train-defects", message, tuple(s.path for s in unused)))
    return _class(root, layout, hints, [s for s in samples if s not in unused], remarks, dataset=dataset)


def told_by_masks(
    images: Sequence[Path], *, root: Path, split: Split, hints: Hints
) -> tuple[list[Sample], list[Remark]]:
    """Samples of the pictures among images: those of whose masks a pixel is defect are defects, all others good. Masks
    lie beside the pictures, or in a folder of masks there."""
    beside = masks_beside(images)
    pictures = [
        Sample(path=image, split=split, label=1, defect_type=DEFECT, mask_values=hints.mask_values)
        for image in images
        if image not in beside
    ]
    folders = [p for folder in {image.parent for image in images} for p in subfolders(folder)]
    truth = [mask for folder in folders if is_mask_folder(folder, hints) for mask in all_images(folder)]
    paired, remarks = with_masks(pictures, [*truth, *beside], root=root, hints=hints)
    with ThreadPoolExecutor(4) as pool:
        marked = list(pool.map(_is_marked, paired))
    return [s if is_defect else _good(s) for s, is_defect in zip(paired, marked, strict=True)], remarks


def _good(sample: Sample) -> Sample:
    return replace(sample, label=0, defect_type=GOOD, mask_path=None, more_masks=())


def _is_marked(sample: Sample) -> bool:
    states = (path.stat() for path in sample.masks)
    return any(
        _marks(path, sample.mask_values, state.st_mtime_ns, state.st_size)
        for path, state in zip(sample.masks, states, strict=True)
    )


@lru_cache(maxsize=_KEPT)
def _marks(path: Path, given: str, _changed_at: int, _size: int) -> bool:
    try:
        return bool(read_mask_values(path, given).defect.any())
    except ImageError:
        return True  # the doctor says what is wrong with it


def _class(
    root: Path,
    layout: str,
    hints: Hints,
    samples: Sequence[Sample],
    remarks: Sequence[Remark],
    *,
    dataset: str = "",
    note: str = "",
) -> DatasetClass:
    return DatasetClass(
        dataset=dataset or root.name,
        name=root.name,
        root=root,
        layout=str(replace(hints, layout=layout)),
        samples=tuple(samples),
        note=note,
        remarks=tuple(remarks),
    )
