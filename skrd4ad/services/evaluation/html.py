"""An evaluation as one HTML file with live charts: plotly.js and the data are inside, nothing comes from elsewhere."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from skrd4ad.format import METRIC_TITLES, format_number, format_rate
from skrd4ad.metrics.bootstrap import METRIC_NAMES, Interval
from skrd4ad.metrics.escapes import EscapeGroup
from skrd4ad.metrics.evaluation import Metrics
from skrd4ad.services.evaluation.operating_points import Findings
from skrd4ad.services.evaluation.published import METHODS, PROTOCOL_DIFFERENCE, published_for
from skrd4ad.services.evaluation.result import EvaluationSummary, StoredEvaluation
from skrd4ad.services.reports.html import render
from skrd4ad.types import size_text

Cell = tuple[str, str]


def html_report(
    evaluations: Sequence[StoredEvaluation],
    *,
    figures: Mapping[str, go.Figure],
    findings: Sequence[Findings | None] = (),
    title: str = "Evaluation",
) -> str:
    """One HTML document with tables and live charts; plotly.js is inside, nothing comes from elsewhere."""
    summaries = [stored.summary for stored in evaluations]
    judged = list(zip(evaluations, [*findings, *([None] * len(evaluations))], strict=False))
    return render(
        "evaluation.html",
        title=title,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        warnings=_warnings(evaluations),
        columns=[METRIC_TITLES[name] for name in METRIC_NAMES],
        rows=[(summary, _cells(summary.metrics, summary.intervals.intervals)) for summary in summaries],
        published=[row for summary in summaries for row in _published_rows(summary)],
        protocol_difference=PROTOCOL_DIFFERENCE,
        figures=[_embedded(number, caption, figure) for number, (caption, figure) in enumerate(figures.items())],
        # a figure's JSON and the library stand inside script elements, which end at the first closing tag
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
        judged=[(stored, found) for stored, found in judged if found is not None],
        types=[(summary, _type_rows(summary)) for summary in summaries if summary.by_defect],
        escape_text=escape_text,
        format_number=format_number,
        facts=[(summary, _facts(summary)) for summary in summaries],
    )


def escape_text(group: EscapeGroup) -> str:
    """Escapes of a group: "2 of 12 (16.7 %; 2.09 % to 48.4 %)"."""
    low, high = format_rate(group.interval.low), format_rate(group.interval.high)
    return f"{len(group.escaped)} of {len(group.indices)} ({format_rate(group.rate)}; {low} to {high})"


def _cells(metrics: Metrics, intervals: Mapping[str, Interval | None]) -> list[Cell]:
    return [_cell(getattr(metrics, name), intervals.get(name)) for name in METRIC_NAMES]


def _cell(value: float | None, interval: Interval | None) -> Cell:
    if value is None:
        return "–", ""
    limits = "" if interval is None else f"{format_number(interval.low)} to {format_number(interval.high)}"
    return format_number(value), limits


def _published_rows(summary: EvaluationSummary) -> list[tuple[str, str, list[str]]]:
    match = published_for(summary.dataset, summary.class_name)
    if match is None:
        return []
    rows = []
    for method in METHODS:
        values = [match.value(method, name) for name in METRIC_NAMES]
        cells = ["" if value is None else format_number(value) for value in values]
        rows.append((f"{method} (published), {summary.class_name}", match.text, cells))
    return rows


def _type_rows(summary: EvaluationSummary) -> list[tuple[str, int, list[Cell]]]:
    return [
        (name, metrics.n_defect, _cells(metrics, summary.intervals.by_type[name]))
        for name, metrics in summary.by_defect.items()
    ]


def _facts(summary: EvaluationSummary) -> list[tuple[str, str]]:
    metrics, draws = summary.metrics, summary.intervals
    return [
        ("Model", f"{summary.model_title}, digest {summary.model_digest}"),
        ("Data", f"{summary.source} ({summary.layout}), digest of the test images {summary.data_digest}"),
        ("Test images", f"{metrics.n_good} good, {metrics.n_defect} defective, {metrics.n_masks} with a mask"),
        (
            "Maps",
            f"{size_text(summary.image_size)} pixels (height x width); {summary.vanished_regions} regions of masks "
            "vanish at that size",
        ),
        ("Protocol", summary.protocol),
        (
            "Intervals",
            f"95 %, percentiles of {draws.replicates} draws of the images with seed {draws.seed}, good and defective "
            "images each among themselves; too narrow near 1, where the images hold no miss to draw",
        ),
        ("Measured", summary.created_at),
        *([("Note", summary.note)] if summary.note else []),
    ]


def _warnings(evaluations: Sequence[StoredEvaluation]) -> list[str]:
    chosen = [stored.summary.model_title for stored in evaluations if stored.summary.test_selected]
    warnings = [reason for stored in evaluations for reason in stored.stale]
    if chosen:
        warnings.append(
            f"Test-selected: the epoch of {', '.join(chosen)} was chosen on the test set: its figures are optimistic."
        )
    return warnings


def _embedded(number: int, caption: str, figure: go.Figure) -> dict[str, object]:
    plain = go.Figure(figure)
    plain.layout.template = go.layout.Template()
    values = json.loads(plain.to_json())
    text = json.dumps({"data": values["data"], "layout": values["layout"]}).replace("<", "\\u003c")
    return {
        "id": f"chart-{number}",
        "caption": caption,
        "json": Markup(text),
        "height": figure.layout.height or 400,
    }
