"""Which images a model has learnt from, which were held out, and which are test images of its data set, by content."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skrd4ad.digests import content_digest, image_digest
from skrd4ad.errors import DataError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass, Sample

STARTED_FROM = "started_from"
"""Key of the data of a model: which one it went on from."""


def record_of_images(
    learn: Iterable[Sample], held_out: Iterable[Sample], contents: Mapping[Path, str]
) -> dict[str, list[str]]:
    """What a model records of the images that it learns from and holds out: SHA-256 of their files."""
    return {
        "learnt": sorted({contents[sample.path] for sample in learn}),
        "held_out": sorted({contents[sample.path] for sample in held_out}),
    }


@dataclass(frozen=True, kw_only=True)
class SeenImages:
    """What a model has seen of images, by the SHA-256 of their files."""

    learnt: frozenset[str]
    held_out: frozenset[str]
    """Good images that the epoch and the first limits were chosen by."""
    train: frozenset[str]
    """Good training images of the data set, as it is now; empty when it is not at hand."""
    tests: frozenset[str]
    """Test images of the data set, likewise."""
    is_exact: bool
    """False when the training images are not those that are at hand now, or none are: then all training images there
    are count as learnt from, and others may have been learnt from as well."""


def seen_images_of(info: ModelInfo, data: DatasetClass | None) -> SeenImages:
    """What a model has seen of images. ``data``: the class it was trained on, when it is at hand."""
    learnt, held_out = learnt_and_held_out(info, data)
    exact = "learnt" in info.data or bool(held_out)
    if not exact and data is not None and info.train is not None and info.train.holdout == 0 and data.train:
        exact = data_digest(data.train) == info.data.get("digest")  # nothing was held out of exactly these images
    return SeenImages(
        learnt=frozenset(learnt),
        held_out=frozenset(info.data.get("held_out", ())) if "learnt" in info.data else _contents(held_out),
        train=frozenset() if data is None else _contents(data.train),
        tests=frozenset() if data is None else _contents(data.test),
        is_exact=exact,
    )


def learnt_and_held_out(info: ModelInfo, data: DatasetClass | None) -> tuple[set[str], list[Sample]]:
    """Contents of the images learnt from, and the held-out images that are still there, found by their contents. Of a
    model that has recorded neither, all training images count as learnt from, and none as held out, when the data has
    changed since."""
    if "learnt" in info.data:
        held_out_before = set(info.data.get("held_out", ()))
        at_hand = [] if data is None else [s for s in data.samples if s.label == 0 and s.path.is_file()]
        found = {digest: s for s in at_hand if (digest := image_digest(s.path)) in held_out_before}
        return set(info.data["learnt"]), list(found.values())
    if data is None:
        return set(), []
    everything = {image_digest(sample.path) for sample in data.train}
    if info.train is None or not data.train:
        return everything, []
    try:
        learn, held_out = split_holdout(data.train, share=info.train.holdout, seed=info.train.seed)
    except DataError:  # the data has shrunk since, below what could be trained on
        return everything, []
    unseen = {image_digest(sample.path) for sample in held_out}
    learnt = [sample for sample in learn if image_digest(sample.path) not in unseen]
    if data_digest([*learnt, *held_out]) != info.data.get("digest"):
        return everything, []
    return everything - unseen, list(held_out)


def _contents(samples: Iterable[Sample]) -> frozenset[str]:
    return frozenset(image_digest(sample.path) for sample in samples)


def unseen_samples(info: ModelInfo, samples: Sequence[Sample], task: Task = QUIET) -> tuple[Sample, ...]:
    """Samples without those that a model is known to have learnt from, or to have been held out for its limits. Only a
    model that went on from another one can have learnt from test images of its data set: a person may have labelled
    some of them good. All others lose nothing."""
    seen = recorded_images(info) if STARTED_FROM in info.data else frozenset()
    if not seen:
        return tuple(samples)
    unseen = []
    for sample in samples:
        task.check()
        if image_digest(sample.path) not in seen:
            unseen.append(sample)
    return tuple(unseen)


def recorded_images(info: ModelInfo) -> frozenset[str]:
    """Contents of the images that a model records as learnt from or held out; empty for one of an earlier version that
    was trained from scratch."""
    return frozenset(info.data.get("learnt", ())) | frozenset(info.data.get("held_out", ()))


def split_holdout(
    samples: Sequence[Sample], *, share: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Good images to learn from and to hold out (one or more unless the share is 0), drawn with the seed, in order.
    Those that the data set itself holds out are taken where there are any.

    Raises:
        DataError: fewer than two images would be left to learn from.
    """
    named = tuple(s for s in samples if s.held_out)
    if named and share > 0 and len(samples) - len(named) >= 2:
        return tuple(s for s in samples if not s.held_out), named
    n_out = max(1, round(share * len(samples))) if share > 0 else 0
    if len(samples) - n_out < 2:
        raise DataError(
            f"There are {len(samples)} good images to train on, and {n_out} would be held out; training needs at least "
            "2 besides those (20 or more are advisable). Add good images to the class."
        )
    drawn = set(np.random.default_rng(seed).permutation(len(samples))[:n_out].tolist())
    learn = tuple(s for index, s in enumerate(samples) if index not in drawn)
    held_out = tuple(s for index, s in enumerate(samples) if index in drawn)
    return learn, held_out


def data_digest(samples: Sequence[Sample]) -> str:
    """SHA-256 over the contents of image files, in hexadecimal; their names and order do not matter."""
    return content_digest("".join(sorted(image_digest(sample.path) for sample in samples)))
