"""Two small models, both evaluated on the tiny data set, for tests that look at evaluations."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from skrd4ad.data.sources import open_dataset
from skrd4ad.digests import file_digest
from skrd4ad.metrics.bootstrap import bootstrap, paired_differences
from skrd4ad.model_folder.info import CONFIG, WEIGHTS, ModelInfo, read_info
from skrd4ad.services.evaluation.evaluate import evaluate_class, find_evaluation
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.types import DatasetClass

FEW_REPLICATES = 100


@dataclass(frozen=True)
class EvaluationWorld:
    """A workspace, two models and a data set of one test."""

    root: Path
    first: Path
    second: Path
    """The first model with weights that are a little worse."""
    data_root: Path

    @property
    def data(self) -> DatasetClass:
        return open_dataset(self.data_root)[0]

    def info(self, model: Path | None = None) -> ModelInfo:
        return read_info(model or self.first)

    def stored(self, model: Path | None = None) -> StoredEvaluation:
        found = find_evaluation(self.info(model), self.data)
        assert found is not None
        return found


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests only look at what is made of intervals; those of the bootstrap name their own numbers."""
    for function in (bootstrap, paired_differences):
        monkeypatch.setitem(function.__kwdefaults__, "replicates", FEW_REPLICATES)


@pytest.fixture(scope="session")
def evaluated_once(shared: Callable[..., Path], tiny_model: tuple[Path, Path]) -> Path:
    """A folder with models, data and a workspace with the evaluations of both models."""
    model, data = tiny_model

    def fill(root: Path) -> None:
        world = world_in(root)
        shutil.copytree(data, world.data_root)
        shutil.copytree(model, world.first)
        worse_copy(model, world.second)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SKRD4AD_HOME", str(root / "home"))
            patch.setitem(bootstrap.__kwdefaults__, "replicates", FEW_REPLICATES)
            for folder in (world.first, world.second):
                evaluate_class(folder, world.data, source=str(world.data_root))

    return shared("evaluated", fill)


@pytest.fixture
def evaluated(evaluated_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationWorld:
    """Two models with their evaluations, in a workspace that may be written to."""
    root = Path(shutil.copytree(evaluated_once, tmp_path / "world"))
    monkeypatch.setenv("SKRD4AD_HOME", str(root / "home"))
    monkeypatch.setenv("SKRD4AD_CHECKPOINTS", str(root / "models"))
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(root))
    return world_in(root)


def world_in(root: Path) -> EvaluationWorld:
    models = root / "models" / "parts" / "machined_disc"
    return EvaluationWorld(root, models / "first", models / "second", root / "parts")


def worse_copy(model: Path, target: Path) -> None:
    """A model folder with noise on its weights."""
    shutil.copytree(model, target)
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: tensor + 0.02 * torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in load_file(model / WEIGHTS).items()
    }
    save_file(weights, target / WEIGHTS)
    config = json.loads((target / CONFIG).read_text())
    config["digest"] = file_digest(target / WEIGHTS)
    config["train"]["seed"] = 7
    (target / CONFIG).write_text(json.dumps(config))
