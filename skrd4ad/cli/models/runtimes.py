"""``skrd4ad runtimes``: find the fastest runtime of a model on this machine."""

import argparse

from skrd4ad.cli.arguments import add_model, add_weights
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.data.layouts.find import LAYOUTS
from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import DataError
from skrd4ad.export.benchmark import Candidate
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.inspection.runtimes import measure_model, words_of
from skrd4ad.services.jobs.process import lower_process_priority
from skrd4ad.types import DatasetClass


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="The fastest one that does is remembered, and used from then on.",
        example="runtimes --model checkpoints/mvtec/bottle/RUN --data mvtec --int8",
        run=run,
    )
    add_model(parser)
    parser.add_argument("--data", metavar="DIR", help="data set to compare on (default: the model's, if at hand)")
    parser.add_argument("--layout", choices=LAYOUTS, default="auto", help="layout of the data set")
    parser.add_argument("--class", dest="class_name", metavar="C", help="class of the data (default: the model's)")
    parser.add_argument("--int8", action="store_true", help="measure int8 too, made from good training images")
    parser.add_argument("--nice", action="store_true", help="give way to all other programs")
    add_weights(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure the runtimes."""
    output = Output(as_json=arguments.json)
    if arguments.nice:
        lower_process_priority()
    with output.progress("loading the model") as task:
        predictor = Predictor.load(arguments.model, weights=arguments.weights, task=task)
        measured = measure_model(
            predictor,
            _data(arguments, predictor.info),
            int8=arguments.int8,
            task=task,
        )
    for each in measured.candidates:
        output.say(_line(each))
    output.say(f"{words_of(measured)}")
    output.document({"model": str(arguments.model), **measured.to_plain()})
    return DONE


def _data(arguments: argparse.Namespace, info: ModelInfo) -> DatasetClass | None:
    name = arguments.class_name or info.class_name
    if arguments.data is not None:
        return open_dataset(arguments.data, layout=arguments.layout, class_name=name)[0]
    try:
        return class_of_model(info)
    except DataError:
        return None


def _line(each: Candidate) -> str:
    speed = "could not run" if each.milliseconds is None else f"{each.milliseconds:8.2f} ms an image"
    said = each.certificate.words if each.certificate is not None else ""
    return f"{each.choice.words:<18}{speed}  {'; '.join(filter(None, (said, each.problem)))}"
