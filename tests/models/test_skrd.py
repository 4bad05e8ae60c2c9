from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from skrd4ad.anomaly_map import anomaly_map, image_score, level_maps
from skrd4ad.config import NETS, ModelConfig, TrainConfig
from skrd4ad.losses import total_loss
from skrd4ad.models.backbones import teacher_spec
from skrd4ad.models.skrd import (
    SKRD4AD,
    Decoder,
    Student,
    StudentDesign,
    build_student,
    student_design,
)
from skrd4ad.types import ImageSize, height_width, size_option
from tests.model_fixtures import build_model


def features_of(net: str, *, size: ImageSize, batch: int = 1, seed: int = 0) -> list[Tensor]:
    spec = teacher_spec(net)
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        torch.randn(batch, c, height_width(size)[0] // s, height_width(size)[1] // s, generator=generator)
        for c, s in zip(spec.channels, spec.strides, strict=True)
    ]
    return drawn if spec.block == "linear" else [f.relu() for f in drawn]


def small_student(net: str, *, res: int) -> Student:
    return build_student(ModelConfig(net=net, res=res, image_size=64), seed=0).eval()


@pytest.mark.slow
def test_shapes_of_the_published_model(random_teacher: Callable[[str], Path]) -> None:
    config = ModelConfig(net="wide_res50")
    model = build_model(config, weights=random_teacher("wide_res50"), seed=0).eval()
    with torch.inference_mode():
        features, restored = model(torch.zeros(1, 3, 256, 256, dtype=torch.uint8))
        fused = model.student.bn
        embedding = fused(features)
    expected = [(1, 256, 64, 64), (1, 512, 32, 32), (1, 1024, 16, 16)]
    assert [tuple(f.shape) for f in features] == expected
    assert [tuple(g.shape) for g in restored] == expected
    assert tuple(embedding.shape) == (1, 2048, 8, 8)
    assert fused.bn_layer[0].conv1.in_channels == 3072
    assert [len(stage) for stage in (model.student.decoder.layer1, model.student.decoder.layer2)] == [3, 4]
    assert len(model.student.decoder.layer3) == 6
    assert model.student.decoder.layer1[0].conv2.weight.shape == (512, 512, 2, 2)


@pytest.mark.parametrize("net", [net for net in NETS if net != "wide_res50"])
@pytest.mark.parametrize("res", [1, 2, 3])
@pytest.mark.parametrize("size", [64, (96, 160)], ids=size_option)
def test_restored_features_have_the_teachers_shapes(net: str, res: int, size: ImageSize) -> None:
    features = features_of(net, size=size)
    with torch.inference_mode():
        restored = small_student(net, res=res)(features)
    assert [g.shape for g in restored] == [f.shape for f in features]


def test_transposed_convolutions_are_the_same_while_they_are_trained() -> None:
    deconv = small_student("efficientnet_lite0", res=3).decoder.layer2[0].conv1
    assert deconv.train().weight.shape == (320, 64, 2, 2)
    generator = torch.Generator().manual_seed(1)
    x, wanted = torch.randn(2, 320, 3, 5, generator=generator), torch.randn(2, 64, 6, 10, generator=generator)
    reference = torch.nn.functional.conv_transpose2d(x.double(), w := deconv.weight.detach().double(), stride=2)
    torch.testing.assert_close(deconv(x).double(), reference, atol=1e-5, rtol=1e-5)
    (gradient,) = torch.autograd.grad((deconv(x) * wanted).sum(), deconv.weight)
    # the sum is linear in each weight: its gradient is the step from one set of weights to another
    other = torch.randn(w.shape, generator=generator).double()
    step = (torch.nn.functional.conv_transpose2d(x.double(), w + other, stride=2) - reference) * wanted
    assert (gradient.double() * other).sum().item() == pytest.approx(step.sum().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("net", "names"),
    [
        ("res18", {"bn.bn_layer.1.conv2.weight", "decoder.layer3.1.bn2.running_var"}),
        ("res34", {"bn.bn_layer.2.conv2.weight", "decoder.layer3.5.bn2.running_var"}),
        ("res50", {"bn.bn_layer.2.conv3.weight", "decoder.layer3.5.bn3.running_var"}),
    ],
)
def test_parameter_names_are_the_published_ones(net: str, names: set[str]) -> None:
    state = build_student(ModelConfig(net=net), seed=0).state_dict()
    common = {
        *(f"bn.conv{i}.weight" for i in (1, 2, 3, 4)),
        *(f"bn.bn{i}.running_mean" for i in (1, 2, 3, 4)),
        "bn.bn_layer.0.conv1.weight",
        "bn.bn_layer.0.downsample.0.weight",
        "bn.bn_layer.0.downsample.1.weight",
        *(f"decoder.layer{i}.0.conv2.weight" for i in (1, 2, 3)),
        *(f"decoder.layer{i}.0.upsample.{j}.weight" for i in (1, 2, 3) for j in (0, 1)),
    }
    assert common | names <= state.keys()
    assert {name.split(".")[1] for name in state} == {
        *("conv1", "conv2", "conv3", "conv4", "bn1", "bn2", "bn3", "bn4", "bn_layer"),
        *("layer1", "layer2", "layer3"),
    }


