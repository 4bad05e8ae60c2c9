"""``skrd4ad labels``: labels in and out, and data sets made of them."""

import argparse
from pathlib import Path
from typing import Any

from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.model_folder.folder import read_info
from skrd4ad.services.labelling.exchange.merge import CONFLICTS
from skrd4ad.services.labelling.exchange.plan import TEST_SHARE, ExportOptions, ExportPlan, plan_export
from skrd4ad.services.labelling.exchange.records import FORMATS, WRITTEN
from skrd4ad.services.labelling.exchange.store import run_import
from skrd4ad.services.labelling.exchange.transfer import (
    export_folder,
    export_lines,
    export_zip,
    exported_lines,
    imported_lines,
    kinds_line,
    make_dataset,
    plan_import,
)
from skrd4ad.services.labelling.exchange.write import Exported
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import classes_with_labels
from skrd4ad.storage.label_queue import QueueFilter

ABOUT = {
    "export": "Export the labels of a class, with all that was decided before, so that an import changes nothing",
    "import": "Import labels into a class: an export, MVTec folders, a table with the columns file and label, or what "
    "COCO, CVAT, Label Studio, YOLO, labelme, VIA, Pascal VOC or Datumaro hold",
    "dataset": "Make a data set of the labels of a class, for train and evaluate",
}
_CLASS = "class of the labels, as data set and class"


