"""``skrd4ad calibrate``: choose the thresholds of a model, and keep each choice as a version."""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

from skrd4ad.cli.arguments import add_model, add_weights, chosen_classes
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.data.images.read import read_mask
from skrd4ad.data.sources import open_dataset
from skrd4ad.documents import to_plain
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.format import format_number
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.metrics.consequences import Consequences, Costs
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.folder import read_history, read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import acting_user
from skrd4ad.services.calibration.calibrate import (
    Proposal,
    ThresholdChoice,
    propose,
    save,
    score_distributions,
    scoring_mask_with,
    use_version,
)
from skrd4ad.services.calibration.threshold_choice import Way
from skrd4ad.services.inspection.input_files import expand_inputs
from skrd4ad.types import DatasetClass

ON_LABELS = ("f1", "balanced", "cost")
CHOICE_OPTIONS = (
    *("way", "rate", "review_rate", "review_escape_rate"),
    *("defect_rate", "threshold", "review_threshold"),
)
"""Options that are fields of a ``ThresholdChoice``."""


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="A false-reject rate is promised from good images that were held out of training, or from --normals. The "
        "ways f1, balanced and cost need labelled images: those of --labelled, or the test images of the model's "
        "own data, which is then marked as test-fitted everywhere. Nothing is trained.",
        example="calibrate --model checkpoints/mvtec/bottle/RUN --normals new_good --rate 0.02 --who 'A. Mason'",
        run=run,
    )
    add_model(parser)
    parser.add_argument("--normals", type=Path, metavar="DIR", help="new good images, in place of those held out")
    parser.add_argument(
        "--labelled", type=Path, metavar="DIR", help="a folder of good images beside folders of defects"
    )
    _add_choice(parser)
    parser.add_argument("--min-area", type=whole(1), metavar="N", help="smallest region that counts, in map pixels")
    parser.add_argument(
        "--ignore",
        type=Path,
        metavar="MASK.png",
        help="white where the image, or the part as the model sees it, is ignored; a black one ignores nothing",
    )
    parser.add_argument("--who", metavar="NAME", help="who answers for it (default: the user)")
    parser.add_argument("--note", default="", metavar="TEXT", help="stored with it")
    parser.add_argument(
        "--override", default="", metavar="REASON", help="use the limits though challenge parts fail, for this reason"
    )
    past = parser.add_mutually_exclusive_group()
    past.add_argument("--history", action="store_true", help="list the versions, and change nothing")
    past.add_argument("--use", type=whole(1), metavar="VERSION", help="make an earlier version the current one")
    add_weights(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Calibrate the model, or show or change which version is used."""
    if arguments.history:
        return _show_history(arguments.model, output)
    if arguments.use is not None:
        info = use_version(arguments.model, arguments.use, override=arguments.override)
        assert info.calibration is not None
        output.say(f"In use: {_version_line(info.calibration)}")
        output.document({"model": str(arguments.model), "calibration": to_plain(info.calibration)})
        return DONE
    choice = _choice(arguments)
    info = read_info(arguments.model)
    data = _trained_on(info, output)
    needs_labels = choice.way in ON_LABELS or choice.review_escape_rate is not None
    labelled = None if arguments.labelled is None else _labelled(arguments.labelled, info)
    if labelled is None and data is not None and not needs_labels:
        labelled = replace(data, samples=())
    scoring = None
    if arguments.min_area is not None or arguments.ignore is not None:
        mask = None if arguments.ignore is None else read_mask(arguments.ignore)
        scoring = scoring_mask_with(scoring_mask_of(info), min_area=arguments.min_area, mask=mask)
    with output.progress("scoring") as task:
        found = score_distributions(
            arguments.model,
            data,
            labelled=labelled,
            normals=() if arguments.normals is None else expand_inputs([arguments.normals]),
            mask=scoring,
            weights=arguments.weights,
            task=task,
        )
    proposal = propose(found, choice)
    _report(
        proposal,
        save(proposal, who=arguments.who or acting_user(), note=arguments.note, override=arguments.override),
        output,
    )
    return DONE


def _add_choice(parser: Parser) -> None:
    parser.add_argument(
        "--way", choices=get_args(Way), default="rate", help="how the thresholds are chosen (default: rate)"
    )
    parser.add_argument("--rate", type=float, default=0.01, metavar="R", help="false-reject rate (default: 0.01)")
    parser.add_argument("--review-rate", type=float, metavar="R", help="share of good parts reviewed or rejected")
    parser.add_argument("--review-escape-rate", type=float, metavar="R", help="share of defects that may be OK")
    for name, of in (("escape", "a passed defect"), ("false-reject", "a rejected good part"), ("review", "a look")):
        parser.add_argument(f"--{name}-cost", type=float, metavar="C", help=f"cost of {of}, in any one unit")
    parser.add_argument("--defect-rate", type=float, default=0.01, metavar="R", help="of all parts (default: 0.01)")
    parser.add_argument("--threshold", type=float, metavar="T", help="NG above this score; for --way manual")
    parser.add_argument("--review-threshold", type=float, metavar="T", help="REVIEW above this score; likewise")


def _choice(arguments: argparse.Namespace) -> ThresholdChoice:
    mistakes = (arguments.escape_cost, arguments.false_reject_cost)
    costs = None
    if None not in mistakes:
        costs = Costs(
            escape=arguments.escape_cost, false_reject=arguments.false_reject_cost, review=arguments.review_cost
        )
    elif (*mistakes, arguments.review_cost) != (None, None, None):
        raise ConfigError("Costs are not complete; give --escape-cost and --false-reject-cost, then --review-cost.")
    return ThresholdChoice(costs=costs, **{name: getattr(arguments, name) for name in CHOICE_OPTIONS})


def _trained_on(info: ModelInfo, output: Output) -> DatasetClass | None:
    """The class the model was trained on, when it is still where it was."""
    source = info.data.get("source")
    if not source:
        return None
    try:
        layout = str(info.data.get("layout", "auto"))
        return open_dataset(str(source), layout=layout, class_name=info.class_name)[0]
    except DataError as error:
        output.note(f"The data that the model was trained on cannot be used: {error}")
        return None


def _labelled(folder: Path, info: ModelInfo) -> DatasetClass:
    classes = chosen_classes(str(folder), layout="auto", class_name="all")
    of_model = [cls for cls in classes if cls.name == info.class_name] or classes
    if len(of_model) > 1:
        names = ", ".join(cls.name for cls in of_model)
        raise ConfigError(f"{folder} has several classes ({names}); give the folder of one of them.")
    return of_model[0]


def _report(proposal: Proposal, info: ModelInfo, output: Output) -> None:
    calibration = info.calibration
    assert calibration is not None
    for warning in proposal.warnings:
        output.note(f"warning: {warning}")
    output.say(f"Stored: {_version_line(calibration)}")
    output.say(proposal.promise)
    output.say(_consequences_text(proposal.consequences))
    output.document(
        {
            "model": str(info.folder),
            "calibration": to_plain(calibration),
            "promise": proposal.promise,
            "interval": proposal.interval,
            "consequences": asdict(proposal.consequences),
            "warnings": list(proposal.warnings),
        }
    )


def _consequences_text(effect: Consequences) -> str:
    rows = [
        ("false rejects", effect.false_rejects, f"{effect.good.ng} of {effect.good.total} good images"),
        ("reviews", effect.reviews, f"{effect.good.review} of {effect.good.total} good images"),
    ]
    if effect.defect is not None:
        rows[1] = (*rows[1][:2], f"{rows[1][2]}, {effect.defect.review} of {effect.defect.total} defective ones")
        rows.insert(1, ("escapes", effect.escapes, f"{effect.defect.ok} of {effect.defect.total} defective images"))
    if effect.cost is not None:
        rows.append(("cost", effect.cost, "in the unit given"))
    known = [f"  {name:<15}{format_number(value)}  ({behind})" for name, value, behind in rows if value is not None]
    return "\n".join([f"Per 1000 parts, of which {1000 * effect.defect_rate:g} defective:", *known])


def _show_history(folder: Path, output: Output) -> int:
    read_info(folder)
    history = read_history(folder)
    versions = () if history is None else history.versions
    current = None if history is None else history.current_version
    for each in versions:
        output.say(f"{'*' if each.version == current else ' '} {_version_line(each)}")
    if not versions:
        output.note("This model has no calibration yet.")
    output.document({"model": str(folder), "current": current, "versions": to_plain(versions)})
    return DONE


def _version_line(calibration: Calibration) -> str:
    limits = f"NG above {calibration.image_threshold:.6g}"
    if calibration.review_threshold is not None:
        limits += f", REVIEW above {calibration.review_threshold:.6g}"
    badge = " [test-fitted]" if calibration.test_fitted else ""
    note = f" ({calibration.note})" if calibration.note else ""
    return (
        f"version {calibration.version}{badge}: {limits}; {calibration.method}, {calibration.data}; "
        f"{calibration.created_at}, {calibration.who}{note}"
    )
