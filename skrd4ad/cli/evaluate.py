"""``skrd4ad evaluate``: every metric of a model on a test set, with 95 % intervals."""

import argparse
from pathlib import Path

from skrd4ad.cli.arguments import Parser, add_data, add_weights, chosen_classes, command
from skrd4ad.cli.output import DONE, Output, metrics_text
from skrd4ad.engine.checkpoint import ModelInfo, read_info, save_metrics
from skrd4ad.engine.evaluate import evaluate_model
from skrd4ad.engine.predict import Predictor
from skrd4ad.errors import ConfigError
from skrd4ad.metrics.bootstrap import bootstrap
from skrd4ad.services.evaluation_run import metrics_document
from skrd4ad.types import DatasetClass


def add_parser(subparsers: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = command(
        subparsers,
        "evaluate",
        about="Measure a model on the test images of a class, with bootstrap intervals.",
        example="evaluate --model checkpoints/mvtec/bottle/RUN --data mvtec --json",
        run=run,
    )
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    add_data(parser)
    parser.add_argument(
        "--class", dest="class_name", metavar="C", help="class of the data (default: the only one, or the model's)"
    )
    add_weights(parser)
    parser.add_argument("--save", action="store_true", help="store the figures in the model folder")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate the model."""
    output = Output(as_json=arguments.json)
    data = the_class(arguments, read_info(arguments.model))
    with output.progress("evaluating") as show:
        predictor = Predictor.load(arguments.model, weights=arguments.weights, progress=show)
        evaluation = evaluate_model(predictor, data, progress=show)
    with output.progress("drawing the images again for intervals") as show:
        intervals = bootstrap(evaluation.data, progress=show)
    metrics = metrics_document(evaluation, intervals)
    if arguments.save:
        save_metrics(arguments.model, metrics)
    output.say(f"{data.dataset}/{data.name}\n{metrics_text(metrics)}")
    for defect_type, found in evaluation.by_defect.items():
        pixel = "" if found.pixel_auroc is None else f", pixel AUROC {found.pixel_auroc:.4f}"
        image = "" if found.image_auroc is None else f"image AUROC {found.image_auroc:.4f}"
        output.say(f"  {defect_type} ({found.n_defect}): {image}{pixel}")
    if evaluation.vanished_regions:
        output.note(
            f"{evaluation.vanished_regions} regions of the masks vanish at {evaluation.image_size} pixels; no pixel "
            "metric can count them."
        )
    output.document(metrics)
    return DONE


def the_class(arguments: argparse.Namespace, info: ModelInfo) -> DatasetClass:
    """The class that ``--data``, ``--layout`` and ``--class`` name; without ``--class`` the only one, or the model's.

    Raises:
        ConfigError: there is no class of that name, or several and none is named.
        DataError: the data set cannot be read.
    """
    classes = chosen_classes(arguments.data, layout=arguments.layout, class_name=arguments.class_name or "all")
    if len(classes) > 1:
        classes = [cls for cls in classes if arguments.class_name is None and cls.name == info.class_name] or classes
    if len(classes) > 1:
        names = ", ".join(cls.name for cls in classes)
        raise ConfigError(
            f"{arguments.data} has several classes, and a model is measured on one: name it by --class; there are: "
            f"{names}."
        )
    return classes[0]
