"""What makes two evaluations the same: the model, what counts of its maps, and the contents of the test images."""

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from skrd4ad.digests import content_digest, image_digest
from skrd4ad.errors import DataError
from skrd4ad.inference.scoring import scoring_mask_digest, scoring_mask_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import data_digest, unseen_samples
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.evaluation.result import EvaluatedImage, StoredEvaluation
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass, Sample

FORMAT = 3
"""Of everything an evaluation computes: another number makes all that was measured before count as unknown."""


@dataclass(frozen=True)
class Contents:
    """Contents of the images that a model is measured on, and of their masks."""

    samples: tuple[Sample, ...]
    """Test images of the class, without those that the model has learnt from."""
    images: tuple[str, ...]
    """SHA-256 of each file, in the order of the samples."""
    masks: tuple[str | None, ...]
    digest: str
    """Of contents, labels, types and masks; names and order do not matter."""


def contents_of(info: ModelInfo, data: DatasetClass, task: Task = QUIET) -> Contents:
    """Contents of the test images of a class; a file is read again only when its size or time of change differs."""
    samples = unseen_samples(info, data.test, task)
    images: list[str] = []
    masks: list[str | None] = []
    for sample in samples:
        images.append(image_digest(sample.path))
        # a mask beside a good image is not looked at by any metric
        masks.append(_mask_digest(sample) if sample.label == 1 and sample.masks else None)
        task.check()
    lines = [
        "|".join((image, str(sample.label), sample.defect_type, mask or "-", sample.mask_values))
        for image, mask, sample in zip(images, masks, samples, strict=True)
    ]
    return Contents(samples, tuple(images), tuple(masks), digest_of(sorted(lines)))


def _mask_digest(sample: Sample) -> str:
    """Of a mask's file, or of those of several files."""
    first, *others = map(image_digest, sample.masks)
    return content_digest(first, *others) if others else first


def evaluation_key(info: ModelInfo, contents: Contents) -> str:
    """Name of the evaluation of a model as it is now on these contents."""
    surface = scoring_mask_digest(scoring_mask_of(info))
    parts = [str(FORMAT), info.digest, info.teacher_digest, str(info.model), surface, contents.digest]
    return digest_of(parts + ([] if info.alignment is None else [repr(info.alignment)]))[:32]


def as_it_is_now(stored: StoredEvaluation, info: ModelInfo, data: DatasetClass, contents: Contents) -> StoredEvaluation:
    """An evaluation of these contents with the names and places that model and images have now: they may have been
    moved or copied."""
    summary = replace(
        stored.summary,
        model_folder=info.folder,
        model_title=info.title,
        dataset=data.dataset,
        class_name=data.name,
        root=data.root.absolute(),
    )
    stored = replace(stored, summary=summary)
    if all(image.path == sample.path for image, sample in zip(stored.images, contents.samples, strict=True)):
        return stored
    waiting: dict[tuple[object, ...], list[Sample]] = defaultdict(list)
    for sample, content, mask in zip(contents.samples, contents.images, contents.masks, strict=True):
        waiting[content, sample.label, sample.defect_type, mask].append(sample)
    images = []
    for image in stored.images:
        sample = waiting[image.content, image.label, image.defect_type, image.mask_content].pop(0)
        mask_path = None if image.mask_path is None else sample.mask_path
        images.append(replace(image, path=sample.path, name=name_in(data, sample.path), mask_path=mask_path))
    return replace(stored, images=tuple(images))


def name_in(data: DatasetClass, path: Path) -> str:
    """Path of an image as a reader knows it: below the class, unless a split file names an image elsewhere."""
    return str(path.relative_to(data.root) if path.is_relative_to(data.root) else path)


def is_own_test_set(info: ModelInfo, data: DatasetClass) -> bool:
    """Whether test images belong to the data that a model was trained on: the same class of the same data set, with the
    same training images or in the same place."""
    if (info.dataset, info.class_name) != (data.dataset, data.name):
        return False
    if data.train and data_digest(data.train) == info.data.get("digest"):
        return True
    try:
        return class_of_model(info).root.absolute() == data.root.absolute()
    except DataError:
        return False


def changed_since(image: EvaluatedImage) -> bool:
    """Whether a file is not the one that was measured any more."""
    return image_digest(image.path) != image.content


def digest_of(parts: list[str]) -> str:
    """SHA-256 over texts, in hexadecimal."""
    return content_digest("\n".join(parts).encode("utf-8", "surrogateescape"))
