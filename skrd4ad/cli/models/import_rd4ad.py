"""``skrd4ad import-rd4ad``: a model folder from a checkpoint of the original code."""

import argparse
from pathlib import Path

from skrd4ad.cli.arguments import add_image_size, add_out, add_weights
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.config import NETS, ModelConfig
from skrd4ad.models.installed import require_torch
from skrd4ad.services.history import record


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="The model gives the same maps and scores. It has no thresholds, because the file holds no scores of good "
        "parts.",
        example="import-rd4ad bottle.pth --net wide_res50 --res 3 --dataset mvtec --class bottle",
        run=run,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="checkpoint with bn and decoder (.pth)")
    parser.add_argument("--net", choices=NETS, required=True, help="teacher it was trained with")
    parser.add_argument(
        "--res",
        type=int,
        choices=(1, 2, 3),
        required=True,
        help="skip connections plus one, which the file does not tell: 1 for RD4AD, 3 for SK-RD4AD as published",
    )
    add_image_size(parser, default="256")
    parser.set_defaults(image_size=256)
    parser.add_argument("--dataset", default="imported", metavar="NAME", help="what it was trained on, for the record")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="its class (default: the file's name)")
    add_out(parser)
    add_weights(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Import the checkpoint."""
    require_torch("Importing a checkpoint")
    from skrd4ad.model_folder.rd4ad import import_rd4ad

    model = ModelConfig(net=arguments.net, res=arguments.res, image_size=arguments.image_size)
    with output.progress("importing") as task:
        info = import_rd4ad(
            arguments.file,
            model=model,
            out=arguments.out,
            dataset=arguments.dataset,
            class_name=arguments.class_name,
            weights=arguments.weights,
            task=task,
        )
    record("imported", info, details={"file": str(arguments.file.absolute())})
    output.note("The model has no thresholds, so it gives scores but no verdicts; predict --threshold T sets one.")
    output.say(str(info.folder))
    output.document({"folder": str(info.folder), "dataset": info.dataset, "class": info.class_name})
    return DONE
