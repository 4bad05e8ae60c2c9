"""Labels in and out: the MVTec layout, COCO and CSV; and data sets made of labels.

An export holds all that was decided on each image, with who and when, so that importing it into an empty workspace
changes nothing. An import is looked at before it is stored: every mistake is named, and nothing is stored by halves.
"""

import io
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.data.sources import EMBEDDED
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.files import new_file, new_folder
from skrd4ad.model_folder.folder import folder_name
from skrd4ad.paths import workspace
from skrd4ad.services.datasets import made_folder
from skrd4ad.services.labelling.exchange.merge import CONFLICTS, Conflicts, Kind, Merger, taken
from skrd4ad.services.labelling.exchange.plan import TEST_SHARE, ExportOptions, ExportPlan, plan_export
from skrd4ad.services.labelling.exchange.read import read_labels
from skrd4ad.services.labelling.exchange.records import FORMATS, Format
from skrd4ad.services.labelling.exchange.sinks import FolderSink, ZipSink
from skrd4ad.services.labelling.exchange.sources import Bundle, open_bundle
from skrd4ad.services.labelling.exchange.store import Imported, lost_files, store
from skrd4ad.services.labelling.exchange.validate import Checked, check
from skrd4ad.services.labelling.exchange.write import Exported, write_export
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import classes_with_labels, images_of_class, state_of_class
from skrd4ad.storage.label_queue import QueueFilter
from skrd4ad.types import Progress

__all__ = [
    "CONFLICTS",
    "FORMATS",
    "LARGEST_DOWNLOAD",
    "TEST_SHARE",
    "Conflicts",
    "ExportOptions",
    "ExportPlan",
    "Exported",
    "Format",
    "ImportPlan",
    "Imported",
    "export_folder",
    "export_zip",
    "export_zip_bytes",
    "free_name",
    "labelled_classes",
    "labels_state",
    "make_dataset",
    "plan_export",
    "plan_import",
    "run_import",
]

LARGEST_DOWNLOAD = 256 * 2**20
"""Bytes of images that go through a browser; larger exports are written to a folder on the server."""
FEWEST_GOOD = 2
"""Good images to learn from that a data set needs."""
_EXPORTS = "exports"
_LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """What a file or folder holds for a class, before anything is stored."""

    dataset: str
    class_name: str
    bundle: Bundle
    checked: Checked
    format: Format
    kinds: Mapping[Kind, int]
    """How many images are new, the same, …"""
    changed: Mapping[Conflicts, int]
    """How many images would get a decision, come into the class, or have their file again."""


