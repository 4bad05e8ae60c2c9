import json
from pathlib import Path

import pytest

from skrd4ad.cli import main
from skrd4ad.services.history import HistoryFilter, history_page
from skrd4ad.services.roles import roles_file


def test_roles_are_given_listed_and_taken(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roles", "ada@example.org", "admin"]) == 0
    assert main(["roles", "bo@example.org", "inspector"]) == 0
    capsys.readouterr()
    assert main(["roles"]) == 0
    text = "ada@example.org: admin\nbo@example.org: inspector\nall others who are logged in: viewer\n"
    assert capsys.readouterr().out == text
    assert main(["roles", "ada@example.org", "none"]) == 0
    capsys.readouterr()
    assert main(["roles", "--json"]) == 0
    roles = {"file": str(roles_file()), "default": "viewer", "roles": {"bo@example.org": "inspector"}}
    assert json.loads(capsys.readouterr().out) == roles
    assert [entry.what for entry in history_page(HistoryFilter()).entries] == ["role given"] * 3


def test_a_damaged_file_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir()
    roles_file().write_text("[roles")
    assert main(["roles", "ada@example.org", "admin"]) == 1
    assert "roles.toml is damaged" in capsys.readouterr().err
    assert roles_file().read_text() == "[roles"
    assert main(["roles", "ada@example.org", "boss"]) == 2
