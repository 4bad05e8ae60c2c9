"""Choosing a data set, its classes, and the settings of a training."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from skrd4ad.config import (
    LITE_NETS,
    NETS,
    PRESETS,
    Fusion,
    Loss,
    ModelConfig,
    Preset,
    Schedule,
    Selection,
    TrainConfig,
    TrainPrecision,
)
from skrd4ad.data.images.levels import given_levels
from skrd4ad.data.layouts.find import LAYOUTS
from skrd4ad.data.layouts.hints import Hints
from skrd4ad.paths import data_roots
from skrd4ad.services.access import why_not
from skrd4ad.services.datasets import EMBEDDED_SOURCES, folders_in, made_datasets
from skrd4ad.types import Align, DatasetClass, ImageSize, Levels, parse_size, size_option
from skrd4ad.ui.cache import dataset_classes
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import choose

_LEVELS = {
    "found": "As the good training images are",
    **{str(bits): f"{bits} bit: 0 to {2**bits - 1}" for bits in (10, 12, 14, 16)},
    "given": "Given",
}
T = TypeVar("T")
_FOLDER, _MADE = "folder", "made"
_HERE = "(use this folder)"
_LOSSES: dict[Loss, str] = {
    "cosine": "Cosine (published)",
    "mse": "Squared error",
    "mixed": "Half of each",
    "position": "Cosine at each position",
}
_SCHEDULES: dict[Schedule, str] = {"cosine": "Cosine to zero", "constant": "Constant (published)"}
_WIDTHS = {1: "Narrow", 2: "Wide"}
_MAPS: dict[tuple[Fusion, bool], str] = {
    ("agreement", True): "Good patches, levels agree",
    ("normal", True): "Good patches, by spread",
    ("normal", False): "Levels by their spread",
    ("sum", False): "Sum of levels (published)",
}
_PRECISIONS: dict[TrainPrecision, str] = {"auto": "Automatic", "fp32": "fp32, 32 bits", "bf16": "bf16, 16 bits"}
_ALIGN: dict[Align, str] = {"auto": "Automatic", "off": "Whole images", "crop": "Cropped", "rotate": "Turned, cropped"}
_ALIGN_HELP = "Automatic: where good parts lie by themselves on a plain ground, each elsewhere or turned."
_SELECTIONS: dict[Selection, str] = {
    "holdout": "Best on held-out good images",
    "last": "The last",
    "test": "Best on the test set (as the original code; figures are badged)",
}


def pick_source(key: str = "train", *, label: str = "Data set", default: str = "elpv") -> tuple[str | None, str]:
    """The data set and its layout; None while a folder is not chosen yet.

    The keys of the widgets begin with ``key``; ``default`` is an embedded data set, or ``folder``.
    """
    made = {path.name: path for path in made_datasets()}
    titles = {source.source: source.title for source in EMBEDDED_SOURCES}
    titles |= ({_MADE: "Labelled"} if made else {}) | {_FOLDER: "Own folder"}
    source = choose(label, titles, default=default, key=f"{key}-source")
    if source == _MADE:
        name = st.selectbox("Made from labels", list(made), key=f"{key}-made", persist_state="session")
        return str(made[str(name)]), "mvtec"
    if source != _FOLDER:
        st.caption(next(known.about for known in EMBEDDED_SOURCES if known.source == source))
        return source, "auto"
    folder = pick_folder(key=f"{key}-folder")
    layout = st.selectbox(
        "Layout",
        LAYOUTS,
        format_func=lambda name: "found automatically" if name == "auto" else name,
        key=f"{key}-layout",
        help="A published data set, or a plain folder of good images with or without defects.",
        persist_state="session",
    )
    return (None if folder is None else str(folder)), _hints(str(layout), key=key)


def _hints(layout: str, *, key: str) -> str:
    """The layout with what the user says of names and values, as text."""
    with st.expander("Names of folders, values of masks", key=f"{key}-hints"):
        good = st.text_input(
            "Folders of good parts", key=f"{key}-good", placeholder="found by their names; commas between"
        )
        masks = st.text_input("Folders of masks", key=f"{key}-masks", placeholder="besides mask, ground_truth, label …")
        values = st.text_input(
            "Values of masks", key=f"{key}-mask-values", placeholder="85=good,170=scratch,255=ignore"
        )
    names = [tuple(name.strip() for name in given.split(",") if name.strip()) for given in (good, masks)]
    return str(Hints(layout=layout, good=names[0], masks=names[1], mask_values=values.strip()))


def choose_made(name: str) -> None:
    """Make a data set made of labels the one that is chosen on the Train page."""
    st.session_state["train-source"] = _MADE
    st.session_state["train-made"] = name


def pick_folder(*, key: str) -> Path | None:
    """A folder under the data roots, typed or found step by step; None while nothing was typed.

    Every step is checked, so that a link does not lead out of the roots.

    Raises:
        DataError: the folder is outside the data roots, or cannot be listed.
    """
    if reason := why_not(folders_in):
        st.info(plain(reason))
        return None
    roots = data_roots()
    typed = st.text_input(
        "Folder",
        value=str(roots[0]),
        key=key,
        help="This app may read: " + ", ".join(plain(str(root)) for root in roots),
        persist_state="session",
    )
    if not typed.strip():
        st.info("Type the path of a folder on the machine this app runs on.")
        return None
    folder = Path(typed.strip()).expanduser()
    while inside := folders_in(folder):
        names = [_HERE, *(path.name for path in inside)]
        label = f"Folders in {plain(folder.name or str(folder))}"
        step = st.selectbox(label, names, key=f"{key}-step-{folder}", persist_state="session")
        if step == _HERE:
            break
        folder = folder / str(step)
    return folder


def pick_classes(source: str, layout: str) -> list[DatasetClass]:
    """Classes of a data set; the first is chosen at the start."""
    classes = {data.name: data for data in dataset_classes(source, layout)}
    counts = {name: f"{name} ({len(data.train)} good images)" for name, data in classes.items()}
    names = st.multiselect(
        "Classes",
        list(classes),
        default=list(classes)[:1],
        format_func=counts.__getitem__,
        key=f"train-classes-{source}-{layout}",
        help="Each class gets a model of its own. Several queue up; one trains at a time.",
        persist_state="session",
    )
    return [classes[name] for name in names]


def pick_settings() -> tuple[ModelConfig, ImageSize | None, TrainConfig, Levels | None]:
    """Settings from a preset, each of which can be changed, and the levels of images above 8 bit. Without a size the
    shape of each class's images chooses it."""
    titles = {name: preset.title for name, preset in PRESETS.items()}
    name = choose("Preset", titles, default="fast", key="train-preset")
    preset = PRESETS[name]
    st.caption(preset.about)
    with st.expander("Every setting", key="train-every-setting"):
        # keys carry the preset's name, so that another preset starts from its own values
        values = _model_values(preset, name)
        train = _train_settings(preset.train, name)
        levels = _levels_given()
    # judged once every widget is drawn: Streamlit forgets what was entered in one that a run leaves out
    text = values.pop("image_size").strip()
    size = parse_size(text) if text else None
    model = preset.model.changed(**values, image_size=size or preset.model.image_size)
    return model, size, train, given_levels(**levels)


