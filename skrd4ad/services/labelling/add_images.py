"""Where the images of a queue come from: data sets and folders, whose files stay where they are, and uploads."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from skrd4ad.data.images.decode import read_pixels
from skrd4ad.data.images.read import image_size
from skrd4ad.data.masks import read_sample_mask
from skrd4ad.digests import content_digest, image_digest
from skrd4ad.errors import ConfigError, ImageError
from skrd4ad.format import plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.services.access import needs
from skrd4ad.services.labelling.annotate import defect_type_name
from skrd4ad.services.labelling.files import save_mask_file, stored_path
from skrd4ad.services.labelling.review import keep_upload
from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.class_images import NewImage, place_images
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import Origin
from skrd4ad.task import QUIET, Task
from skrd4ad.types import GOOD, DatasetClass, Sample, Split

AT_ONCE = 500
"""Images that are stored together."""
DATA_SET = "data set"
"""Reviewer of the labels that a data set brings along."""
_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # the name of a file may be any bytes, which Python reads as surrogates

Source = Path | bytes | ImageError
"""An image: its file, its bytes, or why it could not be had."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """What came of adding images to a queue."""

    added: int
    known: int
    repeated: int
    """Images with the same content as one before them."""
    labels: int
    problems: tuple[str, ...]
    digests: tuple[str, ...]
    """Contents in their order, those that were known among them; each once."""

    @property
    def text(self) -> str:
        """What happened, in one sentence."""
        parts = [f"{plural(self.added, 'image')} added to the queue"]
        if self.known:
            parts.append(f"{self.known} {'was' if self.known == 1 else 'were'} there already")
        if self.repeated:
            parts.append(f"{self.repeated} had the same content as another one")
        if self.labels:
            parts.append(f"{plural(self.labels, 'label')} of the data set taken over")
        return ", ".join(parts) + "."


@needs("inspector", "add images to the queue")
def add_class(
    info: ModelInfo,
    data: DatasetClass,
    *,
    splits: Sequence[Split] = ("test",),
    take_labels: bool = False,
    task: Task = QUIET,
) -> Added:
    """Put images of some splits of a data set into the queue of a model's class; their files stay where they are.

    With ``take_labels`` what the data set says of each, with its mask, is taken over as the decision of the reviewer
    "data set"; an image that somebody has decided on keeps that decision.
    """
    if not splits:
        raise ConfigError("No images are named; choose the test images, the training images, or both.")
    samples = [sample for sample in data.samples if sample.split in splits]
    prepared = [partial(_of_sample, sample, take_labels=take_labels) for sample in samples]
    return _add(info, prepared, origin="dataset", task=task)


@needs("inspector", "add images to the queue")
def add_files(
    info: ModelInfo, files: Iterable[tuple[str, Source]], *, origin: Origin = "import", task: Task = QUIET
) -> Added:
    """Put images without labels into the queue of a model's class; bytes are kept in the workspace."""
    return _add(info, [partial(_of_source, name, source) for name, source in files], origin=origin, task=task)


_Prepared = tuple[NewImage, str | None]
"""An image, and what of it could not be taken though the image is fine."""


def _add(info: ModelInfo, prepare: Sequence[Callable[[], _Prepared]], *, origin: Origin, task: Task) -> Added:
    first: dict[str, NewImage] = {}
    waiting: list[NewImage] = []
    problems: list[str] = []
    added = labels = repeated = 0
    for done, make in enumerate(prepare, start=1):
        try:
            image, problem = make()
        except ImageError as error:
            problems.append(str(error))
        else:
            if problem is not None:
                problems.append(problem)
            same = first.setdefault(image.digest, image)
            if same is image:
                waiting.append(image)
            else:
                repeated += 1
                problems += _contradiction(same, image)
        if len(waiting) >= AT_ONCE or (waiting and done == len(prepare)):
            with workspace_database().write() as session:
                new, decided = place_images(
                    session,
                    waiting,
                    dataset=info.dataset,
                    class_name=info.class_name,
                    origin=origin,
                    is_there=lambda file: stored_path(file).is_file(),
                )
            added, labels, waiting = added + new, labels + decided, []
        task.report(done, len(prepare))
    return Added(
        added=added,
        known=len(first) - added,
        repeated=repeated,
        labels=labels,
        problems=tuple(problems),
        digests=tuple(first),
    )


def _of_sample(sample: Sample, *, take_labels: bool) -> _Prepared:
    image = _of_file(sample.path.name, sample.path, split=sample.split, known_type=sample.defect_type)
    if not take_labels:
        return image, None
    if sample.label == 0:
        return replace(image, revision=Revision(label="good", reviewer=DATA_SET)), None
    problem = mask_file = kind = None
    try:
        kind = defect_type_name(sample.defect_type)
        mask_file = _mask_of(sample, image)
    except (ConfigError, ImageError) as error:
        problem = f"{sample.path}: its label was taken over in part. {error}"
    revision = Revision(label="defect", defect_type=kind, mask_file=mask_file, reviewer=DATA_SET)
    return replace(image, revision=revision), problem


def _mask_of(sample: Sample, image: NewImage) -> str | None:
    if sample.mask_path is None:
        return None
    mask = read_sample_mask(sample).defect
    if mask.shape != (image.height, image.width):
        raise ImageError(
            f"The mask {sample.mask_path} has {mask.shape[1]} x {mask.shape[0]} pixels, the image {image.width} x "
            f"{image.height}."
        )
    return save_mask_file(mask) if mask.any() else None


def _of_source(name: str, source: Source) -> _Prepared:
    if isinstance(source, ImageError):
        raise source
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)
    return (_of_bytes(shown, source) if isinstance(source, bytes) else _of_file(shown, source)), None


def _of_bytes(name: str, content: bytes) -> NewImage:
    # decoded, as nobody could label what turns out to be damaged; which levels apply is for the model to say
    height, width = read_pixels(content, name).shape[:2]
    file = str(keep_upload(content, name=name).relative_to(workspace()))
    return NewImage(digest=content_digest(content), name=name, file=file, width=width, height=height)


def _of_file(name: str, path: Path, *, split: str | None = None, known_type: str | None = None) -> NewImage:
    absolute, home = path.absolute(), workspace()
    file = str(absolute.relative_to(home) if absolute.is_relative_to(home) else absolute)
    if _NOT_UTF8.search(f"{file}{name}{known_type or ''}"):
        raise ImageError(f"{str(path)!r}: the name has characters that cannot be stored. Rename the file.")
    width, height = image_size(path)
    return NewImage(
        digest=image_digest(path), name=name, file=file, width=width, height=height, split=split, known_type=known_type
    )


def _contradiction(first: NewImage, again: NewImage) -> list[str]:
    if first.known_type == again.known_type or None in (first.known_type, again.known_type):
        return []
    words = {known: "good" if known == GOOD else f"defect ({known})" for known in (first.known_type, again.known_type)}
    return [
        f"{again.file}: the same content as {first.file}, but another label ({words[again.known_type]}, not "
        f"{words[first.known_type]}). The label of the first one counts."
    ]
