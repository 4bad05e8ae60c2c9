"""Choosing a data set, its classes, and the settings of a training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

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
from skrd4ad.data.layouts.find import LAYOUTS
from skrd4ad.paths import data_roots
from skrd4ad.services.datasets import EMBEDDED_SOURCES, folders_in, made_datasets
from skrd4ad.types import DatasetClass
from skrd4ad.ui.cache import dataset_classes

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
_PRECISIONS: dict[TrainPrecision, str] = {
    "auto": "Automatic",
    "fp32": "fp32, 32 bits",
    "bf16": "bf16, 16 bits",
}
_SELECTIONS: dict[Selection, str] = {
    "holdout": "Best on held-out good images",
    "last": "The last",
    "test": "Best on the test set (as the original code; figures are badged)",
}


def pick_source(key: str = "train", *, label: str = "Data set", default: str = "elpv") -> tuple[str | None, str]:
    """The data set and its layout; None while a folder is not chosen yet.

    Args:
        key: what the keys of the widgets begin with.
        label: of the choice.
        default: what is chosen at first: an embedded data set, or ``folder``.
    """
    made = {path.name: path for path in made_datasets()}
    titles = {source.source: source.title for source in EMBEDDED_SOURCES}
    titles |= ({_MADE: "Labelled"} if made else {}) | {_FOLDER: "Own folder"}
    source = st.segmented_control(
        label,
        list(titles),
        format_func=titles.__getitem__,
        default=default,
        required=True,
        wrap=True,
        key=f"{key}-source",
        persist_state="session",
    )
    if source == _MADE:
        name = st.selectbox("Made from labels", list(made), key=f"{key}-made", persist_state="session")
        return str(made[str(name)]), "mvtec"
    if source != _FOLDER:
        about = next(known.about for known in EMBEDDED_SOURCES if known.source == source)
        st.caption(about)
        return str(source), "auto"
    folder = pick_folder(key=f"{key}-folder")
    layout = st.selectbox(
        "Layout",
        LAYOUTS,
        format_func=lambda name: "found automatically" if name == "auto" else name,
        key=f"{key}-layout",
        help="MVTec AD, VisA, VAD, or a plain folder of good images with or without defects.",
        persist_state="session",
    )
    return (None if folder is None else str(folder)), str(layout)


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
    roots = data_roots()
    typed = st.text_input(
        "Folder",
        value=str(roots[0]),
        key=key,
        help="This app may read: " + ", ".join(str(root) for root in roots),
        persist_state="session",
    )
    if not typed.strip():
        st.info("Type the path of a folder on the machine this app runs on.")
        return None
    folder = Path(typed.strip()).expanduser()
    while inside := folders_in(folder):
        names = [_HERE, *(path.name for path in inside)]
        label = f"Folders in {folder.name or folder}"
        step = st.selectbox(label, names, key=f"{key}-step-{folder}", persist_state="session")
        if step == _HERE:
            break
        folder = folder / str(step)
    return folder


def pick_classes(source: str, layout: str) -> list[DatasetClass]:
    """Classes of a data set; the first is chosen at the start.

    Raises:
        DataError: the source is no data set.
    """
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


def pick_settings() -> tuple[ModelConfig, TrainConfig]:
    """Settings from a preset, each of which can be changed.

    Raises:
        ConfigError: the settings do not fit together.
    """
    name = st.segmented_control(
        "Preset",
        list(PRESETS),
        format_func=lambda preset: PRESETS[preset].title,
        default="fast",
        required=True,
        key="train-preset",
        persist_state="session",
    )
    preset = PRESETS[str(name)]
    st.caption(preset.about)
    with st.expander("Every setting", key="train-every-setting"):
        # keys carry the preset's name, so that another preset starts from its own values
        values = _model_values(preset, str(name))
        train = _train_settings(preset, str(name))
    # judged once every widget is drawn: Streamlit forgets what was entered in one that a run leaves out
    return preset.model.changed(**values), train


def _model_values(preset: Preset, name: str) -> dict[str, Any]:
    base = preset.model
    left, right = st.columns(2)
    net = left.selectbox(
        "Teacher",
        NETS,
        index=NETS.index(base.net),
        key=f"net-{name}",
        persist_state="session",
        help="The EfficientNet-Lites come with the app; the ResNets fetch their weights once.",
    )
    widths = (1, 2) if net in LITE_NETS else (1,)
    width = right.selectbox(
        "Student",
        widths,
        index=min(base.width, len(widths)) - 1,
        format_func=_WIDTHS.__getitem__,
        key=f"width-{name}-{len(widths)}",
        persist_state="session",
        help="A wider student restores good parts better and takes longer to train.",
    )
    res = left.selectbox(
        "Skip connections",
        (1, 2, 3),
        index=base.res - 1,
        format_func=lambda value: str(value - 1),
        key=f"res-{name}",
        persist_state="session",
        help="0 is RD4AD, 2 is SK-RD4AD as published.",
    )
    step = 64 if net in LITE_NETS else 32
    size = right.number_input(
        "Image size, pixels",
        64,
        1024,
        base.image_size,
        step,
        key=f"size-{name}-{step}",
        persist_state="session",
    )
    maps = list(_MAPS)
    way = st.selectbox(
        "Anomaly map",
        maps,
        index=maps.index((base.fusion, base.retrieval)),
        format_func=_MAPS.__getitem__,
        key=f"map-{name}",
        persist_state="session",
        help="Published: the sum of the levels. By spread: each level in units of its spread on good images. Good "
        "patches: places are also compared with patches of good training images. Levels agree: the coarsest counts no "
        "more than the middle one.",
    )
    return {
        "net": str(net),
        "res": int(res),
        "image_size": int(size),
        "width": int(width),
        "fusion": way[0],
        "retrieval": way[1],
    }


def _train_settings(preset: Preset, name: str) -> TrainConfig:
    base = preset.train
    left, right = st.columns(2)
    epochs = left.number_input("Epochs", 1, 10_000, base.epochs, key=f"epochs-{name}", persist_state="session")
    batch = right.number_input("Images a step", 2, 1024, base.batch_size, key=f"batch-{name}", persist_state="session")
    rate = left.number_input(
        "Learning rate", 1e-5, 1.0, base.learning_rate, 1e-3, format="%.5f", key=f"lr-{name}", persist_state="session"
    )
    seed = right.number_input("Seed", 0, 2**32 - 1, base.seed, key=f"seed-{name}", persist_state="session")
    holdout = left.number_input(
        "Held out, %",
        0.0,
        50.0,
        100 * base.holdout,
        5.0,
        key=f"holdout-{name}",
        persist_state="session",
        help="Share of the good training images kept from learning, for the limit and for choosing the epoch.",
    )
    schedules = list(_SCHEDULES)
    schedule = st.selectbox(
        "Learning rate over the steps",
        schedules,
        index=schedules.index(base.schedule),
        format_func=_SCHEDULES.__getitem__,
        key=f"schedule-{name}",
        persist_state="session",
    )
    loss = st.selectbox(
        "Loss", list(_LOSSES), format_func=_LOSSES.__getitem__, key=f"loss-{name}", persist_state="session"
    )
    options: list[Selection] = list(_SELECTIONS)
    selection = st.selectbox(
        "Epoch to keep",
        options,
        index=options.index(base.selection),
        format_func=_SELECTIONS.__getitem__,
        key=f"selection-{name}",
        persist_state="session",
    )
    weight = right.number_input(
        "Group consistency",
        0.0,
        100.0,
        base.rate,
        0.005,
        format="%.4f",
        key=f"rate-{name}",
        persist_state="session",
        help="Weight of this part of the loss; 0 turns it off.",
    )
    most = left.number_input(
        "Steps at most",
        1,
        10_000_000,
        base.most_steps,
        key=f"steps-{name}",
        placeholder="all epochs",
        persist_state="session",
        help="The training ends with the epoch that reaches this many steps; empty for all epochs.",
    )
    precisions: list[TrainPrecision] = list(_PRECISIONS)
    precision = st.selectbox(
        "Precision of the training",
        precisions,
        index=precisions.index(base.precision),
        format_func=_PRECISIONS.__getitem__,
        key=f"precision-{name}",
        persist_state="session",
        help="What the student's convolutions compute in while it learns. Automatic is bf16 for the ResNets where this "
        "machine computes in it, and fp32 otherwise. The trained model is in 32 bits.",
    )
    return replace(
        base,
        epochs=int(epochs),
        most_steps=None if most is None else int(most),
        schedule=schedule,
        batch_size=int(batch),
        learning_rate=float(rate),
        seed=int(seed),
        holdout=float(holdout) / 100,
        loss=loss,
        selection=selection,
        precision=precision,
        rate=float(weight),
        group_consistency=weight > 0,
    )
