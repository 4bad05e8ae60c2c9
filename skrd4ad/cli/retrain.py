"""``skrd4ad retrain``: go on from a model's student with images that people labelled good, and compare the two."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from skrd4ad.cli.arguments import add_model, add_now, add_out, add_weights
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.format import METRIC_TITLES
from skrd4ad.metrics.bootstrap import METRIC_NAMES, PairedDifference
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import seen_images_of
from skrd4ad.services.evaluation.compare import compare
from skrd4ad.services.improve.agreement import agreement, labels_of, read_book
from skrd4ad.services.improve.compare import LabelComparison, compare_on_labels, in_sample
from skrd4ad.services.improve.labelled import LabelledEvaluation
from skrd4ad.services.improve.retrain import TRAINING, RetrainPlan, plan_retraining, retrain_request, start_for
from skrd4ad.services.improve.retrain_data import empty_class, own_class
from skrd4ad.services.jobs.turn import own_turn
from skrd4ad.services.labelling.score_queue import score_labelled
from skrd4ad.services.training import result_of, train_class

PLANNED = ("own", "own_held_out", "learn", "limits", "compare", "tests")
FIGURES = ("image_auroc", "image_ap", "pixel_auroc", "aupro")
LABELS = ("good", "defect")


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more='The old model stays as it is. With --json the document is {"model", "start_from", "plan", "comparison": '
        '{"old", "new", …}}.',
        example="retrain --model checkpoints/mvtec/bottle/RUN",
        run=run,
    )
    add_model(parser)
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="(default: a third of the model's)")
    parser.add_argument("--learning-rate", type=float, metavar="R", help="(default: 0.4 of the model's)")
    add_weights(parser)
    add_out(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on with the newest unfinished retraining with the same labels"
    )
    add_now(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Retrain, then compare."""
    old = read_info(arguments.model)
    data = own_class(old)
    plan = plan_retraining(old, read_book(old), seen_images_of(old, data))
    given = {name: getattr(arguments, name) for name in ("epochs", "learning_rate")}
    config = replace(plan.config, **{name: value for name, value in given.items() if value is not None})
    request = retrain_request(plan, config=config, weights=arguments.weights)
    output.note(_plan_text(plan))
    with (
        output.progress(f"retraining {old.class_name}") as task,
        own_turn(TRAINING, request, task=task, say=output.note, now=arguments.now) as turn,
    ):
        learnt_from = data if data is not None and plan.own else empty_class(old)
        new = train_class(
            learnt_from,
            request,
            start=start_for(learnt_from, request),
            out=arguments.out,
            resume=arguments.resume,
            task=turn.task,
        )
        turn.result = result_of(new, request, learnt_from)
    if why_not := turn.result["not_measured"]:
        output.note(f"Not evaluated. {why_not}")
    found = _compare(old, new, output, weights=arguments.weights)
    differences = _differences(found, output)
    output.say(f"{new.dataset}/{new.class_name}: {new.folder}")
    output.say(_comparison_text(found, differences))
    output.document(
        {
            "model": str(new.folder),
            "start_from": str(old.folder),
            "plan": {name: getattr(plan, name) for name in PLANNED},
            "comparison": _document(found, differences),
        }
    )
    return DONE


def _plan_text(plan: RetrainPlan) -> str:
    lines = [
        f"learning from {plan.own - plan.own_held_out} training images of the model and {plan.learn} labelled good",
        f"holding out {plan.limits} labelled good and {plan.own_held_out} held out before",
        f"keeping {plan.compare} labelled good for the comparison",
    ]
    if plan.tests:
        lines.append(f"not evaluating on {plan.tests} test images of the data set that are learnt from or held out")
    if plan.own_defects:
        lines.append(f"leaving out {plan.own_defects} training images labelled defective")
    if plan.missing:
        lines.append(f"leaving out {plan.missing} images labelled good whose files are gone")
    return "\n".join(lines)


def _compare(old: ModelInfo, new: ModelInfo, output: Output, *, weights: Path | None) -> LabelComparison:
    seen = tuple(seen_images_of(info, own_class(info)) for info in (old, new))
    for info, its in zip((old, new), seen, strict=True):
        missing = [image for image in labels_of(info, read_book(info), its).images if image.score is None]
        with output.progress(f"scoring labelled images with {info.folder.name}") as task:
            problems = score_labelled(info, missing, weights=weights, task=task)
        for problem in problems.values():
            output.note(f"warning: {problem}")
    return compare_on_labels(old, new, books=(read_book(old), read_book(new)), seen=(seen[0], seen[1]))


def _differences(found: LabelComparison, output: Output) -> dict[str, PairedDifference]:
    """Every figure of both models, with intervals of the differences; undefined with images of one kind only."""
    if not found.has_both_kinds:
        return dict.fromkeys(METRIC_NAMES, PairedDifference(a=None, b=None, difference=None, interval=None))
    with output.progress("comparing on labelled images") as task:
        return compare(found.old, found.new, task=task).differences


def _comparison_text(found: LabelComparison, differences: Mapping[str, PairedDifference]) -> str:
    figures = found.new.summary.metrics
    rows = [(METRIC_TITLES[name], differences[name].a, differences[name].b) for name in FIGURES]
    rows.append(("Agreement", _agreement(found.old), _agreement(found.new)))
    turns = [image.turn for image in found.images]
    return "\n".join(
        [
            f"On {figures.n_good} good and {figures.n_defect} defective labelled images that neither model has learnt "
            "from, each by its own limits; these were chosen by people and are no random sample:",
            f"  {'':<24}{'old':>8}{'new':>8}",
            *(f"  {name:<24}{_figure(old):>8}{_figure(new):>8}" for name, old, new in rows),
            f"  {turns.count('better')} verdicts come nearer to the label, {turns.count('worse')} go farther from it",
            "The old model stays in use; choose the new one by its folder, or on the Label page.",
        ]
    )


def _document(found: LabelComparison, differences: Mapping[str, PairedDifference]) -> dict[str, Any]:
    sides = {
        name: {
            **{figure: getattr(differences[figure], "ab"[number]) for figure in FIGURES},
            "n_good": side.summary.metrics.n_good,
            "n_defect": side.summary.metrics.n_defect,
            "agreement": _agreement(side),
            "in_sample": in_sample(side.judged),
        }
        for number, (name, side) in enumerate((("old", found.old), ("new", found.new)))
    }
    return {
        **sides,
        "image_auroc_difference": asdict(differences["image_auroc"]) if found.images else None,
        "left_out": found.seen,
        "changes": [
            {
                "digest": found.old.images[image.place_a].content,
                "name": image.name,
                "label": LABELS[image.label],
                "old": image.verdict_a,
                "new": image.verdict_b,
                "turn": image.turn,
            }
            for image in sorted(found.images, key=lambda image: image.place_a)
            if image.flipped
        ],
    }


def _agreement(side: LabelledEvaluation) -> float | None:
    found = agreement(side.judged)
    return None if found is None else found.rate


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
