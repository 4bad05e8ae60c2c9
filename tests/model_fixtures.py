"""Tiny data sets, tiny trained models and their exports: made once a run and shared, or a copy for one test."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.data.synthetic.write import write_synthetic
from skrd4ad.export.check import images_of
from skrd4ad.export.keep import keep_graph
from skrd4ad.export.manifest import Export, ExportSettings, read_export
from skrd4ad.export.write import convert_scoring, export_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import WEIGHTS, read_info
from skrd4ad.model_folder.info import GRAPH, ModelInfo
from skrd4ad.models.backbones import empty_network
from skrd4ad.models.skrd import SKRD4AD, build_student
from skrd4ad.models.teachers import Teacher, build_teacher
from skrd4ad.task import QUIET, Task
from skrd4ad.training.train import train
from skrd4ad.types import DatasetClass, Sample

Shared = Callable[[str, Callable[[Path], None]], Path]
Train = Callable[..., ModelInfo]
SMALL = ModelConfig(image_size=64)
QUICK = TrainConfig(epochs=3, batch_size=4, holdout=0.25, seed=5)


def build_model(config: ModelConfig, *, weights: Path | None = None, seed: int | None = None) -> SKRD4AD:
    """Teacher with its weights and an untrained student."""
    return SKRD4AD(build_teacher(config.net, weights=weights), build_student(config, seed=seed))


@pytest.fixture(scope="session")
def tiny_data(shared: Shared) -> Path:
    """Root of a synthetic data set in the MVTec layout: one class, 12 train, 4 good, 2 of each defect, 64x64."""
    sizes = {"train": 12, "test_good": 4, "per_defect": 2, "size": 64}
    return shared("tiny", lambda root: write_synthetic(root / "parts", classes=("machined_disc",), **sizes)) / "parts"


@pytest.fixture(scope="session")
def more_parts(shared: Shared) -> Path:
    """Root of other images of the same part as in ``tiny_data``: 24 train, 6 good, 2 of each defect, 64x64."""
    sizes = {"train": 24, "test_good": 6, "per_defect": 2, "size": 64, "seed": 7}
    return shared("more", lambda root: write_synthetic(root / "others", classes=("machined_disc",), **sizes)) / "others"


@pytest.fixture(scope="session")
def disc(tiny_data: Path) -> DatasetClass:
    """The class of ``tiny_data``."""
    return open_dataset(tiny_data)[0]


@pytest.fixture
def own_disc(tiny_data: Path, tmp_path: Path) -> DatasetClass:
    """The class of a copy of ``tiny_data`` in ``tmp_path/parts``, to write to."""
    return open_dataset(Path(shutil.copytree(tiny_data, tmp_path / "parts")))[0]


@pytest.fixture(scope="session")
def lite0() -> Teacher:
    return build_teacher("efficientnet_lite0")


@pytest.fixture(autouse=True)
def built_once(lite0: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frozen teacher without a weights file is the same in every model: it is built once a session."""

    def build(net: str, *, weights: Path | None = None, task: Task = QUIET) -> Teacher:
        if net == "efficientnet_lite0" and weights is None:
            return lite0
        return build_teacher(net, weights=weights, task=task)

    monkeypatch.setattr("skrd4ad.training.train.build_teacher", build)
    monkeypatch.setattr("skrd4ad.model_folder.network.build_teacher", build)


@pytest.fixture(autouse=True)
def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained models get no converted graph, which takes seconds; ``with_graph`` has one."""
    monkeypatch.setattr("skrd4ad.services.training.give_graph", lambda *_, **__: "not converted in tests")


@pytest.fixture(scope="session")
def tiny_model(shared: Shared, tiny_data: Path, disc: DatasetClass) -> tuple[Path, Path]:
    """Folder of a model trained for two epochs on ``tiny_data``, and the root of that data."""
    config = TrainConfig(epochs=2, batch_size=4, holdout=0.25)

    def fill(root: Path) -> None:
        train(disc, model=SMALL, config=config, out=root, source=str(tiny_data))

    return next(shared("models", fill).glob("*/*/*/config.json")).parent, tiny_data


@pytest.fixture
def info(tiny_model: tuple[Path, Path], tmp_path: Path) -> ModelInfo:
    """A copy of the tiny model, to write to."""
    folder = tmp_path / "models" / "parts" / "machined_disc" / "run"
    return read_info(Path(shutil.copytree(tiny_model[0], folder)))


@pytest.fixture
def with_graph(shared: Shared, info: ModelInfo, loaded: Predictor, disc: DatasetClass) -> ModelInfo:
    """The same with its converted graph, which is made once a run."""

    def fill(root: Path) -> None:
        folder = Path(shutil.copytree(loaded.info.folder, root / "model"))
        assert keep_graph(Predictor(loaded.model, read_info(folder)), images_of(disc)) == ""

    shutil.copytree(shared("graph", fill) / "model" / GRAPH, info.folder / GRAPH)
    return info


@pytest.fixture
def trained(info: ModelInfo) -> ModelInfo:
    """The same, where ``info`` is something else."""
    return info


@pytest.fixture(scope="session")
def loaded(tiny_model: tuple[Path, Path]) -> Predictor:
    """The tiny model, loaded once; never change it."""
    return Predictor.load(tiny_model[0])


@pytest.fixture(scope="session")
def predictor(loaded: Predictor) -> Predictor:
    """The same, where a file has no predictor of its own."""
    return loaded


@pytest.fixture
def loaded_once(loaded: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is that of the tiny model wherever a copy of it is loaded."""
    monkeypatch.setattr(Predictor, "load", lambda folder, **_: Predictor(loaded.model, read_info(folder)))


