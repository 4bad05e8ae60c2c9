"""Files in the folders of a class that no sample stands for."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from skrd4ad.data.doctor.report import counted
from skrd4ad.data.images.read import is_hidden, is_image, read_image
from skrd4ad.data.layouts.find import LAYOUTS
from skrd4ad.data.layouts.folders import RGB, all_images, is_mask_folder, is_own_output, subfolders
from skrd4ad.data.layouts.hints import read_hints
from skrd4ad.data.layouts.masks import masks_beside, without_picture
from skrd4ad.errors import ImageError
from skrd4ad.types import DatasetClass, Remark

_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
_MOST_FILES = 200_000
"""A folder of images may lie in one that holds a whole disk."""
_SHOWN_FOLDERS = 5
_MOST_LEVELS = 64
"""Grey levels that the soft edges of a mask may have."""


def check_folders(cls: DatasetClass) -> Iterator[Remark]:
    """Files that no sample stands for, by the folders they lie in."""
    hints = read_hints(cls.layout)
    if hints.layout not in LAYOUTS:  # an embedded data set: its folder holds other classes too
        return
    there = list(islice(all_images(cls.root), _MOST_FILES))
    told = {path for remark in cls.remarks for path in remark.paths}
    known = {path for s in cls.samples for path in (s.path, *s.masks)} | told | masks_beside(there)
    left = [path for path in there if path not in known]
    masks = _below(left, cls.root, lambda folder: is_mask_folder(folder, hints))
    orphans = without_picture(sorted(masks), told | {s.path for s in cls.samples}, root=cls.root, hints=hints)
    yield from counted(
        "warning", "mask-without-image", "mask", "without an image; masks are found by the image's name.", orphans
    )
    message = (
        "in folders that are named like those of masks, but pictures by their looks; not used. Rename the folder if it "
        "names a type of defect."
    )
    yield from counted("warning", "picture-as-mask", "image", message, _like_pictures(sorted(masks - set(orphans))))
    foreign = [
        path
        for folder in sorted({s.path.parent for s in cls.samples if s.path.parent.is_dir()})
        for path in sorted(folder.iterdir())
        if path.is_file() and not (is_image(path) or is_hidden(path) or path.name.casefold() in _SYSTEM_FILES)
    ]
    message = "beside the images that are no known images; programs that list one suffix lose them silently."
    yield from counted("warning", "unknown-suffix", "file", message, foreign)
    yield from _unused([path for path in left if path not in masks], cls)


def _like_pictures(files: list[Path]) -> list[Path]:
    """Files of folders whose first one has more grey levels than a mask."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        by_folder[path.parent].append(path)
    found: list[Path] = []
    for own in by_folder.values():
        with suppress(ImageError):  # what cannot be read is no picture either
            if np.unique(read_image(own[0])[..., 1]).size > _MOST_LEVELS:
                found += own
    return found


def _unused(left: list[Path], cls: DatasetClass) -> Iterator[Remark]:
    output = _below(left, cls.root, is_own_output)
    message = "that this program wrote: results, models or a workspace; left out."
    yield from counted("note", "own-output", "image", message, sorted(output))
    left = [path for path in left if path not in output]
    channels = _below(left, cls.root, _beside_rgb)
    message = f"of other channels beside a folder {RGB}; only that is read."
    yield from counted("note", "other-channels", "image", message, sorted(channels))
    unused = [path for path in left if path not in channels]
    if not unused:
        return
    places = Counter(path.parent.relative_to(cls.root).as_posix() for path in unused)
    shown = [f"{count} in {'the folder itself' if place == '.' else place}" for place, count in places.most_common()]
    more = f" and {len(shown) - _SHOWN_FOLDERS} more folders" if len(shown) > _SHOWN_FOLDERS else ""
    first = unused[0].relative_to(cls.root).as_posix()
    message = (
        f"not used: {', '.join(shown[:_SHOWN_FOLDERS])}{more}, such as {first}. --good NAME, --masks NAME or --layout "
        "NAME says what they are; else move them away."
    )
    yield from counted("warning", "unused-images", "image", message, unused)


def _below(paths: Iterable[Path], root: Path, is_one: Callable[[Path], bool]) -> set[Path]:
    """Files with a folder below the root above them of which something holds."""
    holds = cache(is_one)
    return {path for path in paths if any(holds(folder) for folder in path.parents if root in folder.parents)}


def _beside_rgb(folder: Path) -> bool:
    return folder.name.casefold() != RGB and any(p.name.casefold() == RGB for p in subfolders(folder.parent))
