import pytest
import torch

from skrd4ad.errors import ConfigError
from skrd4ad.models import devices
from skrd4ad.models.devices import choose_device, training_type


@pytest.mark.parametrize(
    ("name", "card", "expected"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_the_card_is_used_where_there_is_one(
    name: str, card: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    assert choose_device(name).type == expected  # type: ignore[arg-type]


def test_a_card_that_is_not_there_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"'cuda', but torch finds no graphics card.*Choose cpu or auto"):
        choose_device("cuda")


def test_an_unknown_device_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'tpu'; allowed: auto, cpu, cuda"):
        choose_device("tpu")  # type: ignore[arg-type]


def test_the_processor_computes_in_fp32_as_ever() -> None:
    with devices.mixed_precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize("able", [True, False])
def test_the_resnets_are_trained_in_bf16_where_the_card_or_the_processor_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, able: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: able)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": able})
    for device in (torch.device("cuda"), torch.device("cpu")):
        assert training_type("auto", net="wide_res50", device=device) == (torch.bfloat16 if able else torch.float32)
        assert training_type("auto", net="efficientnet_lite0", device=device) == torch.float32
        for net in ("wide_res50", "efficientnet_lite0"):
            assert training_type("fp32", net=net, device=device) == torch.float32
            assert training_type("bf16", net=net, device=device) == torch.bfloat16
