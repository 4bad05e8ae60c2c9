"""``skrd4ad serve``: verdicts over HTTP for other programs."""

import argparse
from pathlib import Path

from skrd4ad.cli.arguments import add_out
from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.errors import ConfigError
from skrd4ad.paths import listed_models

MIB = 2**20


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="POST an image to /v1/inspect; /docs lists all paths, /v2 is the Open Inference Protocol, /metrics is for "
        "Prometheus. On this machine no key is needed; at another address every request needs one, which `skrd4ad "
        "serve-key` makes. A calibration that is saved, or a model that takes another's place, counts from the next "
        "request on. SIGTERM or Ctrl-C ends it once what is under way is answered. With --json the document says what "
        "is started.",
        example="serve --model checkpoints/mvtec/bottle/RUN --workers 2",
        run=run,
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="the only model to serve (default: all of --out)")
    add_out(parser)
    parser.set_defaults(out=listed_models())
    parser.add_argument("--port", type=whole(0, 65535), default=8600, metavar="N", help="port (default: 8600; 0: any)")
    parser.add_argument("--address", default="127.0.0.1", metavar="HOST", help="address (default: this machine only)")
    parser.add_argument("--workers", type=whole(1, 256), default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--need-key", action="store_true", help="callers on this machine need a key, too")
    parser.add_argument("--max-mib", type=whole(1, 1024), default=32, metavar="N", help="of a body (default: 32)")
    parser.add_argument(
        "--max-pixels", type=whole(1, 100_000_000), default=100_000_000, metavar="N", help="of an image (default: 1e8)"
    )
    parser.add_argument("--timeout", type=whole(1, 600), default=30, metavar="S", help="seconds (default: 30)")
    parser.add_argument(
        "--queue", type=whole(1, 4096), default=64, metavar="N", help="inspections at a time in a worker (default: 64)"
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Serve until it is interrupted."""
    from skrd4ad.cli.schema.publish import schema_of
    from skrd4ad.model_folder.info import read_info
    from skrd4ad.serve.server import serve
    from skrd4ad.serve.settings import ServeSettings
    from skrd4ad.services.api_keys import read_keys

    model = None if arguments.model is None else read_info(arguments.model).folder
    settings = ServeSettings(
        root=arguments.out.absolute(),
        model=model,
        host=arguments.address,
        port=arguments.port,
        workers=arguments.workers,
        needs_key=arguments.need_key,
        max_bytes=arguments.max_mib * MIB,
        max_pixels=arguments.max_pixels,
        timeout_seconds=arguments.timeout,
        most_requests=arguments.queue,
        documents=schema_of(["calibrate", "models", "predict"])["$defs"],
    )
    if (settings.needs_key or not settings.is_local) and not read_keys():
        raise ConfigError(
            f"At the address {settings.host} every request needs a key, and there is none. Make one: skrd4ad serve-key "
            "NAME ROLE"
        )

    def started(url: str) -> None:
        output.say(f"{url}\n{url}/docs lists what can be asked for.")
        what = {"root": str(settings.root), "model": None if model is None else str(model)}
        output.document({"url": url, **what, "workers": settings.workers})

    serve(settings, started=started)
    return DONE
