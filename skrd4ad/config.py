"""Settings of a model and of its training, validated once, where they are made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from skrd4ad.errors import ConfigError
from skrd4ad.types import MAX_SIDE, Align, ImageSize

LITE_NETS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
"""Teachers whose weights come as Python packages."""
NETS = (*LITE_NETS, "res18", "res34", "res50", "wide_res50")
"""Teachers by the names of ``--net``."""

Loss = Literal["cosine", "mse", "mixed", "position"]
Selection = Literal["last", "holdout", "test"]
Schedule = Literal["constant", "cosine"]
Fusion = Literal["sum", "normal", "agreement"]
TrainPrecision = Literal["auto", "fp32", "bf16"]
DEVICES = "auto, cpu, cuda, cuda:N (the Nth card, from 0), mps, xpu, xpu:N"
"""Where torch may compute; auto is the first CUDA card, or the processor without one."""
"""Where torch computes; auto is a graphics card when torch can use one."""
LOSS_OF_L2: dict[int, Loss] = {0: "cosine", 1: "mse", 2: "mixed"}
"""The published ``--L2`` switch."""


SIDE_STEP, MIN_SIDE, MAX_PIXELS = 32, 64, 1024 * 1024
"""Sides of a model's input in pixels: what they are multiples of, the least, and the most pixels in all."""

Check = tuple[bool, str]
"""Whether a setting is right, and what to say when it is not."""


