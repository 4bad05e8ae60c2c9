from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.cli import main
from skrd4ad.services.history import HistoryFilter, history_page
from skrd4ad.services.roles import roles_file

Run = Callable[..., tuple[int, Any]]


def test_roles_are_given_listed_and_taken(home: Path, as_json: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roles", "ada@example.org", "admin"]) == 0
    assert main(["roles", "bo@example.org", "inspector"]) == 0
    capsys.readouterr()
    assert main(["roles"]) == 0
    text = "ada@example.org: admin\nbo@example.org: inspector\nall others who are logged in: viewer\n"
    assert capsys.readouterr().out == text
    assert main(["roles", "ada@example.org", "none"]) == 0
    roles = {"file": str(roles_file()), "default": "viewer", "roles": {"bo@example.org": "inspector"}}
    assert as_json("roles") == (0, roles)
    assert [entry.what for entry in history_page(HistoryFilter()).entries] == ["role given"] * 3


def test_a_damaged_file_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir()
    roles_file().write_text("[roles")
    assert main(["roles", "ada@example.org", "admin"]) == 1
    assert "roles.toml is damaged" in capsys.readouterr().err
    assert roles_file().read_text() == "[roles"
    assert main(["roles", "ada@example.org", "boss"]) == 2
