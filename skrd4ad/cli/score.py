"""``skrd4ad score``: score a manifest of images into Parquet, here or on a cluster."""

import argparse
from pathlib import Path
from typing import get_args

from skrd4ad.cli.arguments import add_model
from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.cluster.connection import HERE
from skrd4ad.errors import needing_extras
from skrd4ad.format import plural
from skrd4ad.inference.tiling import Tiling
from skrd4ad.services.inspection.runtimes import RuntimeWish
from skrd4ad.types import OUTCOMES


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="DIR/scores holds a row for each image, sorted by id: score, verdict, regions, or the error of an image "
        "that cannot be read. The same command goes on where it was interrupted. With --cluster a Ray cluster does it: "
        "the one at HOST:PORT, with auto the one that this machine belongs to, without an address one of this "
        "machine's processors. The exit code is 1 when an image could not be judged.",
        example="score s3://line-3/manifest.parquet --model checkpoints/mvtec/bottle/RUN --out scores --cluster auto",
        run=run,
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="Parquet file, or folder of them, with the columns id and path; or a folder of images. Paths or URIs "
        "(s3://, gs://, …)",
    )
    add_model(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--cluster", nargs="?", const=HERE, metavar="ADDRESS", help="score on a Ray cluster")
    parser.add_argument(
        "--threads", type=whole(1, 64), default=1, metavar="N", help="CPUs of each worker of the cluster (default: 1)"
    )
    parser.add_argument(
        "--part",
        type=whole(1, 1_000_000),
        default=500,
        metavar="N",
        help="images that are scored, kept and, after a failure, repeated together (default: 500)",
    )
    parser.add_argument("--tiled", choices=get_args(Tiling), default="auto", help="as of predict (default: auto)")
    parser.add_argument("--threshold", type=float, metavar="T", help="NG above this score (default: the model's)")
    parser.add_argument(
        "--runtime", choices=get_args(RuntimeWish), default="auto", help="as of predict, in fp32 (default: auto)"
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Score the images."""
    with needing_extras("Scoring into Parquet"):
        from skrd4ad.cluster.parts import ScoreSettings
        from skrd4ad.cluster.score import SCORES, ScoreRequest, score

        request = ScoreRequest(
            source=arguments.source,
            out=arguments.out.absolute(),
            model=arguments.model,
            settings=ScoreSettings(runtime=arguments.runtime, threshold=arguments.threshold, tiling=arguments.tiled),
            part_images=arguments.part,
        )
        with output.progress("scoring") as task:
            done = score(request, cluster=arguments.cluster, threads=arguments.threads, task=task, say=output.note)
    counts = {name: done.counts[name] for name in OUTCOMES}
    output.say(f"{plural(done.images, 'image')}, {done.scored} of them now: {request.out / SCORES}")
    output.say(", ".join(f"{count} {name}" for name, count in counts.items() if count) + ".")
    output.document(
        {
            "model": str(arguments.model),
            "runtime": done.run.runtime,
            "scores": str(request.out / SCORES),
            "images": done.images,
            "scored": done.scored,
            "counts": counts,
        }
    )
    return NO if counts["CANNOT JUDGE"] or counts["UNREADABLE"] else DONE
