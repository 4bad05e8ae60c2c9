"""``skrd4ad doctor``: look at a data set before training."""

import argparse

from skrd4ad.cli.arguments import add_data, add_image_size, add_levels, chosen_classes, layout_of, levels_given
from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.data.doctor.examine import examine


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="Exit code 1 when training or its figures would be wrong.",
        example="doctor --data parts --class bottle",
        run=run,
    )
    add_data(parser)
    parser.add_argument("--class", dest="class_name", default="all", metavar="C", help="one class (default: all)")
    add_image_size(parser, default="from the shape of the images, as training does")
    add_levels(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Report what is wrong with the data."""
    levels = levels_given(arguments)
    classes = chosen_classes(arguments.data, layout=layout_of(arguments), class_name=arguments.class_name)
    with output.progress("examining images") as task:
        report = examine(classes, image_size=arguments.image_size, levels=levels, task=task)
    output.say(report.to_text())
    output.document(report.to_plain())
    return DONE if report.ok else NO
