import pytest
import torch

from skrd4ad.errors import ConfigError
from skrd4ad.models.devices import choose_device, training_type


@pytest.mark.parametrize(
    ("name", "card", "expected"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
        ("cuda:1", True, "cuda:1"),
    ],
)
def test_the_card_is_used_where_there_is_one(
    name: str, card: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device(name) == torch.device(expected)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "xpu", "xpu:1", "mps"])
def test_a_device_that_is_not_there_is_refused_with_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (torch.cuda, torch.xpu, torch.backends.mps):
        monkeypatch.setattr(kind, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=rf"'{name}', but torch finds none that it can use.*Choose cpu or auto"):
        choose_device(name)


def test_a_card_beyond_the_last_is_refused_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="'cuda:2', but torch finds only 2 of them"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:-1", "mps:0", ""])
def test_an_unknown_device_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'; allowed: auto, cpu, cuda, cuda:N"):
        choose_device(name)


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
