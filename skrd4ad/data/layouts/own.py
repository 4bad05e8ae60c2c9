"""Own folders: good images alone, or a folder of good images beside folders of defects, with or without masks."""

from dataclasses import replace
from pathlib import Path

from skrd4ad.data.images.read import list_images
from skrd4ad.data.layouts.beside import read_flat
from skrd4ad.data.layouts.folders import (
    guess_remark,
    images_below,
    is_good,
    is_mask_folder,
    kinds_in,
    mask_files,
    samples_in,
    subfolders,
)
from skrd4ad.data.layouts.hints import Hints
from skrd4ad.data.layouts.hold_out import split_good, split_note
from skrd4ad.data.layouts.masks import masks_beside, with_masks
from skrd4ad.types import GOOD, DatasetClass, Remark, Sample


def fits(root: Path, hints: Hints) -> bool:
    """Whether there is a folder of good images, or images directly in the folder."""
    return any(is_good(p, hints) for p in subfolders(root)) or bool(list_images(root))


def read_class(root: Path, hints: Hints) -> DatasetClass:
    """The one class of a folder; see :func:`skrd4ad.data.layouts.hold_out.split_good` for how good images are split."""
    if not any(is_good(p, hints) for p in subfolders(root)):
        return read_flat(root, hints)
    kinds = kinds_in(root, hints)
    samples: list[Sample] = []
    beside: set[Path] = set()
    for kind in kinds:
        found = samples_in(kind, split="train", hints=hints)
        masks = masks_beside([s.path for s in found])
        samples += [replace(s, mask_values=hints.mask_values) for s in found if s.path not in masks]
        beside |= masks
    paired, remarks = with_masks(samples, [*mask_files(root, hints), *beside], root=root, hints=hints)
    samples = split_good(paired)
    return DatasetClass(
        dataset=root.name,
        name=root.name,
        root=root,
        layout=str(replace(hints, layout="folder")),
        samples=tuple(samples),
        note=split_note(samples),
        remarks=(*remarks, *_guesses(root, kinds, hints)),
    )


def _guesses(root: Path, kinds: list[Path], hints: Hints) -> list[Remark]:
    good = {p.name for p in kinds if is_good(p, hints)}
    defects = {p.name for p in kinds if not is_good(p, hints) and images_below(p, hints)}
    masks = {p.name for p in subfolders(root) if is_mask_folder(p, hints)}
    return [] if not defects and good == {GOOD} else [guess_remark(good=good, defects=defects, masks=masks)]
