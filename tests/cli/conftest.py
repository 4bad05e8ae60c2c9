import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from skrd4ad.cli import main
from skrd4ad.models.backbones import empty_network


@pytest.fixture(autouse=True)
def own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Workspace and model folders of one test; one thread, as the others of the session may be busy."""
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SKRD4AD_CHECKPOINTS", str(tmp_path / "models"))
    monkeypatch.delenv("SKRD4AD_DATABASE_URL", raising=False)
    monkeypatch.delenv("SKRD4AD_WEIGHTS_DIR", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture
def as_json(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Runs a command with ``--json``; gives its exit code and the one document on standard output."""

    def run(*argv: object) -> tuple[int, Any]:
        capsys.readouterr()
        code = main([*map(str, argv), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope="session")
def res18_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File with random weights for the teacher res18."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, like in empty_network("res18").state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif like.ndim >= 2:
            state[name] = torch.empty(like.shape).normal_(0, like[0].numel() ** -0.5, generator=generator)
        else:
            state[name] = torch.ones(like.shape) if name.endswith(("weight", "var")) else torch.zeros(like.shape)
    path = tmp_path_factory.mktemp("weights") / "res18.pth"
    torch.save(state, path)
    return path
