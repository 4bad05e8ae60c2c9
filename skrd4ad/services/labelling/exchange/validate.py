"""From what a file says to images that can be imported: every image and mask is read once, every mistake is named."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.read import image_header, image_size, is_image, natural_key, read_mask
from skrd4ad.digests import content_digest
from skrd4ad.errors import DataError, ImageError
from skrd4ad.format import plural
from skrd4ad.services.labelling.exchange import fields
from skrd4ad.services.labelling.exchange.records import (
    DrawnMask,
    ImportEntry,
    Location,
    MaskSource,
    ParsedLabels,
    Problem,
    Shape,
)
from skrd4ad.services.labelling.exchange.sources import Bundle
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import images_of_class, known_images
from skrd4ad.storage.tables import StoredImage
from skrd4ad.task import QUIET, Task

_Contents = tuple[str, Shape]
"""Digest of an image, or hash of a mask's pixels, which is empty for an empty mask; and its shape."""
_Read = dict[Location, _Contents | DataError]
"""What each file holds, or why it cannot be used."""


def outcome(revision: Revision) -> tuple[object, ...]:
    """What a revision says of the image, whoever made it and when."""
    return revision.label, revision.defect_type, revision.mask_file


def mask_id(mask: NDArray[np.bool_]) -> str:
    """SHA-256 of the size and pixels of a mask (H, W), in hexadecimal: the same however it is stored."""
    return content_digest(repr(mask.shape), np.packbits(mask).tobytes())


