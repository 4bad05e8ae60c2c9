"""``skrd4ad study``: is the measurement fit? Gauge R&R, agreement, stability and bias on parts seen repeatedly."""

import argparse
from pathlib import Path

from skrd4ad.cli.arguments import add_model, add_runtime, add_weights, open_model
from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.services.reports.html import save
from skrd4ad.services.reports.pdf import print_page, require_weasyprint
from skrd4ad.services.study import text
from skrd4ad.services.study.design import HOW, read_design
from skrd4ad.services.study.measure import Study, analyse, measure
from skrd4ad.services.study.report import study_html


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more=f"{HOW} A part is photographed anew each time, taken out and put back. The exit code is 1 when a "
        "photograph could not be read.",
        example="study --model checkpoints/mvtec/bottle/RUN msa/photographs.csv --out msa/study.pdf --json",
        run=run,
    )
    add_model(parser)
    parser.add_argument("source", type=Path, metavar="FOLDER|CSV", help="photographs of the parts")
    parser.add_argument("--out", type=Path, metavar="FILE.pdf|FILE.html", help="the report, to sign")
    add_runtime(parser)
    add_weights(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Measure, analyse and report."""
    printed = arguments.out is not None and arguments.out.suffix.lower() != ".html"
    if printed:
        require_weasyprint()  # before any work
    photographs = read_design(arguments.source)
    predictor = open_model(arguments, [each.file for each in photographs], output)
    with output.progress("inspecting") as task:
        study = analyse(measure(predictor, photographs, source=arguments.source, task=task))
    if arguments.out is not None:
        with output.progress("writing the report"):
            page = study_html(study)
            save(print_page(page) if printed else page.encode(), arguments.out)
    _say(study, output)
    output.document(study.document() | {"report": None if arguments.out is None else str(arguments.out)})
    return NO if study.record.left_out else DONE


def _say(study: Study, output: Output) -> None:
    output.say(text.judgement(study))
    if study.gauge is not None:
        for name, deviation, share in text.gauge_rows(study.gauge):
            output.say(f"  {name:<28}{deviation:>12}{share:>10}")
        _say_rows(text.gauge_facts(study), output)
    if study.attribute is not None:
        _say_rows(text.attribute_rows(study.attribute), output)
    _say_rows(text.stability_rows(study), output)
    for line in filter(None, (text.bias_text(study), *study.plan)):
        output.say(f"  {line}")
    for line in (*study.record.left_out, *study.why_not.values()):
        output.note(line)


def _say_rows(rows: text.Rows, output: Output) -> None:
    for name, value in rows:
        output.say(f"  {name:<50}{value}")
