"""Below the gallery on the Inspect page: tables, masks and the report of all images, and the trend of their scores."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from skrd4ad.errors import DependencyError, ImageError
from skrd4ad.format import plural
from skrd4ad.inference.predictions import Inspection
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.inspection.control_chart import trend
from skrd4ad.services.inspection.inspect import inspect_images, masks_archive
from skrd4ad.services.labelling.review import send_to_review
from skrd4ad.services.reports.collect import collect_report
from skrd4ad.services.reports.html import html_text
from skrd4ad.services.reports.pdf import pdf_bytes
from skrd4ad.storage.labelled_images import PredictionRow
from skrd4ad.task import Task
from skrd4ad.types import Pitch
from skrd4ad.ui.cache import predictor_of
from skrd4ad.ui.charts import is_dark, show_chart
from skrd4ad.ui.components.gallery import GalleryItem
from skrd4ad.ui.inspect.control_chart import trend_chart, trend_text
from skrd4ad.ui.inspect.sources import Item
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain, plain_lines
from skrd4ad.ui.widgets import button, file_button, permitted

_FILES = "_batch_files"


@dataclass(frozen=True)
class Scored:
    """What is kept of every image; the maps of the one that is shown are computed again."""

    tile: GalleryItem
    record: dict[str, Any]
    """JSON-ready, with what the data set says."""
    row: dict[str, Any]
    """One row of a table."""


def show_batch(
    info: ModelInfo,
    items: Sequence[Item],
    scored: Sequence[Scored],
    *,
    limit: float | None,
    mm_per_pixel: Pitch | None,
    state: str,
) -> None:
    """Everything that concerns all images; ``scored`` is what was found in ``items``, in the same order.

    ``limit`` is one set by hand, or None for the model's; ``state`` changes with the model.
    """
    _tables(info, scored)
    _to_review(info, items, scored)
    if info.calibration is not None and len(scored) > 1 and all(item.truth is None for item in items):
        with st.expander("Trend of the scores, in the order of the images", key="inspect-trend-box"):
            _trend(info, scored)
    key = f"{state}:{limit}:{mm_per_pixel}:{hash(tuple(item.id for item in items))}"
    with st.expander("Report and masks of all images", key="inspect-files"):
        _prepared_files(info, items, limit=limit, mm_per_pixel=mm_per_pixel, key=key)


def _tables(info: ModelInfo, scored: Sequence[Scored]) -> None:
    images = plural(len(scored), "image")

    def csv() -> str:
        return pd.DataFrame([each.row for each in scored]).to_csv(index=False)

    def document() -> str:
        return json.dumps([each.record for each in scored], indent=2, ensure_ascii=False)

    with st.container(horizontal=True):
        file_button(f"CSV of {images}", csv, f"{info.class_name}.csv", key="download-csv")
        file_button(f"JSON of {images}", document, f"{info.class_name}.json", key="download-json")


def _to_review(info: ModelInfo, items: Sequence[Item], scored: Sequence[Scored]) -> None:
    doubtful = [
        (
            item.name,
            item.source,
            PredictionRow(*(each.record[name] for name in ("score", "verdict", "threshold", "calibration", "refusal"))),
        )
        for item, each in zip(items, scored, strict=True)
        if not isinstance(item.source, ImageError) and each.record["score"] is not None
        if each.record["verdict"] != "OK"
    ]
    count = plural(len(doubtful), "image")
    if button(
        f"Send {count} that {'is' if len(doubtful) == 1 else 'are'} not OK to review",
        key="send-to-review",
        icon=":material/rate_review:",
        **permitted(why_not(send_to_review), disabled=not doubtful),
    ):
        added = send_to_review(info, doubtful)
        kept = len(doubtful) - added
        known = f"; {kept} waited there already" if kept else ""
        st.success(f"{added} added to the review queue{known}.", icon=":material/check_circle:")


def _trend(info: ModelInfo, scored: Sequence[Scored]) -> None:
    assert info.calibration is not None
    judged = [each.record["score"] if each.record["refusal"] is None else None for each in scored]
    found = trend(judged, info.calibration, names=[each.tile.name for each in scored])
    for alarm in found.alarms:
        st.warning(plain(alarm.text), icon=":material/trending_up:")
    show_chart(trend_chart(found, dark=is_dark()), key="inspect-trend", alt=trend_text(found))
    st.caption(plain(found.note))


def _prepared_files(
    info: ModelInfo, items: Sequence[Item], *, limit: float | None, mm_per_pixel: Pitch | None, key: str
) -> None:
    left, right = st.columns(2)
    batch = left.text_input("Batch, order or station", key="report-batch", persist_state="session")
    who = right.text_input("Inspected by", key="report-who", persist_state="session")
    images = plural(len(items), "image")
    if button(f"Make the report and the masks of {images}", key="make-files", icon=":material/description:"):
        with progress_bar("images") as task:
            task.report(0, len(items))
            report, archive = masks_archive(
                _inspections(info, items, limit=limit, task=task),
                names=[item.name for item in items],
                report=lambda each: collect_report(each, model=info, batch=batch, who=who, mm_per_pixel=mm_per_pixel),
            )
            pdf: bytes | DependencyError
            try:
                pdf = pdf_bytes(report, progress=lambda step: task.report(1, 1, f"Report: {step}"))
            except DependencyError as error:  # what makes PDFs is not installed
                pdf = error
            st.session_state[_FILES] = (key, pdf, html_text(report), archive)
    made = st.session_state.get(_FILES)
    if made is None or made[0] != key:
        st.caption("A PDF to sign, the same as a web page, and a ZIP with masks, overlays and maps.")
        return
    _, pdf, html, archive = made
    if isinstance(pdf, DependencyError):
        st.info(plain_lines(str(pdf)), icon=":material/print_error:")
    with st.container(horizontal=True):
        for name, label, content in (
            ("report.pdf", "Report, PDF", pdf),
            ("report.html", "Report, web page", html),
            ("masks.zip", f"Masks, overlays and maps of {images}, ZIP", archive),
        ):
            if not isinstance(content, DependencyError):
                file_button(label, content, f"{info.class_name}-{name}", key=f"download-{name}")


def _inspections(info: ModelInfo, items: Sequence[Item], *, limit: float | None, task: Task) -> Iterator[Inspection]:
    found = inspect_images(predictor_of(info), ((item.name, item.source) for item in items), threshold=limit)
    for done, inspection in enumerate(found, start=1):
        yield inspection
        task.report(done, len(items))
