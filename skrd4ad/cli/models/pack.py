"""``skrd4ad bundle``: a model as one file."""

import argparse
from pathlib import Path

from skrd4ad.cli.arguments import add_model
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.format import format_size
from skrd4ad.model_folder.bundle import bundle_name, write_bundle
from skrd4ad.model_folder.folder import read_info
from skrd4ad.services.history import record


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="The weights of the teacher are not in it; what the model needs of them is named and checked when it is "
        "loaded.",
        example="bundle --model checkpoints/mvtec/bottle/RUN --out bottle.skrd4ad.zip",
        run=run,
    )
    add_model(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write, or a folder for it (default: here, named by the model)"
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Write the bundle."""
    info = read_info(arguments.model)
    target = arguments.out or Path()
    if target.is_dir():
        target = target / bundle_name(info)
    manifest = write_bundle(arguments.model, target)
    record("exported", info, details={"format": "bundle", "file": str(target.absolute())})
    size = target.stat().st_size
    output.say(f"{target}\n  {len(manifest.parts)} parts, {format_size(size)}, model {manifest.model_digest[:16]}")
    output.document({"file": str(target.absolute()), "bytes": size, "manifest": manifest.to_plain()})
    return DONE
