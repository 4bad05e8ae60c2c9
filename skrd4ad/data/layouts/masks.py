"""Which mask belongs to which picture: by folder and stem, never by order."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

from skrd4ad.data.images.read import natural_key
from skrd4ad.data.layouts.folders import is_mask_folder, plain_name
from skrd4ad.data.layouts.hints import Hints
from skrd4ad.types import Remark, Sample

_ENDING = re.compile(
    r"(?P<stem>.+)[ ._-](?P<word>mask|masks|gt|ground[ _-]?truth|label|labels|seg|segm|segmentation|annotation|anno)"
    r"(?P<number>[ ._-]?\d+)?",
    re.IGNORECASE,
)
_PLAIN_FOLDERS = frozenset({"images", "image", "imgs", "img", "data", "rgb", "pictures"})
"""Names that say nothing of what the images in them show."""
_SPLITS = frozenset({"train", "training", "test", "testing", "val", "validation", "testpublic"})
Folder = tuple[str, ...]


def split_ending(stem: str) -> tuple[str, str, bool]:
    """Of a mask's stem that of its picture, the word that says it is a mask, and whether a number follows, as of
    ``000_mask_2``; the word is empty where there is none."""
    match = _ENDING.fullmatch(stem)
    if match is None:
        return stem.casefold(), "", False
    return match["stem"].casefold(), match["word"].casefold(), match["number"] is not None


def picture_stems(mask: Path) -> set[str]:
    """Stems in lower case that the picture of a mask may have."""
    stem = split_ending(mask.stem)[0]
    return {mask.stem.casefold(), stem, stem.rstrip(" ._-")}


def mask_of(image: Path, masks: Mapping[str, Path]) -> Path | None:
    """The mask that belongs to an image, among masks by their stems in lower case; never the image itself."""
    stem = image.stem.casefold()
    named = {other: path for other, path in masks.items() if path != image and stem in picture_stems(path)}
    return next((named[other] for other in sorted(named, key=lambda other: (other == stem, other))), None)


def masks_beside(images: Sequence[Path]) -> set[Path]:
    """Images that are named like a mask of another one in their folder."""
    stems = {(path.parent, path.stem.casefold()) for path in images}
    return {
        path
        for path in images
        if split_ending(path.stem)[1]
        and any((path.parent, stem) in stems for stem in picture_stems(path) - {path.stem.casefold()})
    }


def with_masks(
    samples: Sequence[Sample], masks: Iterable[Path], *, root: Path, hints: Hints
) -> tuple[list[Sample], list[Remark]]:
    """Samples with the masks of the defects among them, and an error where one mask would serve several pictures."""
    # folders are few and files many
    folder_of = cache(lambda folder: _folder_of(folder, root, hints))
    index: dict[tuple[Folder, str], list[Path]] = defaultdict(list)
    for mask in masks:
        folder = folder_of(mask.parent)
        for parent, stem in product({folder, _without_split(folder)}, picture_stems(mask)):
            index[parent, stem].append(mask)
        if folder:  # as in MVTec LOCO: the masks of 000.png lie in a folder 000
            index[_without_split(folder[:-1]), f"{folder[-1]}/"].append(mask)
    found = {s.path: _masks_of(s.path, folder_of(s.path.parent), index) for s in samples if s.label == 1}
    users: dict[Path, list[Path]] = defaultdict(list)
    for image, own in found.items():
        for mask in own:
            users[mask].append(image)
    shared = {mask: images for mask, images in users.items() if len(images) > 1}
    used = {image: [mask for mask in own if mask not in shared] for image, own in found.items()}
    paired = [
        replace(s, mask_path=chosen[0], more_masks=tuple(chosen[1:])) if (chosen := used.get(s.path)) else s
        for s in samples
    ]
    return paired, [_shared_remark(shared)] if shared else []


def without_picture(masks: Sequence[Path], pictures: Iterable[Path], *, root: Path, hints: Hints) -> list[Path]:
    """Masks to which none of the pictures belongs."""
    folder_of = cache(lambda folder: _without_split(_folder_of(folder, root, hints)))
    known = {(folder_of(path.parent), path.stem.casefold()) for path in pictures}
    stems = {stem for _, stem in known}

    def fits(mask: Path) -> bool:
        folder, names = folder_of(mask.parent), picture_stems(mask)
        if not folder:
            return bool(names & stems)
        return any((folder, name) in known for name in names) or (folder[:-1], folder[-1]) in known

    return [mask for mask in masks if not fits(mask)]


def _masks_of(image: Path, folder: Folder, index: Mapping[tuple[Folder, str], list[Path]]) -> list[Path]:
    stem = image.stem.casefold()
    # the nearest folder first: the same folder, the same type in whatever split, then one folder for all types
    for near in dict.fromkeys([folder, _without_split(folder), ()]):
        if own := [mask for mask in index.get((near, stem), ()) if mask != image]:
            return _chosen(own)
        if (near, f"{stem}/") in index:
            return sorted(index[near, f"{stem}/"], key=natural_key)
    return []


def _chosen(masks: list[Path]) -> list[Path]:
    """All that are numbered, or one: ``000_mask`` before ``000_gt`` before ``000``."""

    def rank(mask: Path) -> tuple[bool, bool]:
        word = split_ending(mask.stem)[1]
        return not word.startswith("mask"), not word

    best = min(map(rank, masks))
    first = sorted((m for m in masks if rank(m) == best), key=natural_key)
    return [m for m in first if split_ending(m.stem)[2]] or first[:1]


def _folder_of(folder: Path, root: Path, hints: Hints) -> Folder:
    """Names of the folders below the root that say what is shown."""
    names = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
    kept = (name for name in names if not is_mask_folder(Path(name), hints))
    return tuple(name.casefold() for name in kept if name.casefold() not in _PLAIN_FOLDERS)


def _without_split(folder: Folder) -> Folder:
    return tuple(name for name in folder if plain_name(name) not in _SPLITS)


def _shared_remark(shared: Mapping[Path, Sequence[Path]]) -> Remark:
    mask, images = next(iter(shared.items()))
    message = (
        f"{len(shared)} masks would each serve several pictures and are not used; the first, {mask.name}, fits "
        f"{' and '.join('/'.join(p.parts[-2:]) for p in images[:2])}. Put masks into a folder for each type of defect."
    )
    return Remark("error", "mask-shared", message, tuple(shared))
