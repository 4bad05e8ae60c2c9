"""``skrd4ad watch``: judge images as they arrive in a folder."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from skrd4ad.cli.arguments import add_model
from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.model_folder.info import read_info
from skrd4ad.services.watching.watches import follow, reset_watcher, start_watching, stop_watching
from skrd4ad.storage.tables import StoredPrediction, WatchedFile
from skrd4ad.types import OUTCOMES, Outcome


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="The images come into the queue of the model, as from a folder that is watched in the app; those that are "
        "not OK wait for review. It ends by Ctrl-C. With --once it ends when all images that are there are judged, and "
        "the exit code is 1 when one of them could not be.",
        example="watch /data/line-3 --model checkpoints/mvtec/bottle/RUN",
        run=run,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder to watch, with its sub-folders")
    add_model(parser)
    parser.add_argument("--existing", action="store_true", help="judge the images that are there already as well")
    parser.add_argument(
        "--once", action="store_true", help="judge the images that are there and were not judged before, and end"
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Watch the folder until it is interrupted, or once."""
    info = read_info(arguments.model)
    counts: Counter[Outcome] = Counter()
    with output.list_in_document() as records:
        watch = start_watching(info, arguments.folder, existing=arguments.existing or arguments.once)
        try:
            for arrival in follow(watch, info, once=arguments.once, note=output.note):
                record = _record(*arrival)
                records.append(record)
                counts[record["verdict"] or ("UNREADABLE" if record["error"] else "NO LIMIT")] += 1
                output.say(_line(record))
        except KeyboardInterrupt:
            output.note(f"{arguments.folder} is not watched any more.")
        finally:
            stop_watching(watch)
            reset_watcher()
        calibration = None if info.calibration is None else info.calibration.version
        document = {"folder": str(arguments.folder), "model": str(arguments.model), "calibration": calibration}
        records.write({**document, "counts": {name: counts[name] for name in OUTCOMES}}, name="images")
    return NO if arguments.once and (counts["CANNOT JUDGE"] or counts["UNREADABLE"]) else DONE


def _record(file: WatchedFile, said: StoredPrediction | None) -> dict[str, Any]:
    return {
        "path": file.name,
        "score": None if said is None else said.score,
        "verdict": None if said is None else said.verdict,
        "threshold": None if said is None else said.threshold,
        "calibration": None if said is None else said.calibration,
        "refusal": None if said is None else said.refusal,
        "error": file.note,
    }


def _line(record: dict[str, Any]) -> str:
    if record["score"] is None:
        return f"unreadable  {record['error']}"
    refusal = f"  {record['refusal']}" if record["refusal"] else ""
    return f"{record['verdict'] or '-':<13}{record['score']:.4f}  {record['path']}{refusal}"