@pytest.fixture
def train_disc(disc: DatasetClass, tmp_path: Path) -> Train:
    """``train_disc(epochs=2, seed=1, …)`` trains on the disc; settings not named are those of ``QUICK``."""

    def run(
        *,
        data: DatasetClass = disc,
        model: ModelConfig = SMALL,
        out: Path = tmp_path / "out",
        resume: bool = False,
        task: Task = QUIET,
        weights: Path | None = None,
        **settings: Any,
    ) -> ModelInfo:
        return train(
            data,
            model=model,
            config=replace(QUICK, **settings),
            out=out,
            source="tests",
            weights=weights,
            resume=resume,
            task=task,
        )

    return run


@pytest.fixture
def weights_of() -> Callable[[ModelInfo], dict[str, Tensor]]:
    """The student's tensors in a model folder."""
    return lambda info: load_file(info.folder / WEIGHTS)


@pytest.fixture
def converted_once(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime of this program converts the same model once a run; afterwards its files are copied."""

    def convert(
        predictor: Predictor, settings: ExportSettings, *, out: Path, normals: Sequence[Sample] = (), **options: Any
    ) -> Export:
        def fill(root: Path) -> None:
            convert_scoring(predictor, settings, out=root / "export", normals=normals, **options)

        kept = shared(f"runtime-{predictor.info.digest}-{settings.name}-{len(normals)}", fill)
        shutil.copytree(kept / "export", out)
        return read_export(out)

    for module in ("write", "keep"):
        monkeypatch.setattr(f"skrd4ad.export.{module}.convert_scoring", convert)


@pytest.fixture
def quick_onnx(tiny_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports to ONNX take no time: the file of another one is copied, for a job in this process too."""
    monkeypatch.setattr(
        "skrd4ad.services.models.export_job.in_child", lambda work, *arguments, task: work(*arguments, task=task)
    )
    monkeypatch.setattr("skrd4ad.export.write.trace", lambda *_, **__: None)
    monkeypatch.setattr(
        "skrd4ad.export.write.write_onnx",
        lambda _program, target, **_: shutil.copy(tiny_export / "model.onnx", target),
    )


@pytest.fixture(scope="session")
def tiny_export(shared: Shared, loaded: Predictor) -> Path:
    """Folder of ``tiny_model`` as ONNX in fp32 for any number of images, without a certificate."""
    return exported(shared, loaded, "onnx-fp32-any", ExportSettings())


@pytest.fixture(scope="session")
def tiny_openvino(shared: Shared, loaded: Predictor) -> Path:
    """Folder of ``tiny_model`` as OpenVINO IR in fp32 for two images in one call, without a certificate."""
    return exported(shared, loaded, "openvino-fp32-batch2", ExportSettings(format="openvino", batch=2))


def exported(shared: Shared, predictor: Predictor, name: str, settings: ExportSettings) -> Path:
    return shared(f"export-{name}", lambda root: export_model(predictor, settings, out=root / name) and None) / name


def random_weights(like: dict[str, Tensor], *, seed: int = 1) -> dict[str, Tensor]:
    """Values for names and shapes; batch norm statistics are not the identity, and activations keep their size."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(name: str, shape: torch.Size) -> Tensor:
        if len(shape) >= 2:
            return torch.empty(shape).normal_(0, shape[1:].numel() ** -0.5, generator=generator)
        if name.endswith(("running_var", "weight")):
            return torch.empty(shape).uniform_(0.5, 1.5, generator=generator)
        return torch.empty(shape).normal_(0, 0.2, generator=generator)

    return {
        name: torch.tensor(7) if name.endswith("num_batches_tracked") else drawn(name, tensor.shape)
        for name, tensor in like.items()
    }


@pytest.fixture(scope="session")
def random_teacher(shared: Shared) -> Callable[[str], Path]:
    """``random_teacher("res18")``: a weights file with random values for a teacher."""

    def write(net: str) -> Path:
        def fill(folder: Path) -> None:
            torch.save(random_weights(empty_network(net).state_dict()), folder / f"{net}.pth")

        return shared(f"weights-{net}", fill) / f"{net}.pth"

    return write


@pytest.fixture(scope="session")
def res18_weights(random_teacher: Callable[[str], Path]) -> Path:
    return random_teacher("res18")
