"""MVTec AD, and the published data sets that lie like it, each with what is its own."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from skrd4ad.data.layouts.folders import (
    RGB,
    all_images,
    child,
    guess_remark,
    images_below,
    is_good,
    is_mask_folder,
    is_own_output,
    kinds_in,
    mask_files,
    plain_name,
    samples_in,
    subfolders,
)
from skrd4ad.data.layouts.hints import Hints
from skrd4ad.data.layouts.masks import masks_beside, with_masks
from skrd4ad.errors import LayoutError
from skrd4ad.format import plural
from skrd4ad.types import GOOD, DatasetClass, Remark, Sample

TEST, TEST_PUBLIC = "test", "test_public"
DEFECTS_CONFIG = "defects_config.json"
"""What MVTec LOCO says of its types of defect: their value in the masks and their saturation thresholds."""
_MPDD = frozenset({"bracket_black", "bracket_brown", "bracket_white", "connector", "metal_plate", "tubes"})
_NAMED_GOOD = ("btad",)
"""Data sets that name their good parts otherwise than MVTec AD; nothing is guessed there."""
PRIVATE = ("test_private", "test_private_mixed")


@dataclass(frozen=True)
class Family:
    """A data set that lies like MVTec AD."""

    fits: Callable[[Path], bool]
    """Whether the folder of a class has what tells this data set from the others."""
    train_defects_allowed: bool = False
    """Whether defects in train are part of the data set; they are never learnt from."""


def _kinds(folder: Path, part: str) -> set[str]:
    return {plain_name(p.name) for p in subfolders(child(folder, part))}


def is_vad(folder: Path) -> bool:
    """Whether ``train`` holds exactly good and bad, and there are no masks."""
    return _kinds(folder, "train") == {GOOD, "bad"} and not child(folder, "ground_truth").is_dir()


FAMILIES: dict[str, Family] = {
    "mvtec-ad2": Family(lambda folder: child(folder, TEST_PUBLIC).is_dir()),
    "mvtec-loco": Family(lambda folder: "logicalanomalies" in _kinds(folder, TEST)),
    "mvtec-3d": Family(lambda folder: child(child(child(folder, "train"), GOOD), RGB).is_dir()),
    "aebad": Family(lambda folder: folder.name.casefold() in ("aebad_s", "aebad_v")),
    "btad": Family(lambda folder: _kinds(folder, TEST) == {"ok", "ko"}),
    "mpdd": Family(lambda folder: folder.name in _MPDD),
    "vad": Family(is_vad, train_defects_allowed=True),
    "mvtec": Family(lambda _: True),
    "visa-mvtec": Family(lambda _: False),
}
"""In the order in which they are tried; the last is never guessed."""


def is_class(folder: Path) -> bool:
    """Whether a folder has sub-folders in ``train`` or ``test``, beside masks."""
    return any(
        not is_mask_folder(kind) and not is_own_output(kind)
        for part in ("train", TEST, TEST_PUBLIC)
        for kind in subfolders(child(folder, part))
    )


def class_roots(root: Path) -> list[Path]:
    """The folder itself when it is one class, or those in it that are."""
    return [root] if is_class(root) else [p for p in subfolders(root) if is_class(p)]


def family_of(root: Path) -> str | None:
    """Name of the data set that the classes of a folder lie like; None when it has none."""
    roots = class_roots(root)
    return next((name for name, family in FAMILIES.items() if all(map(family.fits, roots))), None) if roots else None


def read_classes(root: Path, layout: str, hints: Hints) -> list[DatasetClass]:
    """Classes of a folder."""
    roots = class_roots(root)
    one = roots == [root]
    dataset = root.parent.name or root.name if one and layout != "vad" else root.name
    return [_read_class(folder, dataset=dataset, layout=layout, hints=hints) for folder in roots]


def _read_class(folder: Path, *, dataset: str, layout: str, hints: Hints) -> DatasetClass:
    train, validation = child(folder, "train"), child(folder, "validation")
    test = child(folder, TEST_PUBLIC if child(folder, TEST_PUBLIC).is_dir() else TEST)
    samples: list[Sample] = []
    for kind in filter(lambda p: is_good(p, hints), kinds_in(train, hints)):
        samples += samples_in(kind, split="train", hints=hints)
    for kind in filter(lambda p: is_good(p, hints), kinds_in(validation, hints)):
        samples += [replace(s, held_out=True) for s in samples_in(kind, split="train", hints=hints)]
    tested = [s for kind in kinds_in(test, hints) for s in samples_in(kind, split="test", hints=hints)]
    beside = masks_beside([s.path for s in tested])
    samples += [s for s in tested if s.path not in beside]
    values = loco_values(folder) if layout == "mvtec-loco" and not hints.mask_values else hints.mask_values
    paired, remarks = with_masks(samples, [*mask_files(folder, hints), *beside], root=folder, hints=hints)
    remarks += _remarks(folder, train, test, hints, layout)
    return DatasetClass(
        dataset=dataset,
        name=folder.name,
        root=folder,
        layout=str(replace(hints, layout=layout)),
        samples=tuple(replace(s, mask_values=values) if s.mask_path is not None else s for s in paired),
        remarks=tuple(remarks),
    )


def _remarks(folder: Path, train: Path, test: Path, hints: Hints, layout: str) -> list[Remark]:
    remarks, allowed = [], FAMILIES[layout].train_defects_allowed
    kinds = [p for p in kinds_in(train, hints) if not is_good(p, hints)]
    if defects := [image for kind in kinds for image in images_below(kind, hints)]:
        names = ", ".join(sorted(p.name for p in kinds))
        reason = (
            "not used; training takes good parts only." if allowed else "train may hold good parts only: move them."
        )
        message = f"{plural(len(defects), 'image')} in train/{names}: {reason}"
        remarks.append(Remark("note" if allowed else "error", "train-defects", message, tuple(defects)))
    private = [image for name in PRIVATE for image in all_images(child(folder, name))]
    if private:
        message = (
            f"{len(private)} images of the private test sets have no labels here: `skrd4ad predict --ad2-submission` "
            "writes what the benchmark server takes."
        )
        remarks.append(Remark("note", "private-test", message, tuple(private)))
    good = {p.name for part in (train, test) for p in kinds_in(part, hints) if is_good(p, hints)} - {GOOD}
    if good and not hints.good and layout not in _NAMED_GOOD:
        remarks.append(guess_remark(good=good))
    return remarks


def loco_values(folder: Path) -> str:
    """What the values in the masks of a class of MVTec LOCO mean, by its ``defects_config.json``; empty without."""
    return ",".join(f"{entry['pixel_value']}={entry['defect_name']}" for entry in read_defects_config(folder))


def read_defects_config(folder: Path) -> list[dict[str, object]]:
    """Entries of ``defects_config.json``; none when there is no such file.

    Raises:
        LayoutError: it is damaged.
    """
    path = folder / DEFECTS_CONFIG
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        for entry in entries:
            int(entry["pixel_value"]), float(entry["saturation_threshold"]), str(entry["defect_name"])
            bool(entry["relative_saturation"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LayoutError(
            f"{path} cannot be read ({type(error).__name__}: {error}); needed: a list of entries with defect_name, "
            "pixel_value, saturation_threshold and relative_saturation. Take it from the download again."
        ) from error
    return list(entries)
