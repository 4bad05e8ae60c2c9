"""Labels in and out, in the formats of many tools; and data sets made of labels.

An export holds all that was decided on each image, with who and when, so that importing it into an empty workspace
changes nothing. An import is looked at before it is stored: every mistake is named, and nothing is stored by halves.
"""

import io
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from skrd4ad.data.sources import EMBEDDED
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.files import new_file, new_folder
from skrd4ad.format import plural
from skrd4ad.model_folder.folder import folder_name
from skrd4ad.paths import workspace
from skrd4ad.services.access import needs
from skrd4ad.services.datasets import made_folder
from skrd4ad.services.history import record
from skrd4ad.services.labelling.exchange.formats.detect import read_labels
from skrd4ad.services.labelling.exchange.merge import CONFLICTS, Conflicts, Kind, merges
from skrd4ad.services.labelling.exchange.plan import ExportPlan
from skrd4ad.services.labelling.exchange.records import FORMATS, Format
from skrd4ad.services.labelling.exchange.sources import open_bundle
from skrd4ad.services.labelling.exchange.store import Imported, ImportPlan, lost_files
from skrd4ad.services.labelling.exchange.validate import validate
from skrd4ad.services.labelling.exchange.write import Exported, folder_sink, write_export, zip_sink
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import images_of_class
from skrd4ad.task import QUIET, Task

LARGEST_DOWNLOAD = 256 * 2**20
"""Bytes of images that go through a browser; larger exports are written to a folder on the server."""
FEWEST_GOOD = 2
"""Good images to learn from that a data set needs."""
_EXPORTS = "exports"
_LONGEST_NAME = 80
_KINDS: dict[Kind, str] = {
    "new": "new",
    "newer": "decided on further there: the rest is added",
    "same": "the same",
    "older": "decided on further here: nothing to add",
    "differs": "different",
    "undecided": "without a decision: only put among the images of the class",
}
_CONFLICTS: dict[Conflicts, str] = {"keep": "yours stay", "theirs": "theirs are taken"}


@needs("engineer", "export labels")
def export_zip_bytes(plan: ExportPlan, *, task: Task = QUIET) -> tuple[bytes, Exported]:
    """An export as a ZIP file in memory; the same labels give the same bytes."""
    stream = io.BytesIO()
    exported = _pack(plan, stream, task)
    _record(plan, exported, to="download")
    return stream.getvalue(), exported


@needs("engineer", "export labels")
def export_zip(plan: ExportPlan, file: Path, *, task: Task = QUIET) -> Exported:
    """Write an export as a ZIP file, which replaces one of that name."""
    with new_file(file) as temporary:
        exported = _pack(plan, temporary, task)
    _record(plan, exported, to=str(file.absolute()))
    return exported


@needs("engineer", "export labels")
def export_folder(plan: ExportPlan, folder: Path | None = None, *, task: Task = QUIET) -> tuple[Path, Exported]:
    """Write an export as a new folder, by default one in the workspace, in one go; returns where it is."""
    if folder is None:
        name = "-".join(map(folder_name, (plan.wanted.dataset, plan.wanted.class_name, plan.options.format)))
        folder = free_name(workspace() / _EXPORTS / name)
    with new_folder(folder) as temporary:
        exported = write_export(plan, folder_sink(temporary), task=task)
    _record(plan, exported, to=str(folder.absolute()))
    return folder, exported


def _pack(plan: ExportPlan, target: Path | io.BytesIO, task: Task) -> Exported:
    with zipfile.ZipFile(target, "w") as archive:
        return write_export(plan, zip_sink(archive), task=task)


def _record(plan: ExportPlan, exported: Exported, *, to: str) -> None:
    record(
        "labels exported",
        dataset=plan.wanted.dataset,
        class_name=plan.wanted.class_name,
        details={"format": plan.options.format, "images": exported.images, "masks": exported.masks, "to": to},
    )