def add_options(parser: Parser) -> None:
    """Add the command's own commands."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for name, add in (("export", _add_export), ("import", _add_import), ("dataset", _add_dataset)):
        add(commands.add_parser(name, help=ABOUT[name], description=f"{ABOUT[name]}.", allow_abbrev=False))


def _add_export(parser: Parser) -> None:
    describe(
        parser,
        more="Images are copied as they are.",
        example="labels export parts/bottle --format coco --out bottle.zip",
        run=run_export,
    )
    parser.add_argument("target", metavar="DATASET/CLASS", help=_CLASS)
    parser.add_argument(
        "--format", choices=WRITTEN, required=True, help="MVTec folders, COCO, CSV, or the others with CSV beside"
    )
    parser.add_argument("--out", type=Path, metavar="PATH", help="new folder, or a file that ends in .zip")
    parser.add_argument("--polygons", action="store_true", help="polygons instead of run lengths, for COCO")
    parser.add_argument("--labels-only", action="store_true", help="do not copy the images")
    parser.add_argument("--unsure", action="store_true", help="export unsure images too, marked as such")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model folder, to add its scores to the table")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    _add_share(parser)


def _add_import(parser: Parser) -> None:
    describe(
        parser,
        more="Nothing is stored when an entry is wrong, and no decision is overwritten: with --take theirs, one "
        "that differs is added after yours.",
        example="labels import bottle.zip parts/bottle --reviewer 'A. Weber'",
        run=run_labels_import,
    )
    parser.add_argument("source", type=Path, metavar="PATH", help="folder, .zip, .json, .csv or .xml")
    parser.add_argument("target", metavar="DATASET/CLASS", help="class to import into, as data set and class")
    parser.add_argument("--reviewer", required=True, metavar="NAME", help="who imports and answers for it")
    parser.add_argument("--format", choices=tuple(FORMATS), help="format (default: found out)")
    parser.add_argument("--take", choices=CONFLICTS, default="keep", help="where labels differ (default: keep yours)")
    parser.add_argument("--skip-bad", action="store_true", help="leave wrong entries out instead of stopping")
    parser.add_argument(
        "--empty-good", action="store_true", help="images without annotations are good parts (default: left out)"
    )
    parser.add_argument(
        "--pixel-centres",
        action="store_true",
        help="polygons run through the middles of the outermost pixels, as OpenCV and supervision trace them (default: "
        "along their edges)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be stored, and store nothing")


def _add_dataset(parser: Parser) -> None:
    describe(
        parser,
        more="It stays as it is when labels change.",
        example="labels dataset parts/bottle bottle-labelled",
        run=run_dataset,
    )
    parser.add_argument("target", metavar="DATASET/CLASS", help=_CLASS)
    parser.add_argument("name", metavar="NAME", help="name of the data set")
    _add_share(parser)


def _add_share(parser: Parser) -> None:
    parser.add_argument(
        "--test-share",
        type=float,
        default=TEST_SHARE,
        metavar="X",
        help="share of the good images for testing, where the data set does not say (default: %(default)s)",
    )


def run_export(arguments: argparse.Namespace, output: Output) -> int:
    """Export labels."""
    if arguments.out is None and not arguments.dry_run:
        raise ConfigError("Say where with --out: a new folder, or a file that ends in .zip.")
    options = ExportOptions(
        format=arguments.format,
        segmentation="polygons" if arguments.polygons else "rle",
        images=not arguments.labels_only,
        unsure=arguments.unsure,
        test_share=arguments.test_share,
    )
    model = "" if arguments.model is None else read_info(arguments.model).digest
    plan = plan_export(_wanted(arguments.target, model), options)
    output.say("\n".join(export_lines(plan)))
    if arguments.dry_run:
        output.document(_exported_document(plan, None, None))
        return DONE
    with output.progress("exporting") as task:
        if arguments.out.suffix.lower() == ".zip":
            exported, folder = export_zip(plan, arguments.out, task=task), arguments.out
        else:
            folder, exported = export_folder(plan, arguments.out, task=task)
    return _finish(output, plan, folder, exported)


def run_labels_import(arguments: argparse.Namespace, output: Output) -> int:
    """Import labels."""
    dataset, class_name = _class(arguments.target)
    with output.progress("checking") as task:
        plan = plan_import(
            arguments.source,
            dataset=dataset,
            class_name=class_name,
            format=arguments.format,
            empty_is_good=arguments.empty_good,
            pixel_centres=arguments.pixel_centres,
            only_data_roots=False,
            task=task,
        )
    for remark in plan.valid.notes:
        output.note(remark)
    for problem in plan.valid.problems if arguments.skip_bad or arguments.dry_run else ():
        output.note(f"wrong: {problem}")
    document: dict[str, Any] = {
        "format": plan.valid.format,
        "problems": [{"where": each.where, "what": each.what} for each in plan.valid.problems],
        "notes": list(plan.valid.notes),
        "kinds": dict(plan.kinds),
        "take": arguments.take,
    }
    if arguments.dry_run:
        output.say(kinds_line(plan.kinds, arguments.take))
        output.document({**document, "decisions": 0, "images": 0})
        return NO if plan.valid.problems else DONE
    with output.progress("importing") as task:
        imported = run_import(
            plan, reviewer=arguments.reviewer, conflicts=arguments.take, skip_bad=arguments.skip_bad, task=task
        )
    output.say("\n".join(imported_lines(imported, arguments.take)))
    output.document(
        {**document, "kinds": dict(imported.kinds), "decisions": imported.decisions, "images": imported.images}
    )
    return DONE


def run_dataset(arguments: argparse.Namespace, output: Output) -> int:
    """Make a data set of labels."""
    options = ExportOptions(format="mvtec", test_share=arguments.test_share)
    plan = plan_export(_wanted(arguments.target, ""), options)
    output.say("\n".join(export_lines(plan)))
    with output.progress("writing") as task:
        folder, exported = make_dataset(plan, arguments.name, task=task)
    return _finish(output, plan, folder, exported)


def _finish(output: Output, plan: ExportPlan, target: Path, exported: Exported) -> int:
    output.say("\n".join([*exported_lines(exported), f"  {target}"]))
    output.document(_exported_document(plan, target, exported))
    return DONE


def _exported_document(plan: ExportPlan, target: Path | None, exported: Exported | None) -> dict[str, Any]:
    return {
        "out": None if target is None else str(target),
        "images": len(plan.images) if exported is None else exported.images,
        "masks": plan.masks if exported is None else exported.masks,
        "good_train": plan.count("good", "train"),
        "good_test": plan.count("good", "test"),
        "defects": plan.count("defect"),
        "unsure": plan.count("unsure"),
        "left_out": {
            "unsure": plan.unsure,
            "undecided": plan.undecided,
            "missing": list(plan.missing),
            "unusable": [] if exported is None else [str(each) for each in exported.left_out],
        },
    }


def _class(target: str) -> tuple[str, str]:
    dataset, _, class_name = target.partition("/")
    if not dataset or not class_name or "/" in class_name:
        raise ConfigError(f"The class is {target!r}; allowed: DATASET/CLASS, such as mvtec/bottle.")
    return dataset, class_name


def _wanted(target: str, model_digest: str) -> QueueFilter:
    """All images of a class; a DataError when nobody labels images of such a class."""
    dataset, class_name = _class(target)
    with workspace_database().read() as session:
        known = classes_with_labels(session)
    if (dataset, class_name) not in known:
        names = ", ".join("/".join(each) for each in known) or "none"
        raise DataError(f"There are no images of {target} to label in this workspace; there are: {names}.")
    return QueueFilter(dataset=dataset, class_name=class_name, model_digest=model_digest)
