"""The parser of commands, without anything that is slow to import."""

import argparse
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from skrd4ad.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """Parser that raises instead of ending the process, so that wrong use is answered as every other error is."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise ConfigError(f"{self.format_usage()}{self.prog}: {message}")


DEBUG = "--debug"


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Show ``--debug`` in the help. ``cli.main`` looks for it itself, so that it works for errors in parsing too."""
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of an error, to report it")


def describe(parser: Parser, *, more: str = "", example: str, run: Callable[..., int]) -> None:
    """Complete the help of a command, add ``--json``, and say what runs.

    ``more`` follows the parser's description; ``example`` is without the program's name. ``run`` is called with the
    arguments and the ``Output`` of the command, and returns the exit code.
    """
    parser.description = f"{parser.description} {more}".rstrip()
    parser.epilog = f"example:\n  skrd4ad {example}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output, for programs")
    add_debug(parser)
    parser.set_defaults(run=run)


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Type of an option that takes a whole number in a range."""

    def read(text: str) -> int:
        with suppress(ValueError):
            value = int(text)
            if low <= value and (high is None or value <= high):
                return value
        allowed = f"a whole number from {low}" + ("" if high is None else f" to {high}")
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: {allowed}")

    return read