def _levels_given() -> dict[str, Any]:
    """What the user says of images above 8 bit, by the names of :func:`given_levels`."""
    given: dict[str, Any] = {"black": None, "white": None, "bits": None}
    chosen = _select(
        "Images above 8 bit",
        _LEVELS,
        "found",
        key="levels",
        help="Which values are shown as black and as white; the same for all images of the class. Images of 8 bit stay "
        "as they are.",
    )
    if chosen == "given":
        left, right = st.columns(2)
        with left:
            given["black"] = st.number_input("Black", value=0.0, key="levels-black", persist_state="session")
        with right:
            given["white"] = st.number_input("White", value=4095.0, key="levels-white", persist_state="session")
    elif chosen != "found":
        given["bits"] = int(chosen)
    return given


def _model_values(chosen: Preset, preset: str) -> dict[str, Any]:
    """What the user sets of a model, by the names of ``ModelConfig``; the image size as text."""
    base = chosen.model
    left, right = st.columns(2)
    with left:
        net = _select(
            "Teacher",
            {net: net for net in NETS},
            base.net,
            key=f"net-{preset}",
            help="The EfficientNet-Lites come with the app; the ResNets fetch their weights once.",
        )
    lite = net in LITE_NETS
    with right:
        width = _select(
            "Student",
            _WIDTHS if lite else {1: _WIDTHS[1]},
            base.width if lite else 1,
            key=f"width-{preset}-{2 if lite else 1}",
            help="A wider student restores good parts better and takes longer to train.",
        )
    with left:
        res = _select(
            "Skip connections",
            {1: "0", 2: "1", 3: "2"},
            base.res,
            key=f"res-{preset}",
            help="0 is RD4AD, 2 is SK-RD4AD as published.",
        )
    with right:
        size = st.text_input(
            "Image size, pixels",
            size_option(base.image_size) if chosen.keeps_size else "",
            key=f"size-{preset}",
            placeholder="chosen by the shape of the images",
            help="What images are resized to: 256 is a square, 64x1280 height x width. Empty: a square of 256, or, "
            "where the images of the class are longer than 3:2, about as many pixels in their shape.",
            persist_state="session",
        )
    fusion, retrieval = _select(
        "Anomaly map",
        _MAPS,
        (base.fusion, base.retrieval),
        key=f"map-{preset}",
        help="Published: the sum of the levels. By spread: each level in units of its spread on good images. Good "
        "patches: places are also compared with patches of good training images. Levels agree: the coarsest counts no "
        "more than the middle one.",
    )
    return {
        "net": net,
        "res": res,
        "image_size": size,
        "width": width,
        "fusion": fusion,
        "retrieval": retrieval,
    }


