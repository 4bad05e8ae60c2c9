"""Labelled images around a tiny model, for tests of the loop from labels to a new model."""

from dataclasses import dataclass
from pathlib import Path

from skrd4ad.data.images.read import read_mask
from skrd4ad.data.sources import open_dataset
from skrd4ad.digests import file_digest
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import SeenImages, seen_images_of
from skrd4ad.services.improve.agreement import Labels, labels_of, read_book
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.queue import filter_of
from skrd4ad.services.labelling.score_queue import score_labelled
from skrd4ad.storage.annotations import Label
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import QueueItem, save_class_image
from skrd4ad.storage.labelled_images import LabelBook, PredictionRow, save_predictions
from skrd4ad.storage.predictions import save_image
from skrd4ad.types import DatasetClass, Sample


def part(root: Path) -> DatasetClass:
    """The one class of a tiny data set."""
    return open_dataset(root)[0]


def put(info: ModelInfo, path: Path, *, split: str | None = None) -> str:
    """Put an image where it lies among those of a model's class; returns its digest."""
    digest = file_digest(path)
    with workspace_database().write() as session:
        save_image(session, digest=digest, name=path.name, file=path)
        save_class_image(
            session,
            digest=digest,
            dataset=info.dataset,
            class_name=info.class_name,
            origin="dataset" if split else "import",
            split=split,
        )
    return digest


def item(info: ModelInfo, digest: str) -> QueueItem:
    """An image of the class as it stands now."""
    return annotate.item_of(filter_of(info, None), digest)


def decide(info: ModelInfo, digest: str, label: Label, *, who: str = "Ada", kind: str | None = None) -> None:
    """Store a decision on an image."""
    annotate.decide(item(info, digest), label, reviewer=who, defect_type=kind)


def label_sample(info: ModelInfo, sample: Sample, *, split: str | None = None, who: str = "Ada") -> str:
    """Put a sample into the class and label it as its data set does, with its mask; returns its digest."""
    digest = put(info, sample.path, split=split)
    if sample.label == 0:
        decide(info, digest, "good", who=who)
    else:
        decide(info, digest, "defect", who=who, kind=sample.defect_type)
        if sample.mask_path is not None:
            annotate.draw(item(info, digest), read_mask(sample.mask_path), reviewer=who)
    return digest


def say(info: ModelInfo, scores: dict[str, float], *, calibration: int | None = 1) -> None:
    """Store made-up scores of a model."""
    said = {
        digest: PredictionRow(score=score, verdict=None, threshold=None, calibration=calibration, refusal=None)
        for digest, score in scores.items()
    }
    with workspace_database().write() as session:
        save_predictions(session, said, model_digest=info.digest, model_folder=info.folder)


@dataclass(frozen=True)
class Known:
    """What is known of the labels of a model's class."""

    book: LabelBook
    seen: SeenImages
    labels: Labels


def known_of(info: ModelInfo, data: DatasetClass | None) -> Known:
    """Labels with the scores of a model as they are now."""
    book, seen = read_book(info), seen_images_of(info, data)
    return Known(book, seen, labels_of(info, book, seen))


def score_all(info: ModelInfo) -> None:
    """Let a model look at all labelled images."""
    assert score_labelled(info, list(read_book(info).images.values())) == {}
