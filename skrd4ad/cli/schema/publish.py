"""``skrd4ad schema``: what the JSON documents of the commands hold."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.cli.schema.base import ErrorDocument
from skrd4ad.cli.schema.documents import DOCUMENTS
from skrd4ad.format import SCHEMA

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="Every document names the version of the schema as its value 'schema'. Without a command the schema is of "
        "the documents of all commands. With --json or without, it is a JSON Schema of draft 2020-12.",
        example="schema predict",
        run=run,
    )
    parser.add_argument("command", nargs="?", choices=sorted(DOCUMENTS), metavar="COMMAND", help="one command")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Print the schema."""
    chosen = sorted(DOCUMENTS) if arguments.command is None else [arguments.command]
    output.raw(json.dumps(schema_of(chosen), indent=2))
    return DONE


def schema_of(commands: Iterable[str]) -> dict[str, Any]:
    """JSON Schema of the documents of commands; ``$defs`` has one of each command under its name."""
    names = list(commands)
    kinds = {name: [*DOCUMENTS[name], ErrorDocument] for name in names}
    every = list(dict.fromkeys(kind for of in kinds.values() for kind in of))
    references, parts = msgspec.json.schema_components(every, schema_hook=_plain_type, ref_template="#/$defs/{name}")
    by_kind = dict(zip(every, references, strict=True))
    return {
        "$schema": DIALECT,
        "$id": f"urn:skrd4ad:documents:{SCHEMA}",
        "title": f"JSON documents of the commands of skrd4ad, version {SCHEMA}",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in names],
        "$defs": {**{name: {"anyOf": [by_kind[kind] for kind in of]} for name, of in kinds.items()}, **parts},
    }


def _plain_type(kind: type) -> dict[str, Any]:
    """What stands in a document for a type that JSON does not have."""
    if kind is Path:
        return {"type": "string"}
    raise NotImplementedError
