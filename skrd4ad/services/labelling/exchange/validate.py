"""From what a file says to images that can be imported: every image and mask is read once, every mistake is named."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.doctor.report import plural
from skrd4ad.data.images.read import content_hash, image_header, image_size, natural_key, read_mask
from skrd4ad.errors import DataError, ImageError
from skrd4ad.services.labelling.exchange import fields
from skrd4ad.services.labelling.exchange.records import Drawn, Found, MaskRef, Place, Problem, Read, Said
from skrd4ad.services.labelling.exchange.sources import Bundle
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import images_of_class, known_images
from skrd4ad.storage.tables import StoredImage
from skrd4ad.types import Progress

Shape = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """An image that can be imported. Masks are hashes of their pixels."""

    where: str
    digest: str
    place: Place | None
    """Its file; None when only the workspace has it."""
    name: str
    shape: Shape | None
    said: Said
    history: tuple[Said, ...]
    split: str | None
    known_type: str | None


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What of an import can be stored, and what is wrong with the rest."""

    ready: tuple[Ready, ...]
    problems: tuple[Problem, ...]
    masks: Mapping[str, MaskRef]
    """Where each mask comes from, by the hash of its pixels."""
    notes: tuple[str, ...]


def outcome(said: Said) -> tuple[object, ...]:
    """What a decision says of the image, whoever made it and when."""
    return said.label, said.defect_type, said.mask


def mask_id(mask: NDArray[np.bool_]) -> str:
    """SHA-256 of the size and pixels of a mask (H, W), in hexadecimal: the same however it is stored."""
    digest = hashlib.sha256(repr(mask.shape).encode())
    digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()


def check(read: Read, bundle: Bundle, *, dataset: str, class_name: str, progress: Progress | None = None) -> Checked:
    """Read all images and masks that were found, and match them with the workspace.

    An image is the file that its row names; where there is none, the stored image of that content, or the only image
    of the class that has that name.

    Args:
        read: what the file holds.
        bundle: the file.
        dataset: with ``class_name`` the class to import into.
        class_name: name of the class.
        progress: is told how many files were read.

    Raises:
        StorageError: the database cannot be read.
        DataError: the file cannot be read any more.
    """
    checker = _Checker(bundle, _Known(read.found, dataset, class_name), progress)
    checker.read_files(read.found)
    ready: dict[str, Ready] = {}
    problems = [*bundle.refused, *read.problems]
    repeated = 0
    for found in read.found:
        try:
            image = checker.ready(found)
            first = ready.setdefault(image.digest, image)
            if first is not image:
                _require_same(first, image)
                repeated += 1
        except DataError as error:
            problems.append(Problem(found.where, str(error)))
    problems.sort(key=lambda problem: natural_key(Path(problem.where)))
    notes = list(read.notes)
    if repeated:
        notes.append(f"{plural(repeated, 'image')} more than once in it, with the same label: counted once.")
    if checker.by_name:
        notes.append(f"{plural(checker.by_name, 'image')} found by name alone, as the file gives no sha256.")
    return Checked(ready=tuple(ready.values()), problems=tuple(problems), masks=checker.masks, notes=tuple(notes))


class _Known:
    """Images of the workspace that rows may mean."""

    def __init__(self, found: Iterable[Found], dataset: str, class_name: str) -> None:
        digests = sorted({each.digest for each in found if each.digest is not None})
        self.by_name: dict[str, list[StoredImage]] = defaultdict(list)
        with workspace_database().read() as session:
            self.by_digest = known_images(session, digests)
            for row in images_of_class(session, dataset=dataset, class_name=class_name):
                self.by_name[row.name].append(row)


