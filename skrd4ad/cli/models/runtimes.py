"""``skrd4ad runtimes``: find the fastest runtime of a model on this machine."""

import argparse

from skrd4ad.cli.arguments import add_data_of_model, add_model, add_weights, data_of_model
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.export.benchmark import Candidate
from skrd4ad.inference.predict import Predictor
from skrd4ad.services.inspection.runtimes import measure_model, measured_text
from skrd4ad.services.jobs.process import end_with_parent, lower_process_priority


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="The fastest one that does is remembered, and used from then on.",
        example="runtimes --model checkpoints/mvtec/bottle/RUN --data mvtec --int8",
        run=run,
    )
    add_model(parser)
    add_data_of_model(parser, help="data set to compare on (default: the model's, if at hand)")
    parser.add_argument("--int8", action="store_true", help="measure int8 too, made from good training images")
    parser.add_argument("--nice", action="store_true", help="give way to all other programs")
    # for the app: the process at the other end of the standard input started this one
    parser.add_argument("--end-with-parent", action="store_true", help=argparse.SUPPRESS)
    add_weights(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Measure the runtimes."""
    if arguments.nice:
        lower_process_priority()
    if arguments.end_with_parent:
        end_with_parent()
    with output.progress("loading the model") as task:
        predictor = Predictor.load(arguments.model, weights=arguments.weights, task=task)
        data = data_of_model(arguments, predictor.info)
        measured = measure_model(predictor, data, int8=arguments.int8, task=task)
    for each in measured.candidates:
        output.say(_line(each))
    output.say(measured_text(measured))
    output.document({"model": str(arguments.model), **measured.to_plain()})
    return DONE


def _line(each: Candidate) -> str:
    speed = "could not run" if each.milliseconds is None else f"{each.milliseconds:8.2f} ms an image"
    said = each.certificate.text if each.certificate is not None else ""
    return f"{each.choice.text:<18}{speed}  {'; '.join(filter(None, (said, each.problem)))}"
