"""What a training that goes on from a trained student learns from, holds out, and leaves for the comparison.

Images that people labelled good are shared out by their digests, the same way every time: some are learnt from, some
set the limits, and some are kept from both, so that the old and the new model can be compared on good parts that
neither has learnt from and no limit was taken from.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from skrd4ad import documents
from skrd4ad.config import TrainConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.digests import content_digest, image_digest
from skrd4ad.errors import DataError, ImageError
from skrd4ad.files import write_json
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import SeenImages, seen_images_of, split_holdout
from skrd4ad.paths import workspace
from skrd4ad.services.access import needs
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.training.warm_start import WarmStart
from skrd4ad.types import GOOD, DatasetClass, Sample

Role = Literal["learn", "limits", "compare"]
LEARN_SHARE, LIMITS_SHARE = 0.6, 0.2
FEWEST_ALONE = 100
"""Images labelled good without which a model is not retrained when its own training images are not at hand: it would
forget what it learnt from these."""
FOLDER = "retrainings"


@dataclass(frozen=True)
class ConfirmedNormal:
    """An image that somebody labelled good, and what it is for."""

    digest: str
    file: str
    """Path below the workspace folder, or an absolute one."""
    name: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class ConfirmedNormals:
    """Labels as they stood when a retraining was asked for: it can be resumed whatever is labelled since."""

    images: tuple[ConfirmedNormal, ...]
    defects: tuple[str, ...]
    people: tuple[str, ...]


def role_of(digest: str, seen: SeenImages) -> Role:
    """What an image labelled good is for. One that has been learnt from, or has set limits, stays what it was."""
    if digest in seen.learnt:
        return "learn"
    if digest in seen.held_out:
        return "limits"
    share = int(digest[-8:], 16) / 2**32
    if share < LEARN_SHARE:
        return "learn"
    return "limits" if share < LEARN_SHARE + LIMITS_SHARE else "compare"


@needs("engineer", "retrain a model")
def keep_confirmed(confirmed: ConfirmedNormals) -> str:
    """Write labels into the workspace by their content; returns the path below the workspace folder."""
    values = asdict(confirmed)
    file = f"{FOLDER}/{content_digest(json.dumps(values, sort_keys=True))}.json"
    path = workspace() / file
    if not path.is_file():
        write_json(path, values)
    return file


def read_confirmed(file: str) -> ConfirmedNormals:
    """Labels that were kept."""
    return documents.read(workspace() / file, ConfirmedNormals, remedy="Start the retraining anew.")


def start_of(
    data: DatasetClass, *, folder: Path, confirmed: str | None, config: TrainConfig
) -> tuple[DatasetClass, WarmStart]:
    """Where a training goes on from, and the class without test images that are no longer clean.

    Args:
        data: the class to train on; without samples when it is not at hand.
        folder: model folder of the trained student.
        confirmed: labels to learn from besides, as :func:`keep_confirmed` named them; None for none.

    Raises:
        ConfigError: the labels are damaged.
        DataError: there are too few images to learn from, or one was changed since it was labelled.
    """
    info = read_info(folder)
    if confirmed is None:
        return data, _plain_start(info, data, config)
    return _labelled_start(info, data, read_confirmed(confirmed))


def empty_class(info: ModelInfo) -> DatasetClass:
    """The class of a model whose data is not at hand."""
    layout = str(info.data.get("layout", "folder"))
    return DatasetClass(info.dataset, info.class_name, info.folder, layout, (), licence=info.data.get("licence", ""))


def _plain_start(info: ModelInfo, data: DatasetClass, config: TrainConfig) -> WarmStart:
    """A split in which nothing is held out that the trained student is known to have learnt from."""
    seen = seen_images_of(info, data)
    if not seen.is_exact:
        seen = seen_images_of(info, own_class(info))
    note = f"Goes on from {info.folder.name} (weights {info.digest[:12]})."
    if not seen.is_exact:
        learn, held_out = split_holdout(data.train, share=config.holdout, seed=config.seed)
        doubt = "which the model it goes on from may have learnt from"
        return WarmStart(
            folder=info.folder,
            learn=learn,
            held_out=held_out,
            held_out_text=f"held-out good images of training, {doubt}",
            note=f"{note} It is not known what that model has learnt from: the held-out images may be among it.",
        )
    learn, held_out = _split(data.train, seen, config)
    return WarmStart(folder=info.folder, learn=learn, held_out=held_out, already=seen.learnt, note=note)


def _split(
    samples: Sequence[Sample], seen: SeenImages, config: TrainConfig
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Images to learn from and to hold out: first those that were held out before, then others not learnt from."""
    n_out = max(1, round(config.holdout * len(samples))) if config.holdout > 0 else 0
    before = [s for s in samples if image_digest(s.path) in seen.held_out]
    fresh = [s for s in samples if image_digest(s.path) not in seen.held_out | seen.learnt]
    drawn = np.random.default_rng(config.seed).permutation(len(fresh)).tolist()
    held_out = {s.path for s in [*before, *(fresh[index] for index in drawn)][:n_out]}
    return (
        tuple(s for s in samples if s.path not in held_out),
        tuple(s for s in samples if s.path in held_out),
    )