def _is_int(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_size(value: object) -> bool:
    sides = value if isinstance(value, tuple) else (value, value)
    right = len(sides) == 2 and all(_is_int(side, MIN_SIDE, MAX_SIDE) and side % SIDE_STEP == 0 for side in sides)
    return right and sides[0] * sides[1] <= MAX_PIXELS


def _setting(config: object, name: str, right: bool, allowed: str) -> Check:
    return right, f"{name.replace('_', ' ')} is {getattr(config, name)!r}; allowed: {allowed}"


def _one_of(config: object, name: str, allowed: Sequence[str]) -> Check:
    return _setting(config, name, getattr(config, name) in allowed, ", ".join(allowed))


def _require(*checks: Check) -> None:
    wrong = [message for right, message in checks if not right]
    if wrong:
        raise ConfigError("Wrong settings: " + "; ".join(wrong) + ".")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a model is made of."""

    net: str = "efficientnet_lite0"
    res: int = 3
    """The published ``--res``: 1, 2, 3 mean 0, 1, 2 skip connections."""
    image_size: ImageSize = 256
    """Pixels that images are resized to: the side of a square, or (height, width)."""
    width: int = 1
    """Factor of the decoder's widths for the EfficientNet-Lites; the published students of the ResNets have only 1."""
    fusion: Fusion = "sum"
    """How the levels make the map: their published sum; each in units of its spread on good training images; or that,
    where small departures count as nothing and the coarsest level no more than the middle one agrees to (see
    :class:`skrd4ad.models.normality.Normality`)."""
    retrieval: bool = False
    """Whether places are also compared with patches of good images (see :class:`skrd4ad.models.normality.Normality`);
    off is pure SK-RD4AD."""

    def __post_init__(self) -> None:
        lite = self.net in LITE_NETS
        if isinstance(self.image_size, tuple) and self.image_size[:1] * 2 == self.image_size:
            object.__setattr__(self, "image_size", self.image_size[0])
        _require(
            _one_of(self, "net", NETS),
            _setting(self, "res", self.res in (1, 2, 3), "1 (no skip), 2 (one skip), 3 (two skips)"),
            _setting(
                self,
                "image_size",
                _is_size(self.image_size),
                f"height and width, or one number for a square, each a multiple of {SIDE_STEP} from {MIN_SIDE} to "
                f"{MAX_SIDE}, and up to {MAX_PIXELS} pixels in all, as 1024 x 1024 has",
            ),
            _setting(self, "width", self.width in ((1, 2) if lite else (1,)), "1, and 2 for the EfficientNet-Lites"),
            _one_of(self, "fusion", get_args(Fusion)),
            (
                not (self.retrieval and self.fusion == "sum"),
                "retrieval is on but fusion is 'sum'; choose fusion 'normal' or 'agreement', or retrieval off",
            ),
            (
                self.retrieval or self.fusion != "agreement",
                "retrieval is off but fusion is 'agreement'; choose fusion 'normal' or 'sum', or retrieval on",
            ),
        )

    @property
    def skips(self) -> int:
        """Number of skip connections."""
        return self.res - 1

    def changed(self, **values: Any) -> "ModelConfig":
        """The same with other values; what only suited the old ones, and is not given, gives way."""
        if values.get("net", self.net) not in LITE_NETS:
            values.setdefault("width", 1)
        if (fusion := values.get("fusion")) is not None:
            values.setdefault("retrieval", fusion == "agreement" or (fusion == "normal" and self.retrieval))
        elif self.fusion == "sum":
            values.setdefault("retrieval", False)
        elif self.fusion == "agreement" and values.get("retrieval") is False:
            values["fusion"] = "normal"
        return replace(self, **values)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a student is trained."""

    epochs: int = 60
    most_steps: int | None = None
    """The training ends with the epoch in which it has taken this many steps, also when epochs are left; None for all
    epochs. So a large set costs no more time than a small one."""
    learning_rate: float = 0.005
    schedule: Schedule = "constant"
    """Learning rate over the steps: constant as published, or a short rise and then half a cosine down to 0."""
    batch_size: int = 16
    seed: int = 111
    loss: Loss = "cosine"
    group_consistency: bool = True
    """Adds the group consistency loss (the published ``--layerloss``)."""
    rate: float = 0.005
    """Weight of the group consistency loss."""
    holdout: float = 0.1
    """Share of train/good kept from training, for choosing the epoch and for the thresholds."""
    selection: Selection = "holdout"
    """Epoch to keep: the last, the best on held-out good images, or ("test") the best on the test set, which is
    what the original code does; every number from the latter is marked "test-selected"."""

    align: Align = "off"
    """Whether photographs are cropped to the part and turned to lie alike; see :mod:`skrd4ad.data.alignment`."""
    precision: TrainPrecision = "auto"
    """What the student's convolutions compute in while it is trained: fp32 or bf16. auto is bf16 for
    the ResNets where the processor or graphics card computes in it by itself. The trained model is fp32 either way."""
    evaluate_every: int = 10
    """Epochs between evaluations when the epoch is chosen on the test set."""

    def __post_init__(self) -> None:
        few = self.most_steps is None or _is_int(self.most_steps, 1, 10_000_000)
        pair = "2 to 1024 (batch normalisation needs two images)"
        _require(
            _setting(self, "epochs", _is_int(self.epochs, 1, 10_000), "1 to 10000"),
            _setting(self, "most_steps", few, "1 to 10000000, or None for all epochs"),
            _one_of(self, "schedule", get_args(Schedule)),
            _setting(self, "learning_rate", 0 < self.learning_rate <= 1, "above 0, up to 1"),
            _setting(self, "batch_size", _is_int(self.batch_size, 2, 1024), pair),
            _setting(self, "seed", _is_int(self.seed, 0, 2**32 - 1), "0 to 4294967295"),
            _one_of(self, "loss", get_args(Loss)),
            _setting(self, "rate", 0 <= self.rate <= 100, "0 to 100"),
            _setting(self, "holdout", 0 <= self.holdout <= 0.5, "0 to 0.5 (a share of train/good)"),
            _setting(self, "evaluate_every", _is_int(self.evaluate_every, 1, 2**63), "1 or more epochs"),
            _one_of(self, "selection", get_args(Selection)),
            _one_of(self, "precision", get_args(TrainPrecision)),
            _one_of(self, "align", get_args(Align)),
            (
                not (self.selection == "holdout" and self.holdout == 0),
                "selection is 'holdout' but holdout is 0; hold images out or choose selection 'last'",
            ),
        )

    def epochs_for(self, images: int) -> int:
        """Epochs of a training on a number of images: all, or as many as ``most_steps`` allows, at least 1."""
        if self.most_steps is None:
            return self.epochs
        steps = max(1, -(-images // self.batch_size))
        return max(1, min(self.epochs, -(-self.most_steps // steps)))


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named pair of settings."""

    title: str
    about: str
    model: ModelConfig
    train: TrainConfig
    keeps_size: bool = False
    """The size of its model is part of it; otherwise the shape of the images chooses where no size is given."""


PRESETS = {
    "fast": Preset(
        title="Fast on a CPU",
        about="EfficientNet-Lite0 as the teacher, good patches as a second opinion: two minutes on two cores.",
        model=ModelConfig(width=2, fusion="agreement", retrieval=True),
        train=TrainConfig(epochs=100, most_steps=700, schedule="cosine", align="auto"),
    ),
    "paper": Preset(
        title="As published",
        about="Wide ResNet-50-2 as the teacher, 200 epochs: meant for a GPU.",
        model=ModelConfig(net="wide_res50"),
        train=TrainConfig(epochs=200, selection="last"),
        keeps_size=True,
    ),
}
