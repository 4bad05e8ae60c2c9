"""Options that several commands share, and what they mean.

What is slow to import is imported where it is needed: half of the commands look at no image.
"""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from skrd4ad.cli.output import Output
from skrd4ad.cli.parser import Parser
from skrd4ad.config import DEVICES
from skrd4ad.data.images.levels import given_levels
from skrd4ad.data.layouts.hints import Hints
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.paths import checkpoints
from skrd4ad.types import DatasetClass, Levels, parse_size

if TYPE_CHECKING:
    from skrd4ad.inference.predict import Predictor
    from skrd4ad.model_folder.info import ModelInfo
    from skrd4ad.services.inspection.runtimes import RuntimeRequest


def add_model(parser: Parser) -> None:
    """``--model``."""
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")


def add_out(parser: Parser) -> None:
    """``--out`` of commands that read or write model folders."""
    about = "folder of the model folders (default: checkpoints)"
    parser.add_argument("--out", type=Path, default=checkpoints(), metavar="DIR", help=about)


def add_data(parser: Parser) -> None:
    """``--data`` and ``--layout``."""
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of the data set, or elpv, or synthetic")
    _add_layout(parser)


def add_data_of_model(parser: Parser, *, help: str) -> None:
    """``--data``, ``--layout`` and ``--class`` in place of what the model was trained on; see :func:`data_of_model`."""
    parser.add_argument("--data", metavar="DIR", help=help)
    _add_layout(parser)
    parser.add_argument("--class", dest="class_name", metavar="C", help="class of the data (default: the model's)")


def _add_layout(parser: Parser) -> None:
    from skrd4ad.data.layouts.find import LAYOUTS

    add = parser.add_argument_group("how the folder is read").add_argument
    add("--layout", choices=LAYOUTS, default="auto", metavar="NAME", help=f"{', '.join(LAYOUTS)} (default: found out)")
    add("--good", action="append", default=[], metavar="NAME", help="a folder of this name holds good parts")
    add("--masks", action="append", default=[], metavar="NAME", help="a folder of this name holds masks")
    add(
        "--mask-values",
        default="",
        metavar="RULE",
        help="what values in masks mean: such as 85=good,170=scratch,255=ignore; or levels, or half (see docs/data.md)",
    )


def layout_of(arguments: argparse.Namespace) -> str:
    """The layout and what else was said of how to read the folder, as text; see :mod:`skrd4ad.data.layouts.hints`."""
    return str(
        Hints(
            layout=arguments.layout,
            good=tuple(arguments.good),
            masks=tuple(arguments.masks),
            mask_values=arguments.mask_values,
        )
    )


def data_of_model(arguments: argparse.Namespace, info: "ModelInfo") -> DatasetClass | None:
    """The class that is named, or the one the model was trained on; None when that is not at hand."""
    from skrd4ad.data.layouts.find import known_layout
    from skrd4ad.data.sources import open_dataset

    name = arguments.class_name or info.class_name
    if arguments.data is not None:
        return chosen_classes(arguments.data, layout=layout_of(arguments), class_name=name)[0]
    source, layout = str(info.data.get("source", "")), known_layout(str(info.data.get("layout", "auto")))
    with suppress(DataError):
        return open_dataset(source, layout=layout, class_name=name)[0]
    return None


def add_levels(parser: Parser) -> None:
    """``--black``, ``--white`` and ``--bits``; see :func:`levels_given`."""
    group = parser.add_argument_group("images above 8 bit (default: from the good training images)")
    group.add_argument("--black", type=float, metavar="V", help="value of the files that is black")
    group.add_argument("--white", type=float, metavar="V", help="value of the files that is white")
    group.add_argument("--bits", type=int, metavar="N", help="bits that the camera fills, such as 12: 0 to 4095")


def levels_given(arguments: argparse.Namespace) -> Levels | None:
    """What the options of :func:`add_levels` say."""
    return given_levels(black=arguments.black, white=arguments.white, bits=arguments.bits)


def add_image_size(parser: Parser, *, default: str) -> None:
    """``--image-size``."""
    about = f"pixels that images are resized to, such as 256 or 64x1280, height x width (default: {default})"
    parser.add_argument("--image-size", type=parse_size, metavar="HxW", help=about)


def add_weights(parser: Parser) -> None:
    """``--weights``."""
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="weights file of the teacher (.pth, .pt, .safetensors), instead of the usual places",
    )


def add_now(parser: Parser) -> None:
    """``--now`` of commands that take their turn in the queue of the workspace."""
    parser.add_argument(
        "--now", action="store_true", help="run beside the app's jobs and other commands of this workspace; do not wait"
    )


def add_runtime(parser: Parser, *, precision: bool = True) -> None:
    """``--runtime``, ``--device`` and, where figures need not be exact, ``--precision``."""
    from skrd4ad.export.runtimes import PRECISIONS
    from skrd4ad.services.inspection.runtimes import RuntimeWish

    parser.add_argument(
        "--runtime",
        choices=get_args(RuntimeWish),
        default="auto",
        help="what computes: auto is the fastest that says the same as torch, see `skrd4ad runtimes` (default: auto)",
    )
    if precision:
        parser.add_argument(
            "--precision",
            choices=sorted({each for precisions in PRECISIONS.values() for each in precisions}),
            help="what the named runtime or device computes in (default: fp32)",
        )
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help=f"where torch computes: {DEVICES} (default: auto)"
    )


def runtime_request_of(arguments: argparse.Namespace) -> "RuntimeRequest":
    """How the model is to be run."""
    from skrd4ad.services.inspection.runtimes import RuntimeRequest

    return RuntimeRequest(
        runtime=arguments.runtime, precision=getattr(arguments, "precision", None), device=arguments.device
    )


def open_model(arguments: argparse.Namespace, images: Sequence[Path], output: Output) -> "Predictor":
    """The model of ``--model`` on the runtime that was asked for, to look at ``images``.

    The arguments are those of :func:`add_model`, :func:`add_runtime` and :func:`add_weights`.
    """
    from skrd4ad.inference.predictions import STREAMS
    from skrd4ad.model_folder.info import read_info
    from skrd4ad.services.inspection.runtimes import open_predictor

    data = None
    if arguments.precision == "int8":
        from skrd4ad.services.datasets import class_of_model

        # int8 is made from the class's good images, where they are at hand
        with suppress(DataError):
            data = class_of_model(read_info(arguments.model))
    with output.progress("loading the model") as task:
        return open_predictor(
            arguments.model,
            runtime_request_of(arguments),
            data=data,
            streams=STREAMS if len(images) != 1 else 1,
            weights=arguments.weights,
            task=task,
        )


def chosen_classes(data: str, *, layout: str, class_name: str) -> list[DatasetClass]:
    """Classes of a data set; ``all``, or the one named."""
    from skrd4ad.data.sources import open_dataset

    classes = open_dataset(data, layout=layout)
    chosen = [cls for cls in classes if class_name in ("all", cls.name)]
    if not chosen:
        names = ", ".join(cls.name for cls in classes)
        raise ConfigError(f"The class is {class_name!r}; {data} has: {names}. Name one of them, or all.")
    return chosen
