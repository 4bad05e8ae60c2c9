"""``skrd4ad app``: start the app."""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import skrd4ad
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.paths import checkpoints, streamlit_settings, workspace
from skrd4ad.services.models.demo import provide_demo_models

SCRIPT = Path(skrd4ad.__file__).parent / "ui" / "app.py"
WITH_SERVICE = SCRIPT.parent / "service" / "app.py"


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="Where there are no models yet, the demo models are copied there first. Streamlit's own options go after "
        "--, and its configuration files and environment variables count as ever. With --json the document says what "
        "is started.",
        example="app --port 8600 -- --server.headless=true",
        run=run,
    )
    parser.add_argument("--port", type=whole(1, 65535), metavar="N", help="port (default: 8501, or the next free one)")
    parser.add_argument(
        "--address", metavar="HOST", help="address to answer at (default: localhost, which is this machine only)"
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="answer other programs as well, at /v1, /v2 and /metrics of the same address; see docs/serve.md",
    )
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="options of Streamlit")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Start the app in place of this process."""
    if importlib.util.find_spec("streamlit") is None:
        raise ModuleNotFoundError(name="streamlit")
    if copied := provide_demo_models(checkpoints()):
        output.note(f"The demo models were copied to {checkpoints()}: {', '.join(each.name for each in copied)}.")
    script = WITH_SERVICE if arguments.serve else SCRIPT
    options = [*default_options(), *arguments.options]
    named = {"port": arguments.port, "address": arguments.address}
    options += [f"--server.{name}={value}" for name, value in named.items() if value is not None]
    output.document(
        {"script": str(script), "options": options, "workspace": str(workspace()), "models": str(checkpoints())}
    )
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
    if output.as_json:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what Streamlit prints is no part of the document
    if os.name == "posix":
        os.execv(command[0], command)  # signals reach the server itself
    return subprocess.call(command) and DONE  # where processes cannot be replaced


def default_options() -> list[str]:
    """The app's settings as options of Streamlit, without those that the user has set in a file or variable, as
    options would count for more than these."""
    set_here = {name for path in _own_settings() for name, _ in _settings(path)}
    return [
        f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in _settings(streamlit_settings())
        if name not in set_here and _variable(name) not in os.environ
    ]


def _own_settings() -> list[Path]:
    return [folder / ".streamlit" / "config.toml" for folder in (Path.home(), Path.cwd())]


def _settings(path: Path) -> Iterator[tuple[str, Any]]:
    """Full names and values of a file of settings; nothing where Streamlit itself will complain of the file."""
    with suppress(OSError, tomllib.TOMLDecodeError):
        yield from _leaves(tomllib.loads(path.read_text(encoding="utf-8")), "")


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _variable(name: str) -> str:
    """``STREAMLIT_SERVER_MAX_UPLOAD_SIZE`` of ``server.maxUploadSize``."""
    return "STREAMLIT_" + re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).replace(".", "_").upper()
