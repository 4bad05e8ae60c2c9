"""The command line: one file a subcommand, imported when it is called."""

import sys
from collections.abc import Sequence
from importlib import import_module

import skrd4ad
from skrd4ad.cli.output import Output, run_command
from skrd4ad.cli.parser import DEBUG, Parser, add_debug

ABOUT = (
    "SK-RD4AD: find defects with nothing but good parts to learn from. Exit codes: 0 done, 1 the answer is no or it "
    "cannot be done, 2 wrong use, 130 interrupted."
)
COMMANDS = {
    "app": "Start the app in the browser",
    "doctor": "Examine a data set before training",
    "demo": "Write synthetic parts with exact defect masks, in the layout of MVTec AD",
    "train": "Train on the good images of a class, evaluate on its test images, and print the model folder",
    "retrain": "Train on from a model's student with the images of its class that people labelled good, and compare "
    "the old and the new model on labelled images that neither has learnt from",
    "calibrate": "Choose the thresholds of a model and store them as its newest calibration",
    "evaluate": "Measure a model on the test images of a class, with bootstrap intervals",
    "compare": "Compare two models on the test images of a class: paired differences with bootstrap intervals, "
    "verdicts that change, settings that differ",
    "predict": "Score images and find defects in them",
    "report": "Inspect a batch and write a report to sign, as a PDF and, when asked for, as one HTML file: counts, "
    "model and calibration, the parts that are NG or to review with their anomaly maps, and a table of "
    "all parts",
    "export": "Write a model as ONNX or OpenVINO IR, from raw RGB pixels to map and score, and compare it with the "
    "original on the same images",
    "bundle": "Pack a model into one file that another machine imports and verifies",
    "import-bundle": "Make a model folder from a bundle, once the SHA-256 of every part has been checked",
    "import-rd4ad": "Make a model folder from a checkpoint of the original RD4AD or SK-RD4AD code",
    "labels": "Export and import labels, make data sets of them",
    "history": "Show the history of the workspace and check its chain: who trained, calibrated, imported, exported, "
    "promoted, renamed, archived or deleted what, newest first",
    "models": "List the trained models",
    "roles": "Show who may do what in the app, and give roles",
    "score": "Score a manifest of any number of images into Parquet, on this machine or on a Ray cluster",
    "serve": "Answer other programs over HTTP: images in, verdicts out",
    "serve-key": "List, make and remove the keys by which programs call the service",
    "challenge": "Judge the challenge parts of a model's class, which must get their expected verdict, or change them",
    "study": "Say whether the measurement is fit, from parts photographed repeatedly: gauge R&R, agreement of "
    "verdicts, stability, bias",
    "watch": "Judge images as they arrive in a folder, and put them into the queue of the model",
    "schema": "Print the JSON schema of what commands write with --json",
    "runtimes": "Run a model by torch, OpenVINO and ONNX Runtime on the same images: how fast each is here, and "
    "whether it says the same as torch",
}
"""Commands and the first sentence of their help; each module has the rest, and what the command takes and does."""
MODULES = {
    "app": "studio.app",
    "bundle": "models.pack",
    "export": "models.export",
    "history": "studio.history",
    "import-bundle": "models.import_bundle",
    "import-rd4ad": "models.import_rd4ad",
    "models": "models.list",
    "roles": "studio.roles",
    "runtimes": "models.runtimes",
    "serve": "line.serve",
    "serve-key": "line.keys",
    "challenge": "line.challenge",
    "study": "line.study",
    "watch": "line.watch",
    "schema": "schema.publish",
}
"""Where a command's module has another name than the command."""


RESUME = "Interrupted. The same command with --resume goes on after the last full epoch."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 done, 1 the answer is no, 2 wrong use, 130 interrupted.

    ``argv`` is without the program's name; default are the arguments of the process.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    called = _called(given)
    return run_command(
        lambda: _run(given),
        program=f"skrd4ad {called}".rstrip(),
        as_json="--json" in given,
        debug=DEBUG in given,
        when_interrupted=RESUME if called in ("train", "retrain") else "Interrupted.",
    )


def published_main(argv: Sequence[str] | None = None) -> int:
    """Run the published command line, ``main.py``; arguments and exit code as in :func:`main`."""
    given = sys.argv[1:] if argv is None else list(argv)
    return run_command(
        lambda: import_module("skrd4ad.cli.paper").run(given),
        program="main.py",
        as_json=False,
        debug=DEBUG in given,
        when_interrupted=RESUME,
    )


def _called(argv: list[str]) -> str:
    """Name of the command; empty where none is called."""
    return next((argument for argument in argv if not argument.startswith("-")), "")


def _run(argv: list[str]) -> int:
    parser = Parser(prog="skrd4ad", description=ABOUT, allow_abbrev=False)
    add_debug(parser)
    parser.add_argument("--version", action="version", version=skrd4ad.__version__)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    called = _called(argv)
    for name, about in COMMANDS.items():
        command = subparsers.add_parser(name, help=about, description=f"{about}.", allow_abbrev=False)
        # torch alone takes seconds, so only the module of the command that is called is imported
        if name == called:
            module = MODULES.get(name, name)
            import_module(f"skrd4ad.cli.{module}").add_options(command)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:  # after --help and --version
        return int(end.code or 0)
    code: int = arguments.run(arguments, Output(as_json=arguments.json))
    return code
