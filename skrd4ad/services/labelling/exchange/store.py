"""Storing an import: files are kept by their content first, then all rows are added in one transaction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from skrd4ad.data.images.read import read_mask
from skrd4ad.digests import content_digest
from skrd4ad.errors import ConfigError, ConflictError, DataError, ImageError
from skrd4ad.paths import workspace
from skrd4ad.services.access import needs, signed
from skrd4ad.services.history import record
from skrd4ad.services.labelling.annotate import LONGEST_COMMENT, reviewer_name
from skrd4ad.services.labelling.exchange.merge import CONFLICTS, Conflicts, Kind, merges
from skrd4ad.services.labelling.exchange.records import DrawnMask, ImportEntry, MaskSource, ParsedLabels
from skrd4ad.services.labelling.exchange.sources import Bundle
from skrd4ad.services.labelling.exchange.validate import mask_id
from skrd4ad.services.labelling.files import save_mask_file, stored_path
from skrd4ad.services.labelling.review import keep_upload
from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import add_rows, images_of_class, known_images
from skrd4ad.storage.tables import utc_now
from skrd4ad.task import QUIET, Task

_SHOWN_PROBLEMS = 20


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """What a file or folder holds for a class, before anything is stored."""

    dataset: str
    class_name: str
    bundle: Bundle
    valid: ParsedLabels
    kinds: Mapping[Kind, int]
    changed: Mapping[Conflicts, int]
    """How many images would get a decision, come into the class, or have their file again."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did."""

    kinds: Mapping[Kind, int]
    decisions: int
    images: int
    to_class: int
    found_again: int
    """Images whose files were gone and are at hand again."""


@needs("engineer", "import labels")
def run_import(
    plan: ImportPlan,
    *,
    reviewer: str,
    conflicts: Conflicts = "keep",
    skip_bad: bool = False,
    task: Task = QUIET,
) -> Imported:
    """Store labels: all of them, or none when something goes wrong.

    Args:
        reviewer: who imports, and answers for decisions of which the file does not tell the history.
        conflicts: what holds where both decided differently: ``keep`` what is here, or ``theirs``.
        skip_bad: leave out what is wrong instead of importing nothing.
    """
    valid = plan.valid
    reviewer = reviewer_name(signed(reviewer))
    if conflicts not in CONFLICTS:
        raise ConfigError(f"Where labels differ, {conflicts!r} is asked for; allowed: {', '.join(CONFLICTS)}.")
    if valid.problems and not skip_bad:
        raise DataError(_problems_text(valid))
    if not valid.entries:
        raise DataError("There is nothing in it that can be imported.")
    digests = [entry.digest for entry in valid.entries]
    with workspace_database().read() as session:
        planned = merges(session, valid.entries)
        known = known_images(session, digests)
        lost = lost_files(session, valid)
    # files that no row points at later do no harm
    mask_ids = {each.mask_file for merge in planned for each in merge.added(conflicts) if each.mask_file is not None}
    needed = [entry for entry in valid.entries if entry.digest not in known or entry.digest in lost]
    packed = [entry for entry in needed if isinstance(entry.location, str)]
    masks, images = _keep_files(plan.bundle, {each: valid.masks[each] for each in sorted(mask_ids)}, packed, task)

    def file_of(entry: ImportEntry) -> str:
        return str(entry.location) if isinstance(entry.location, Path) else images[entry.digest]

    new_images: list[dict[str, Any]] = []
    class_images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    kinds: Counter[Kind] = Counter()
    task.check()  # never within the transaction: a pause would keep all others from writing
    with workspace_database().write() as session:
        known = known_images(session, digests)
        in_class = {row.digest for row in images_of_class(session, dataset=plan.dataset, class_name=plan.class_name)}
        now = utc_now()
        for merge in merges(session, valid.entries):  # by what is stored now, in the same transaction
            entry, stored = merge.entry, known.get(merge.entry.digest)
            kinds[merge.kind] += 1
            height, width = entry.shape or (None, None)
            if stored is None:
                new_images.append(
                    {
                        "digest": entry.digest,
                        "name": entry.name,
                        "file": file_of(entry),
                        "added_at": now,
                        "width": width,
                        "height": height,
                        "revision": 0,
                    }
                )
            else:
                if stored.width is None and entry.shape is not None:
                    stored.height, stored.width = height, width
                if entry.digest in lost:
                    stored.file = file_of(entry)
            if entry.digest not in in_class:
                class_images.append(
                    {
                        "dataset": plan.dataset,
                        "class_name": plan.class_name,
                        "image_digest": entry.digest,
                        "origin": "import",
                        "split": entry.split,
                        "known_type": entry.known_type,
                        "added_at": now,
                    }
                )
            for number, revision in enumerate(merge.added(conflicts), start=(stored.revision if stored else 0) + 1):
                if revision.mask_file is not None and revision.mask_file not in masks:
                    raise ConflictError("Somebody decided on these images meanwhile; nothing was stored. Import again.")
                if revision.number == 0:  # of whoever imports, rather than as it was made
                    revision = replace(revision, comment=_comment(revision), reviewer=reviewer, made_at=now)
                file = None if revision.mask_file is None else masks[revision.mask_file]
                annotations.append(replace(revision, number=number, mask_file=file).columns(entry.digest))
        add_rows(session, images=new_images, class_images=class_images, annotations=annotations)
    record(
        "labels imported",
        who=reviewer,
        dataset=plan.dataset,
        class_name=plan.class_name,
        details={"format": valid.format, "images": len(new_images), "decisions": len(annotations)},
    )
    return Imported(
        kinds=kinds,
        decisions=len(annotations),
        images=len(new_images),
        to_class=len(class_images),
        found_again=len(lost),
    )


