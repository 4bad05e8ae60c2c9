"""The preflight of one class: each image and mask read once, in a few threads, and checks that yield findings."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from skrd4ad.data.dataset import decoding_pool, vanished_regions
from skrd4ad.data.doctor.depth import Depth, check_depth, read_with_depth
from skrd4ad.data.doctor.report import MAX_EXAMPLES, Finding, Severity
from skrd4ad.data.images.read import (
    image_header,
    is_hidden,
    is_image,
    list_images,
    read_mask,
    resize_mask,
)
from skrd4ad.data.layouts.find import class_folders
from skrd4ad.data.layouts.folders import image_stems_of, images_by_stem, subfolders
from skrd4ad.digests import array_digest
from skrd4ad.errors import ImageError
from skrd4ad.format import plural
from skrd4ad.types import DatasetClass, Levels, Sample

FEW_TRAIN = 20
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
Problem = tuple[Severity, str, str, Sequence[Path]]
"""Severity, code, message, and the files concerned."""


@dataclass(frozen=True)
class MaskFacts:
    """What is known of a mask after reading it."""

    path: Path
    size: tuple[int, int] = (0, 0)
    """Width, height."""
    empty: bool = False
    vanishes: bool = False
    """Has pixels, and none at the training size."""
    lost_regions: int = 0
    error: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image after reading it; without size and digest where it cannot be read."""

    sample: Sample
    size: tuple[int, int] | None = None
    mode: str = ""
    digest: str = ""
    """Of the pixels, so that one picture in two formats counts as the same."""
    error: str = ""
    mask: MaskFacts | None = None
    depth: Depth | None = None


def read_facts(
    samples: Sequence[Sample], *, image_size: int, levels: Levels | None, advance: Callable[[], None]
) -> list[ImageFacts]:
    """Facts of every sample, in order; a file that cannot be read gives facts with an error. ``advance`` is called
    after each."""
    facts: list[ImageFacts] = []
    with decoding_pool() as pool:
        for fact in pool.map(lambda sample: _facts(sample, image_size, levels), samples):
            facts.append(fact)
            advance()
    return facts


def _facts(sample: Sample, image_size: int, levels: Levels | None) -> ImageFacts:
    mask = _mask_facts(sample.mask_path, image_size) if sample.mask_path is not None else None
    try:
        mode = image_header(sample.path).mode
        pixels, depth = read_with_depth(sample.path, sample.split, levels)
    except ImageError as error:
        return ImageFacts(sample, error=str(error), mask=mask)
    height, width = pixels.shape[:2]
    return ImageFacts(sample, size=(width, height), mode=mode, digest=array_digest(pixels), mask=mask, depth=depth)


def _mask_facts(path: Path, image_size: int) -> MaskFacts:
    try:
        mask = read_mask(path)
    except ImageError as error:
        return MaskFacts(path, error=str(error))
    small = resize_mask(mask, image_size)
    return MaskFacts(
        path,
        size=(mask.shape[1], mask.shape[0]),
        empty=not mask.any(),
        vanishes=bool(mask.any() and not small.any()),
        lost_regions=vanished_regions(mask, small),
    )


def check_class(
    cls: DatasetClass, facts: Sequence[ImageFacts], *, image_size: int, levels: Levels | None, given: bool
) -> Iterator[Finding]:
    """All findings of a class; for ``levels`` and ``given`` see :func:`check_depth`."""
    checks = (
        _check_numbers(cls),
        _check_images(facts),
        check_depth([fact.depth for fact in facts if fact.depth is not None], levels, given=given),
        _check_duplicates(facts),
        _check_masks(cls, facts, image_size=image_size),
        _check_folders(cls),
    )
    for severity, code, message, paths in chain.from_iterable(checks):
        yield Finding(severity, code, cls.name, message, tuple(paths[:MAX_EXAMPLES]), len(paths))


def _check_numbers(cls: DatasetClass) -> Iterator[Problem]:
    """Too few images for training, or for metrics."""
    n_train, n_good = len(cls.train), sum(s.label == 0 for s in cls.test)
    n_defects = len(cls.test) - n_good
    images = plural(n_train, "good image")
    if n_train < 2:
        yield "error", "too-few-train", f"{images} to train on; at least 2 are needed.", ()
    elif n_train < FEW_TRAIN:
        message = "every variation of good parts that was not seen looks like a defect."
        yield "warning", "few-train", f"only {images} to train on; below {FEW_TRAIN} {message}", ()
    if not n_good:
        message = "no good images to test on: image AUROC, AP, F1-max and the false-reject rate cannot be computed."
        yield "note", "no-good-test", message, ()
    if not n_defects:
        message = "no defects to test on: no metric of detection can be computed, and no escape rate."
        yield "note", "no-defect-test", message, ()
    elif not cls.has_masks:
        yield "note", "no-masks", "no masks: pixel metrics and AUPRO cannot be computed.", ()


def _check_images(facts: Sequence[ImageFacts]) -> Iterator[Problem]:
    """Unreadable files, mixed sizes and modes."""
    if broken := [f for f in facts if f.error]:
        message = f"cannot be read. The first: {broken[0].error}"
        yield from _counted("error", "unreadable", "image", message, [f.sample.path for f in broken])
    sizes = {f.size for f in facts if f.size}
    if len(sizes) > 1:
        message = "each is resized to the training size, and its aspect ratio is given up."
        yield "note", "mixed-sizes", f"images of {len(sizes)} sizes; {message}", ()
    modes = sorted({f.mode for f in facts if f.mode})
    if len(modes) > 1:
        yield "note", "mixed-modes", f"images are stored in several modes: {', '.join(modes)}.", ()


