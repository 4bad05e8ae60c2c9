"""A tiny data set and a tiny trained model, each made once a session and shared: never write to them. And databases."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.data.synthetic.write import write_synthetic
from skrd4ad.export.manifest import ExportSettings
from skrd4ad.export.write import export_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.training.train import train
from tests.postgres_server import PostgresServer, running_postgres

# the app would start a process for every model it shows; tests/services/test_runtimes.py tries that on purpose
os.environ["SKRD4AD_RUNTIME"] = "torch"
# a job beside another worker's tests would get a tenth of a core; tests/services/test_jobs.py tries that on purpose
os.environ["SKRD4AD_NICENESS"] = "0"


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a synthetic data set in the MVTec layout: one class, 12 train, 4 good, 2 of each defect, 64x64."""
    root = tmp_path_factory.mktemp("tiny") / "parts"
    write_synthetic(root, classes=("machined_disc",), train=12, test_good=4, per_defect=2, size=64)
    return root


@pytest.fixture(scope="session")
def more_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of other images of the same part as in ``tiny_data``: 24 train, 6 good, 2 of each defect, 64x64."""
    root = tmp_path_factory.mktemp("more") / "others"
    write_synthetic(root, classes=("machined_disc",), train=24, test_good=6, per_defect=2, size=64, seed=7)
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


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server; each worker of a parallel run has its own."""
    try:
        with running_postgres() as server:
            yield server
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A workspace of its own with an empty database, once of SQLite and once of PostgreSQL; gives which."""
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path / "home"))
    if request.param == "sqlite":
        monkeypatch.delenv("SKRD4AD_DATABASE_URL", raising=False)
        yield "sqlite"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.new_database() as name:
        monkeypatch.setenv("SKRD4AD_DATABASE_URL", server.url(name))
        yield "postgresql"


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory: pytest.TempPathFactory, tiny_model: tuple[Path, Path]) -> Path:
    """Folder of ``tiny_model`` as ONNX in fp32 for any number of images, without a certificate."""
    return exported(tiny_model[0], ExportSettings(), tmp_path_factory.mktemp("exports") / "onnx-fp32-any")


@pytest.fixture(scope="session")
def tiny_openvino(tmp_path_factory: pytest.TempPathFactory, tiny_model: tuple[Path, Path]) -> Path:
    """Folder of ``tiny_model`` as OpenVINO IR in fp32 for two images in one call, without a certificate."""
    settings = ExportSettings(format="openvino", batch=2)
    return exported(tiny_model[0], settings, tmp_path_factory.mktemp("exports") / "openvino-fp32-batch2")


def exported(model: Path, settings: ExportSettings, out: Path) -> Path:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return export_model(Predictor.load(model), settings, out=out).folder
    finally:
        torch.set_num_threads(threads)
