"""``skrd4ad report``: a report of a batch to sign."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from skrd4ad.cli.arguments import add_model, add_runtime, add_weights, open_model
from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.errors import CheckpointError, ConfigError, DataError
from skrd4ad.files import require_writable
from skrd4ad.inference.predictions import Inspection
from skrd4ad.services.inspection.input_files import expand_inputs
from skrd4ad.services.inspection.inspect import inspect_images
from skrd4ad.services.reports.collect import collect_report
from skrd4ad.services.reports.html import Paper, html_text, save
from skrd4ad.services.reports.pdf import pdf_bytes, require_weasyprint
from skrd4ad.services.reports.text import promise, summary_line
from skrd4ad.task import Task
from skrd4ad.types import parse_pitch


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="The exit code is 1 when no image could be read; the report is written all the same.",
        example="report --model checkpoints/mvtec/bottle/RUN photos --out batch-17.pdf --batch 17 --who 'A. Weber'",
        run=run,
    )
    add_model(parser)
    parser.add_argument("inputs", type=Path, nargs="+", metavar="IMAGE|FOLDER", help="images, and folders of images")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.pdf", help="the report")
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="the same as one HTML file")
    parser.add_argument("--who", default="", metavar="NAME", help="who answers for the inspection")
    parser.add_argument("--batch", default="", metavar="NAME", help="station, batch or order")
    about = "scale of the images, such as 0.05, or 0.05x0.1 in x and y (default: pixels)"
    parser.add_argument("--mm-per-pixel", type=parse_pitch, metavar="X[xY]", help=about)
    parser.add_argument("--paper", choices=get_args(Paper), default="a4", help="size of the pages (default: a4)")
    add_runtime(parser)
    add_weights(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Inspect the batch and write the report."""
    _require_files(arguments.out, arguments.html)
    if arguments.html is None:
        require_weasyprint()  # before any work, as nothing could be written without it
    paths = expand_inputs(arguments.inputs)
    predictor = open_model(arguments, paths, output)
    with output.progress("inspecting") as task:
        found = inspect_images(predictor, ((str(path), path) for path in paths))
        report = collect_report(
            _counted(found, task, total=len(paths)),
            model=predictor.info,
            batch=arguments.batch,
            who=arguments.who,
            mm_per_pixel=arguments.mm_per_pixel,
        )
    # the web page first, as it needs nothing that may be missing here
    if arguments.html is not None:
        save(html_text(report, paper=arguments.paper).encode(), arguments.html)
    with output.progress("writing the PDF") as task:
        pdf = pdf_bytes(report, paper=arguments.paper, progress=lambda step: task.report(0, 0, step))
        save(pdf, arguments.out)
    output.say(f"{summary_line(report)}\n{promise(report.calibration)}")
    for path in filter(None, (arguments.out, arguments.html)):
        output.say(f"  {path}")
    output.document(
        {
            "model": str(arguments.model),
            "pdf": str(arguments.out),
            "html": None if arguments.html is None else str(arguments.html),
            "parts": len(report.parts),
            "judged": report.judged,
            "counts": report.counts,
            "calibration": None if report.calibration is None else report.calibration.version,
            "promise": promise(report.calibration),
        }
    )
    return DONE if any(part.outcome != "UNREADABLE" for part in report.parts) else NO


def _counted(inspections: Iterable[Inspection], task: Task, *, total: int) -> Iterator[Inspection]:
    for done, inspection in enumerate(inspections, start=1):
        yield inspection
        task.report(done, total)


def _require_files(pdf: Path, html: Path | None) -> None:
    """Refuse, before any work, two equal files, a folder, and a file that cannot be written."""
    if html is not None and html.absolute() == pdf.absolute():
        raise ConfigError(f"Both --out and --html are {pdf}; give two files.")
    for path in filter(None, (pdf, html)):
        if path.is_dir():
            raise ConfigError(f"{path} is a folder; give the name of a file in it, such as {path / 'report.pdf'}.")
        try:
            require_writable(path.parent)
        except CheckpointError as error:
            raise DataError(f"The report cannot be written to {path}; choose a folder you may write to.") from error
