import json
from collections.abc import Callable
from typing import Any

import pytest

from skrd4ad.cli import main


@pytest.fixture
def as_json(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Runs a command with ``--json``; gives its exit code and the one document on standard output."""

    def run(*argv: object) -> tuple[int, Any]:
        capsys.readouterr()
        code = main([*map(str, argv), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run
