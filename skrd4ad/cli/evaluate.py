"""``skrd4ad evaluate``: every metric of a model on a test set, with 95 % intervals."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skrd4ad.cli.arguments import (
    add_data,
    add_model,
    add_now,
    add_runtime,
    add_weights,
    chosen_classes,
    layout_of,
    runtime_request_of,
)
from skrd4ad.cli.output import DONE, Output, metrics_text
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.errors import ConfigError
from skrd4ad.format import OUTCOME_TITLES, format_figure, format_number, share_text
from skrd4ad.model_folder.folder import read_info, save_metrics
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.evaluation.evaluate import EVALUATION, EvaluationRequest, evaluate_class, result_of
from skrd4ad.services.evaluation.operating_points import Findings, findings
from skrd4ad.services.jobs.turn import own_turn
from skrd4ad.task import Status
from skrd4ad.types import DatasetClass, size_text


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="What was measured is kept in the workspace, where the Evaluate page shows it; what is known there is not "
        "measured again.",
        example="evaluate --model checkpoints/mvtec/bottle/RUN --data mvtec --json",
        run=run,
    )
    add_model(parser)
    add_data(parser)
    parser.add_argument(
        "--class", dest="class_name", metavar="C", help="class of the data (default: the only one, or the model's)"
    )
    add_runtime(parser, precision=False)
    add_weights(parser)
    parser.add_argument("--fresh", action="store_true", help="measure again what is known")
    add_now(parser)
    parser.add_argument("--save", action="store_true", help="store the figures in the model folder")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Evaluate the model."""
    data = the_class(arguments, read_info(arguments.model))
    known = True
    request = EvaluationRequest(
        model=str(arguments.model.absolute()),
        source=arguments.data,
        class_name=data.name,
        layout=layout_of(arguments),
        weights=None if arguments.weights is None else str(arguments.weights),
        again=arguments.fresh,
    )
    with (
        output.progress("evaluating") as task,
        own_turn(EVALUATION, request, task=task, say=output.note, now=arguments.now) as turn,
    ):

        def show(at: Status) -> None:
            nonlocal known
            known = False
            turn.task.show(at)

        stored = evaluate_class(
            arguments.model,
            data,
            source=arguments.data,
            weights=arguments.weights,
            wish=runtime_request_of(arguments),
            again=arguments.fresh,
            save_in_model=False,
            task=replace(turn.task, show=show),
        )
        turn.result = result_of(stored, reused=known)
    summary, metrics = stored.summary, stored.summary.document()
    calibration, why_none = stored.limits()
    at_limits = None if calibration is None else findings(stored, calibration)
    if known:
        output.note(f"Known since {summary.created_at} of this model and these images; --fresh measures again.")
    if arguments.save:
        save_metrics(arguments.model, metrics)
    output.say(f"{data.dataset}/{data.name}")
    _say_outcomes(at_limits, output)
    output.say(metrics_text(metrics))
    for defect_type, found in metrics["by_defect"].items():
        figures = [_figure(found, name, title) for name, title in (("image_auroc", "image"), ("pixel_auroc", "pixel"))]
        output.say(f"  {defect_type} ({found['n_defect']}): {', '.join(filter(None, figures))}")
    for mask_class, of_class in summary.by_mask_class.items():
        values = f"pixel AUROC {format_figure(of_class.pixel_auroc)}, AUPRO {format_figure(of_class.aupro)}"
        output.say(f"  mask class {mask_class} ({of_class.n_masks}): {values}")
    for name, value in summary.authors.items():
        output.say(f"  by the authors of the data set: {name} {value:.4f}")
    if summary.left_out:
        output.note(f"{summary.left_out} images that the model was trained or calibrated with are left out.")
    if summary.vanished_regions:
        output.note(
            f"{summary.vanished_regions} regions of the masks vanish at {size_text(summary.image_size)} pixels; no "
            "pixel metric can count them."
        )
    if why_none:
        output.note(why_none)
    outcomes = None if at_limits is None else at_limits.document()
    output.document({**metrics, "at_limits": outcomes, "why_no_limits": why_none})
    return DONE


def _say_outcomes(found: Findings | None, output: Output) -> None:
    """What the model's own limits do to these images, which a plant asks first."""
    if found is None:
        return
    limits = found.calibration
    review = "" if limits.review_threshold is None else f"REVIEW above {format_number(limits.review_threshold)}, "
    output.say(f"  At the limits of version {limits.version}: {review}NG above {format_number(limits.image_threshold)}")
    for each in found.outcomes:
        rate = share_text(each.share, each.interval.low, each.interval.high)
        output.say(f"  {OUTCOME_TITLES[each.name]:<24}{each.count} of {each.total}   {rate} (95 %)")
    for group in found.by_type:
        rate = share_text(group.rate, group.interval.low, group.interval.high)
        output.say(f"    escapes of {group.name}: {len(group.escaped)} of {len(group.indices)}   {rate} (95 %)")
    for note in found.notes:
        output.note(note)


def _figure(found: Mapping[str, Any], name: str, title: str) -> str:
    if found[name] is None:
        return ""
    limits = found["intervals"].get(name)
    return f"{title} AUROC {found[name]:.4f}" + (f" ({limits[0]:.4f} to {limits[1]:.4f})" if limits else "")


def the_class(arguments: argparse.Namespace, info: ModelInfo) -> DatasetClass:
    """The class that ``--data``, ``--layout`` and ``--class`` name; by default the only one, or the model's."""
    classes = chosen_classes(arguments.data, layout=layout_of(arguments), class_name=arguments.class_name or "all")
    if len(classes) > 1:
        classes = [cls for cls in classes if arguments.class_name is None and cls.name == info.class_name] or classes
    if len(classes) > 1:
        names = ", ".join(cls.name for cls in classes)
        raise ConfigError(
            f"{arguments.data} has several classes, and a model is measured on one: name it by --class; there are: "
            f"{names}."
        )
    return classes[0]