def validate(
    parsed: ParsedLabels, bundle: Bundle, *, dataset: str, class_name: str, task: Task = QUIET
) -> ParsedLabels:
    """Read all images and masks that were found, and match them with the workspace; what fails is a problem.

    An image is the file that its row names; where there is none, the stored image of that content, or the only image
    of the class that has that name.
    """
    by_name: dict[str, list[StoredImage]] = defaultdict(list)
    with workspace_database().read() as session:
        by_digest = known_images(session, sorted({entry.digest for entry in parsed.entries if entry.digest}))
        for row in images_of_class(session, dataset=dataset, class_name=class_name):
            by_name[row.name].append(row)

    image_files = dict.fromkeys(entry.location for entry in parsed.entries if entry.location is not None)
    revisions = (revision for entry in parsed.entries for revision in (entry.latest, *entry.history))
    sources = (parsed.masks[revision.mask_file] for revision in revisions if revision.mask_file is not None)
    mask_files = dict.fromkeys(source for source in sources if not isinstance(source, DrawnMask))
    total = len(image_files) + len(mask_files) + len(parsed.entries)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        task.report(done, total)

    images = _read(bundle, image_files, _image_contents, step)
    masks = _read(bundle, mask_files, lambda content, name: _mask_contents(read_mask(content, name=name)), step)
    validator = _Validator(parsed.masks, by_digest, by_name, images, masks)
    valid: dict[str, ImportEntry] = {}
    problems = [*bundle.refused, *parsed.problems]
    repeated = found_by_name = 0
    for entry in parsed.entries:
        step()
        try:
            image = validator.valid(entry)
            found_by_name += entry.location is None and not entry.digest
            first = valid.setdefault(image.digest, image)
            if first is not image:
                if outcome(first.latest) != outcome(image.latest):
                    raise DataError(f"it is the same image as {first.where}, with another label")
                repeated += 1
        except DataError as error:
            problems.append(Problem(entry.where, str(error)))
    problems.sort(key=lambda problem: natural_key(Path(problem.where)))
    notes = list(parsed.notes)
    if repeated:
        notes.append(f"{plural(repeated, 'image')} more than once in it, with the same label: counted once.")
    if found_by_name:
        notes.append(f"{plural(found_by_name, 'image')} found by name alone, as the file gives no sha256.")
    return ParsedLabels(
        format=parsed.format,
        entries=tuple(valid.values()),
        masks=validator.used_masks,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _read(
    bundle: Bundle, files: Iterable[Location], contents_of: Callable[[bytes, str], _Contents], step: Callable[[], None]
) -> _Read:
    found: _Read = {}
    for location, content in bundle.read(files):
        try:
            found[location] = content if isinstance(content, ImageError) else contents_of(content, str(location))
        except DataError as error:
            found[location] = error
        step()
    return found


@dataclass(frozen=True)
class _Validator:
    """Matches entries with what was read and with the workspace."""

    sources: Mapping[str, MaskSource]
    by_digest: Mapping[str, StoredImage]
    by_name: Mapping[str, list[StoredImage]]
    images: _Read
    masks: _Read
    used_masks: dict[str, MaskSource] = field(default_factory=dict)
    """By the hashes of their pixels."""

    def valid(self, entry: ImportEntry) -> ImportEntry:
        """An image with its digest and shape, and its masks by their hashes."""
        digest, shape = self._image(entry)
        if entry.shape is not None and shape is not None and entry.shape != shape:
            raise DataError(f"{entry.named} has {_size(shape)} pixels; the file says {_size(entry.shape)}")
        latest, *history = (self._with_mask_id(revision, shape) for revision in (entry.latest, *entry.history))
        return replace(entry, digest=digest, shape=shape, latest=latest, history=tuple(history))

    def _image(self, entry: ImportEntry) -> tuple[str, Shape | None]:
        """Digest and shape of the image that an entry means."""
        if entry.location is not None:
            fields.text_of(str(entry.location), "its path")
            digest, shape = _usable(self.images[entry.location])
            if entry.digest not in ("", digest):
                raise DataError(f"{entry.named} has another content than its sha256 says; it was changed since")
            return digest, shape
        if entry.digest:
            if entry.digest not in self.by_digest:
                raise DataError(f"{entry.named} is not there, and the workspace has no image with its sha256")
            stored = self.by_digest[entry.digest]
        else:
            called = self.by_name.get(entry.name) or self._by_stem(entry.name)
            if len(called) != 1:
                known_as = "no image of the class has that name"
                if called:
                    files = ", ".join(row.file for row in called[:3])
                    known_as = f"{len(called)} images of the class have that name ({files})"
                raise DataError(f"{entry.named} is not there, and {known_as}")
            [stored] = called
        if stored.height is not None and stored.width is not None:
            return stored.digest, (stored.height, stored.width)
        try:
            width, height = image_size(stored_path(stored.file))
        except ImageError:
            return stored.digest, None  # its file is gone; the labels can be kept all the same
        return stored.digest, (height, width)

    def _by_stem(self, name: str) -> list[StoredImage]:
        """Images of the class by a name that has no suffix, as YOLO's texts have."""
        if is_image(Path(name)):
            return []
        return [row for known, rows in self.by_name.items() if PurePosixPath(known).stem == name for row in rows]

    def _with_mask_id(self, revision: Revision, shape: Shape | None) -> Revision:
        """A revision whose mask is the hash of its pixels; an empty mask is none."""
        if revision.mask_file is None:
            return revision
        source = self.sources[revision.mask_file]
        if isinstance(source, DrawnMask) and source.shape is None:
            if shape is None:
                raise DataError("its file is gone, so nobody knows the size of its mask")
            source = replace(source, shape=shape)
        mask_shape = source.shape if isinstance(source, DrawnMask) else _usable(self.masks[source])[1]
        assert mask_shape is not None
        if shape is not None and mask_shape != shape:
            raise DataError(f"its mask has {_size(mask_shape)} pixels, the image {_size(shape)}")
        # pixels of a COCO mask are made only once their size is known to be right
        pixels, _ = _mask_contents(source.mask()) if isinstance(source, DrawnMask) else _usable(self.masks[source])
        if pixels:
            self.used_masks.setdefault(pixels, source)
        return replace(revision, mask_file=pixels or None)


def _usable(contents: _Contents | DataError) -> _Contents:
    if isinstance(contents, DataError):
        raise contents
    return contents


def _image_contents(content: bytes, name: str) -> _Contents:
    header = image_header(content, name=name)
    return content_digest(content), (header.height, header.width)


def _mask_contents(mask: NDArray[np.bool_]) -> _Contents:
    return mask_id(mask) if mask.any() else "", (mask.shape[0], mask.shape[1])


def _size(shape: Shape) -> str:
    return f"{shape[1]} x {shape[0]}"
