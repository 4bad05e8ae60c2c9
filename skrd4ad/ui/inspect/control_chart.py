"""The control chart of scores in the order of the parts."""

import plotly.graph_objects as go

from skrd4ad.format import format_number
from skrd4ad.services.evaluation.chart_parts import in_figure
from skrd4ad.services.inspection.control_chart import ControlChart
from skrd4ad.types import Verdict
from skrd4ad.ui.theme import CHART_COLOURS_DARK, CHART_COLOURS_LIGHT, DARK, LIGHT, VERDICTS, chart_template

SYMBOLS: dict[Verdict, str] = {"OK": "circle", "REVIEW": "diamond", "NG": "triangle-up"}
HEIGHT = 340


def trend_chart(trend: ControlChart, *, dark: bool) -> go.Figure:
    """Scores by part with the limits, the moving average and the alarms."""
    palette = DARK if dark else LIGHT
    average_colour = (CHART_COLOURS_DARK if dark else CHART_COLOURS_LIGHT)[5]
    figure = go.Figure(layout={"template": chart_template(dark), "height": HEIGHT})
    for alarm in trend.alarms:
        figure.add_vrect(
            x0=alarm.start + 0.5,
            x1=alarm.end + 1.5,
            fillcolor=VERDICTS["REVIEW"].colour,
            opacity=0.16,
            line_width=0,
            layer="below",
            annotation={"text": alarm.kind, "font": {"color": palette.quiet_text, "size": 12}},
            annotation_position="top left",
        )
    if trend.usual is not None:
        figure.add_hrect(
            y0=trend.usual[0], y1=trend.usual[1], fillcolor=palette.border, opacity=0.35, line_width=0, layer="below"
        )
    for verdict, symbol in SYMBOLS.items():
        points = [point for point in trend.points if point.verdict == verdict]
        if points:
            figure.add_scatter(
                x=[point.index + 1 for point in points],
                y=[point.score for point in points],
                customdata=[[in_figure(point.name), format_number(point.score)] for point in points],
                name=VERDICTS[verdict].word,
                mode="markers",
                marker={"symbol": symbol, "color": VERDICTS[verdict].colour, "size": 8},
                hovertemplate="%{customdata[0]}: score %{customdata[1]}",
            )
    followed = [point for point in trend.points if point.average is not None]
    if followed:
        figure.add_scatter(
            x=[point.index + 1 for point in followed],
            y=[point.average for point in followed],
            name="Moving average of accepted parts",
            mode="lines",
            line={"color": average_colour, "width": 2},
            hovertemplate="moving average %{y:.3g}",
        )
    last = trend.points[-1].index + 1 if trend.points else 1
    across = [0.5, max(last, 2) + 0.5]
    for value, text, colour, dash in (
        (trend.drift_limit, "Drift above", average_colour, "dot"),
        (trend.centre, "Median of good parts", palette.quiet_text, "solid"),
    ):
        if value is not None:
            figure.add_scatter(
                x=across,
                y=[value, value],
                name=f"{text} {format_number(value)}",
                mode="lines",
                line={"color": colour, "width": 1.2, "dash": dash},
                hoverinfo="skip",
            )
    # the words stand beside the plot, one above its line and one below, so that they cover neither parts nor each other
    limits: tuple[tuple[float | None, str, Verdict, str, str], ...] = (
        (trend.image_threshold, "NG above", "NG", "solid", "bottom"),
        (trend.review_threshold, "review above", "REVIEW", "dash", "top"),
    )
    for value, text, verdict, dash, anchor in limits:
        if value is not None:
            figure.add_hline(y=value, line={"color": VERDICTS[verdict].colour, "width": 1.2, "dash": dash})
            figure.add_annotation(
                text=f"{text} {format_number(value)}",
                x=1.01,
                y=value,
                xref="paper",
                xanchor="left",
                yanchor=anchor,
                showarrow=False,
                font={"color": palette.quiet_text, "size": 12},
            )
    figure.update_layout(margin={"r": 130})
    figure.update_xaxes(title_text="Part", range=across)
    figure.update_yaxes(title_text="Image score")
    return figure


def trend_text(trend: ControlChart) -> str:
    """The chart in words, for those who cannot see it."""
    counts = {verdict: sum(point.verdict == verdict for point in trend.points) for verdict in SYMBOLS}
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "no parts"
    return " ".join([f"Scores of parts in their order: {said}.", *(alarm.text for alarm in trend.alarms)])
