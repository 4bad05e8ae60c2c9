"""The parser of commands, without anything that is slow to import."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from skrd4ad.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """Parser that raises instead of ending the process, so that wrong use is answered as every other error is."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.format_usage()}{self.prog}: {message}")


def describe(parser: Parser, *, more: str = "", example: str, run: Callable[[argparse.Namespace], int]) -> None:
    """Complete the help of a command, add ``--json``, and say what runs.

    Args:
        parser: of the command; its description is one sentence.
        more: what follows that sentence.
        example: a command line without the program's name.
        run: does the work and returns the exit code.
    """
    parser.description = f"{parser.description} {more}".rstrip()
    parser.epilog = f"example:\n  skrd4ad {example}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output, for programs")
    parser.set_defaults(run=run)


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
