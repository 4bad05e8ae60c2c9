"""Masks that are missing, damaged, of another size, empty, gone at the training size, or unclear; and masks among the
pictures."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from skrd4ad.data.doctor.facts import FEW_LEVELS, ImageFacts, MaskFacts
from skrd4ad.data.doctor.report import Severity, counted
from skrd4ad.data.images.mask_values import LARGE
from skrd4ad.format import plural
from skrd4ad.types import DatasetClass, ImageSize, Remark, size_option

_SHOWN_VALUES = 6
_SEPARATOR = re.compile(r"[ ._-]+")


def check_masks(cls: DatasetClass, facts: Sequence[ImageFacts], *, image_size: ImageSize) -> Iterator[Remark]:
    """Everything about the masks of a class."""
    yield from _check_pictures(facts)
    if cls.has_masks:
        bare = [s.path for s in cls.test if s.label == 1 and s.mask_path is None]
        message = "without a mask in a class that has masks; left out of pixel metrics."
        yield from counted("warning", "defect-without-mask", "defect", message, bare)
    pairs = [(f, f.mask) for f in facts if f.mask is not None]
    masks = [mask for _, mask in pairs if not mask.error]
    at_size = f"at the training size {size_option(image_size)}; choose a larger size to measure them."
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
        yield from counted(severity, code, "mask", message, [m.path for m in chosen])
    yield from _check_values(masks)


def _check_values(masks: Sequence[MaskFacts]) -> Iterator[Remark]:
    """How values were read where that is not plain, and what asks."""
    if doubtful := [m for m in masks if m.doubt]:
        message = f"with values that fit two rules: {doubtful[0].doubt} Say it by --mask-values."
        yield from counted("error", "mask-doubt", "mask", message, [m.path for m in doubtful], asks=True)
    if large := [m for m in masks if m.share > LARGE]:
        largest = max(m.share for m in large)
        message = (
            f"of {len(masks)} with more than {LARGE:.0%} of the picture marked as defect (up to {largest:.0%}). If "
            "they are inverted, say --mask-values 0=defect,255=good."
        )
        # one large defect may be true; where most are large the masks are probably inverted
        asks = 2 * len(large) > len(masks)
        severity: Severity = "error" if asks else "warning"
        yield from counted(severity, "mask-large", "mask", message, [m.path for m in large], asks=asks)
    for rule, text in (
        (
            "levels",
            "with areas of several values, read as classes, all of them defect: {}; --mask-values says otherwise.",
        ),
        ("half", "with soft edges: above half of the highest value is defect. Pixels of values: {}."),
        ("given", "read as --mask-values or the data set says. Pixels of values: {}."),
    ):
        chosen = [m for m in masks if rule in m.rule.split(", ") and not m.doubt]
        yield from counted("note", f"mask-{rule}", "mask", text.format(_values_text(chosen)), [m.path for m in chosen])


def _values_text(masks: Sequence[MaskFacts]) -> str:
    totals: dict[str, int] = defaultdict(int)
    for mask in masks:
        for value, count in mask.values.items():
            totals[value] += count
    shown = list(totals.items())[:_SHOWN_VALUES]
    more = f" and {len(totals) - len(shown)} more" if len(totals) > len(shown) else ""
    return ", ".join(f"{value} ({plural(count, 'pixel')})" for value, count in shown) + more


def _check_pictures(facts: Sequence[ImageFacts]) -> Iterator[Remark]:
    """Pictures of few levels that share name and size with another picture: masks, whatever they are called."""
    pictures: dict[tuple[str, tuple[int, int]], ImageFacts] = {}
    for fact in facts:
        if fact.size is not None and not fact.few_levels:
            for name in _names(fact.sample.path.stem):
                pictures.setdefault((name, fact.size), fact)
    found = []
    for fact in facts:
        if fact.size is not None and fact.few_levels:
            names = _names(fact.sample.path.stem)
            partner = next((pictures[n, fact.size] for n in names if (n, fact.size) in pictures), None)
            if partner is not None:
                found.append((fact, partner))
    if found:
        mask, picture = found[0]
        message = (
            f"of at most {FEW_LEVELS} levels, with name and size of another picture: masks, not pictures. The first, "
            f"{_short(mask)}, goes with {_short(picture)}. Say --masks NAME of their folder, or move them away."
        )
        paths = [fact.sample.path for fact, _ in found]
        yield from counted("error", "mask-as-picture", "picture", message, paths, asks=True)


def _names(stem: str) -> list[str]:
    """A stem and what is left of it without a word at its end or its beginning, where that holds a number."""
    parts = _SEPARATOR.split(stem.casefold())
    names = [" ".join(parts), " ".join(parts[:-1]), " ".join(parts[1:])]
    return list(dict.fromkeys(name for name in names if any(c.isdigit() for c in name) or name == names[0]))


def _short(fact: ImageFacts) -> str:
    return "/".join(fact.sample.path.parts[-2:])
