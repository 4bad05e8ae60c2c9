"""What commands write: results to standard output, everything else to standard error."""

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from skrd4ad.errors import ConfigError, SkrdError, needing_extras
from skrd4ad.format import METRIC_TITLES, SCHEMA
from skrd4ad.task import Status, Task

DONE, NO, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
QUIET_SECONDS = 10.0
"""Between two lines of progress where standard error is no terminal."""


class Output:
    """Text for people, or exactly one JSON document for programs, on standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str) -> None:
        """A result for people; nothing with ``--json``."""
        if not self.as_json:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """A remark, on standard error."""
        print(text, file=sys.stderr, flush=True)

    def document(self, values: Mapping[str, Any]) -> None:
        """The JSON document; nothing without ``--json``."""
        if self.as_json:
            self.raw(json.dumps({"schema": SCHEMA, **values}, indent=2, allow_nan=False))

    def raw(self, text: str) -> None:
        """A result that is the same for people and programs."""
        print(text, flush=True)

    @contextmanager
    def list_in_document(self) -> Iterator["ListInDocument"]:
        """A list of a document with more entries than memory should hold."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as kept:
            yield ListInDocument(kept if self.as_json else None)

    @contextmanager
    def progress(self, title: str) -> Iterator[Task]:
        """A bar on standard error when it is a terminal, otherwise a line now and then."""
        if not sys.stderr.isatty():
            yield Task(show=_quiet_lines(title))
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        bar = Progress(
            *(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            # results that go elsewhere than to the terminal must not pass through the bar's console
            redirect_stdout=sys.stdout.isatty(),
        )
        with bar:
            row = bar.add_task(title, total=None)

            def show(at: Status) -> None:
                total = 1.0 if at.share else None
                bar.update(row, completed=at.share, total=total, description=_line(at, title))

            yield Task(show=show)


class ListInDocument:
    """Entries that wait in a file until the document is written; they vanish at once where none is wanted."""

    def __init__(self, kept: TextIO | None) -> None:
        self._kept = kept

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add an entry."""
        if self._kept is not None:
            self._kept.write(json.dumps(entry, allow_nan=False) + "\n")

    def write(self, document: Mapping[str, Any], *, name: str) -> None:
        """Write the document on standard output, with the entries as its last value."""
        if self._kept is None:
            return
        head = json.dumps({"schema": SCHEMA, **document}, indent=2, allow_nan=False).removesuffix("\n}")
        print(f"{head},\n  {json.dumps(name)}: [", end="")
        self._kept.seek(0)
        for index, line in enumerate(self._kept):
            print(f"{',' if index else ''}\n    {line.rstrip()}", end="")
        print("\n  ]\n}", flush=True)


def run_command(
    command: Callable[[], int], *, program: str, as_json: bool, debug: bool = False, when_interrupted: str
) -> int:
    """Exit code of a command; every error becomes one message, with its traceback above it only with ``debug``.

    With ``as_json`` an error is also written as ``{"error": …}`` on standard output.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be valid text
    output = Output(as_json=as_json)
    try:
        try:
            with needing_extras(program):
                code = _traced(command) if debug else command()
            sys.stdout.flush()
            return code
        except ConfigError as error:
            return _failed(output, str(error), WRONG_USE)
        except SkrdError as error:
            return _failed(output, str(error), NO)
        except KeyboardInterrupt:
            return _failed(output, when_interrupted, INTERRUPTED)
        except BrokenPipeError:
            raise
        except OSError as error:
            return _failed(output, f"{error.filename or 'A file'}: {error.strerror or error}.", NO)
        except Exception as error:  # noqa: BLE001 - the last net
            what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":.")
            advice = "Report it with the traceback above." if debug else "Run it again with --debug, and report it."
            return _failed(output, f"{program}: an error in the program: {what}. {advice}", NO)
    except BrokenPipeError:
        # nobody reads the results any more; the interpreter must not fail on them once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO


def _traced(command: Callable[[], int]) -> int:
    try:
        return command()
    except BrokenPipeError:
        raise
    except Exception:
        traceback.print_exc()
        raise


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Figures of an evaluation, one line each, with intervals where there are any; undefined ones are left out."""
    intervals = metrics.get("intervals") or {}
    lines = []
    for key, title in METRIC_TITLES.items():
        if metrics.get(key) is not None:
            limits = intervals.get(key)
            interval = "" if limits is None else f"   95 % {limits[0]:.4f} to {limits[1]:.4f}"
            lines.append(f"  {title:<24}{metrics[key]:.4f}{interval}")
    lines.append(f"  {metrics['n_good']} good and {metrics['n_defect']} defective test images")
    if metrics.get("test_selected"):
        lines.append("  test-selected: the epoch was chosen on this test set, so the figures are optimistic")
    return "\n".join(lines)


def _line(at: Status, title: str) -> str:
    left = "" if at.eta_seconds is None else f"{at.eta_seconds:.0f} s left"
    return ", ".join(filter(None, (at.text or title, str(at.record or ""), left)))


def _quiet_lines(title: str) -> Callable[[Status], None]:
    last = time.monotonic()

    def show(at: Status) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= QUIET_SECONDS:
            last = now
            line, count = _line(at, title), f"{at.done} of {at.total}"
            print(line if count in line or not at.total else f"{line}: {count}", file=sys.stderr, flush=True)

    return show


def _failed(output: Output, message: str, code: int) -> int:
    output.note(message)
    output.document({"error": message})
    return code
