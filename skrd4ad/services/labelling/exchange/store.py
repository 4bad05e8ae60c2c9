"""Storing an import: files are kept by their content first, then all rows are added in one transaction."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from skrd4ad.data.images.read import content_hash, read_mask
from skrd4ad.errors import ConfigError, ConflictError, DataError, ImageError
from skrd4ad.paths import workspace
from skrd4ad.services.labelling.annotate import LONGEST_COMMENT, reviewer_name
from skrd4ad.services.labelling.exchange.merge import CONFLICTS, Conflicts, Kind, Merger, Step, taken
from skrd4ad.services.labelling.exchange.records import Drawn, MaskRef, Said
from skrd4ad.services.labelling.exchange.sources import Bundle
from skrd4ad.services.labelling.exchange.validate import Checked, Ready, mask_id
from skrd4ad.services.labelling.files import save_mask_file, stored_path
from skrd4ad.services.labelling.review import keep_upload
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import add_rows, images_of_class, known_images
from skrd4ad.storage.tables import utc_now
from skrd4ad.types import Progress

_SHOWN_PROBLEMS = 20


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did."""

    kinds: Mapping[Kind, int]
    decisions: int
    """Revisions that were added."""
    images: int
    """Images that the workspace did not have."""
    to_class: int
    """Images that were not among those of the class."""
    found_again: int
    """Images whose files were gone and are at hand again."""


