"""Evaluations, made once a session; every test has a copy of its own."""

import shutil
from pathlib import Path

import pytest

from tests.evaluation_world import EvaluationWorld, make_evaluated, world_in


@pytest.fixture(scope="session")
def evaluated_once(tmp_path_factory: pytest.TempPathFactory, tiny_model: tuple[Path, Path]) -> Path:
    root = tmp_path_factory.mktemp("evaluated")
    make_evaluated(root, tiny_model)
    return root


@pytest.fixture
def evaluated(evaluated_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationWorld:
    """Two models with their evaluations, in a workspace that may be written to."""
    root = tmp_path / "world"
    shutil.copytree(evaluated_once, root)
    monkeypatch.setenv("SKRD4AD_HOME", str(root / "home"))
    monkeypatch.setenv("SKRD4AD_CHECKPOINTS", str(root / "models"))
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(root))
    monkeypatch.delenv("SKRD4AD_DATABASE_URL", raising=False)
    return world_in(root)