def restored_with(decoder: Decoder, features: list[Tensor]) -> list[Tensor]:
    design = student_design("res18")
    embedding = torch.randn(1, design.embedding_channels, 2, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        restored: list[Tensor] = decoder(embedding, features)
    return restored


@pytest.mark.parametrize(
    ("res", "perturbed", "changes"),
    [
        (1, 0, (False, False, False)),
        (1, 1, (False, False, False)),
        (1, 2, (False, False, False)),
        (2, 0, (False, False, False)),
        (2, 1, (False, False, False)),
        (2, 2, (True, True, False)),
        (3, 0, (False, False, False)),
        (3, 1, (True, False, False)),
        (3, 2, (True, True, False)),
    ],
)
def test_a_skip_reaches_finer_levels_only(res: int, perturbed: int, changes: tuple[bool, ...]) -> None:
    """With the embedding held fixed, f_l changes what restores f_(l-1) and finer, never f_l itself."""
    decoder = small_student("res18", res=res).decoder
    features = features_of("res18", size=64)
    before = restored_with(decoder, features)
    features[perturbed] = features[perturbed] + 1
    after = restored_with(decoder, features)
    assert tuple(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) == changes


@pytest.mark.parametrize("net", ["efficientnet_lite0", "res18"])
def test_no_gradient_flows_from_a_restored_level_to_its_own_feature(net: str) -> None:
    decoder = small_student(net, res=3).decoder
    features = [f.requires_grad_() for f in features_of(net, size=64)]
    embedding = torch.randn(1, student_design(net).embedding_channels, features[2].shape[2] // 2, 1).expand(
        -1, -1, -1, features[2].shape[3] // 2
    )
    restored = decoder(embedding, features)
    reached = [
        [g is not None and bool(g.abs().sum() > 0) for g in grads]
        for grads in (torch.autograd.grad(g.sum(), features, retain_graph=True, allow_unused=True) for g in restored)
    ]
    assert reached == [[False, True, True], [False, False, True], [False, False, False]]


@pytest.mark.parametrize("net", ["efficientnet_lite0", "res18"])
def test_each_res_is_another_model(net: str) -> None:
    features = features_of(net, size=64)
    with torch.inference_mode():
        finest = [small_student(net, res=res)(features)[0] for res in (1, 2, 3)]
    assert not torch.allclose(finest[0], finest[1])
    assert not torch.allclose(finest[1], finest[2])
    assert not torch.allclose(finest[0], finest[2])


def test_a_skip_leaves_the_coarser_restored_level_as_it_was() -> None:
    """ReLU(g3 + f3) must not be written into g3."""
    features = features_of("efficientnet_lite0", size=64)
    with torch.inference_mode():
        without, with_skips = (small_student("efficientnet_lite0", res=res)(features)[2] for res in (1, 3))
    assert torch.equal(without, with_skips)
    assert with_skips.min() < 0


def test_same_seed_same_student_and_global_random_state_untouched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (build_student(ModelConfig(), seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["bn.conv1.weight"], other["bn.conv1.weight"])


def test_first_weights_are_kaiming_normal_by_fan_out() -> None:
    student = build_student(ModelConfig(net="res18"), seed=0)
    weight = student.bn.conv2.weight  # 128 to 256 channels, 3x3
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    deconv = student.decoder.layer1[0].upsample[0].weight  # PyTorch's default: uniform up to 1 / sqrt(fan in)
    assert deconv.abs().max().item() == pytest.approx((256 * 4) ** -0.5, rel=0.01)
    norms = [m for m in student.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(bool((m.weight == 1).all() and (m.bias == 0).all()) for m in norms)


def test_small_student_stays_small() -> None:
    assert sum(p.numel() for p in build_student(ModelConfig(), seed=0).parameters()) < 2_000_000


def test_training_moves_the_student_and_not_the_teacher() -> None:
    model = build_model(ModelConfig(image_size=64), seed=0).train()
    teacher_before = {k: v.clone() for k, v in model.teacher.state_dict().items()}
    images = torch.randint(0, 256, (4, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.student.parameters(), lr=0.005, betas=(0.5, 0.999))
    losses = []
    for _ in range(12):
        loss = total_loss(*model(images), config=TrainConfig())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(v, teacher_before[k]) for k, v in model.teacher.state_dict().items())


TINY = StudentDesign(
    teacher_channels=(4, 8, 16),
    fused_channels=(8, 16, 16),
    embedding_block="bottleneck",
    embedding_channels=32,
    embedding_blocks=2,
    decoder_block="bottleneck",
    decoder_channels=(4, 8, 16),
    decoder_blocks=(2, 1, 1),
    base_width=128,
)


@pytest.mark.parametrize(
    ("design", "golden"),
    [
        (TINY, (2.9211884, 2.0416992, 1.9896030)),
        (
            replace(TINY, decoder_block="basic", decoder_channels=(3, 4, 5), signed=True),
            (1.4815931, 1.1826899, 1.0417922),
        ),
    ],
)
def test_golden_values_of_a_tiny_student(design: StudentDesign, golden: tuple[float, ...]) -> None:
    """A change of these numbers is a change of the model: models saved before no longer mean the same."""
    student = Student(design, skips=2).eval()
    with torch.no_grad():
        for i, (_, parameter) in enumerate(sorted(student.named_parameters())):
            wave = torch.arange(parameter.numel()).view(parameter.shape).add(i).mul(0.7).sin()
            parameter.copy_(0.2 * wave if parameter.ndim > 1 else 1 + 0.2 * wave)
        features = [torch.arange(n).mul(0.3).sin().relu() for n in (4 * 64, 8 * 16, 16 * 4)]
        shapes = [(1, 4, 8, 8), (1, 8, 4, 4), (1, 16, 2, 2)]
        restored = student([f.view(shape) for f, shape in zip(features, shapes, strict=True)])
    assert [g.mean().item() for g in restored] == pytest.approx(golden, rel=1e-4)


class Inspection(torch.nn.Module):
    """From pixels to map and score, as a model is exported."""

    def __init__(self, model: SKRD4AD) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = anomaly_map(level_maps(*self.model(images), size=64))
        return maps, image_score(maps)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit.trace:FutureWarning")
@pytest.mark.parametrize("how", ["trace", "export"])
def test_the_whole_chain_can_be_exported(how: str) -> None:
    whole = Inspection(build_model(ModelConfig(image_size=64), seed=0)).eval()
    first, second = (torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(s)) * 255 for s in (0, 1))
    with torch.no_grad():
        exported = torch.jit.trace(whole, first) if how == "trace" else torch.export.export(whole, (first,)).module()
        for mine, theirs in zip(exported(second), whole(second), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