def store(
    checked: Checked,
    bundle: Bundle,
    *,
    dataset: str,
    class_name: str,
    reviewer: str,
    conflicts: Conflicts = "keep",
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Store the labels of a file: all of them, or none when something goes wrong.

    Args:
        checked: what the file holds.
        bundle: the file.
        dataset: with ``class_name`` the class to import into.
        class_name: name of the class.
        reviewer: who imports, and answers for decisions of which the file does not tell the history.
        conflicts: what holds where both decided differently.
        skip_bad: leave out what is wrong instead of importing nothing.
        progress: is told how many files were kept.

    Raises:
        ConfigError: the name or an option cannot be used.
        DataError: something in the file is wrong, or there is nothing in it.
        ConflictError: somebody decided on these images meanwhile; nothing is stored.
        CheckpointError: an image or mask cannot be kept.
        StorageError: the database cannot be written.
    """
    name = reviewer_name(reviewer)
    if conflicts not in CONFLICTS:
        raise ConfigError(f"Where labels differ, {conflicts!r} is asked for; allowed: {', '.join(CONFLICTS)}.")
    if checked.problems and not skip_bad:
        raise DataError(problems_text(checked))
    if not checked.ready:
        raise DataError("There is nothing in it that can be imported.")
    merger = Merger(checked)
    with workspace_database().read() as session:
        steps = merger.steps(session)
        known = known_images(session, [each.digest for each in checked.ready])
        lost = lost_files(session, checked)
    wanted = {one.mask for step in steps for one in taken(step, conflicts) if isinstance(one.mask, str)}
    keeper = _Keeper(bundle, progress)
    needed = [each for each in checked.ready if each.digest not in known or each.digest in lost]
    packed = [each for each in needed if isinstance(each.place, str)]
    masks, images = keeper.keep({each: checked.masks[each] for each in sorted(wanted)}, packed)
    with workspace_database().write() as session:
        rows = _Rows(session, checked, dataset=dataset, class_name=class_name, reviewer=name, lost=lost)
        for step in merger.steps(session):
            rows.add(step, taken(step, conflicts), masks, images)
        return rows.store()


def lost_files(session: Session, checked: Checked) -> set[str]:
    """Digests of images whose stored files are gone, and that an import brings."""
    brought = [each.digest for each in checked.ready if each.place is not None]
    known = known_images(session, brought)
    return {digest for digest, row in known.items() if not stored_path(row.file).is_file()}


def problems_text(checked: Checked) -> str:
    """All problems of an import, or the first of many."""
    shown = [f"  {problem}" for problem in checked.problems[:_SHOWN_PROBLEMS]]
    more = len(checked.problems) - len(shown)
    if more:
        shown.append(f"  and {more} more")
    count = "1 entry is" if len(checked.problems) == 1 else f"{len(checked.problems)} entries are"
    return "\n".join((f"{count} wrong, so nothing was imported. Correct the file, or import it without them.", *shown))


class _Keeper:
    """Keeps masks and images in the workspace by their content; what nothing points at later does no harm."""

    def __init__(self, bundle: Bundle, progress: Progress | None) -> None:
        self._bundle = bundle
        self._progress = progress

    def keep(self, masks: Mapping[str, MaskRef], images: Sequence[Ready]) -> tuple[dict[str, str], dict[str, str]]:
        """Paths below the workspace folder: of masks by the hash of their pixels, of images by their digest."""
        total, done = len(masks) + len(images), 0
        kept_masks: dict[str, str] = {}
        kept_images: dict[str, str] = {}
        for kept in (self._drawn(masks, kept_masks), self._files(masks, kept_masks), self._images(images, kept_images)):
            for _ in kept:
                done += 1
                if self._progress is not None:
                    self._progress(done, total)
        return kept_masks, kept_images

    def _drawn(self, masks: Mapping[str, MaskRef], kept: dict[str, str]) -> Iterator[None]:
        for each, ref in masks.items():
            if isinstance(ref, Drawn):
                kept[each] = save_mask_file(ref.mask())
                yield

    def _files(self, masks: Mapping[str, MaskRef], kept: dict[str, str]) -> Iterator[None]:
        by_place = {ref: each for each, ref in masks.items() if not isinstance(ref, Drawn)}
        for place, content in self._bundle.read(by_place):
            mask = read_mask(_unchanged(content), name=str(place))
            if mask_id(mask) != by_place[place]:
                raise DataError(f"{place} was changed while it was imported; nothing was stored. Import it again.")
            kept[by_place[place]] = save_mask_file(mask)
            yield

    def _images(self, images: Sequence[Ready], kept: dict[str, str]) -> Iterator[None]:
        by_place = {each.place: each for each in images if each.place is not None}
        for place, content in self._bundle.read(by_place):
            image = by_place[place]
            if content_hash(_unchanged(content)) != image.digest:
                raise DataError(f"{place} was changed while it was imported; nothing was stored. Import it again.")
            path = keep_upload(_unchanged(content), name=image.name)
            kept[image.digest] = path.relative_to(workspace()).as_posix()
            yield


class _Rows:
    """Rows to add, in one transaction with what was read before."""

    def __init__(
        self, session: Session, checked: Checked, *, dataset: str, class_name: str, reviewer: str, lost: set[str]
    ) -> None:
        self._session = session
        self._class = {"dataset": dataset, "class_name": class_name}
        self._reviewer = reviewer
        self._now = utc_now()
        self._known = known_images(session, [each.digest for each in checked.ready])
        self._lost = lost
        self._in_class = {row.digest for row in images_of_class(session, dataset=dataset, class_name=class_name)}
        self._images: list[dict[str, Any]] = []
        self._class_images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._kinds: Counter[Kind] = Counter()

    def add(self, step: Step, added: Sequence[Said], masks: Mapping[str, str], images: Mapping[str, str]) -> None:
        """Add the rows of an image.

        Raises:
            ConflictError: somebody decided meanwhile, so that a mask is needed that was not kept.
        """
        ready = step.ready
        self._kinds[step.kind] += 1
        known = self._known.get(ready.digest)
        if known is None:
            height, width = ready.shape or (None, None)
            self._images.append(
                {
                    "digest": ready.digest,
                    "name": ready.name,
                    "file": _file_of(ready, images),
                    "added_at": self._now,
                    "width": width,
                    "height": height,
                    "revision": 0,
                }
            )
        else:
            if known.width is None and ready.shape is not None:
                known.height, known.width = ready.shape
            if ready.digest in self._lost:
                known.file = _file_of(ready, images)
        if ready.digest not in self._in_class:
            self._class_images.append(
                {
                    **self._class,
                    "image_digest": ready.digest,
                    "origin": "import",
                    "split": ready.split,
                    "known_type": ready.known_type,
                    "added_at": self._now,
                }
            )
        before = 0 if known is None else known.revision
        for place, said in enumerate(added, start=1):
            self._annotations.append(self._annotation(ready.digest, before + place, said, masks))

    def store(self) -> Imported:
        """Write all of them."""
        add_rows(self._session, images=self._images, class_images=self._class_images, annotations=self._annotations)
        return Imported(
            kinds=self._kinds,
            decisions=len(self._annotations),
            images=len(self._images),
            to_class=len(self._class_images),
            found_again=len(self._lost),
        )

    def _annotation(self, digest: str, revision: int, said: Said, masks: Mapping[str, str]) -> dict[str, Any]:
        if isinstance(said.mask, str) and said.mask not in masks:
            raise ConflictError("Somebody decided on these images meanwhile; nothing was stored. Import again.")
        as_made = said.revision > 0
        return {
            "image_digest": digest,
            "revision": revision,
            "label": said.label,
            "defect_type": said.defect_type,
            "mask_file": masks[said.mask] if isinstance(said.mask, str) else None,
            "reviewer": said.reviewer if as_made else self._reviewer,
            "comment": said.comment if as_made else _comment(said),
            "undoes": said.undoes,
            "made_at": said.made_at if as_made else self._now,
        }


def _file_of(ready: Ready, kept: Mapping[str, str]) -> str:
    """Where an image is: in its folder, or kept in the workspace."""
    return str(ready.place) if isinstance(ready.place, Path) else kept[ready.digest]


def _comment(said: Said) -> str:
    """Comment of a decision that is taken over, with who made it, as far as the file tells."""
    if not said.reviewer:
        return said.comment
    when = "" if said.made_at is None else f" on {said.made_at:%Y-%m-%d %H:%M} UTC"
    source = f"(decided by {said.reviewer}{when})"
    return f"{said.comment} {source}".strip()[:LONGEST_COMMENT]


def _unchanged(content: bytes | ImageError) -> bytes:
    if isinstance(content, ImageError):
        raise content
    return content
