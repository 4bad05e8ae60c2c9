"""Files of the Evaluate page to take away: CSV, LaTeX, one HTML file, and how charts are saved."""

from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st

from skrd4ad.format import METRIC_TITLES, plural
from skrd4ad.metrics.bootstrap import METRIC_NAMES
from skrd4ad.services.evaluation.charts import BAR_METRICS, class_bars, confusion_chart, escape_bars
from skrd4ad.services.evaluation.curve_chart import CURVE_TITLES, curve_chart
from skrd4ad.services.evaluation.html import html_report
from skrd4ad.services.evaluation.operating_points import Findings
from skrd4ad.services.evaluation.result import EvaluationSummary, StoredEvaluation
from skrd4ad.services.evaluation.tables import images_csv, latex_table, metrics_csv
from skrd4ad.ui.evaluate.compare import Load
from skrd4ad.ui.evaluate.findings import findings_of
from skrd4ad.ui.frame import halves
from skrd4ad.ui.text import plain


def show_export(summaries: Sequence[EvaluationSummary], labels: Mapping[str, str], *, chosen: str, load: Load) -> None:
    """Buttons that write the files, each saying what goes into it."""
    by_key = {each.key: each for each in summaries}
    wanted = st.multiselect(
        "Evaluations",
        list(by_key),
        default=list(by_key),
        format_func=labels.__getitem__,
        key=f"evaluate-export-{len(by_key)}",
        persist_state="session",
    )
    picked = [by_key[str(key)] for key in wanted]
    if not picked:
        st.info("Choose at least one evaluation.")
        return
    tables, charts = halves("evaluate-export", 1, 1)
    with tables:
        st.subheader("Tables", anchor=False)
        rows = len(picked) * len(METRIC_NAMES)
        _download(f"Figures as CSV ({rows} rows)", lambda: metrics_csv(picked), "evaluation.csv", "text/csv")
        published = st.toggle("Published figures in the LaTeX table", value=True, key="evaluate-export-published")
        _download(
            f"LaTeX table ({plural(len(picked), 'row')}{', and the published ones' if published else ''})",
            lambda: latex_table(picked, published=published),
            "evaluation.tex",
            "application/x-tex",
        )
        images = by_key[chosen]
        _download(
            f"Images of {plain(labels[chosen])} as CSV ({images.n_images} rows)",
            lambda: _images_file(load, chosen),
            f"{images.class_name}_images.csv",
            "text/csv",
        )
    with charts:
        st.subheader("Charts and report", anchor=False)
        names = [labels[each.key] for each in picked]
        _download(
            f"One HTML file with tables and charts ({plural(len(picked), 'evaluation')})",
            lambda: report_of([stored for each in picked if (stored := load(each.key)) is not None], names),
            "evaluation.html",
            "text/html",
        )
        st.caption(
            "It opens in any browser without a network; each of its charts has buttons that save it as PNG and SVG. A "
            "chart on this page is saved by the camera at its upper right corner, in the format chosen above."
        )


def report_of(evaluations: Sequence[StoredEvaluation], names: Sequence[str]) -> str:
    """One HTML document with every chart of some evaluations."""
    found = [findings_of(stored)[0] for stored in evaluations]
    figures: dict[str, go.Figure] = {}
    summaries = [stored.summary for stored in evaluations]
    for metric in BAR_METRICS:
        if any(getattr(each.metrics, metric) is not None for each in summaries):
            figures[f"{METRIC_TITLES[metric]} by class"] = class_bars(summaries, metric=metric)
    for stored, limits, name in zip(evaluations, found, names, strict=True):
        figures |= _charts_of(stored, limits, name)
    return html_report(evaluations, figures=figures, findings=found)


def _charts_of(stored: StoredEvaluation, limits: Findings | None, name: str) -> dict[str, go.Figure]:
    figures = {
        f"{name}: {title}": curve_chart([stored], name=curve, findings=[limits])
        for curve, title in CURVE_TITLES.items()
        if curve in stored.curves
    }
    if limits is not None:
        figures[f"{name}: truth against verdict"] = confusion_chart(limits.confusion)
        figures[f"{name}: escapes by type of defect"] = escape_bars(limits.by_type, axis="Type of defect")
        if limits.by_size is not None:
            figures[f"{name}: escapes by size of defect"] = escape_bars(limits.by_size.groups, axis="Area of the mask")
    return figures


def _images_file(load: Load, key: str) -> str:
    stored = load(key)
    return "" if stored is None else images_csv(stored, findings_of(stored)[0])


def _download(label: str, make: Callable[[], str], file_name: str, mime: str) -> None:
    # spreadsheets take a file for UTF-8 only when it begins so
    mark = "\ufeff" if mime == "text/csv" else ""
    st.download_button(
        label,
        lambda: (mark + make()).encode("utf-8"),
        file_name=file_name,
        mime=mime,
        icon=":material/download:",
        on_click="ignore",
        key=f"evaluate-download-{file_name}",
    )
