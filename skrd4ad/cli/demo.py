"""``skrd4ad demo``: write the synthetic data set."""

import argparse
from pathlib import Path
from typing import Any

from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.data.synthetic.write import DEFAULT_CLASSES, SYNTHETIC_CLASSES, write_synthetic

_CLASSES = f"of {', '.join(SYNTHETIC_CLASSES)} (default: {', '.join(DEFAULT_CLASSES)})"


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        example="demo parts --classes machined_disc --train 60",
        run=run,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder, or one that demo wrote")
    parser.add_argument("--classes", nargs="+", choices=SYNTHETIC_CLASSES, metavar="C", help=_CLASSES)
    parser.add_argument("--size", type=whole(64, 1024), default=256, metavar="N", help="side (default: %(default)s)")
    parser.add_argument("--train", type=whole(1), default=120, metavar="N", help="good images (default: %(default)s)")
    parser.add_argument(
        "--test-good", type=whole(0), default=30, metavar="N", help="good test images (default: %(default)s)"
    )
    parser.add_argument(
        "--per-defect", type=whole(0), default=12, metavar="N", help="of each type of defect (default: %(default)s)"
    )
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of the drawings (default: %(default)s)")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Write the images."""
    with output.progress("drawing") as task:
        classes = write_synthetic(
            arguments.folder,
            classes=arguments.classes,
            train=arguments.train,
            test_good=arguments.test_good,
            per_defect=arguments.per_defect,
            size=arguments.size,
            seed=arguments.seed,
            task=task,
        )
    counts: list[dict[str, Any]] = [
        {"class": cls.name, "train": len(cls.train), "test": len(cls.test), "defects": list(cls.defect_types)}
        for cls in classes
    ]
    for row in counts:
        output.say(f"{row['class']}: {row['train']} to train on, {row['test']} to test")
    output.say(f"Written to {arguments.folder}")
    output.document({"folder": str(arguments.folder.absolute()), "classes": counts})
    return DONE
