from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from skrd4ad.config import ModelConfig
from skrd4ad.models.backbones import empty_network
from skrd4ad.models.skrd import build_student


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_like(state: dict[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """Values for names and shapes; batch norm statistics are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for name, like in state.items():
        if name.endswith("num_batches_tracked"):
            values[name] = torch.tensor(7)
        elif like.ndim >= 2:
            fan_in = like[0].numel()
            values[name] = torch.empty(like.shape).normal_(0, fan_in**-0.5, generator=generator)
        elif name.endswith(("running_var", "weight")):
            values[name] = torch.empty(like.shape).uniform_(0.5, 1.5, generator=generator)
        else:
            values[name] = torch.empty(like.shape).normal_(0, 0.2, generator=generator)
    return values


@pytest.fixture(scope="session")
def resnet_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Path of a file with random weights for a ResNet teacher."""
    folder = tmp_path_factory.mktemp("weights")

    def write(net: str) -> Path:
        path = folder / f"{net}.pth"
        if not path.exists():
            torch.save(random_like(empty_network(net).state_dict(), seed=1), path)
        return path

    return write


@pytest.fixture(scope="session")
def checkpoint() -> Callable[[str], dict[str, dict[str, Tensor]]]:
    """A checkpoint of a net as the original code writes it, ``{'bn': …, 'decoder': …}``, with random values."""

    def make(net: str) -> dict[str, dict[str, Tensor]]:
        state = random_like(build_student(ModelConfig(net=net), seed=0).state_dict(), seed=2)
        return {
            part: {name.removeprefix(f"{part}."): v for name, v in state.items() if name.startswith(f"{part}.")}
            for part in ("bn", "decoder")
        }

    return make
