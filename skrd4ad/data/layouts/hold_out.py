"""A split into training and test images where the data set has none."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from skrd4ad.digests import content_digest
from skrd4ad.types import Sample

TRAIN_SHARE = 0.8
"""Share of the good images to learn from, where there are defects to test on."""


def split_good(samples: Sequence[Sample], *, by: Callable[[Path], str] | None = None) -> list[Sample]:
    """Good images split by a hash of their names, so that the same files are split alike on every machine, and all
    defects for testing; without defects everything is for training. ``by`` names what must not stand on both sides,
    such as the part that several images show."""
    good, defects = [s for s in samples if s.label == 0], [s for s in samples if s.label == 1]
    if not defects:
        return [replace(s, split="train") for s in good]
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in good:
        name = sample.path.name if by is None else by(sample.path)
        groups[content_digest(name), "" if by else sample.path.parent.name].append(sample)
    ordered = [groups[key] for key in sorted(groups)]
    # at least one on each side where there are two
    n_train = min(max(round(len(ordered) * TRAIN_SHARE), 1), max(len(ordered) - 1, 1))
    test = {s.path for group in ordered[n_train:] for s in group}
    split = [replace(s, split="test" if s.path in test else "train") for s in good]
    return [*sorted(split, key=lambda s: s.split == "test"), *(replace(s, split="test") for s in defects)]


def split_note(samples: Sequence[Sample]) -> str:
    """What a reader of results must know of the split; nothing where there was none."""
    if not any(s.split == "test" for s in samples):
        return ""
    return f"Good images were split by file name, {TRAIN_SHARE:.0%} to learn from and the rest to test on."
