"""ROC, precision-recall and PRO curves as plotly figures, with the limits of the calibration on them."""

from collections.abc import Sequence

import plotly.graph_objects as go

from skrd4ad.format import METRIC_TITLES, format_number
from skrd4ad.metrics.curves import PRO_LIMITS, Curve, CurveName, OperatingPoint
from skrd4ad.services.evaluation.chart_parts import TEST_SELECTED, ChartColours, in_figure
from skrd4ad.services.evaluation.operating_points import Findings
from skrd4ad.services.evaluation.result import EvaluationSummary, StoredEvaluation

CURVE_TITLES: dict[CurveName, str] = {
    "image_roc": "ROC, images",
    "image_pr": "Precision and recall, images",
    "pixel_roc": "ROC, pixels",
    "pixel_pr": "Precision and recall, pixels",
    "pro": "PRO (per-region overlap)",
}
_AXES: dict[CurveName, tuple[str, str]] = {
    "image_roc": ("False positive rate (good images rejected)", "Recall (defects found)"),
    "image_pr": ("Recall (defects found)", "Precision"),
    "pixel_roc": ("False positive rate (pixels)", "Recall (pixels)"),
    "pixel_pr": ("Recall (pixels)", "Precision (pixels)"),
    "pro": ("False positive rate (pixels)", "PRO (per-region overlap)"),
}


def curve_chart(
    evaluations: Sequence[StoredEvaluation],
    *,
    name: CurveName,
    findings: Sequence[Findings | None] = (),
    colours: ChartColours | None = None,
) -> go.Figure:
    """One curve of one evaluation, or of two over each other, with operating points; PRO with its limits shaded."""
    look = colours or ChartColours()
    figure = go.Figure()
    end = 1.0
    if name == "pro":
        rates = [f.pixel_point.false_positive_rate or 0.0 for f in findings if f is not None and f.pixel_point]
        end = min(max(PRO_LIMITS[-1] + 0.05, *(1.1 * rate for rate in rates), 0.0), 1.0)
        _shade_limits(figure, look)
    elif name.endswith("_roc"):
        _add_chance(figure, look)
    found = [*findings, *([None] * len(evaluations))]
    lines = [(look.ours, "solid"), (look.other, "dash")]
    for stored, limits, (colour, dash) in zip(evaluations, found, lines, strict=False):
        curve = stored.curves.get(name)
        if curve is None:
            continue
        which = f"{in_figure(stored.summary.model_folder.name)}: " if len(evaluations) > 1 else ""
        figure.add_scatter(
            x=curve.x,
            y=curve.y,
            customdata=curve.threshold,
            mode="lines",
            name=which + _area_text(curve, stored.summary),
            line={"color": colour, "dash": dash, "width": 2, "shape": "vh" if curve.steps else "linear"},
            hovertemplate="%{x:.3f}, %{y:.3f}, threshold %{customdata:.4g}<extra></extra>",
        )
        if limits is not None:
            _add_operating_points(figure, name, limits, which=which, look=look, colour=colour)
    across, up = _AXES[name]
    figure.update_xaxes(title_text=across, range=[-0.01 * end, 1.01 * end])
    figure.update_yaxes(title_text=up, range=[-0.01, 1.02])
    # room for the legend, one line for each curve and limit
    figure.update_layout(height=400 if len(evaluations) < 2 else 460)
    return figure


def _area_text(curve: Curve, summary: EvaluationSummary) -> str:
    parts = []
    for metric, value in curve.areas.items():
        interval = summary.intervals.intervals.get(metric)
        limits = "" if interval is None else f" ({format_number(interval.low)} to {format_number(interval.high)})"
        parts.append(f"{METRIC_TITLES[metric]} {format_number(value)}{limits}")
    return ", ".join(parts) + (f", {TEST_SELECTED}" if summary.test_selected else "")


def _shade_limits(figure: go.Figure, look: ChartColours) -> None:
    start = 0.0
    for limit in PRO_LIMITS:
        figure.add_vrect(x0=start, x1=limit, fillcolor=look.shade, line_width=0, layer="below")
        figure.add_vline(
            x=limit,
            line={"width": 1, "dash": "dot", "color": look.neutral},
            annotation={"text": f"AUPRO to {limit:.2f}", "font": {"size": 12}, "yanchor": "bottom"},
            annotation_position="bottom left" if limit == PRO_LIMITS[-1] else "bottom right",
        )
        start = limit if limit == PRO_LIMITS[-1] else 0.0


def _add_chance(figure: go.Figure, look: ChartColours) -> None:
    line = {"width": 1, "dash": "dot", "color": look.neutral}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="Chance", line=line, hoverinfo="skip", showlegend=False)


def _add_operating_points(
    figure: go.Figure, name: CurveName, limits: Findings, *, which: str, look: ChartColours, colour: str
) -> None:
    points: list[tuple[str, OperatingPoint | None, str, str]]
    if name.startswith("image"):
        points = [
            ("Reject limit", limits.image_point, "triangle-up", look.ng),
            ("Review limit", limits.review_point, "diamond", look.review),
        ]
    else:
        points = [("Pixel limit", limits.pixel_point, "triangle-up", look.ng)]
    for title, point, symbol, fill in points:
        at = None if point is None else point.on(name)
        if point is None or at is None:
            continue
        text = in_figure(f"{title} {format_number(point.threshold)}")
        figure.add_scatter(
            x=[at[0]],
            y=[at[1]],
            mode="markers",
            name=f"{which}{text}",
            marker={"symbol": symbol, "size": 13, "color": fill, "line": {"color": colour, "width": 2}},
            hovertemplate=f"{text}<br>%{{x:.3f}}, %{{y:.3f}}<extra>calibration {limits.calibration.version:d}</extra>",
        )