@needs("engineer", "make a data set of labels")
def make_dataset(plan: ExportPlan, name: str, *, task: Task = QUIET) -> tuple[Path, Exported]:
    """Make a data set of labels, for Train and Evaluate, of an export in the MVTec layout; returns where it is.

    It stays as it is when labels change.
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
        raise DataError(
            f"There is a data set {given} already, and models may have been trained on it. Choose another name, "
            f"such as {free_name(folder).name}."
        )
    train = plan.count("good", "train")
    if train < FEWEST_GOOD:
        raise DataError(
            f"There {'is' if train == 1 else 'are'} {train} good to learn from; needed: at least {FEWEST_GOOD}. Label "
            "more images as good, or leave fewer for testing."
        )
    return export_folder(plan, folder, task=task)


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
    pixel_centres: bool = False,
    only_data_roots: bool = True,
    task: Task = QUIET,
) -> ImportPlan:
    """Look at labels to import, as :func:`open_bundle` takes them; nothing is stored, problems are listed in the plan.

    A format of None finds it out. ``empty_is_good``: images of which a file of another program says nothing are good
    parts. ``pixel_centres``: polygons run through the middles of the outermost pixels.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"The format is {format!r}; allowed: {', '.join(FORMATS)}.")
    bundle = open_bundle(source, name=name, only_data_roots=only_data_roots)
    parsed = read_labels(
        bundle,
        format,
        class_name=class_name,
        empty_is_good=empty_is_good,
        through_centres=pixel_centres,
    )
    valid = validate(parsed, bundle, dataset=dataset, class_name=class_name, task=task)
    with workspace_database().read() as session:
        planned = merges(session, valid.entries)
        there = {image.digest for image in images_of_class(session, dataset=dataset, class_name=class_name)}
        there -= lost_files(session, valid)
    return ImportPlan(
        dataset=dataset,
        class_name=class_name,
        bundle=bundle,
        valid=valid,
        kinds=Counter(merge.kind for merge in planned),
        changed={
            choice: sum(bool(merge.added(choice)) or merge.entry.digest not in there for merge in planned)
            for choice in CONFLICTS
        },
    )


def export_lines(plan: ExportPlan) -> list[str]:
    """What an export will hold and what it leaves out, one sentence a line."""
    good, defects, unsure = (plan.count(label) for label in ("good", "defect", "unsure"))
    parts = [f"{good} good", plural(defects, "defect")] + ([f"{unsure} unsure"] if unsure else [])
    lines = [f"{plural(len(plan.images), 'image')}: {', '.join(parts)}; {plural(plan.masks, 'mask')}."]
    if good:
        train, test = plan.count("good", "train"), plan.count("good", "test")
        lines.append(f"Good: {train} to learn from, {test} for testing.")
    if plan.types:
        types = sorted(plan.types.items(), key=lambda item: (item[0] is None, item[0]))
        lines.append("Defects: " + ", ".join(f"{count} {name or 'without a type'}" for name, count in types) + ".")
    if plan.without_mask:
        remark = f"{plural(plan.without_mask, 'defect')} without a mask"
        if plan.options.format == "coco":
            remark += ": other tools take an image without an annotation for a good one"
        if plan.options.format == "yolo":
            remark += ": no text of labels for them, as an empty one means a good part"
        lines.append(f"{remark}.")
    if plan.options.format == "yolo" and plan.masks:
        lines.append(
            "Polygons run along the edges of pixels and are exact when read here; programs that fill them with their "
            "outline make defects up to a pixel wider. The masks beside them are exact everywhere."
        )
    if plan.unsure:
        lines.append(f"Left out: {plan.unsure} unsure.")
    if plan.undecided:
        lines.append(f"Left out: {plan.undecided} that nobody has decided on.")
    if plan.missing:
        names = ", ".join(plan.missing[:5]) + (" and others" if len(plan.missing) > 5 else "")
        lines.append(f"Left out: {len(plan.missing)} whose files are gone ({names}).")
    return lines


def exported_lines(exported: Exported) -> list[str]:
    """What an export wrote, one sentence a line."""
    lines = [f"{plural(exported.images, 'image')} and {plural(exported.masks, 'mask')} written."]
    return lines + [f"Left out: {problem}" for problem in exported.left_out]


def kinds_line(kinds: Mapping[Kind, int], conflicts: Conflicts) -> str:
    """``12 new; 3 the same; 2 different: yours stay.``."""
    texts = {**_KINDS, "differs": f"{_KINDS['differs']}: {_CONFLICTS[conflicts]}"}
    parts = [f"{kinds[kind]} {text}" for kind, text in texts.items() if kinds.get(kind)]
    return "; ".join(parts) + "." if parts else "Nothing that can be imported."


def imported_lines(imported: Imported, conflicts: Conflicts) -> list[str]:
    """What an import did, one sentence a line."""
    added = [plural(imported.decisions, "decision") + " added"]
    if imported.to_class:
        new = f", {imported.images} of them new to the workspace" if imported.images else ""
        added.append(f"{plural(imported.to_class, 'image')} new to the class{new}")
    if imported.found_again:
        added.append(f"{plural(imported.found_again, 'file')} found again")
    return [kinds_line(imported.kinds, conflicts), "; ".join(added) + "."]