def _check_duplicates(facts: Sequence[ImageFacts]) -> Iterator[Problem]:
    by_digest: dict[str, list[ImageFacts]] = defaultdict(list)
    for fact in facts:
        if fact.digest:
            by_digest[fact.digest].append(fact)
    groups = [group for group in by_digest.values() if len(group) > 1]
    leaks = [g for g in groups if {f.sample.split for f in g} == {"train", "test"}]
    twice = [g for g in groups if sum(f.sample.split == "train" for f in g) > 1]
    torn = [g for g in groups if {f.sample.label for f in g if f.sample.split == "test"} == {0, 1}]
    leaked = "both in train and in test: figures would be too good. Remove one side."
    checks: list[tuple[Severity, str, list[list[ImageFacts]], str]] = [
        ("error", "duplicate-train-test", leaks, leaked),
        ("warning", "duplicate-train", twice, "more than once in train; they weigh more than others."),
        ("error", "contradicting-labels", torn, "both good and a defect in test. Remove one."),
    ]
    for severity, code, chosen, message in checks:
        paths = [f.sample.path for group in chosen for f in group]
        yield from _counted(severity, code, "picture", message, paths, count=len(chosen))


def _check_masks(cls: DatasetClass, facts: Sequence[ImageFacts], *, image_size: int) -> Iterator[Problem]:
    """Masks that are missing, damaged, of another size, empty, or gone at the training size."""
    if cls.has_masks:
        bare = [s.path for s in cls.test if s.label == 1 and s.mask_path is None]
        message = "without a mask in a class that has masks; left out of pixel metrics."
        yield from _counted("warning", "defect-without-mask", "defect", message, bare)
    pairs = [(f, f.mask) for f in facts if f.mask is not None]
    masks = [mask for _, mask in pairs if not mask.error]
    at_size = f"at the training size {image_size}; choose a larger size to measure them."
    partly = [m for m in masks if m.lost_regions and not m.vanishes]
    lost = plural(sum(m.lost_regions for m in partly), "region")
    checks: list[tuple[Severity, str, list[MaskFacts], str]] = [
        ("warning", "mask-empty", [m for m in masks if m.empty], "without a single defect pixel."),
        ("warning", "mask-vanishes", [m for m in masks if m.vanishes], f"with nothing left {at_size}"),
        ("warning", "region-vanishes", partly, f"lose {lost} {at_size}"),
    ]
    if other := [(f, m) for f, m in pairs if not m.error and f.size is not None and f.size != m.size]:
        image, mask = other[0]
        message = f"not of their image's size; the first is {mask.size} for an image of {image.size} (width, height)."
        checks.insert(0, ("error", "mask-size", [m for _, m in other], message))
    if broken := [mask for _, mask in pairs if mask.error]:
        checks.insert(0, ("error", "mask-unreadable", broken, f"cannot be read. The first: {broken[0].error}"))
    for severity, code, chosen, message in checks:
        yield from _counted(severity, code, "mask", message, [m.path for m in chosen])


def _check_folders(cls: DatasetClass) -> Iterator[Problem]:
    """Files that no sample stands for, and defects among the images to learn from."""
    folders = class_folders(cls)
    defects = list(chain.from_iterable(list_images(p) for p in folders.train_defects))
    names = ", ".join(sorted(p.name for p in folders.train_defects))
    severity: Severity = "error"
    reason = "train may hold good parts only: move them."
    if cls.layout == "vad":
        severity, reason = "note", "not used; training takes good parts only."
    yield from _counted(severity, "train-defects", "image", f"in train/{names}: {reason}", defects)
    orphans: list[Path] = []
    for folder, image_folders in folders.masks:
        images = images_by_stem(image_folders)
        orphans += [p for p in list_images(folder) if not any(stem in images for stem in image_stems_of(p))]
    used = {s.path for s in cls.samples} | {s.mask_path for s in cls.samples} | set(defects)
    foreign = _files_in(
        folders.images, lambda p: not (is_image(p) or is_hidden(p) or p.name.casefold() in _SYSTEM_FILES)
    )
    unused = _files_in(folders.images, lambda p: is_image(p) and p not in used)
    loose = _files_in(folders.containers, is_image)
    nested = [p for folder in folders.images for inner in subfolders(folder) for p in list_images(inner)]
    for code, paths, message in (
        ("mask-without-image", orphans, "masks without an image; masks are found by the image's name."),
        (
            "unknown-suffix",
            foreign,
            "files beside the images that are no known images; programs that list one suffix lose them silently.",
        ),
        ("unused-images", unused, "images in the folders of the class that are not used."),
        ("loose-images", loose, "images outside the folders that say what they show; not used."),
        ("nested-images", nested, "images one folder too deep; not used."),
    ):
        if paths:
            yield "warning", code, f"{len(paths)} {message}", paths


def _counted(
    severity: Severity, code: str, noun: str, message: str, paths: Sequence[Path], *, count: int | None = None
) -> Iterator[Problem]:
    """A problem that begins with how many there are, of paths unless ``count`` says otherwise; none without paths."""
    if paths:
        yield severity, code, f"{plural(count or len(paths), noun)} {message}", paths


def _files_in(folders: Sequence[Path], wanted: Callable[[Path], bool]) -> list[Path]:
    return [p for folder in folders if folder.is_dir() for p in sorted(folder.iterdir()) if p.is_file() and wanted(p)]
