"""``skrd4ad train``: from good images to a model folder."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote_plus

from skrd4ad.cli.arguments import (
    add_data,
    add_image_size,
    add_levels,
    add_now,
    add_out,
    add_weights,
    chosen_classes,
    layout_of,
    levels_given,
)
from skrd4ad.cli.output import DONE, Output, metrics_text
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.cluster.connection import HERE, connected
from skrd4ad.config import (
    DEVICES,
    NETS,
    PRESETS,
    Fusion,
    Loss,
    ModelConfig,
    Schedule,
    Selection,
    TrainConfig,
    TrainPrecision,
)
from skrd4ad.data.doctor.examine import examine
from skrd4ad.data.doctor.report import asked_of
from skrd4ad.data.doctor.shape import input_size
from skrd4ad.data.layouts.folders import GUESSED
from skrd4ad.errors import needing_extras
from skrd4ad.files import sweep
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.datasets import require_sound
from skrd4ad.services.improve.retrain import TRAINING, retrain_config, start_for
from skrd4ad.services.jobs.turn import own_turn
from skrd4ad.services.training import TrainingRequest, result_of, train_class
from skrd4ad.types import Align, DatasetClass, ImageSize, Levels, size_text

DEFAULT_PRESET = "fast"
Training = tuple[DatasetClass, TrainingRequest]
Trained = tuple[ModelInfo, Mapping[str, Any]]
INSIST = "--yes insists, and the model card says so"
_MODEL_OPTIONS = ("net", "res", "image_size", "width", "fusion")
_TRAIN_OPTIONS = (
    *("epochs", "most_steps", "batch_size", "learning_rate", "schedule"),
    *("loss", "rate", "seed", "holdout", "selection", "align", "precision"),
)


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more='With --json the document is {"models": [{"folder", "class", "metrics", …}]}, also for one class.',
        example="train --data elpv --class solar_cell_mono",
        run=run,
    )
    add_data(parser)
    parser.add_argument("--class", dest="class_name", required=True, metavar="C", help="a class, or all")
    settings = parser.add_mutually_exclusive_group()
    presets = "; ".join(f"{name}: {preset.title}, {preset.about}" for name, preset in PRESETS.items())
    settings.add_argument("--preset", choices=PRESETS, help=f"{presets} (default: {DEFAULT_PRESET})")
    settings.add_argument(
        "--start-from",
        type=Path,
        metavar="MODEL",
        help="model folder whose student is gone on from, with the settings it was trained with, a third of its epochs "
        "and a lower learning rate",
    )
    add = parser.add_argument_group("settings in place of the preset's or the model's").add_argument
    add("--net", choices=NETS, help="teacher")
    add("--res", type=int, choices=(1, 2, 3), help="0, 1 or 2 skip connections")
    add("--width", type=int, choices=(1, 2), help="factor of the decoder's widths; 2 for the EfficientNet-Lites only")
    add(
        "--fusion",
        choices=get_args(Fusion),
        help="levels as their published sum, each in units of its spread on good training images (normal), or those "
        "where the coarsest counts no more than the middle one (agreement, with retrieval only)",
    )
    add(
        "--retrieval",
        choices=("on", "off"),
        help="compare places with patches of good images as well; off is pure SK-RD4AD",
    )
    add("--epochs", type=int, metavar="N")
    add("--most-steps", type=int, metavar="N", help="end after the epoch that reaches this many steps")
    add("--batch-size", type=int, metavar="N")
    add("--learning-rate", type=float, metavar="R")
    add("--schedule", choices=get_args(Schedule), help="learning rate over the steps")
    add("--loss", choices=get_args(Loss))
    add("--no-group-consistency", action="store_true", help="without the group consistency loss")
    add("--rate", type=float, metavar="R", help="weight of the group consistency loss")
    add("--seed", type=int, metavar="N")
    add("--holdout", type=float, metavar="SHARE", help="share of the good images for the thresholds")
    add(
        "--selection",
        choices=get_args(Selection),
        help="epoch to keep: the last, the best on held-out good images, or the best on the test set (figures are then "
        "marked test-selected)",
    )
    add(
        "--align",
        choices=get_args(Align),
        help="crop images to the part, or turn it to lie alike as well (rotate); auto does so where good parts lie by "
        "themselves on a plain ground and not all alike",
    )
    add(
        "--precision",
        choices=get_args(TrainPrecision),
        help="what the student is trained in: auto is bf16 for the ResNets where the machine computes in it, else fp32",
    )
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help=f"where it is trained: {DEVICES} (default: auto)"
    )
    add_image_size(parser, default="the model's that is gone on from, 256 as published, or by the shape of the images")
    add_levels(parser)
    add_weights(parser)
    add_out(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on with the newest unfinished training of the same data and settings"
    )
    parser.add_argument("--no-evaluate", action="store_true", help="do not evaluate on the test images")
    add_now(parser)
    parser.add_argument(
        "--cluster",
        nargs="?",
        const=HERE,
        metavar="ADDRESS",
        help="train on a Ray cluster, the classes side by side: HOST:PORT of its head, auto on one of its machines, or "
        "without an address a cluster of this machine's processors",
    )
    parser.add_argument(
        "--threads",
        type=whole(1, 256),
        default=1,
        metavar="N",
        help="CPUs of each training on the cluster (default: 1)",
    )
    parser.add_argument("--yes", action="store_true", help="train although the doctor asks; the model card says so")
    parser.add_argument("--skip-doctor", action="store_true", help="train even when the doctor finds errors")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Train each class."""
    model, config = _settings(arguments)
    levels = levels_given(arguments)
    sweep(arguments.out)
    if arguments.cluster is not None and Path(arguments.data).exists():
        arguments.data = str(Path(arguments.data).absolute())  # read by processes elsewhere
    classes = chosen_classes(arguments.data, layout=layout_of(arguments), class_name=arguments.class_name)
    for layout in sorted({data.layout for data in classes} - {layout_of(arguments)}):
        output.note(f"{arguments.data} is read in the layout {unquote_plus(layout)}; --layout NAME says it otherwise.")
    by_shape = not (
        arguments.image_size or arguments.start_from or PRESETS[arguments.preset or DEFAULT_PRESET].keeps_size
    )
    asked: dict[str, str] = {}
    if not arguments.skip_doctor:
        size = None if by_shape else model.image_size
        asked = _examine(classes, output, image_size=size, levels=levels, align=config.align, insist=arguments.yes)
    trainings = []
    for data in classes:
        if by_shape:
            model = replace(model, image_size=input_size(data.train, config.align, levels=levels))
            if isinstance(model.image_size, tuple):
                shown = size_text(model.image_size)
                output.note(
                    f"{data.name}: the input is {shown} (height x width), as the images or their parts are; see "
                    "--image-size."
                )
        request = TrainingRequest(
            source=arguments.data,
            class_name=data.name,
            model=model,
            train=config,
            levels=levels,
            layout=layout_of(arguments),
            weights=None if arguments.weights is None else str(arguments.weights),
            evaluate=not arguments.no_evaluate,
            start_from=None if arguments.start_from is None else str(arguments.start_from.absolute()),
            insisted=asked.get(data.name, ""),
        )
        trainings.append((data, request))
    entries: list[dict[str, Any]] = []
    for info, result in (_here if arguments.cluster is None else _on_cluster)(trainings, arguments, output):
        output.say(f"{info.dataset}/{info.class_name}: {info.folder}")
        if info.alignment is not None:
            output.note(f"{info.class_name}: {info.alignment}; --align off looks at whole images.")
        if info.metrics is not None:
            output.say(metrics_text(info.metrics))
        if why_not := result["not_measured"]:
            output.note(f"Not evaluated. {why_not}")
        entries.append(_entry(info))
    output.document({"models": entries})
    return DONE


