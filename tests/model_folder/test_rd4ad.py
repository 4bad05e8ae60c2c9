"""The published model once more, as plain functions of a state dict, and imports held against it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F

from skrd4ad.anomaly_map import anomaly_map, level_maps
from skrd4ad.config import ModelConfig
from skrd4ad.errors import CheckpointError
from skrd4ad.model_folder.rd4ad import read_rd4ad
from skrd4ad.models.skrd import SKRD4AD, build_student
from tests.model_fixtures import build_model

State = dict[str, Tensor]
Checkpoint = Callable[[str], dict[str, State]]
BLOCKS = {"res18": ((2, 2, 2), 2, False), "res50": ((3, 4, 6), 3, True)}
"""Blocks of layer1, layer2, layer3; blocks of bn_layer; whether they are bottlenecks."""


def norm(x: Tensor, state: State, name: str) -> Tensor:
    parts = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *parts, training=False)


def conv(x: Tensor, state: State, name: str, *, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def deconv(x: Tensor, state: State, name: str) -> Tensor:
    return F.conv_transpose2d(x, state[f"{name}.weight"], stride=2)


def student_block(x: Tensor, state: State, name: str, *, first: bool, bottleneck: bool) -> Tensor:
    """One block of the student; the first of a stage doubles the sides."""
    shortcut = norm(deconv(x, state, f"{name}.upsample.0"), state, f"{name}.upsample.1") if first else x
    if bottleneck:
        y = F.relu(norm(conv(x, state, f"{name}.conv1"), state, f"{name}.bn1"))
        y = deconv(y, state, f"{name}.conv2") if first else conv(y, state, f"{name}.conv2")
        y = F.relu(norm(y, state, f"{name}.bn2"))
        y = norm(conv(y, state, f"{name}.conv3"), state, f"{name}.bn3")
    else:
        y = deconv(x, state, f"{name}.conv1") if first else conv(x, state, f"{name}.conv1")
        y = F.relu(norm(y, state, f"{name}.bn1"))
        y = norm(conv(y, state, f"{name}.conv2"), state, f"{name}.bn2")
    return F.relu(y + shortcut)


def embedding_block(x: Tensor, state: State, name: str, *, first: bool, bottleneck: bool) -> Tensor:
    """One ResNet block; the first of the stage halves the sides."""
    stride = 2 if first else 1
    shortcut = x
    if first:
        shortcut = norm(conv(x, state, f"{name}.downsample.0", stride=2), state, f"{name}.downsample.1")
    strides = (1, stride, 1) if bottleneck else (stride, 1)
    for i, s in enumerate(strides, start=1):
        x = norm(conv(x, state, f"{name}.conv{i}", stride=s), state, f"{name}.bn{i}")
        x = F.relu(x + shortcut if i == len(strides) else x)
    return x


def published_restoration(features: list[Tensor], saved: dict[str, State], *, net: str, skips: int) -> list[Tensor]:
    layers, embedding_blocks, bottleneck = BLOCKS[net]
    f1, f2, f3 = features
    bn, decoder = saved["bn"], saved["decoder"]
    a = F.relu(norm(conv(f1, bn, "conv1", stride=2), bn, "bn1"))
    a = F.relu(norm(conv(a, bn, "conv2", stride=2), bn, "bn2"))
    b = F.relu(norm(conv(f2, bn, "conv3", stride=2), bn, "bn3"))
    x = torch.cat([a, b, f3], 1)
    for i in range(embedding_blocks):
        x = embedding_block(x, bn, f"bn_layer.{i}", first=i == 0, bottleneck=bottleneck)
    restored = []
    for layer, (blocks, feature) in enumerate(zip(layers, (f3, f2, f1), strict=True), start=1):
        for i in range(blocks):
            x = student_block(x, decoder, f"layer{layer}.{i}", first=i == 0, bottleneck=bottleneck)
        restored.insert(0, x)
        if layer <= skips:
            x = F.relu(x + feature)
    return restored


def published_map(features: list[Tensor], restored: list[Tensor], *, size: int) -> NDArray[np.float32]:
    total = np.zeros((size, size), np.float32)
    for f, g in zip(features, restored, strict=True):
        distance = 1 - nn.CosineSimilarity()(f, g)
        total += F.interpolate(distance[:, None], size=size, mode="bilinear", align_corners=True)[0, 0].numpy()
    return gaussian_filter(total, sigma=4)


@pytest.mark.parametrize(("net", "skips"), [("res18", 0), ("res18", 1), ("res18", 2), ("res50", 2)])
@pytest.mark.slow
def test_imported_checkpoint_gives_the_published_map(
    net: str, skips: int, tmp_path: Path, checkpoint: Checkpoint, random_teacher: Callable[[str], Path]
) -> None:
    config = ModelConfig(net=net, res=skips + 1, image_size=64)
    saved = checkpoint(net)
    torch.save(saved, tmp_path / "published.pth")
    model: SKRD4AD = build_model(config, weights=random_teacher(net)).eval()
    model.student.load_state_dict(read_rd4ad(tmp_path / "published.pth", config))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4)) * 255
    with torch.no_grad():
        features, restored = model(images)
        mine = anomaly_map(level_maps(features, restored, size=64))[0].numpy()
        theirs = published_map(features, published_restoration(features, saved, net=net, skips=skips), size=64)
    assert np.ptp(theirs) > 0.01
    np.testing.assert_allclose(mine, theirs, atol=1e-4)


def assert_same(read: State, saved: dict[str, State]) -> None:
    flat = {f"{part}.{name}": tensor for part in saved for name, tensor in saved[part].items()}
    assert read.keys() == flat.keys()
    assert all(torch.equal(read[name], flat[name]) for name in flat)


CONFIG = ModelConfig(net="res18")


def test_data_parallel_prefixes_are_stripped(tmp_path: Path, checkpoint: Checkpoint) -> None:
    saved = checkpoint("res18")
    prefixed = {part: {f"module.{k}": v for k, v in state.items()} for part, state in saved.items()}
    torch.save(prefixed, tmp_path / "c.pth")
    assert_same(read_rd4ad(tmp_path / "c.pth", CONFIG), saved)


def test_safetensors_with_dotted_names_is_read(tmp_path: Path, checkpoint: Checkpoint) -> None:
    saved = checkpoint("res18")
    flat = {f"{part}.{name}": tensor for part in saved for name, tensor in saved[part].items()}
    save_file(flat, tmp_path / "c.safetensors")
    assert_same(read_rd4ad(tmp_path / "c.safetensors", CONFIG), saved)


def test_memory_entries_and_other_parts_are_dropped_and_missing_counters_filled(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    saved = checkpoint("res18")
    bn = {k: v for k, v in saved["bn"].items() if not k.endswith("num_batches_tracked")}
    torch.save({"bn": {**bn, "memory": torch.zeros(3)}, "decoder": saved["decoder"], "epoch": 3}, tmp_path / "c.pth")
    read = read_rd4ad(tmp_path / "c.pth", CONFIG)
    assert read["bn.bn1.num_batches_tracked"] == 0
    assert read["decoder.layer1.0.bn1.num_batches_tracked"] == 7
    assert not any("memory" in name for name in read)
    build_student(CONFIG).load_state_dict(read)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_decoder_alone_is_refused_with_the_reason(tmp_path: Path, checkpoint: Checkpoint, prefix: str) -> None:
    torch.save({prefix + k: v for k, v in checkpoint("res18")["decoder"].items()}, tmp_path / "seg1.pth")
    with pytest.raises(
        CheckpointError, match=r"bottleneck \(bn\) is missing.*--seg 1.*never be restored.*Train it again"
    ):
        read_rd4ad(tmp_path / "seg1.pth", CONFIG)


def test_nested_decoder_alone_is_refused_with_the_reason(tmp_path: Path, checkpoint: Checkpoint) -> None:
    torch.save({"decoder": checkpoint("res18")["decoder"]}, tmp_path / "seg1.pth")
    with pytest.raises(CheckpointError, match=r"bottleneck \(bn\) is missing"):
        read_rd4ad(tmp_path / "seg1.pth", CONFIG)


@pytest.mark.parametrize(
    ("net", "fits"), [("res34", "res18"), ("wide_res50", "res18"), ("efficientnet_lite0", "res18")]
)
def test_checkpoint_of_another_net_names_the_one_it_fits(
    tmp_path: Path, checkpoint: Checkpoint, net: str, fits: str
) -> None:
    torch.save(checkpoint(fits), tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=rf"no checkpoint of {net}: .*Its shapes fit --net {fits}\."):
        read_rd4ad(tmp_path / "c.pth", ModelConfig(net=net))


def test_checkpoint_with_other_shapes_fits_no_net(tmp_path: Path, checkpoint: Checkpoint) -> None:
    saved = checkpoint("res18")
    saved["bn"]["conv1.weight"] = torch.zeros(1, 1, 3, 3)
    torch.save(saved, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=r"bn\.conv1\.weight is \(1, 1, 3, 3\), not .*fit no --net"):
        read_rd4ad(tmp_path / "c.pth", CONFIG)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"bn": nn.Linear(1, 1), "decoder": nn.Linear(1, 1)}, "Objects are never loaded"),
        (
            {"state_dict": {"conv1.weight": torch.zeros(1)}},
            "expected a dictionary with 'bn' and 'decoder', found state_dict",
        ),
        ({"bn": {"conv1.weight": torch.zeros(1)}}, "no RD4AD checkpoint"),
        ([1, 2], "no state dict"),
    ],
)
def test_file_of_another_kind_is_refused(tmp_path: Path, content: object, problem: str) -> None:
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=problem):
        read_rd4ad(tmp_path / "c.pth", CONFIG)


def test_missing_file_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_rd4ad(tmp_path / "c.pth", CONFIG)
