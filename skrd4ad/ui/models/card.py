"""The card of a model in sections: what it is, how it learnt, what was measured, its limits, its data, its makers."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from skrd4ad.format import METRIC_TITLES, duration, format_figure, format_number, format_rate, minute, plural
from skrd4ad.model_folder.card import map_text
from skrd4ad.model_folder.info import GUARDS_OFF, has_guards
from skrd4ad.services.models.library import LibraryModel, card_of
from skrd4ad.types import size_text
from skrd4ad.ui.calibrate.versions import METHOD_TEXTS, limits_text
from skrd4ad.ui.charts import loss_chart, show_chart
from skrd4ad.ui.evaluate.text import HOW_TO_READ
from skrd4ad.ui.frame import choose_model, go_to
from skrd4ad.ui.models.text import interval_text, show_facts
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, file_button

UNKNOWN = "not known"
_CHOSEN = {"last": "the last", "holdout": "best on held-out good images", "test": "best on the test set"}


def show_card(model: LibraryModel, tabs: Sequence[DeltaGenerator]) -> None:
    """Draw the sections into six tabs: overview, training, figures, limits, data, environment."""
    draw = (_overview, _training, _figures, _limits, _data, _environment)
    for tab, section in zip(tabs, draw, strict=True):
        with tab:
            section(model)


def _overview(model: LibraryModel) -> None:
    info, about, calibration = model.info, model.about, model.info.calibration
    limits = "none: scores without verdicts"
    if calibration is not None:
        limits = f"{limits_text(calibration)}, version {calibration.version}"
    if not has_guards(info.folder):
        st.error(GUARDS_OFF, icon=":material/gpp_maybe:")
    if about.note:
        with st.container(border=True):
            st.caption("Note")
            st.text(about.note)
    metrics = info.metrics or {}
    titles = {"image_auroc": "Image AUROC", "pixel_auroc": "Pixel AUROC", "aupro": "AUPRO"}
    for column, (name, title) in zip(st.columns(3), titles.items(), strict=True):
        column.metric(title, format_figure(metrics.get(name)), help=HOW_TO_READ[name])
    show_facts(
        [
            ("Class", info.class_name),
            ("Data set", info.dataset),
            ("Network", f"{info.model.net}, {plural(info.model.skips, 'skip connection')}"),
            ("Map", map_text(info.model)),
            ("Image size", f"{size_text(info.model.image_size)} pixels"),
            *([("Images above 8 bit", f"{info.levels}")] if info.levels else []),
            *([("Part", f"{info.alignment}")] if info.alignment else []),
            ("Limits", limits),
            ("Guards", "on" if has_guards(info.folder) else "off"),
            ("Origin", f"bundle {about.imported}" if about.imported else info.origin),
            ("Made", minute(info.created_at)),
            ("Weights, SHA-256", info.digest),
        ]
    )
    file_button("Card as Markdown", card_of(model), f"{info.class_name}_model_card.md", key="models-card-file")


def _training(model: LibraryModel) -> None:
    info = model.info
    train = info.train
    if train is None:
        st.info("How it was trained is not known: it was imported, and the file does not tell.")
        return
    if info.history:
        points = [{**entry, "step": entry["epoch"]} for entry in info.history]
        show_chart(
            loss_chart(points, epochs=len(points)),
            key="models-curve",
            alt=f"Training loss and held-out score over {plural(len(points), 'epoch')}; "
            f"the last loss is {format_number(float(info.history[-1]['loss']))}",
        )
    consistency = f", group consistency weighted {train.rate:g}" if train.group_consistency else ""
    steps = f"learning rate {train.learning_rate:g} ({train.schedule}), {train.batch_size} images a step"
    show_facts(
        [
            ("Epochs", f"{train.epochs}; kept: epoch {info.selected_epoch}, {_CHOSEN[train.selection]}"),
            ("Optimiser", f"Adam, {steps}"),
            ("Loss", f"{train.loss}{consistency}"),
            ("Seed", str(train.seed)),
            ("Held out", format_rate(train.holdout)),
            ("Time", UNKNOWN if info.training_seconds is None else duration(info.training_seconds)),
        ]
    )


def _figures(model: LibraryModel) -> None:
    info = model.info
    metrics = info.metrics
    if metrics is None:
        st.info("Nothing was measured yet. Evaluate it on labelled images of its class.")
    else:
        if info.test_selected:
            st.badge("test-selected: these figures are optimistic", color="orange", icon=":material/warning:")
        intervals = metrics.get("intervals") or {}
        rows = [
            (title, format_figure(metrics[name]), interval_text(intervals.get(name)), HOW_TO_READ.get(name, ""))
            for name, title in METRIC_TITLES.items()
            if metrics.get(name) is not None
        ]
        show_facts(rows, head=("Figure", "Value", "95 % interval", "How to read it"))
        st.caption(
            plain(
                f"{metrics.get('n_good', UNKNOWN)} good and {metrics.get('n_defect', UNKNOWN)} defective test images. "
                f"{metrics.get('protocol', '')}"
            )
        )
    _lead_to(model, "Evaluate it", "evaluate", ":material/query_stats:")


def _limits(model: LibraryModel) -> None:
    calibration = model.info.calibration
    if calibration is None:
        st.info("It has no limits yet: it gives scores, but no verdicts.")
    else:
        review = calibration.review_threshold
        if calibration.test_fitted:
            st.badge("uses test images: figures on them are optimistic", color="orange", icon=":material/warning:")
        show_facts(
            [
                ("Version", f"{calibration.version} of {model.info.calibration_versions}"),
                ("NG above", format_number(calibration.image_threshold)),
                ("REVIEW above", "no review" if review is None else format_number(review)),
                ("Way", METHOD_TEXTS.get(calibration.method, calibration.method)),
                ("From", f"{calibration.data} (n = {calibration.n})"),
                ("False rejects asked for", _rate(calibration.target_false_reject_rate)),
                ("False rejects certified", _rate(calibration.certified_false_reject_rate)),
                ("Smallest region", f"{plural(calibration.min_area, 'pixel')} of the map"),
                ("Ignored regions", "none" if calibration.ignore is None else "drawn on the Calibrate page"),
                ("Who and when", f"{calibration.who}, {minute(calibration.created_at)}"),
                ("Note", calibration.note or "none"),
            ]
        )
    _lead_to(model, "Calibrate it", "calibrate", ":material/tune:")


def _data(model: LibraryModel) -> None:
    data: dict[str, Any] = model.info.data
    if not data:
        st.info("What it learnt from is not known: it was imported, and the file does not tell.")
        return
    size = f"{data['image_width']} x {data['image_height']} pixels" if "image_width" in data else UNKNOWN
    show_facts(
        [
            ("Source", str(data.get("source") or UNKNOWN)),
            ("Layout", str(data.get("layout") or UNKNOWN)),
            ("Good images learnt from", str(data.get("n_train", UNKNOWN))),
            ("Good images held out", str(data.get("n_holdout", UNKNOWN))),
            ("Their size", size),
            ("Licence of the data", str(data.get("licence") or "not stated")),
            ("Note on the data", str(data.get("note") or "none")),
            ("Digest of the images", str(data.get("digest") or UNKNOWN)),
        ]
    )
    st.caption(
        "Mind the licence of the data when you hand the model on. The digest is over the training images: the same "
        "images give the same one."
    )


def _environment(model: LibraryModel) -> None:
    info = model.info
    show_facts(
        [
            *((name, version) for name, version in info.environment.items()),
            ("Teacher", info.model.net),
            ("Digest of the teacher", info.teacher_digest),
            ("Folder", str(info.folder)),
        ]
    )


def _lead_to(model: LibraryModel, label: str, page: str, icon: str) -> None:
    archived = model.about.archived
    if button(
        label,
        icon=icon,
        key=f"models-to-{page}",
        disabled=archived,
        help="An archived model is not offered there; unarchive it first." if archived else None,
    ):
        choose_model(model.info.folder)
        go_to(page)


def _rate(value: float | None) -> str:
    return "–" if value is None else format_rate(value)
