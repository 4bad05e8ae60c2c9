"""``skrd4ad report``: a report of a batch to sign."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from skrd4ad.cli.arguments import Parser, add_runtime, add_weights, command, data_for_int8, wish_of
from skrd4ad.cli.output import DONE, NO, Output, ShowProgress
from skrd4ad.errors import CheckpointError, ConfigError, DataError
from skrd4ad.files import require_writable
from skrd4ad.services.inspection.input_files import expand_inputs
from skrd4ad.services.inspection.inspect import LOOKERS, Inspection, inspect_images
from skrd4ad.services.inspection.runtimes import open_predictor
from skrd4ad.services.reports.html import write_html
from skrd4ad.services.reports.pdf import Paper, write_pdf
from skrd4ad.services.reports.report import Report, collect_report
from skrd4ad.services.reports.text import promise, summary_line


def add_parser(subparsers: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = command(
        subparsers,
        "report",
        about="Inspect a batch and write a report to sign, as a PDF and, when asked for, as one HTML file: counts, "
        "model and calibration, the parts that are NG or to review with their anomaly maps, and a table of all parts. "
        "The exit code is 1 when no image could be read; the report is written all the same.",
        example="report --model checkpoints/mvtec/bottle/RUN photos --out batch-17.pdf --batch 17 --who 'A. Weber'",
        run=run,
    )
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    parser.add_argument("inputs", type=Path, nargs="+", metavar="IMAGE|FOLDER", help="images, and folders of images")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.pdf", help="the report")
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="the same as one HTML file")
    parser.add_argument("--who", default="", metavar="NAME", help="who answers for the inspection")
    parser.add_argument("--batch", default="", metavar="NAME", help="station, batch or order")
    parser.add_argument("--mm-per-pixel", type=float, metavar="X", help="scale of the images (default: pixels)")
    parser.add_argument("--paper", choices=get_args(Paper), default="a4", help="size of the pages (default: a4)")
    add_runtime(parser)
    add_weights(parser)


def run(arguments: argparse.Namespace) -> int:
    """Inspect the batch and write the report."""
    output = Output(as_json=arguments.json)
    _require_places(arguments.out, arguments.html)
    paths = expand_inputs(arguments.inputs)
    with output.progress("loading the model") as show:
        predictor = open_predictor(
            arguments.model,
            wish_of(arguments),
            images=paths,
            data=data_for_int8(arguments),
            streams=LOOKERS,
            weights=arguments.weights,
            progress=show,
            report=lambda step, done, total: show(done, total, step),
        )
    with output.progress("inspecting") as show:
        found = inspect_images(predictor, ((str(path), path) for path in paths))
        report = collect_report(
            _counted(found, show, total=len(paths)),
            model=predictor.info,
            batch=arguments.batch,
            who=arguments.who,
            mm_per_pixel=arguments.mm_per_pixel,
        )
    write_pdf(report, arguments.out, paper=arguments.paper)
    if arguments.html is not None:
        write_html(report, arguments.html)
    output.say(f"{summary_line(report)}\n{promise(report.calibration)}")
    for path in (arguments.out, arguments.html):
        if path is not None:
            output.say(f"  {path}")
    output.document(_document(report, arguments))
    return DONE if any(part.outcome != "UNREADABLE" for part in report.parts) else NO


def _document(report: Report, arguments: argparse.Namespace) -> dict[str, object]:
    return {
        "model": str(arguments.model),
        "pdf": str(arguments.out),
        "html": None if arguments.html is None else str(arguments.html),
        "parts": len(report.parts),
        "judged": report.judged,
        "counts": report.counts,
        "calibration": None if report.calibration is None else report.calibration.version,
        "promise": promise(report.calibration),
    }


def _counted(inspections: Iterable[Inspection], show: ShowProgress, *, total: int) -> Iterator[Inspection]:
    for done, inspection in enumerate(inspections, start=1):
        yield inspection
        show(done, total)


def _require_places(pdf: Path, html: Path | None) -> None:
    """Refuse, before any work, places that cannot take the files.

    Raises:
        ConfigError: a place is a folder, or both are the same.
        DataError: a folder cannot be written.
    """
    if html is not None and html.absolute() == pdf.absolute():
        raise ConfigError(f"Both --out and --html are {pdf}; give two files.")
    for path in (pdf, html):
        if path is None:
            continue
        if path.is_dir():
            raise ConfigError(f"{path} is a folder; give the name of a file in it, such as {path / 'report.pdf'}.")
        try:
            require_writable(path.parent)
        except CheckpointError as error:
            raise DataError(f"The report cannot be written to {path}; choose a folder you may write to.") from error
