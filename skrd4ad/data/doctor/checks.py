"""The preflight of one class: checks that yield findings on its numbers, images, masks and folders."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

from skrd4ad.data.alignment import lie_of
from skrd4ad.data.doctor.depth import check_depth
from skrd4ad.data.doctor.facts import ImageFacts
from skrd4ad.data.doctor.folder_checks import check_folders
from skrd4ad.data.doctor.mask_checks import check_masks
from skrd4ad.data.doctor.report import MAX_EXAMPLES, Finding, Severity, counted
from skrd4ad.data.doctor.shape import check_shape
from skrd4ad.format import plural
from skrd4ad.types import Align, DatasetClass, ImageSize, Levels, Remark

FEW_TRAIN = 20


def check_class(
    cls: DatasetClass,
    facts: Sequence[ImageFacts],
    *,
    image_size: ImageSize,
    levels: Levels | None,
    given: bool,
    align: Align = "off",
) -> Iterator[Finding]:
    """All findings of a class, those of the reader of its layout first; for ``levels`` and ``given`` see
    :func:`check_depth`, for ``align`` :func:`skrd4ad.data.alignment.fit_alignment`."""
    mode, parts = _check_parts(facts, align)
    checks = (
        cls.remarks,
        _check_numbers(cls),
        _check_images(facts),
        check_depth([fact.depth for fact in facts if fact.depth is not None], levels, given=given),
        [] if mode != "off" else check_shape(_shapes(facts), image_size),
        parts,
        _check_duplicates(facts),
        check_masks(cls, facts, image_size=image_size),
        check_folders(cls),
    )
    for remark in chain.from_iterable(checks):
        paths = remark.paths
        yield Finding(
            remark.severity, remark.code, cls.name, remark.message, paths[:MAX_EXAMPLES], len(paths), remark.asks
        )


def _check_numbers(cls: DatasetClass) -> Iterator[Remark]:
    """Too few images for training, or for metrics."""
    n_train, n_good = len(cls.train), sum(s.label == 0 for s in cls.test)
    n_defects = len(cls.test) - n_good
    images = plural(n_train, "good image")
    if n_train < 2:
        yield Remark("error", "too-few-train", f"{images} to train on; at least 2 are needed.")
    elif n_train < FEW_TRAIN:
        message = "every variation of good parts that was not seen looks like a defect."
        yield Remark("warning", "few-train", f"only {images} to train on; below {FEW_TRAIN} {message}")
    if not n_good:
        message = "no good images to test on: image AUROC, AP, F1-max and the false-reject rate cannot be computed."
        yield Remark("note", "no-good-test", message)
    if not n_defects:
        message = "no defects to test on: no metric of detection can be computed, and no escape rate."
        yield Remark("note", "no-defect-test", message)
    elif not cls.has_masks:
        yield Remark("note", "no-masks", "no masks: pixel metrics and AUPRO cannot be computed.")


def _check_images(facts: Sequence[ImageFacts]) -> Iterator[Remark]:
    """Unreadable files, mixed sizes and modes."""
    if broken := [f for f in facts if f.error]:
        message = f"cannot be read. The first: {broken[0].error}"
        yield from counted("error", "unreadable", "image", message, [f.sample.path for f in broken])
    sizes = {f.size for f in facts if f.size}
    if len(sizes) > 1:
        message = "each is resized to the training size, and its aspect ratio is given up."
        yield Remark("note", "mixed-sizes", f"images of {len(sizes)} sizes; {message}")
    modes = sorted({f.mode for f in facts if f.mode})
    if len(modes) > 1:
        yield Remark("note", "mixed-modes", f"images are stored in several modes: {', '.join(modes)}.")


def _shapes(facts: Sequence[ImageFacts]) -> list[tuple[int, int]]:
    return [f.size for f in facts if f.size and f.sample.split == "train"]


def _check_parts(facts: Sequence[ImageFacts], align: Align) -> tuple[Align, list[Remark]]:
    """Whether training crops images to the parts or turns these, and what to say of it."""
    good = [f for f in facts if f.size and (f.sample.split, f.sample.label) == ("train", 0)]
    lie = lie_of([f.part for f in good], [f.size[::-1] for f in good if f.size])
    mode = lie.mode if align == "auto" else align
    done = {"rotate": "turned to lie alike, and cropped", "crop": "cropped to"}.get(mode)
    if not done:
        return "off", []
    found = f"{lie.found} of {plural(lie.looked_at, 'good image')} have a part by itself"
    message = f"{found}; parts are {done}. Align off looks at whole images."
    return mode, [Remark("note", "alignment", message)]


def _check_duplicates(facts: Sequence[ImageFacts]) -> Iterator[Remark]:
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
        yield from counted(severity, code, "picture", message, paths, count=len(chosen))
