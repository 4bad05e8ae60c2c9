"""``skrd4ad export``: a model for other runtimes, compared with the original."""

import argparse
from contextlib import suppress
from pathlib import Path

from skrd4ad.cli.arguments import add_data_of_model, add_model, add_now, add_weights, data_of_model
from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.data.images.read import list_images
from skrd4ad.errors import ConfigError
from skrd4ad.export.manifest import LARGEST_BATCH, PRECISIONS, ExportSettings
from skrd4ad.inference.predict import Predictor
from skrd4ad.services.jobs.turn import own_turn
from skrd4ad.services.models.export_job import EXPORT, ExportRequest, make_export, result_of


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="The exit code is 1 when it fails the comparison.",
        example="export --model checkpoints/mvtec/bottle/RUN --format openvino --precision int8 --data mvtec",
        run=run,
    )
    add_model(parser)
    parser.add_argument("--format", choices=PRECISIONS, default="onnx", help="default: %(default)s")
    precisions = "; ".join(f"{name}: {', '.join(allowed)}" for name, allowed in PRECISIONS.items())
    parser.add_argument("--precision", default="fp32", metavar="P", help=f"{precisions} (default: %(default)s)")
    parser.add_argument(
        "--batch", type=whole(1, LARGEST_BATCH), metavar="N", help="images in one call (default: any number)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default: one in the model folder)")
    add_data_of_model(
        parser,
        help="data set of the model: its good training images are for int8, its test images to compare on (default: "
        "where the model was trained)",
    )
    parser.add_argument(
        "--images", type=Path, nargs="+", default=[], metavar="PATH", help="images or folders to compare on instead"
    )
    parser.add_argument(
        "--max-flips",
        type=_share,
        metavar="SHARE",
        help="share of verdicts that may differ, 0 to 1 (default: 0 for fp32, 0.01 otherwise)",
    )
    parser.add_argument("--threads", type=whole(1, 1024), metavar="N", help="of the export while it is compared")
    add_weights(parser)
    add_now(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Export the model."""
    settings = ExportSettings(format=arguments.format, precision=arguments.precision, batch=arguments.batch)
    images = [image for path in arguments.images for image in (list_images(path) if path.is_dir() else [path])]
    if arguments.images and not images:
        raise ConfigError(f"There are no images in {', '.join(map(str, arguments.images))}; name others by --images.")
    request = ExportRequest(
        model=str(arguments.model.absolute()),
        settings=settings,
        max_flips=arguments.max_flips,
        weights=None if arguments.weights is None else str(arguments.weights),
    )
    with (
        output.progress("loading the model") as task,
        own_turn(EXPORT, request, task=task, say=output.note, now=arguments.now) as turn,
    ):
        predictor = Predictor.load(arguments.model, weights=arguments.weights, task=turn.task)
        export, certificate = make_export(
            predictor,
            settings,
            data=data_of_model(arguments, predictor.info),
            images=images,
            out=arguments.out,
            max_flips=arguments.max_flips,
            threads=arguments.threads,
            task=turn.task,
        )
        turn.result = result = result_of(export, certificate, arguments.model)
    output.say(f"{export.folder}\n  {result['words']}")
    for problem in certificate.problems if certificate else ():
        output.note(f"failed: {problem}")
    output.document({**result, "manifest": export.manifest.to_plain()})
    return NO if result["passed"] is False else DONE


def _share(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 1:
            return value
    raise argparse.ArgumentTypeError(f"{text!r}; allowed: a share from 0 to 1")
