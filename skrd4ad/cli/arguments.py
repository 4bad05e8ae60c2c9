"""Options that several commands share, and what they mean."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

from skrd4ad.cli.output import Output
from skrd4ad.cli.parser import Parser
from skrd4ad.data.layouts.find import LAYOUTS
from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.export.runtimes import PRECISIONS
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import STREAMS
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.devices import DeviceName
from skrd4ad.paths import checkpoints
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.inspection.runtimes import RuntimeRequest, RuntimeWish, open_predictor
from skrd4ad.types import DatasetClass


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
    parser.add_argument("--layout", choices=LAYOUTS, default="auto", help="layout of the folder (default: found out)")


def data_of_model(arguments: argparse.Namespace, info: ModelInfo) -> DatasetClass | None:
    """The class that is named, or the one the model was trained on; None when that is not at hand."""
    name = arguments.class_name or info.class_name
    if arguments.data is not None:
        return chosen_classes(arguments.data, layout=arguments.layout, class_name=name)[0]
    source, layout = str(info.data.get("source", "")), str(info.data.get("layout", "auto"))
    with suppress(DataError):
        return open_dataset(source, layout=layout if layout in LAYOUTS else "auto", class_name=name)[0]
    return None


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
    parser.add_argument(
        "--runtime",
        choices=get_args(RuntimeWish),
        default="auto",
        help="what computes: auto is the fastest that says the same as torch, see `skrd4ad runtimes` (default: auto)",
    )
    if precision:
        parser.add_argument(
            "--precision", choices=PRECISIONS["openvino"], help="what the named runtime computes in (default: fp32)"
        )
    parser.add_argument(
        "--device", choices=get_args(DeviceName), default="auto", help="where torch computes (default: auto)"
    )


def runtime_request_of(arguments: argparse.Namespace) -> RuntimeRequest:
    """How the model is to be run."""
    return RuntimeRequest(
        runtime=arguments.runtime, precision=getattr(arguments, "precision", None), device=arguments.device
    )


def open_model(arguments: argparse.Namespace, images: Sequence[Path], output: Output) -> Predictor:
    """The model of ``--model`` on the runtime that was asked for; the runtimes are compared on some of the images.

    The arguments are those of :func:`add_model`, :func:`add_runtime` and :func:`add_weights`.
    """
    data = None
    if arguments.precision == "int8":
        # int8 is made from the class's good images, where they are at hand
        with suppress(DataError):
            data = class_of_model(read_info(arguments.model))
    with output.progress("loading the model") as task:
        return open_predictor(
            arguments.model,
            runtime_request_of(arguments),
            images=images,
            data=data,
            streams=STREAMS,
            weights=arguments.weights,
            task=task,
        )


def chosen_classes(data: str, *, layout: str, class_name: str) -> list[DatasetClass]:
    """Classes of a data set; ``all``, or the one named."""
    classes = open_dataset(data, layout=layout)
    chosen = [cls for cls in classes if class_name in ("all", cls.name)]
    if not chosen:
        names = ", ".join(cls.name for cls in classes)
        raise ConfigError(f"The class is {class_name!r}; {data} has: {names}. Name one of them, or all.")
    return chosen
