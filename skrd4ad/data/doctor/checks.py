"""The checks of the preflight. Each takes what is known of one class and yields findings."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from skrd4ad.data.doctor.facts import ImageFacts, MaskFacts
from skrd4ad.data.doctor.report import Finding, Severity, finding, plural
from skrd4ad.data.images.read import is_hidden, is_image, list_images
from skrd4ad.data.layouts.find import class_folders
from skrd4ad.data.layouts.folders import image_stems_of, images_by_stem, subfolders
from skrd4ad.types import DatasetClass

FEW_TRAIN = 20
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})


def check_numbers(cls: DatasetClass) -> Iterator[Finding]:
    """Too little to learn from, or to measure with."""
    n_train, n_good = len(cls.train), sum(s.label == 0 for s in cls.test)
    n_defects = len(cls.test) - n_good
    if n_train < 2:
        yield finding(
            "error", "too-few-train", cls.name, f"{plural(n_train, 'good image')} to train on; at least 2 are needed."
        )
    elif n_train < FEW_TRAIN:
        yield finding(
            "warning",
            "few-train",
            cls.name,
            f"only {plural(n_train, 'good image')} to train on; below {FEW_TRAIN} every variation of good parts that "
            "was not seen looks like a defect.",
        )
    if not n_good:
        yield finding(
            "note",
            "no-good-test",
            cls.name,
            "no good images to test on: image AUROC, AP, F1-max and the false-reject rate cannot be computed.",
        )
    if not n_defects:
        yield finding(
            "note",
            "no-defect-test",
            cls.name,
            "no defects to test on: no metric of detection can be computed, and no escape rate.",
        )
    elif not cls.has_masks:
        yield finding("note", "no-masks", cls.name, "no masks: pixel metrics and AUPRO cannot be computed.")


def check_images(cls: DatasetClass, facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Unreadable files, mixed sizes and modes, duplicates."""
    broken = [f for f in facts if f.error]
    if broken:
        yield finding(
            "error",
            "unreadable",
            cls.name,
            f"{plural(len(broken), 'image')} cannot be read. The first: {broken[0].error}",
            paths=(f.sample.path for f in broken),
        )
    sizes = {f.size for f in facts if f.size}
    if len(sizes) > 1:
        yield finding(
            "note",
            "mixed-sizes",
            cls.name,
            f"images of {len(sizes)} sizes; each is resized to the training size, and its aspect ratio is given up.",
        )
    modes = sorted({f.mode for f in facts if f.mode})
    if len(modes) > 1:
        yield finding("note", "mixed-modes", cls.name, f"images are stored in several modes: {', '.join(modes)}.")
    yield from _check_duplicates(cls, facts)


def check_masks(cls: DatasetClass, facts: Sequence[ImageFacts], *, image_size: int) -> Iterator[Finding]:
    """Masks that are missing, damaged, of another size, empty, or gone at the training size."""
    if cls.has_masks:
        bare = [s.path for s in cls.test if s.label == 1 and s.mask_path is None]
        if bare:
            yield finding(
                "warning",
                "defect-without-mask",
                cls.name,
                f"{plural(len(bare), 'defect')} without a mask in a class that has masks; left out of pixel metrics.",
                paths=bare,
            )
    pairs = [(f, f.mask) for f in facts if f.mask is not None]
    readable = [(f, mask) for f, mask in pairs if not mask.error]

    def report(severity: Severity, code: str, masks: list[MaskFacts], message: str) -> Iterator[Finding]:
        if masks:
            text = f"{plural(len(masks), 'mask')} {message}"
            yield finding(severity, code, cls.name, text, paths=(m.path for m in masks))

    broken = [mask for _, mask in pairs if mask.error]
    if broken:
        yield from report("error", "mask-unreadable", broken, f"cannot be read. The first: {broken[0].error}")
    other = [(f, mask) for f, mask in readable if f.size is not None and f.size != mask.size]
    if other:
        (image, mask) = other[0]
        yield from report(
            "error",
            "mask-size",
            [m for _, m in other],
            f"not of their image's size; the first is {mask.size} for an image of {image.size} (width, height).",
        )
    found = [mask for _, mask in readable]
    yield from report("warning", "mask-empty", [m for m in found if m.empty], "without a single defect pixel.")
    at_size = f"at the training size {image_size}; choose a larger size to measure them."
    yield from report("warning", "mask-vanishes", [m for m in found if m.vanishes], f"with nothing left {at_size}")
    partly = [m for m in found if m.lost_regions and not m.vanishes]
    lost = sum(m.lost_regions for m in partly)
    yield from report("warning", "region-vanishes", partly, f"lose {plural(lost, 'region')} {at_size}")


