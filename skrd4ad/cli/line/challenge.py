"""``skrd4ad challenge``: parts with expected verdicts that a model must pass, at shift start and before new limits."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from skrd4ad.cli.arguments import add_model, add_weights
from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.errors import ConfigError, DataError, ImageError
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import read_regular
from skrd4ad.services.inspection.input_files import expand_inputs
from skrd4ad.services.study.challenge import (
    Expected,
    add_challenge_parts,
    challenge_parts,
    judge_challenge,
    remove_challenge_parts,
)


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="Without --add and --remove the model judges the challenge parts of its class. The exit code is 1 when "
        "one does not get the expected verdict, and 0 when all do. Calibrations and retrained models become current "
        "only when they pass.",
        example="challenge --model checkpoints/mvtec/bottle/RUN --add masters/defect --expect NG",
        run=run,
    )
    add_model(parser)
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--add", type=Path, nargs="+", metavar="IMAGE|FOLDER", help="images to add; needs --expect")
    change.add_argument("--remove", nargs="+", metavar="NAME", help="parts to remove, by their names")
    parser.add_argument("--expect", choices=get_args(Expected), help="verdict that the added images must get")
    add_weights(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Change the challenge parts, or judge them."""
    if (arguments.add is None) != (arguments.expect is None):
        raise ConfigError("--add and --expect go together: --add IMAGE --expect OK, or --expect NG.")
    info = read_info(arguments.model)
    if arguments.add is not None:
        _add(info, arguments.add, arguments.expect)
    elif arguments.remove is not None:
        remove_challenge_parts(info, arguments.remove)
    if arguments.add is not None or arguments.remove is not None:
        parts = challenge_parts(info)
        for part in parts:
            output.say(f"{part.expected}  {part.name}")
        document = [asdict(part) | {"score": None, "verdict": None, "error": "", "passed": None} for part in parts]
        output.document({"model": str(arguments.model), "passed": None, "parts": document})
        return DONE
    with output.progress("inspecting") as task:
        outcomes = judge_challenge(info, weights=arguments.weights, task=task)
    if not outcomes:
        raise DataError(f"{info.class_name} has no challenge parts yet; add some by --add IMAGE --expect OK or NG.")
    for outcome in outcomes:
        output.say(f"{'passed' if outcome.passed else 'FAILED'}  {outcome}")
    passed = all(outcome.passed for outcome in outcomes)
    document = [
        asdict(each.part) | {"score": each.score, "verdict": each.verdict, "error": each.error, "passed": each.passed}
        for each in outcomes
    ]
    output.document({"model": str(arguments.model), "passed": passed, "parts": document})
    return DONE if passed else NO


def _add(info: ModelInfo, inputs: Sequence[Path], expected: Expected) -> None:
    images = []
    for path in expand_inputs(inputs):
        try:
            images.append((path.name, read_regular(path)))
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror or error}. Nothing was added.") from error
    add_challenge_parts(info, images, expected)
