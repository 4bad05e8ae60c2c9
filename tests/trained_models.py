"""Small classes and one-call trainings."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.model_folder.folder import WEIGHTS, read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.backbones import empty_network
from skrd4ad.models.teachers import Teacher, build_teacher
from skrd4ad.training.train import train
from skrd4ad.types import DatasetClass

SMALL = ModelConfig(image_size=64)
QUICK = TrainConfig(epochs=3, batch_size=4, holdout=0.25, seed=5)

Train = Callable[..., ModelInfo]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here pulls the plug, so nothing waits for the disk; one test sees that the code would."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(autouse=True)
def own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path / "workspace"))
    monkeypatch.delenv("SKRD4AD_CACHE_MB", raising=False)
    return tmp_path / "workspace"


@pytest.fixture(scope="session")
def disc(tiny_data: Path) -> DatasetClass:
    return find_classes(tiny_data)[0]


@pytest.fixture(scope="session")
def lite0() -> Teacher:
    return build_teacher("efficientnet_lite0")


@pytest.fixture(autouse=True)
def built_once(lite0: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frozen teacher without a weights file is the same in every training: it is built once a session."""

    def build(net: str, *, weights: Path | None = None, progress: Any = None) -> Teacher:
        if net == "efficientnet_lite0" and weights is None:
            return lite0
        return build_teacher(net, weights=weights, progress=progress)

    monkeypatch.setattr("skrd4ad.training.train.build_teacher", build)
    monkeypatch.setattr("skrd4ad.model_folder.folder.build_teacher", build)


@pytest.fixture
def train_disc(disc: DatasetClass, tmp_path: Path) -> Train:
    """``train_disc(epochs=2, seed=1, …)`` trains on the disc; settings not named are those of ``QUICK``."""

    def run(
        *,
        data: DatasetClass = disc,
        model: ModelConfig = SMALL,
        out: Path = tmp_path / "out",
        resume: bool = False,
        observer: Any = None,
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
            observer=observer,
        )

    return run


@pytest.fixture
def trained(tiny_model: tuple[Path, Path], tmp_path: Path) -> ModelInfo:
    """A model folder of one's own, to write to."""
    return read_info(Path(shutil.copytree(tiny_model[0], tmp_path / "parts" / "machined_disc" / "run")))


@pytest.fixture
def weights_of() -> Callable[[ModelInfo], dict[str, Tensor]]:
    """The student's tensors in a model folder."""
    return lambda info: load_file(info.folder / WEIGHTS)


@pytest.fixture(scope="session")
def res18_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File with random weights for a ResNet-18 teacher."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, like in empty_network("res18").state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1)
        elif like.ndim >= 2:
            state[name] = torch.empty(like.shape).normal_(0, like[0].numel() ** -0.5, generator=generator)
        elif name.endswith(("running_var", "weight")):
            state[name] = torch.empty(like.shape).uniform_(0.5, 1.5, generator=generator)
        else:
            state[name] = torch.empty(like.shape).normal_(0, 0.2, generator=generator)
    path = tmp_path_factory.mktemp("weights") / "res18.pth"
    torch.save(state, path)
    return path