def _train_settings(base: TrainConfig, preset: str) -> TrainConfig:
    left, right = st.columns(2)
    with left:
        epochs = _number("Epochs", 1, 10_000, base.epochs, key=f"epochs-{preset}")
        rate = _number("Learning rate", 1e-5, 1.0, base.learning_rate, 1e-3, format="%.5f", key=f"lr-{preset}")
        holdout = _number(
            "Held out, %",
            0.0,
            50.0,
            100 * base.holdout,
            5.0,
            key=f"holdout-{preset}",
            help="Share of the good training images kept from learning, for the limit and for choosing the epoch.",
        )
        most_steps = st.number_input(
            "Steps at most",
            1,
            10_000_000,
            base.most_steps,
            key=f"steps-{preset}",
            placeholder="all epochs",
            persist_state="session",
            help="The training ends with the epoch that reaches this many steps; empty for all epochs.",
        )
    with right:
        batch_size = _number("Images a step", 2, 1024, base.batch_size, key=f"batch-{preset}")
        seed = _number("Seed", 0, 2**32 - 1, base.seed, key=f"seed-{preset}")
        weight = _number(
            "Group consistency",
            0.0,
            100.0,
            base.rate,
            0.005,
            format="%.4f",
            key=f"rate-{preset}",
            help="Weight of this part of the loss; 0 turns it off.",
        )
    return replace(
        base,
        epochs=int(epochs),
        most_steps=None if most_steps is None else int(most_steps),
        schedule=_select("Learning rate over the steps", _SCHEDULES, base.schedule, key=f"schedule-{preset}"),
        batch_size=int(batch_size),
        learning_rate=rate,
        seed=int(seed),
        holdout=holdout / 100,
        loss=_select("Loss", _LOSSES, base.loss, key=f"loss-{preset}"),
        selection=_select("Epoch to keep", _SELECTIONS, base.selection, key=f"selection-{preset}"),
        align=_select("Part", _ALIGN, base.align, key=f"align-{preset}", help=_ALIGN_HELP),
        precision=_select(
            "Precision of the training",
            _PRECISIONS,
            base.precision,
            key=f"precision-{preset}",
            help="What the student's convolutions compute in while it learns. Automatic is bf16 for the ResNets where "
            "this machine computes in it, and fp32 otherwise. The trained model is in 32 bits.",
        ),
        rate=weight,
        group_consistency=weight > 0,
    )


def _select(label: str, options: Mapping[T, str], default: T, *, key: str, help: str | None = None) -> T:
    values = list(options)
    return st.selectbox(
        label,
        values,
        index=values.index(default),
        format_func=options.__getitem__,
        key=key,
        persist_state="session",
        help=help,
    )


def _number(
    label: str,
    low: float,
    high: float,
    default: float,
    step: float | None = None,
    *,
    key: str,
    format: str | None = None,
    help: str | None = None,
) -> float:
    given = st.number_input(label, low, high, default, step, format=format, key=key, persist_state="session", help=help)
    return float(given)
