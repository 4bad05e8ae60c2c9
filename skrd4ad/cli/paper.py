"""The published command line, ``main.py``: train and evaluate every class of a data set, and print the figures."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.cli.arguments import add_now, add_weights, chosen_classes
from skrd4ad.cli.output import DONE, Output, metrics_text
from skrd4ad.cli.parser import Parser, add_debug, whole
from skrd4ad.config import LOSS_OF_L2, NETS, ModelConfig, TrainConfig
from skrd4ad.data.images.read import read_image
from skrd4ad.data.layouts.find import LAYOUTS
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.inference.evaluate import score_samples
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.improve.retrain import TRAINING
from skrd4ad.services.inspection.input_files import output_names
from skrd4ad.services.inspection.inspect import png_bytes
from skrd4ad.services.jobs.turn import own_turn
from skrd4ad.services.training import TrainingRequest, train_class
from skrd4ad.types import DatasetClass, parse_size
from skrd4ad.visualize import overlay

ABOUT = """\
The command line of the published code. Trains a model for each class, evaluates it once, after training, on the test
images, and prints the figures of each class and their mean. MVTec AD, VisA and VAD are told apart by their layout.

By default every good image is learnt from, as published: such a model has scores but no thresholds. The epoch kept is
the last one; --paper_mode keeps the best on the test set, as the published code does, and marks the figures.
`python -m skrd4ad train` is the command for everyday use."""
COLUMNS = (
    ("image_auroc", "image AUROC"),
    ("pixel_auroc", "pixel AUROC"),
    ("aupro", "AUPRO (exact)"),
    ("aupro_paper", "AUPRO (paper protocol)"),
)


def run(argv: list[str]) -> int:
    """Run the published command; returns its exit code."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # after --help
        return int(end.code or 0)
    _refuse_unpublished(arguments)
    output = Output(as_json=False)
    rows: list[tuple[str, dict[str, Any]]] = []
    classes = chosen_classes(arguments.data_path, layout=arguments.layout, class_name=arguments.class_name)
    seeds = arguments.seed[:1] if arguments.class_name == "all" else arguments.seed
    for data, seed in product(classes if arguments.seg else map(_without_masks, classes), seeds):
        title = f"{data.name} (seed {seed})" if len(seeds) > 1 else data.name
        output.say(f"{data.dataset}/{title}: {len(data.train)} good images to learn from")
        rows.append((title, _train(data, seed, title, arguments, output)))
    output.say(table(rows))
    if arguments.paper_mode:
        output.say("test-selected: the epochs were chosen on the test images, so the figures are optimistic.")
    return DONE


