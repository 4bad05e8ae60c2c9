import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from skrd4ad.cli import main
from skrd4ad.cli.schema.documents import DOCUMENTS
from skrd4ad.cli.schema.publish import schema_of
from skrd4ad.format import SCHEMA


@cache
def validator(command: str) -> Draft202012Validator:
    """Of the documents of a command, strict: what the schema does not name may not be there."""
    schema = schema_of([command])
    for part in schema["$defs"].values():
        if "properties" in part:
            part["additionalProperties"] = False
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture
def as_json(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Runs a command with ``--json``; gives its exit code and the one document on standard output, which fits the
    published schema, without the schema's number."""

    def run(*argv: object) -> tuple[int, Any]:
        capsys.readouterr()
        given = [*map(str, argv)]
        code = main([*given, "--json"])
        document = json.loads(capsys.readouterr().out)
        validator(next((each for each in given if each in DOCUMENTS), "models")).validate(document)
        assert document.pop("schema") == SCHEMA
        return code, document

    return run
