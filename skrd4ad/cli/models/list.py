"""``skrd4ad models``: which models there are."""

import argparse

from skrd4ad.cli.arguments import add_out
from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.model_folder.info import GUARDS_OFF, has_guards
from skrd4ad.paths import listed_models
from skrd4ad.services.models.list import list_models, listed


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="A damaged model folder is listed with its error, and makes the exit code 1. Where there is no folder of "
        "models yet, the demo models are listed.",
        example="models --out checkpoints",
        run=run,
    )
    add_out(parser)
    parser.set_defaults(out=listed_models())
    parser.add_argument("--archived", action="store_true", help="list the archived models as well")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """List the models."""
    root = arguments.out
    usable, broken = list_models(root, archived=arguments.archived)
    for info in usable:
        value = (info.metrics or {}).get("image_auroc")
        badge = " (test-selected)" if info.test_selected else ""
        figure = "" if value is None else f" · image AUROC {value:.3f}{badge}"
        guards = "" if has_guards(info.folder) else f"\n  {GUARDS_OFF}."
        output.say(f"{info.dataset}/{info.title}{figure}{guards}\n  {info.folder}")
    for model in broken:
        output.say(f"damaged: {model.folder}: {' '.join(model.reason.split())}")
    if not usable and not broken:
        output.note(f"There are no models in {root}; `skrd4ad train` makes one.")
    entries = [listed(info) for info in usable]
    entries += [{"folder": str(model.folder), "error": model.reason} for model in broken]
    output.document({"models": entries})
    return NO if broken else DONE
