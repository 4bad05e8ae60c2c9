import pytest
import torch

from skrd4ad.engine import devices
from skrd4ad.engine.devices import choose_device, training_type
from skrd4ad.errors import ConfigError


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


def test_only_a_card_that_can_trains_the_resnets_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    card, processor = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert training_type("wide_res50", card) == torch.bfloat16
    assert training_type("efficientnet_lite0", card) == torch.float32
    assert training_type("wide_res50", processor) == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert training_type("wide_res50", card) == torch.float32
