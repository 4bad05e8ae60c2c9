import json
from dataclasses import replace
from typing import Any

import pytest

from skrd4ad.config import LOSS_OF_L2, NETS, PRESETS, ModelConfig, TrainConfig
from skrd4ad.documents import decode, to_plain
from skrd4ad.errors import ConfigError, DocumentError


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"net": "vgg"}, "efficientnet_lite0, .*res18, res34, res50, wide_res50"),
        ({"net": None}, "net is None"),
        ({"res": 0}, "res is 0"),
        ({"res": 4}, "2 \\(one skip\\)"),
        ({"image_size": 0}, "image size is 0"),
        ({"image_size": 80}, "a multiple of 32 from 64 to 4096"),
        ({"image_size": 2048}, "up to 1048576 pixels in all, as 1024 x 1024 has"),
        ({"image_size": (32, 2048)}, r"image size is \(32, 2048\)"),
        ({"image_size": (64, 1000)}, "a multiple of 32"),
        ({"image_size": (512, 4096)}, "up to 1048576 pixels"),
        ({"image_size": (64, 64, 64)}, "height and width, or one number for a square"),
        ({"image_size": 256.0}, "image size is 256.0"),
        ({"image_size": "256"}, "image size is '256'"),
        ({"image_size": True}, "image size is True"),
        ({"net": "res18", "image_size": 80}, "a multiple of 32"),
    ],
)
def test_a_wrong_model_setting_is_named_with_what_is_allowed(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        ModelConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"epochs": True},
        {"learning_rate": 0},
        {"learning_rate": 1.1},
        {"learning_rate": float("nan")},
        {"batch_size": 1},
        {"seed": -1},
        {"seed": 2**32},
        {"loss": "l1"},
        {"rate": -0.1},
        {"rate": float("inf")},
        {"holdout": 0.51},
        {"holdout": -0.1},
        {"holdout": float("nan")},
        {"evaluate_every": 0},
        {"selection": "best"},
    ],
)
def test_a_wrong_training_setting_is_named_with_its_value(settings: dict[str, Any]) -> None:
    (name, value) = next(iter(settings.items()))
    with pytest.raises(ConfigError, match=f"{name.replace('_', ' ')} is {value!r}; allowed:"):
        TrainConfig(**settings)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"epochs is 0.*batch size is 1.*seed is -1"):
        TrainConfig(epochs=0, batch_size=1, seed=-1)


def test_choosing_on_nothing_held_out_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="choose selection 'last'"):
        TrainConfig(holdout=0)
    assert TrainConfig(holdout=0, selection="last").holdout == 0


@pytest.mark.parametrize(("res", "skips"), [(1, 0), (2, 1), (3, 2)])
def test_res_counts_from_one_and_skips_from_zero(res: int, skips: int) -> None:
    assert ModelConfig(res=res).skips == skips


@pytest.mark.parametrize("net", NETS)
def test_every_net_takes_the_published_size(net: str) -> None:
    assert ModelConfig(net=net, image_size=256).image_size == 256


def test_a_square_by_height_and_width_is_the_same_as_by_its_side() -> None:
    assert ModelConfig(image_size=(96, 96)) == ModelConfig(image_size=96)
    # what earlier builds named their caches by
    assert str(ModelConfig(image_size=(256, 256))) == (
        "ModelConfig(net='efficientnet_lite0', res=3, image_size=256, width=1, fusion='sum', retrieval=False)"
    )
    assert ModelConfig(image_size=(64, 1280)) != ModelConfig(image_size=(1280, 64))


def test_the_defaults_are_those_of_the_paper_where_it_gives_them() -> None:
    config = TrainConfig()
    assert (config.learning_rate, config.batch_size, config.seed, config.rate) == (0.005, 16, 111, 0.005)
    assert (config.loss, config.group_consistency) == ("cosine", True)
    assert ModelConfig().res == 3
    assert PRESETS["paper"].train.epochs == 200
    assert PRESETS["paper"].model.net == "wide_res50"
    assert {L2: LOSS_OF_L2[L2] for L2 in (0, 1, 2)} == {0: "cosine", 1: "mse", 2: "mixed"}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_no_preset_chooses_the_epoch_on_the_test_set(preset: Any) -> None:
    assert preset.train.selection != "test"


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(net="res34", res=1, image_size=128),
        ModelConfig(image_size=(64, 1280)),
        TrainConfig(epochs=7, loss="mse", selection="last"),
    ],
)
def test_json_and_back_is_the_same_config(config: ModelConfig | TrainConfig) -> None:
    assert decode(json.loads(json.dumps(to_plain(config))), type(config), what="it") == config


def test_unknown_settings_are_named_with_the_known_ones() -> None:
    with pytest.raises(DocumentError, match=r"it is damaged: size, colour: unknown; allowed: net, res, image_size"):
        decode({"net": "res18", "size": 1, "colour": 2}, ModelConfig, what="it")


def test_values_from_json_are_validated_too() -> None:
    with pytest.raises(DocumentError, match="res is 9"):
        decode({"res": 9}, ModelConfig, what="it")


def test_most_steps_shorten_a_training_on_many_images_only() -> None:
    config = TrainConfig(epochs=100, batch_size=16, most_steps=700)
    assert config.epochs_for(100) == 100
    assert config.epochs_for(160) == 70
    assert config.epochs_for(161) == 64  # 11 steps an epoch
    assert config.epochs_for(1_000_000) == 1
    assert TrainConfig(epochs=60).epochs_for(1_000_000) == 60


def test_what_only_suited_the_former_values_gives_way() -> None:
    base = PRESETS["fast"].model
    assert base.changed(net="res18").width == 1
    assert not base.changed(fusion="sum").retrieval
    assert base.changed(retrieval=False) == replace(base, fusion="normal", retrieval=False)
    assert base.changed(fusion="normal").retrieval
    assert ModelConfig().changed(fusion="agreement").retrieval
    assert not ModelConfig().changed(fusion="normal").retrieval
    assert base.changed(res=1) == replace(base, res=1)
    with pytest.raises(ConfigError, match="width is 2"):
        base.changed(net="res18", width=2)
    with pytest.raises(ConfigError, match="retrieval is on"):
        base.changed(fusion="sum", retrieval=True)
    with pytest.raises(ConfigError, match="retrieval is off"):
        base.changed(fusion="agreement", retrieval=False)


def test_the_paper_preset_is_as_published() -> None:
    paper = PRESETS["paper"]
    assert paper.model == ModelConfig(net="wide_res50", res=3, image_size=256)
    assert (paper.model.fusion, paper.model.retrieval, paper.train.schedule) == ("sum", False, "constant")
    assert (paper.train.learning_rate, paper.train.epochs, paper.train.most_steps) == (0.005, 200, None)
