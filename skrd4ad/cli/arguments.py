"""Options that several commands share, and what they mean."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, get_args

from skrd4ad.data.layouts.find import LAYOUTS
from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.export.runtimes import PRECISIONS
from skrd4ad.model_folder.folder import read_info
from skrd4ad.models.devices import DeviceName
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.inspection.runtimes import RuntimeWish, Wish
from skrd4ad.types import DatasetClass


class Parser(argparse.ArgumentParser):
    """Parser that raises instead of ending the process, so that wrong use is answered as every other error is."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.format_usage()}{self.prog}: {message}")


def command(
    subparsers: "argparse._SubParsersAction[Parser]",
    name: str,
    *,
    about: str,
    example: str,
    run: Callable[[argparse.Namespace], int],
) -> Parser:
    """A subcommand with ``--json``."""
    parser: Parser = subparsers.add_parser(
        name,
        help=about.partition(".")[0],
        description=about,
        epilog=f"example:\n  skrd4ad {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output, for programs")
    parser.set_defaults(run=run)
    return parser


def add_data(parser: Parser) -> None:
    """``--data`` and ``--layout``."""
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of the data set, or elpv, or synthetic")
    parser.add_argument("--layout", choices=LAYOUTS, default="auto", help="layout of the folder (default: found out)")


def add_weights(parser: Parser) -> None:
    """``--weights``."""
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="weights file of the teacher (.pth, .pt, .safetensors), instead of the usual places",
    )


def add_runtime(parser: Parser, *, precision: bool = True) -> None:
    """``--runtime``, ``--device`` and, where figures need not be exact, ``--precision``; see :func:`wish_of`."""
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


def wish_of(arguments: argparse.Namespace) -> Wish:
    """How the model is to be run.

    Raises:
        ConfigError: the options do not go together.
    """
    return Wish(runtime=arguments.runtime, precision=getattr(arguments, "precision", None), device=arguments.device)


def data_for_int8(arguments: argparse.Namespace) -> DatasetClass | None:
    """The class that the model was trained on, when int8 is asked for and its images are at hand."""
    if arguments.precision != "int8":
        return None
    try:
        return class_of_model(read_info(arguments.model))
    except DataError:
        return None


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Type of an option that takes a whole number in a range."""

    def read(text: str) -> int:
        allowed = f"a whole number from {low}" + ("" if high is None else f" to {high}")
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: {allowed}") from None
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{value}; allowed: {allowed}")
        return value

    return read


def chosen_classes(data: str, *, layout: str, class_name: str) -> list[DatasetClass]:
    """Classes of a data set; ``all``, or the one named.

    Raises:
        ConfigError: there is no class of that name.
        DataError: the data set cannot be read.
    """
    classes = open_dataset(data, layout=layout)
    chosen = [cls for cls in classes if class_name in ("all", cls.name)]
    if not chosen:
        names = ", ".join(cls.name for cls in classes)
        raise ConfigError(f"The class is {class_name!r}; {data} has: {names}. Name one of them, or all.")
    return chosen
