"""Real-IAD as published: ``realiad_1024/CLASS/{OK,NG/TYPE}/S0001`` with the splits in ``realiad_jsons*/CLASS.json``."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from skrd4ad.data.layouts.folders import subfolders
from skrd4ad.data.layouts.hints import Hints
from skrd4ad.errors import LayoutError
from skrd4ad.format import plural
from skrd4ad.types import GOOD, DatasetClass, Remark, Sample, Split

SPLIT_FOLDERS = {
    "real-iad": "realiad_jsons",
    "real-iad-sv": "realiad_jsons_sv",
    **{f"real-iad-fuiad-{share}": f"realiad_jsons_fuiad_{share}" for share in ("0.0", "0.1", "0.2", "0.4")},
}
"""The folder of split files that each layout reads: of all views, of the top view, and with defects among train."""
_VIEW = re.compile(r"_(C\d)_")


def split_files(root: Path, layout: str = "real-iad") -> list[Path]:
    """Split files of a layout, one a class, whether the archive was unpacked into a folder of its name or not."""
    name = SPLIT_FOLDERS[layout]
    for folder in (root / "realiad_jsons" / name, root / name):
        if found := sorted(folder.glob("*.json")):
            return found
    return []


def fits(root: Path, layout: str = "real-iad") -> bool:
    """Whether the folder has split files of a layout."""
    return bool(split_files(root, layout))


def read_classes(root: Path, layout: str, hints: Hints) -> list[DatasetClass]:
    """All classes that have a split file and a folder of images."""
    images = _images_root(root)
    files = [path for path in split_files(root, layout) if (images / path.stem).is_dir()]
    if not files:
        raise LayoutError(
            f"{root}: there are split files, but no folder of images for any of them; needed: realiad_1024/CLASS (or "
            "realiad_512, realiad_256) beside realiad_jsons."
        )
    return [_read_class(path, images, dataset=root.name, hints=replace(hints, layout=layout)) for path in files]


def _images_root(root: Path) -> Path:
    """The folder of the largest images there are."""
    sizes = [p for p in subfolders(root) if re.fullmatch(r"realiad_\d+", p.name)]
    return max(sizes, key=lambda p: int(p.name.rpartition("_")[2]), default=root)


def _read_class(path: Path, images: Path, *, dataset: str, hints: Hints) -> DatasetClass:
    name = path.stem
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        normal = str(content["meta"]["normal_class"])
        splits: tuple[Split, ...] = ("train", "test")
        samples = [
            _sample(entry, images / name, split=split, normal=normal, hints=hints)
            for split in splits
            for entry in content[split]
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LayoutError(
            f"{path} cannot be read ({type(error).__name__}: {error}); needed: meta.normal_class, and train and test "
            "as lists of entries with anomaly_class, image_path and mask_path. Take it from the download again."
        ) from error
    unused = tuple(s.path for s in samples if s.split == "train" and s.label == 1)
    views = Counter(match[1] for s in samples if (match := _VIEW.search(s.path.name)))
    message = f"{plural(len(unused), 'defect')} in train: not used; training takes good parts only."
    return DatasetClass(
        dataset=dataset,
        name=name,
        root=images / name,
        layout=str(hints),
        samples=tuple(s for s in samples if s.split == "test" or s.label == 0),
        note=f"{len(views)} views of each part ({', '.join(sorted(views))}), each an image of its own."
        if views
        else "",
        remarks=(Remark("note", "train-defects", message, unused),) if unused else (),
    )


def _sample(entry: dict[str, Any], folder: Path, *, split: Split, normal: str, hints: Hints) -> Sample:
    kind = str(entry["anomaly_class"])
    label = int(kind != normal)
    mask = _inside(folder, entry["mask_path"]) if label and entry.get("mask_path") else None
    return Sample(
        path=_inside(folder, entry["image_path"]),
        split=split,
        label=label,
        defect_type=kind if label else GOOD,
        mask_path=mask,
        mask_values=hints.mask_values if mask is not None else "",
    )


def _inside(folder: Path, name: object) -> Path:
    """A file of the class; the class's name may stand before it, as in some releases."""
    relative = PurePosixPath(str(name))
    if relative.is_absolute() or ".." in relative.parts or not relative.name:
        raise ValueError(f"{name!r} is no path inside {folder}")
    parts = relative.parts[1:] if relative.parts[0] == folder.name and len(relative.parts) > 1 else relative.parts
    return folder.joinpath(*parts)