def _parser() -> Parser:
    parser = Parser(
        prog="main.py",
        description=ABOUT,
        epilog="example:\n  python main.py --epochs 200 --res 3 --learning_rate 0.005 --batch_size 16 --seed 111 "
        "--class all --seg 1 --print_epoch 10 --data_path D --save_path S --print_loss 1 --net wide_res50 --L2 0",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    published = parser.add_argument_group("published options")
    add = published.add_argument
    switch = partial(add, type=int, choices=(0, 1))
    add("--data_path", required=True, metavar="D", help="folder of the data set")
    add("--save_path", type=Path, default=Path("checkpoints"), metavar="S", help="model folders (default: checkpoints)")
    add("--class", "--class_", dest="class_name", default="all", metavar="C", help="a class, or all (default)")
    add("--epochs", type=int, default=200, metavar="N", help="default: 200")
    add("--res", type=int, choices=(1, 2, 3), default=3, help="0, 1 or 2 skip connections (default: 3, which is 2)")
    add("--learning_rate", type=float, default=0.005, metavar="R", help="default: 0.005")
    add("--batch_size", type=int, default=16, metavar="N", help="default: 16")
    seeds = "default: 111; of several, a named class is trained with each, and all classes with the first"
    add("--seed", type=int, nargs="+", default=[111], metavar="N", help=seeds)
    add("--net", choices=NETS, default="wide_res50", help="teacher (default: wide_res50)")
    add("--L2", type=int, choices=tuple(LOSS_OF_L2), default=0, help="loss: 0 cosine (default), 1 MSE, 2 half of each")
    switch("--layerloss", default=1, help="1 (default): with the group consistency loss")
    add("--rate", type=float, default=0.005, metavar="R", help="its weight (default: 0.005), also with --class all")
    switch("--seg", default=1, help="1 (default): pixel metrics where there are masks; 0: image metrics only")
    switch("--print_loss", default=1, help="1 (default): print the loss every --print_epoch epochs")
    epochs = "default: 10; the test set is evaluated at the end"
    add("--print_epoch", type=whole(1), default=10, metavar="N", help=epochs)
    switch("--print_max", default=1, help="1 (default): print all figures of each class when it is done")
    switch("--print_canshu", default=0, help="1: print the score of each test image")
    switch("--vis", default=0, help="1: write overlays of the test images")
    add("--img_path", type=Path, metavar="DIR", help="folder of the overlays (default: overlays in --save_path)")
    add("--score_num", type=int, default=1, metavar="1", help="only 1: the score is the highest value of the map")
    add("--cut", type=int, default=0, metavar="0", help="only 0: nothing is augmented")
    ours = parser.add_argument_group("further options")
    add_weights(parser)
    add_debug(parser)
    ours.add_argument("--holdout", type=float, default=0.0, metavar="SHARE", help="good images kept for thresholds")
    ours.add_argument("--paper_mode", action="store_true", help="keep the best epoch on the test set, as published")
    ours.add_argument(
        "--image_size", type=parse_size, default=256, metavar="HxW", help="such as 256x512 (default: 256)"
    )
    ours.add_argument("--layout", choices=LAYOUTS, default="auto", help="layout of the folder (default: found out)")
    ours.add_argument("--resume", action="store_true", help="go on with unfinished trainings of the same settings")
    add_now(parser)
    return parser


def _refuse_unpublished(arguments: argparse.Namespace) -> None:
    score_num, cut = arguments.score_num, arguments.cut
    wrong = []
    if score_num != 1:
        wrong.append(f"--score_num is {score_num}; allowed: 1. The published figures take the highest value of the map")
    if cut != 0:
        wrong.append(f"--cut is {cut}; allowed: 0. The published method does not augment images")
    if wrong:
        raise ConfigError("; ".join(wrong) + ".")


def _without_masks(data: DatasetClass) -> DatasetClass:
    return replace(data, samples=tuple(replace(sample, mask_path=None) for sample in data.samples))


def _train(data: DatasetClass, seed: int, title: str, arguments: argparse.Namespace, output: Output) -> dict[str, Any]:
    """Train, evaluate and print; returns the metrics, empty when there are no test images."""

    def epoch_done(epoch: int, values: Mapping[str, Any]) -> None:
        if arguments.print_loss and (epoch % arguments.print_epoch == 0 or epoch in (1, arguments.epochs)):
            output.say(f"epoch [{epoch}/{arguments.epochs}], loss: {values['loss']:.4f}")

    request = _request(data.name, seed, arguments)
    with (
        output.progress(f"training {title}") as task,
        own_turn(TRAINING, request, task=replace(task, point=epoch_done), say=output.note, now=arguments.now) as turn,
    ):
        info = train_class(
            data,
            request,
            out=arguments.save_path,
            resume=arguments.resume,
            task=turn.task,
        )
        turn.result = {"folder": str(info.folder), "metrics": info.metrics, "not_measured": ""}
    output.say(f"model: {info.folder}")
    if info.metrics is None:
        output.note(f"{title} has no test images, so there are no figures.")
    elif arguments.print_max:
        output.say(metrics_text(info.metrics))
    if data.test and (arguments.vis or arguments.print_canshu):
        predictor = Predictor.load(info.folder, weights=arguments.weights)
        with output.progress("scoring the test images") as task:
            scored = score_samples(predictor, data.test, tiling="off", task=task)
        if arguments.print_canshu:
            for sample, score in zip(data.test, scored.scores.tolist(), strict=True):
                output.say(f"{score:.4f}  {sample.defect_type}  {sample.path}")
        if arguments.vis:
            folder = (arguments.img_path or arguments.save_path / "overlays") / title
            _write_overlays(data, scored.maps, info=info, folder=folder)
            output.say(f"overlays: {folder}")
    return info.metrics or {}


def _request(class_name: str, seed: int, arguments: argparse.Namespace) -> TrainingRequest:
    return TrainingRequest(
        source=arguments.data_path,
        class_name=class_name,
        model=ModelConfig(net=arguments.net, res=arguments.res, image_size=arguments.image_size),
        train=TrainConfig(
            epochs=arguments.epochs,
            learning_rate=arguments.learning_rate,
            batch_size=arguments.batch_size,
            seed=seed,
            loss=LOSS_OF_L2[arguments.L2],
            group_consistency=bool(arguments.layerloss),
            rate=arguments.rate,
            holdout=arguments.holdout,
            selection="test" if arguments.paper_mode else "last",
            evaluate_every=arguments.print_epoch,
        ),
        layout=arguments.layout,
        weights=None if arguments.weights is None else str(arguments.weights),
    )


def table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Figures of each class and their mean over the classes that have them; ``-`` where one is undefined.

    A row is the title of a class and its metrics.
    """
    mean = {key: _mean([metrics.get(key) for _, metrics in rows]) for key, _ in COLUMNS}
    width = max(len(title) for title, _ in [*rows, ("class", {})]) + 2
    lines = ["".join([f"{'class':<{width}}", *(f"{title:>{len(title) + 2}}" for _, title in COLUMNS)])]
    for title, metrics in [*rows, ("mean", mean)]:
        cells = (f"{_figure(metrics.get(key)):>{len(column) + 2}}" for key, column in COLUMNS)
        lines.append("".join([f"{title:<{width}}", *cells]))
    return "\n".join(lines)


def _write_overlays(data: DatasetClass, maps: NDArray[np.float32], *, info: ModelInfo, folder: Path) -> None:
    """An overlay for each test image, of the maps (N, H, W), all on one scale: the model's.

    Without a calibration the heat shows the upper half of all scores, and there are no outlines.
    """
    calibration, top = info.calibration, float(maps.max())
    threshold = top / 2
    if calibration is not None:
        threshold, top = calibration.image_threshold, calibration.heat_top
    paths = [sample.path for sample in data.test]
    try:
        for path, name, plane in zip(paths, output_names(paths), maps, strict=True):
            target = folder / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            image = read_image(path, levels=info.levels)
            picture = overlay(image, plane, threshold=threshold, top=top, outlines=calibration is not None)
            target.write_bytes(png_bytes(picture))
    except OSError as error:
        raise DataError(f"Overlays cannot be written to {folder}: {error}. Choose another --img_path.") from error


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