def check_folders(cls: DatasetClass) -> Iterator[Finding]:
    """Files that no sample stands for, and defects among the images to learn from."""
    folders = class_folders(cls)
    defects = list(chain.from_iterable(list_images(p) for p in folders.train_defects))
    if defects:
        names = ", ".join(sorted(p.name for p in folders.train_defects))
        vad = cls.layout == "vad"
        advice = "not used; training takes good parts only." if vad else "train may hold good parts only: move them."
        yield finding(
            "note" if vad else "error",
            "train-defects",
            cls.name,
            f"{plural(len(defects), 'image')} in train/{names}: {advice}",
            paths=defects,
        )
    orphans = [
        mask
        for folder, image_folders in folders.masks
        for mask in _without_image(folder, images_by_stem(image_folders))
    ]
    used = {s.path for s in cls.samples} | {s.mask_path for s in cls.samples} | set(defects)
    warnings: list[tuple[str, str, list[Path]]] = [
        ("mask-without-image", "masks without an image; masks are found by the image's name.", orphans),
        (
            "unknown-suffix",
            "files beside the images that are no known images; programs that list one suffix lose them silently.",
            _in_each(folders.images, lambda p: p.is_file() and not is_image(p) and _is_users(p)),
        ),
        (
            "unused-images",
            "images in the folders of the class that are not used.",
            _in_each(folders.images, lambda p: p.is_file() and is_image(p) and p not in used),
        ),
        (
            "loose-images",
            "images outside the folders that say what they show; not used.",
            _in_each(folders.containers, lambda p: p.is_file() and is_image(p)),
        ),
        (
            "nested-images",
            "images one folder too deep; not used.",
            [p for folder in folders.images for inner in subfolders(folder) for p in list_images(inner)],
        ),
    ]
    for code, message, paths in warnings:
        if paths:
            yield finding("warning", code, cls.name, f"{len(paths)} {message}", paths=paths)


def _check_duplicates(cls: DatasetClass, facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    by_digest: dict[str, list[ImageFacts]] = defaultdict(list)
    for fact in facts:
        if fact.digest:
            by_digest[fact.digest].append(fact)
    groups = [group for group in by_digest.values() if len(group) > 1]

    def report(severity: Severity, code: str, chosen: list[list[ImageFacts]], message: str) -> Iterator[Finding]:
        if chosen:
            paths = [f.sample.path for group in chosen for f in group]
            yield finding(severity, code, cls.name, f"{plural(len(chosen), 'picture')} {message}", paths=paths)

    leaks = [g for g in groups if {f.sample.split for f in g} == {"train", "test"}]
    yield from report(
        "error", "duplicate-train-test", leaks, "both in train and in test: figures would be too good. Remove one side."
    )
    twice = [g for g in groups if sum(f.sample.split == "train" for f in g) > 1]
    yield from report("warning", "duplicate-train", twice, "more than once in train; they weigh more than others.")
    torn = [g for g in groups if {f.sample.label for f in g if f.sample.split == "test"} == {0, 1}]
    yield from report("error", "contradicting-labels", torn, "both good and a defect in test. Remove one.")


def _without_image(mask_folder: Path, images: dict[str, Path]) -> list[Path]:
    return [mask for mask in list_images(mask_folder) if not any(stem in images for stem in image_stems_of(mask))]


def _is_users(path: Path) -> bool:
    return not is_hidden(path) and path.name.casefold() not in _SYSTEM_FILES


def _in_each(folders: Sequence[Path], wanted: Callable[[Path], bool]) -> list[Path]:
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if wanted(path)]
