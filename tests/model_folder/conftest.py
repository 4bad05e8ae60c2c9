from collections.abc import Callable

import pytest
from torch import Tensor

from skrd4ad.config import ModelConfig
from skrd4ad.models.skrd import build_student
from tests.model_fixtures import random_weights


@pytest.fixture(scope="session")
def checkpoint() -> Callable[[str], dict[str, dict[str, Tensor]]]:
    """A checkpoint of a net as the original code writes it, ``{'bn': …, 'decoder': …}``, with random values."""

    def make(net: str) -> dict[str, dict[str, Tensor]]:
        state = random_weights(build_student(ModelConfig(net=net), seed=0).state_dict(), seed=2)
        return {
            part: {name.removeprefix(f"{part}."): v for name, v in state.items() if name.startswith(f"{part}.")}
            for part in ("bn", "decoder")
        }

    return make
