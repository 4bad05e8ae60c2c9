"""Settings of a model and of its training, validated once, where they are made."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

from skrd4ad.errors import ConfigError

NETS = ("efficientnet_lite0", "res18", "res34", "res50", "wide_res50")
"""Teachers by the names of ``--net``."""

Loss = Literal["cosine", "mse", "mixed"]
Selection = Literal["last", "holdout", "test"]
LOSS_OF_L2: dict[int, Loss] = {0: "cosine", 1: "mse", 2: "mixed"}
"""The published ``--L2`` switch."""


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(*checks: tuple[bool, str]) -> None:
    wrong = [message for ok, message in checks if not ok]
    if wrong:
        raise ConfigError("Wrong settings: " + "; ".join(wrong) + ".")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a model is made of.

    Raises:
        ConfigError: naming every setting that is out of range.
    """

    net: str = "efficientnet_lite0"
    res: int = 3
    """The published ``--res``: 1, 2, 3 mean 0, 1, 2 skip connections."""
    image_size: int = 256
    """Side in pixels of the square that images are resized to."""

    def __post_init__(self) -> None:
        # the embedding halves the coarsest level once more, so that level must have an even side
        step = 64 if self.net == "efficientnet_lite0" else 32
        _require(
            (self.net in NETS, f"net is {self.net!r}; allowed: {', '.join(NETS)}"),
            (self.res in (1, 2, 3), f"res is {self.res!r}; allowed: 1 (no skip), 2 (one skip), 3 (two skips)"),
            (
                _is_int(self.image_size) and 64 <= self.image_size <= 1024 and self.image_size % step == 0,
                f"image size is {self.image_size!r}; allowed: multiples of {step} from 64 to 1024 for {self.net}",
            ),
        )

    @property
    def skips(self) -> int:
        """Number of skip connections."""
        return self.res - 1


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a student is trained.

    Raises:
        ConfigError: naming every setting that is out of range.
    """

    epochs: int = 60
    learning_rate: float = 0.005
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

    evaluate_every: int = 10
    """Epochs between evaluations when the epoch is chosen on the test set."""

    def __post_init__(self) -> None:
        _require(
            (_is_int(self.epochs) and 1 <= self.epochs <= 10_000, f"epochs is {self.epochs!r}; allowed: 1 to 10000"),
            (0 < self.learning_rate <= 1, f"learning rate is {self.learning_rate!r}; allowed: above 0, up to 1"),
            (
                _is_int(self.batch_size) and 2 <= self.batch_size <= 1024,
                f"batch size is {self.batch_size!r}; allowed: 2 to 1024 (batch normalisation needs two images)",
            ),
            (_is_int(self.seed) and 0 <= self.seed < 2**32, f"seed is {self.seed!r}; allowed: 0 to 4294967295"),
            (self.loss in LOSS_OF_L2.values(), f"loss is {self.loss!r}; allowed: cosine, mse, mixed"),
            (0 <= self.rate <= 100, f"rate is {self.rate!r}; allowed: 0 to 100"),
            (0 <= self.holdout <= 0.5, f"holdout is {self.holdout!r}; allowed: 0 to 0.5 (a share of train/good)"),
            (
                _is_int(self.evaluate_every) and self.evaluate_every >= 1,
                f"evaluate every is {self.evaluate_every!r}; allowed: 1 or more epochs",
            ),
            (
                self.selection in ("last", "holdout", "test"),
                f"selection is {self.selection!r}; allowed: last, holdout, test",
            ),
            (
                not (self.selection == "holdout" and self.holdout == 0),
                "selection is 'holdout' but holdout is 0; hold images out or choose selection 'last'",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named pair of settings."""

    title: str
    about: str
    model: ModelConfig
    train: TrainConfig


PRESETS = {
    "fast": Preset(
        title="Fast on a CPU",
        about="EfficientNet-Lite0 as the teacher, 60 epochs: minutes on two cores.",
        model=ModelConfig(),
        train=TrainConfig(),
    ),
    "paper": Preset(
        title="As published",
        about="Wide ResNet-50-2 as the teacher, 200 epochs: meant for a GPU.",
        model=ModelConfig(net="wide_res50"),
        train=TrainConfig(epochs=200, selection="last"),
    ),
}


C = TypeVar("C", ModelConfig, TrainConfig)


def to_dict(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """JSON-ready form of a config."""
    return asdict(config)


def from_dict(kind: type[C], values: dict[str, Any]) -> C:
    """Config of a kind from its JSON form.

    Raises:
        ConfigError: a key is unknown or a value is out of range.
    """
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ConfigError(f"Unknown settings: {', '.join(unknown)}; allowed: {', '.join(sorted(known))}.")
    return kind(**values)