def export_zip_bytes(plan: ExportPlan, *, progress: Progress | None = None) -> tuple[bytes, Exported]:
    """An export as a ZIP file in memory; the same labels give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        exported = write_export(plan, ZipSink(archive), progress=progress)
    return stream.getvalue(), exported


def export_zip(plan: ExportPlan, file: Path, *, progress: Progress | None = None) -> Exported:
    """Write an export as a ZIP file, which replaces one of that name.

    Raises:
        CheckpointError: it cannot be written.
    """
    with new_file(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        return write_export(plan, ZipSink(archive), progress=progress)


def export_folder(
    plan: ExportPlan, folder: Path | None = None, *, progress: Progress | None = None
) -> tuple[Path, Exported]:
    """Write an export as a new folder, in one go; returns where it is.

    Args:
        plan: what is exported.
        folder: must not exist; None for one in the workspace.
        progress: is told how many images were written.

    Raises:
        CheckpointError: the folder exists, or cannot be written.
        DataError: a file in it cannot be written.
    """
    if folder is None:
        name = "-".join(map(folder_name, (plan.wanted.dataset, plan.wanted.class_name, plan.options.format)))
        folder = free_name(workspace() / _EXPORTS / name)
    with new_folder(folder) as temporary:
        exported = write_export(plan, FolderSink(temporary), progress=progress)
    return folder, exported


def make_dataset(plan: ExportPlan, name: str, *, progress: Progress | None = None) -> tuple[Path, Exported]:
    """Make a data set of labels, for Train and Evaluate; returns where it is. It stays as it is when labels change.

    Args:
        plan: an export in the MVTec layout.
        name: of the data set; new.
        progress: is told how many images were written.

    Raises:
        ConfigError: the name cannot be used, or the plan is of another format.
        DataError: there are too few good images to learn from.
        CheckpointError: it cannot be written.
    """
    given = name.strip()
    if not given or len(given) > _LONGEST_NAME or folder_name(given) != given or given in EMBEDDED:
        raise ConfigError(
            f"The data set cannot be called {name!r}; allowed: up to {_LONGEST_NAME} letters, digits, dots, dashes and "
            f"underscores, not {' or '.join(EMBEDDED)}."
        )
    if plan.options.format != "mvtec":
        raise ConfigError(f"A data set is made of MVTec folders; the format is {plan.options.format}.")
    folder = made_folder() / given
    if folder.exists():
        raise ConfigError(
            f"There is a data set {given} already, and models may have been trained on it. Choose another name, "
            f"such as {free_name(folder).name}."
        )
    train = plan.count("good", "train")
    if train < FEWEST_GOOD:
        raise DataError(
            f"There {'is' if train == 1 else 'are'} {train} good to learn from; needed: at least {FEWEST_GOOD}. Label "
            "more images as good, or leave fewer for testing."
        )
    return export_folder(plan, folder, progress=progress)


def free_name(folder: Path) -> Path:
    """A folder that does not exist: the one given, or with a number after its name."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def plan_import(
    source: Path | bytes,
    *,
    dataset: str,
    class_name: str,
    name: str | None = None,
    format: Format | None = None,
    empty_is_good: bool = False,
    only_data_roots: bool = True,
    progress: Progress | None = None,
) -> ImportPlan:
    """Look at labels to import; nothing is stored.

    Args:
        source: a folder, a ZIP file, a CSV or JSON file, or the content of such a file.
        dataset: with ``class_name`` the class to import into.
        class_name: name of the class.
        name: of the file; needed with content.
        format: None finds it out.
        empty_is_good: whether images without annotations in a COCO file of another program are good parts.
        only_data_roots: refuse files outside the data roots.
        progress: is told how many files and entries were checked.

    Raises:
        ConfigError: there is no such format.
        DataError: it cannot be read, or there is nothing to import in it. What is wrong with single entries is listed
            in the plan.
        StorageError: the database cannot be read.
    """
    bundle = open_bundle(source, name=name, only_data_roots=only_data_roots)
    read = read_labels(bundle, class_name=class_name, format=format, empty_is_good=empty_is_good)
    checked = check(read, bundle, dataset=dataset, class_name=class_name, progress=progress)
    with workspace_database().read() as session:
        steps = Merger(checked).steps(session)
        there = {image.digest for image in images_of_class(session, dataset=dataset, class_name=class_name)}
        there -= lost_files(session, checked)
    return ImportPlan(
        dataset=dataset,
        class_name=class_name,
        bundle=bundle,
        checked=checked,
        format=read.format,
        kinds=Counter(step.kind for step in steps),
        changed={
            choice: sum(bool(taken(step, choice)) or step.ready.digest not in there for step in steps)
            for choice in CONFLICTS
        },
    )


def run_import(
    plan: ImportPlan,
    *,
    reviewer: str,
    conflicts: Conflicts = "keep",
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Store labels: all of them, or none when something goes wrong.

    Args:
        plan: what was looked at.
        reviewer: who imports, and answers for decisions of which the file does not tell the history.
        conflicts: what holds where both decided differently: ``keep`` what is here, or ``theirs``.
        skip_bad: leave out what is wrong instead of importing nothing.
        progress: is told how many files were kept.

    Raises:
        ConfigError: the name or an option cannot be used.
        DataError: something in the file is wrong, or there is nothing in it.
        ConflictError: somebody decided on these images meanwhile; nothing is stored.
        CheckpointError: an image or mask cannot be kept.
        StorageError: the database cannot be written.
    """
    return store(
        plan.checked,
        plan.bundle,
        dataset=plan.dataset,
        class_name=plan.class_name,
        reviewer=reviewer,
        conflicts=conflicts,
        skip_bad=skip_bad,
        progress=progress,
    )


def labelled_classes() -> list[tuple[str, str]]:
    """Data set and class of all images that people label.

    Raises:
        StorageError: the database cannot be read.
    """
    with workspace_database().read() as session:
        return classes_with_labels(session)


def labels_state(wanted: QueueFilter) -> tuple[int, int, int]:
    """Changes when images, decisions or scores are added to a class: what was counted before can be kept until then.

    Raises:
        StorageError: the database cannot be read.
    """
    with workspace_database().read() as session:
        return state_of_class(
            session, dataset=wanted.dataset, class_name=wanted.class_name, model_digest=wanted.model_digest
        )
