"""The command line: one file a subcommand."""

import sys
from collections.abc import Sequence

import skrd4ad
from skrd4ad.cli import (
    bundle,
    calibrate,
    compare,
    demo,
    doctor,
    evaluate,
    export,
    import_bundle,
    import_rd4ad,
    labels,
    models,
    predict,
    report,
    retrain,
    runtimes,
    train,
)
from skrd4ad.cli.arguments import Parser
from skrd4ad.cli.output import run_command

ABOUT = (
    "SK-RD4AD: find defects with nothing but good parts to learn from. Exit codes: 0 done, 1 the answer is no or it "
    "cannot be done, 2 wrong use, 130 interrupted."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 done, 1 the answer is no, 2 wrong use, 130 interrupted.

    Args:
        argv: arguments without the program's name; default those of the process.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    interrupted = "Interrupted."
    if given[:1] in (["train"], ["retrain"]):
        interrupted += " The same command with --resume goes on after the last full epoch."
    return run_command(lambda: _run(given), as_json="--json" in given, when_interrupted=interrupted)


def _run(argv: list[str]) -> int:
    parser = Parser(prog="skrd4ad", description=ABOUT, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=skrd4ad.__version__)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for module in (
        doctor,
        demo,
        train,
        retrain,
        calibrate,
        evaluate,
        compare,
        predict,
        report,
        export,
        bundle,
        import_bundle,
        import_rd4ad,
        labels,
        models,
        runtimes,
    ):
        module.add_parser(subparsers)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:  # after --help and --version
        return int(end.code or 0)
    code: int = arguments.run(arguments)
    return code
