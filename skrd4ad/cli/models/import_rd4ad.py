"""``skrd4ad import-rd4ad``: a model folder from a checkpoint of the original code."""

import argparse
from pathlib import Path

from skrd4ad.cli.arguments import add_image_size, add_out, add_weights
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.config import NETS, ModelConfig
from skrd4ad.models.installed import require_torch
from skrd4ad.services.history import record

NOT_OF_THAT_CODE = 2
"""Its decoder takes ``res`` only as a truth value, so that every file has two skip connections or none."""


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="The model gives the same maps and scores. It has no thresholds, because the file holds no scores of good "
        "parts.",
        example="import-rd4ad bottle.pth --net wide_res50 --dataset mvtec --class bottle",
        run=run,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="checkpoint with bn and decoder (.pth)")
    parser.add_argument("--net", choices=NETS, required=True, help="teacher it was trained with")
    parser.add_argument(
        "--res",
        type=int,
        choices=(1, 2, 3),
        default=3,
        help="skip connections plus one, which the file does not tell. 3 (default): SK-RD4AD, whose code makes two "
        "whatever --res it is given, but none for 0; 1: RD4AD, and SK-RD4AD at --res 0; 2: not a file of that code",
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
    if arguments.res == NOT_OF_THAT_CODE:
        output.note(
            "The original code makes no models with one skip connection, also at --res 2: if the file is of that code, "
            "import it with --res 3."
        )
    output.note("The model has no thresholds, so it gives scores but no verdicts; predict --threshold T sets one.")
    output.say(str(info.folder))
    output.document({"folder": str(info.folder), "dataset": info.dataset, "class": info.class_name})
    return DONE