class _Checker:
    """Knows what was read of each file."""

    def __init__(self, bundle: Bundle, known: _Known, progress: Progress | None) -> None:
        self._bundle = bundle
        self._known = known
        self._progress = progress
        self._done = self._total = 0
        self._images: dict[Place, _Facts | DataError] = {}
        self._masks: dict[Place, _Facts | DataError] = {}
        self.masks: dict[str, MaskRef] = {}
        self.by_name = 0

    def read_files(self, found: Sequence[Found]) -> None:
        """Read each image and each mask once, whatever is wrong with them."""
        images = dict.fromkeys(each.place for each in found if each.place is not None)
        said = (one for each in found for one in (each.said, *each.history))
        masks = dict.fromkeys(one.mask for one in said if isinstance(one.mask, str | Path))
        self._total = len(images) + len(masks) + len(found)
        for place, content in self._bundle.read(images):
            self._images[place] = _facts(content, _image_facts, place)
            self._step()
        for place, content in self._bundle.read(masks):
            self._masks[place] = _facts(content, lambda source, name: _mask_facts(read_mask(source, name=name)), place)
            self._step()

    def ready(self, found: Found) -> Ready:
        """An image with all that is said of it.

        Raises:
            DataError: it cannot be had, was changed since, or a mask does not fit it.
        """
        self._step()
        digest, shape = self._image(found)
        if found.shape is not None and shape is not None and found.shape != shape:
            raise DataError(f"{found.named} has {_size(shape)} pixels; the file says {_size(found.shape)}")
        by_name = found.place is None and found.digest is None
        ready = Ready(
            where=found.where,
            digest=digest,
            place=found.place,
            name=found.name,
            shape=shape,
            said=self._with_mask(found.said, shape),
            history=tuple(self._with_mask(one, shape) for one in found.history),
            split=found.split,
            known_type=found.known_type,
        )
        self.by_name += by_name
        return ready

    def _image(self, found: Found) -> tuple[str, Shape | None]:
        """Digest and shape of the image that a row means."""
        if found.place is not None:
            fields.text_of(str(found.place), "its path")
            facts = _fine(self._images[found.place])
            if found.digest not in (None, facts.id):
                raise DataError(f"{found.named} has another content than its sha256 says; it was changed since")
            return facts.id, facts.shape
        stored = self._stored(found)
        return stored.digest, _stored_shape(stored)

    def _stored(self, found: Found) -> StoredImage:
        if found.digest is not None:
            if (known := self._known.by_digest.get(found.digest)) is not None:
                return known
            raise DataError(f"{found.named} is not there, and the workspace has no image with its sha256")
        called = self._known.by_name.get(found.name, [])
        if len(called) != 1:
            known_as = f"{len(called)} images of the class have" if called else "no image of the class has"
            raise DataError(f"{found.named} is not there, and {known_as} that name")
        return called[0]

    def _with_mask(self, said: Said, shape: Shape | None) -> Said:
        """A decision whose mask is the hash of its pixels; an empty mask is none."""
        if said.mask is None:
            return said
        if isinstance(said.mask, Drawn):
            if shape is not None and said.mask.shape != shape:
                raise DataError(f"its mask has {_size(said.mask.shape)} pixels, the image {_size(shape)}")
            facts = _Facts(*_mask_facts(said.mask.mask()))
        else:
            facts = _fine(self._masks[said.mask])
        if shape is not None and facts.shape != shape:
            raise DataError(f"its mask has {_size(facts.shape)} pixels, the image {_size(shape)}")
        if not facts.id:
            return replace(said, mask=None)
        self.masks.setdefault(facts.id, said.mask)
        return replace(said, mask=facts.id)

    def _step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


@dataclass(frozen=True)
class _Facts:
    """What is known of a file."""

    id: str
    """Digest of an image, hash of a mask's pixels; empty for an empty mask."""
    width: int
    height: int

    @property
    def shape(self) -> Shape:
        return self.height, self.width


def _facts(
    content: bytes | ImageError, of: Callable[[bytes, str], tuple[str, int, int]], place: Place
) -> _Facts | DataError:
    if isinstance(content, ImageError):
        return content
    try:
        return _Facts(*of(content, str(place)))
    except DataError as error:
        return error


def _fine(facts: _Facts | DataError) -> _Facts:
    if isinstance(facts, DataError):
        raise facts
    return facts


def _image_facts(content: bytes, name: str) -> tuple[str, int, int]:
    header = image_header(content, name=name)
    return content_hash(content), header.width, header.height


def _mask_facts(mask: NDArray[np.bool_]) -> tuple[str, int, int]:
    return mask_id(mask) if mask.any() else "", mask.shape[1], mask.shape[0]


def _stored_shape(stored: StoredImage) -> Shape | None:
    if stored.height is not None and stored.width is not None:
        return stored.height, stored.width
    try:
        width, height = image_size(stored_path(stored.file))
    except ImageError:
        return None  # its file is gone; the labels can be kept all the same
    return height, width


def _require_same(first: Ready, second: Ready) -> None:
    if outcome(first.said) != outcome(second.said):
        raise DataError(f"it is the same image as {first.where}, with another label")


def _size(shape: Shape) -> str:
    return f"{shape[1]} x {shape[0]}"
