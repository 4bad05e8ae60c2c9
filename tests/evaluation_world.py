"""Two small models, both evaluated on the tiny data set, for tests that look at evaluations."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from skrd4ad.data.sources import open_dataset
from skrd4ad.digests import file_digest
from skrd4ad.model_folder.info import CONFIG, WEIGHTS, ModelInfo, read_info
from skrd4ad.services.evaluation.evaluate import StoredEvaluation, evaluate_class, find_evaluation
from skrd4ad.types import DatasetClass


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


def make_evaluated(root: Path, tiny_model: tuple[Path, Path]) -> None:
    """Fill a folder with models, data and a workspace with the evaluations of both models."""
    model, data = tiny_model
    shutil.copytree(data, root / "parts")
    shutil.copytree(model, root / "models" / "parts" / "machined_disc" / "first")
    worse_copy(model, root / "models" / "parts" / "machined_disc" / "second")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKRD4AD_HOME", str(root / "home"))
        world = world_in(root)
        for folder in (world.first, world.second):
            evaluate_class(folder, world.data, source=str(world.data_root))
    torch.set_num_threads(threads)


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