def _labelled_start(info: ModelInfo, data: DatasetClass, confirmed: ConfirmedNormals) -> tuple[DatasetClass, WarmStart]:
    if not data.train and len(confirmed.images) < FEWEST_ALONE:
        raise DataError(too_few_alone(info, len(confirmed.images)))
    seen = seen_images_of(info, data)
    extra = {
        role: [_sample(image) for image in confirmed.images if image.role == role and image.digest not in seen.train]
        for role in ("learn", "limits")
    }
    defects = set(confirmed.defects)
    own = [sample for sample in data.train if image_digest(sample.path) not in defects]
    kept_out = [sample for sample in own if seen.is_exact and image_digest(sample.path) in seen.held_out]
    held_out = {sample.path for sample in kept_out}
    used = {image.digest for image in confirmed.images if image.role != "compare"}
    clean = tuple(s for s in data.samples if s.split != "test" or image_digest(s.path) not in used)
    people = ", ".join(confirmed.people)
    n_limits = len(extra["limits"])
    held_out_text = "held-out good images of training"
    if n_limits:
        held_out_text += f", {n_limits} of them labelled good by {people}"
    note = (
        f"Goes on from {info.folder.name} (weights {info.digest[:12]}) with images labelled good by {people}: "
        f"{len(extra['learn'])} learnt from, {n_limits} held out for the limits."
    )
    if n_tests := len(data.samples) - len(clean):
        note += (
            f" {n_tests} of these are test images of the data set. This model is not evaluated on them, so its figures "
            "are not those of the whole test set."
        )
    if n_defects := len(data.train) - len(own):
        note += (
            f" {n_defects} training images that people labelled defective are left out; the model it goes on from had "
            "them among its training images."
        )
    if not data.train:
        note += " The images that the model it goes on from had learnt from were not at hand."
    start = WarmStart(
        folder=info.folder,
        learn=(*(sample for sample in own if sample.path not in held_out), *extra["learn"]),
        held_out=(*kept_out, *extra["limits"]),
        already=seen.learnt,
        held_out_text=held_out_text,
        note=note,
    )
    return replace(data, samples=clean), start


def too_few_alone(info: ModelInfo, n: int) -> str:
    """Why a model cannot be retrained on labelled images alone, in words."""
    return (
        f"The images that {info.folder.name} was trained on are not at hand, and {n} are labelled good. Without its "
        f"own images a model forgets what it has learnt: at least {FEWEST_ALONE} labelled good are needed. Bring the "
        "data back to where it was, or label more good images."
    )


def _sample(image: ConfirmedNormal) -> Sample:
    path = stored_path(image.file)
    try:
        unchanged = image_digest(path) == image.digest
    except ImageError as error:
        raise DataError(
            f"{image.name}, labelled good, is not at {path} any more. Put it back, or start the retraining anew "
            "without it."
        ) from error
    if not unchanged:
        raise DataError(
            f"{path} was changed since it was labelled good as {image.name}. Put the file back as it was, or start the "
            "retraining anew without it."
        )
    return Sample(path, "train", 0, GOOD)


def own_class(info: ModelInfo) -> DatasetClass | None:
    """The class a model was trained on, wherever it lies; None when it is not where it was."""
    if not info.data.get("source"):
        return None
    layout = str(info.data.get("layout", "auto"))
    try:
        return open_dataset(str(info.data["source"]), layout=layout, class_name=info.class_name)[0]
    except DataError:  # gone: then it is not known what was learnt from
        return None
