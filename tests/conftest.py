"""A tiny data set and a tiny trained model, each made once a session and shared: never write to them."""

from pathlib import Path

import pytest
import torch

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.data.synthetic import write_synthetic
from skrd4ad.engine.train import train


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a synthetic data set in the MVTec layout: one class, 12 train, 4 good, 2 of each defect, 64x64."""
    root = tmp_path_factory.mktemp("tiny") / "parts"
    write_synthetic(root, classes=("machined_disc",), train=12, test_good=4, per_defect=2, size=64)
    return root


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[Path, Path]:
    """Folder of a model trained for two epochs on ``tiny_data``, and the root of that data."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        info = train(
            open_dataset(tiny_data)[0],
            model=ModelConfig(image_size=64),
            config=TrainConfig(epochs=2, batch_size=4, holdout=0.25),
            out=tmp_path_factory.mktemp("models"),
            source=str(tiny_data),
        )
    finally:
        torch.set_num_threads(threads)
    return info.folder, tiny_data
