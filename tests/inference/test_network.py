"""A model on a device: here the processor stands in for an accelerator, so the arithmetic is tried, not the card."""

import numpy as np
import pytest
import torch

from skrd4ad.data.dataset import load_images
from skrd4ad.inference.network import by_network, on_device
from skrd4ad.inference.predict import Predictor
from skrd4ad.models.devices import DevicePrecision
from skrd4ad.types import DatasetClass

CPU = torch.device("cpu")


def test_fp32_on_a_device_says_the_same(loaded: Predictor, disc: DatasetClass) -> None:
    images = load_images(disc.test, 64)
    expected = by_network(loaded.model, size=64, normality=loaded.model.normality)(images)
    found = on_device(loaded.model, CPU, size=64)(images)
    assert np.allclose(found.maps, expected.maps, atol=1e-5) and np.allclose(found.levels, expected.levels, atol=1e-5)
    assert np.allclose(found.embeddings, expected.embeddings, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_smaller_types_round(precision: DevicePrecision, loaded: Predictor, disc: DatasetClass) -> None:
    images = load_images(disc.test, 64)
    expected = on_device(loaded.model, CPU, size=64)(images)
    found = on_device(loaded.model, CPU, size=64, precision=precision)(images)
    assert found.maps.dtype == np.float32
    assert 0 < np.abs(found.scores - expected.scores).max() < 0.1 * expected.scores.max()