def _here(trainings: Sequence[Training], arguments: argparse.Namespace, output: Output) -> Iterator[Trained]:
    """One class after the other, in the queue of the workspace."""
    for data, request in trainings:
        with (
            output.progress(f"training {data.name}") as task,
            own_turn(TRAINING, request, task=task, say=output.note, now=arguments.now) as turn,
        ):
            info = train_class(
                data,
                request,
                start=start_for(data, request),
                out=arguments.out,
                resume=arguments.resume,
                task=turn.task,
                device=arguments.device,
            )
            turn.result = result_of(info, request, data)
        yield info, turn.result


def _on_cluster(trainings: Sequence[Training], arguments: argparse.Namespace, output: Output) -> Iterable[Trained]:
    """All classes side by side."""
    with needing_extras("Training on a cluster"):
        from skrd4ad.cluster.tasks import shared_environment
        from skrd4ad.cluster.trainings import TrainingPlace, train_on_cluster
    place = TrainingPlace(
        out=arguments.out.absolute(), device=arguments.device, resume=arguments.resume, threads=arguments.threads
    )
    with (
        connected(arguments.cluster, threads=arguments.threads, environment=shared_environment()) as cluster,
        output.progress("training") as task,
    ):
        output.note(f"Training on {cluster.words}.")
        return train_on_cluster(trainings, place, cluster, now=arguments.now, task=task, say=output.note)


def _settings(arguments: argparse.Namespace) -> tuple[ModelConfig, TrainConfig]:
    if arguments.start_from is None:
        preset = PRESETS[arguments.preset or DEFAULT_PRESET]
        base_model, base_train = preset.model, preset.train
    else:
        info = read_info(arguments.start_from)
        base_model, base_train = info.model, retrain_config(info)
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    made_of = {name: given[name] for name in _MODEL_OPTIONS if name in given}
    if arguments.retrieval is not None:
        made_of["retrieval"] = arguments.retrieval == "on"
    model = base_model.changed(**made_of)
    changes = {name: given[name] for name in _TRAIN_OPTIONS if name in given}
    if arguments.no_group_consistency:
        changes["group_consistency"] = False
    return model, replace(base_train, **changes)


def _examine(
    classes: Sequence[DatasetClass],
    output: Output,
    *,
    image_size: ImageSize | None,
    levels: Levels | None,
    align: Align,
    insist: bool,
) -> dict[str, str]:
    """Look at the classes with the doctor; what was insisted on, by class."""
    with output.progress("examining images") as task:
        report = examine(classes, image_size=image_size, levels=levels, align=align, task=task)
    for finding in report.findings:
        if finding.severity == "warning" or finding.code == GUESSED:
            output.note(f"{finding.severity}: {finding.class_name}: {finding.message}")
    advice = INSIST if report.only_asks else "--skip-doctor trains all the same"
    require_sound(report, advice=f"{advice}.", insist=insist)
    return {cls.name: asked_of(report, cls.name) for cls in classes}


def _entry(info: ModelInfo) -> dict[str, Any]:
    return {
        "folder": str(info.folder),
        "dataset": info.dataset,
        "class": info.class_name,
        "selected_epoch": info.selected_epoch,
        "test_selected": info.test_selected,
        "training_seconds": info.training_seconds,
        "threshold": None if info.calibration is None else info.calibration.image_threshold,
        "metrics": info.metrics,
    }