def lost_files(session: Session, valid: ParsedLabels) -> set[str]:
    """Digests of images whose stored files are gone, and that an import brings."""
    known = known_images(session, [entry.digest for entry in valid.entries if entry.location is not None])
    return {digest for digest, row in known.items() if not stored_path(row.file).is_file()}


def _problems_text(valid: ParsedLabels) -> str:
    shown = [f"  {problem}" for problem in valid.problems[:_SHOWN_PROBLEMS]]
    if more := len(valid.problems) - len(shown):
        shown.append(f"  and {more} more")
    count = "1 entry is" if len(valid.problems) == 1 else f"{len(valid.problems)} entries are"
    return "\n".join((f"{count} wrong, so nothing was imported. Correct the file, or import it without them.", *shown))


def _keep_files(
    bundle: Bundle, masks: Mapping[str, MaskSource], images: Sequence[ImportEntry], task: Task
) -> tuple[dict[str, str], dict[str, str]]:
    """Keep masks and images in the workspace by their content.

    Returns paths below the workspace folder: of masks by the hash of their pixels, of images by their digest.
    """
    kept_masks: dict[str, str] = {}
    kept_images: dict[str, str] = {}

    def tell() -> None:
        task.report(len(kept_masks) + len(kept_images), len(masks) + len(images))

    mask_files = {source: key for key, source in masks.items() if not isinstance(source, DrawnMask)}
    for key, source in masks.items():
        if isinstance(source, DrawnMask):
            kept_masks[key] = save_mask_file(source.mask())
            tell()
    for location, content in bundle.read(mask_files):
        mask = read_mask(_readable(content), name=str(location))
        _require_unchanged(mask_id(mask) == mask_files[location], location)
        kept_masks[mask_files[location]] = save_mask_file(mask)
        tell()
    image_files = {entry.location: entry for entry in images if entry.location is not None}
    for location, content in bundle.read(image_files):
        entry = image_files[location]
        _require_unchanged(content_digest(_readable(content)) == entry.digest, location)
        path = keep_upload(_readable(content), name=entry.name)
        kept_images[entry.digest] = path.relative_to(workspace()).as_posix()
        tell()
    return kept_masks, kept_images


def _readable(content: bytes | ImageError) -> bytes:
    if isinstance(content, ImageError):
        raise content
    return content


def _require_unchanged(unchanged: bool, location: object) -> None:
    if not unchanged:
        raise DataError(f"{location} was changed while it was imported; nothing was stored. Import it again.")


def _comment(revision: Revision) -> str:
    """Comment of a decision that is taken over, with who made it, as far as the file tells."""
    if not revision.reviewer:
        return revision.comment
    when = "" if revision.made_at is None else f" on {revision.made_at:%Y-%m-%d %H:%M} UTC"
    return f"{revision.comment} (decided by {revision.reviewer}{when})".strip()[:LONGEST_COMMENT]
