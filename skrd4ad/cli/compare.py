"""``skrd4ad compare``: two models on the same test images."""

import argparse
from pathlib import Path

from skrd4ad.cli.arguments import add_data, add_weights
from skrd4ad.cli.evaluate import the_class
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.errors import ConfigError
from skrd4ad.format import METRIC_TITLES
from skrd4ad.model_folder.folder import read_info
from skrd4ad.services.evaluation.compare import Comparison, compare, to_dict
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.types import DatasetClass

SHOWN_FLIPS = 20


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="What was measured before is taken from the workspace.",
        example="compare --model checkpoints/mvtec/bottle/RUN1 --model checkpoints/mvtec/bottle/RUN2 --data mvtec",
        run=run,
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        action="append",
        metavar="DIR",
        help="model folder; give it twice, differences are the second less the first",
    )
    add_data(parser)
    parser.add_argument(
        "--class",
        dest="class_name",
        metavar="C",
        help="class of the data (default: the only one, or the first model's)",
    )
    add_weights(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Evaluate both models where that was not done before, and compare them."""
    if len(arguments.model) != 2:
        raise ConfigError(f"--model was given {len(arguments.model)} times; give it twice, for two model folders.")
    data = the_class(arguments, read_info(arguments.model[0]))
    first, second = (_evaluated(folder, data, arguments, output) for folder in arguments.model)
    with output.progress("comparing") as task:
        found = compare(first, second, task=task)
    output.say(_text(found))
    output.document(to_dict(found))
    return DONE


def _evaluated(folder: Path, data: DatasetClass, arguments: argparse.Namespace, output: Output) -> StoredEvaluation:
    with output.progress(f"evaluating {folder.name}") as task:
        return evaluate_class(
            folder,
            data,
            source=arguments.data,
            weights=arguments.weights,
            save_in_model=False,
            task=task,
        )


def _text(found: Comparison) -> str:
    lines = [
        f"A  {found.a.title}",
        f"B  {found.b.title}",
        f"  {found.n_good} good and {found.n_defect} defective test images",
        f"  {'':<24}{'A':>8}{'B':>10}{'B less A':>11}   95 % interval",
    ]
    for name, title in METRIC_TITLES.items():
        difference = found.differences[name]
        if difference.a is None or difference.b is None or difference.difference is None:
            continue
        line = f"  {title:<24}{difference.a:>8.4f}{difference.b:>10.4f}{difference.difference:>+11.4f}"
        if difference.interval is not None:
            clear = "   clear" if difference.is_clear else ""
            line += f"   {difference.interval.low:+.4f} to {difference.interval.high:+.4f}{clear}"
        lines.append(line)
    lines.append(f"  {len(found.flips)} verdicts differ")
    lines += [
        f"    {image.name} ({image.defect_type}): {image.verdict_a} to {image.verdict_b}"
        for image in found.flips[:SHOWN_FLIPS]
    ]
    if len(found.flips) > SHOWN_FLIPS:
        lines.append(f"    and {len(found.flips) - SHOWN_FLIPS} more; --json lists all")
    if found.settings:
        lines.append("  settings that differ")
        lines += [f"    {setting.name}: {setting.a} | {setting.b}" for setting in found.settings]
    lines += [f"  {note}" for note in found.notes]
    return "\n".join(lines)
