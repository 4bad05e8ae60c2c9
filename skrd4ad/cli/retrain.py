"""``skrd4ad retrain``: go on from a model's student with images that people labelled good, and compare the two."""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from skrd4ad.cli.arguments import add_now, add_out, add_weights
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.config import TrainConfig
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import seen_images_of
from skrd4ad.paths import checkpoints
from skrd4ad.services.improve.agreement import labels_of, read_book
from skrd4ad.services.improve.compare import LabelComparison, Side, auroc_difference, compare_on_labels
from skrd4ad.services.improve.pixel_metrics import PixelFigures, pixel_figures, pixel_images
from skrd4ad.services.improve.retrain import TRAINING, RetrainPlan, plan_retraining, retrain_request, start_for
from skrd4ad.services.improve.retrain_data import empty_class, own_class
from skrd4ad.services.jobs.turn import own_turn
from skrd4ad.services.labelling.score_queue import score_labelled
from skrd4ad.services.training import result_of, train_class

PLANNED = ("own", "own_held_out", "learn", "limits", "compare", "tests")


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more='The old model stays as it is. With --json the document is {"model", "start_from", "plan", "comparison": '
        '{"old", "new", …}}.',
        example="retrain --model checkpoints/mvtec/bottle/RUN",
        run=run,
    )
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder to go on from")
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="(default: a third of the model's)")
    parser.add_argument("--learning-rate", type=float, metavar="R", help="(default: 0.4 of the model's)")
    add_weights(parser)
    add_out(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on with the newest unfinished retraining with the same labels"
    )
    add_now(parser)


def run(arguments: argparse.Namespace) -> int:
    """Retrain, then compare."""
    output = Output(as_json=arguments.json)
    old = read_info(arguments.model)
    data = own_class(old)
    plan = plan_retraining(old, read_book(old), seen_images_of(old, data))
    request = retrain_request(plan, config=_config(plan, arguments), weights=arguments.weights)
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
            out=arguments.out or checkpoints(),
            resume=arguments.resume,
            task=turn.task,
        )
        turn.result = result_of(new, request, learnt_from)
    if why_not := turn.result["not_measured"]:
        output.note(f"Not evaluated. {why_not}")
    found = _compare(old, new, output, weights=arguments.weights)
    pixels = [_pixels(side, output) for side in (found.old, found.new)]
    output.say(f"{new.dataset}/{new.class_name}: {new.folder}")
    output.say(_comparison_text(found, pixels))
    output.document(
        {
            "model": str(new.folder),
            "start_from": str(old.folder),
            "plan": {name: getattr(plan, name) for name in PLANNED},
            "comparison": _document(found, pixels),
        }
    )
    return DONE


def _config(plan: RetrainPlan, arguments: argparse.Namespace) -> TrainConfig:
    given = {name: getattr(arguments, name) for name in ("epochs", "learning_rate")}
    return replace(plan.config, **{name: value for name, value in given.items() if value is not None})


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


def _pixels(side: Side, output: Output) -> PixelFigures | None:
    chosen, drawn = pixel_images(side.images, image_size=side.info.model.image_size)
    if not chosen:
        return None
    with output.progress(f"looking at pixels with {side.info.folder.name}") as task:
        return pixel_figures(side.info, chosen, drawn=drawn, task=task)


def _comparison_text(found: LabelComparison, pixels: list[PixelFigures | None]) -> str:
    figures = found.new.figures
    sides = (found.old, found.new)
    rows = [
        ("Image AUROC", [_figure(side.figures.auroc) for side in sides]),
        ("Image AP", [_figure(side.figures.average_precision) for side in sides]),
        ("Pixel AUROC", [_figure(None if each is None else each.pixel_auroc) for each in pixels]),
        ("AUPRO", [_figure(None if each is None else each.aupro) for each in pixels]),
        ("Agreement", [_figure(None if side.agreement is None else side.agreement.rate) for side in sides]),
    ]
    better = sum(pair.turn == "better" for pair in found.changes)
    worse = sum(pair.turn == "worse" for pair in found.changes)
    return "\n".join(
        [
            f"On {figures.n_good} good and {figures.n_defect} defective labelled images that neither model has learnt "
            "from, each by its own limits; these were chosen by people and are no random sample:",
            f"  {'':<16}{'old':>8}{'new':>8}",
            *(f"  {name:<16}{old:>8}{new:>8}" for name, (old, new) in rows),
            f"  {better} verdicts come nearer to the label, {worse} go farther from it",
            "The old model stays in use; choose the new one by its folder, or on the Label page.",
        ]
    )


def _document(found: LabelComparison, pixels: list[PixelFigures | None]) -> dict[str, Any]:
    sides = {
        name: {
            "image_auroc": side.figures.auroc,
            "image_ap": side.figures.average_precision,
            "n_good": side.figures.n_good,
            "n_defect": side.figures.n_defect,
            "pixel_auroc": None if pixel is None else pixel.pixel_auroc,
            "aupro": None if pixel is None else pixel.aupro,
            "agreement": None if side.agreement is None else side.agreement.rate,
            "in_sample": side.in_sample,
        }
        for (name, side), pixel in zip((("old", found.old), ("new", found.new)), pixels, strict=True)
    }
    difference = asdict(auroc_difference(found)) if found.new.images else None
    return {
        **sides,
        "image_auroc_difference": difference,
        "left_out": found.seen,
        "changes": [
            {
                "digest": pair.image.digest,
                "name": pair.image.name,
                "label": pair.image.label,
                "old": pair.old,
                "new": pair.new,
                "turn": pair.turn,
            }
            for pair in found.changes
        ],
    }


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
