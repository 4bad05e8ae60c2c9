"""The published schema is valid itself, whole, and in docs/; ``as_json`` holds every document against it."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from skrd4ad.cli import COMMANDS, main
from skrd4ad.cli.schema.documents import DOCUMENTS
from skrd4ad.cli.schema.publish import schema_of

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema.json"
ROLES = {"schema": 1, "file": "roles.toml", "default": "viewer", "roles": {"ada@example.org": "admin"}}


def test_every_command_has_a_document() -> None:
    assert set(DOCUMENTS) == set(COMMANDS) - {"schema"}


def test_the_schema_is_valid_and_is_the_one_in_docs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    Draft202012Validator.check_schema(json.loads(printed))
    # what other programs rely on: a value that changes or goes needs another version
    assert printed == PUBLISHED.read_text(encoding="utf-8"), "python -m skrd4ad schema > docs/schema.json"


def test_the_schema_of_one_command_takes_its_documents_and_errors_and_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["schema", "roles", "--json"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == schema_of(["roles"])
    roles = Draft202012Validator(schema)
    roles.validate(ROLES)
    roles.validate({"schema": 1, "error": "The roles cannot be read."})
    wrong: list[dict] = [{**ROLES, "schema": 2}, {**ROLES, "default": "boss"}, {"schema": 1, "models": []}]
    for document in (*wrong, {name: ROLES[name] for name in ROLES if name != "file"}):
        with pytest.raises(ValidationError):
            roles.validate(document)
    Draft202012Validator(schema_of(["models", "roles"])).validate({"schema": 1, "models": []})
