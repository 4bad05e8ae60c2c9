"""``skrd4ad import-bundle``: a model folder from one file."""

import argparse
from pathlib import Path

from skrd4ad.cli.arguments import add_out
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.services.models.library import import_model_bundle


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="A part that was changed is named, and nothing is written. An existing model is never overwritten.",
        example="import-bundle bottle.skrd4ad.zip",
        run=run,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what `skrd4ad bundle` wrote")
    add_out(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Import the bundle."""
    found = import_model_bundle(arguments.file, out=arguments.out)
    info = found.info
    if found.existed:
        output.note("A model of the same content is there already; nothing was written.")
    output.say(str(info.folder))
    output.document(
        {
            "folder": str(info.folder),
            "existed": found.existed,
            "dataset": info.dataset,
            "class": info.class_name,
            "digest": info.digest,
            "net": info.model.net,
            "teacher_digest": info.teacher_digest,
        }
    )
    return DONE
