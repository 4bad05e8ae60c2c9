"""Charts of evaluations and comparisons as plotly figures; whoever shows them applies a template of their own look.

What stands for images carries them in ``customdata``: bars and cells ``[group, index, index, …]`` with the indices of
the images in the evaluation, bars of classes ``[key, value]`` with the key of the evaluation. Points of curves carry
their threshold. No meaning rests on colour alone: published bars are hatched, second models dashed, limits have shapes.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from skrd4ad.errors import ConfigError
from skrd4ad.format import METRIC_TITLES, format_number, format_rate
from skrd4ad.metrics.bootstrap import Interval
from skrd4ad.metrics.escapes import ConfusionCell, EscapeGroup
from skrd4ad.services.evaluation.chart_parts import TEST_SELECTED, ChartColours, dotted, hatched, in_figure, whiskers
from skrd4ad.services.evaluation.compare import Comparison
from skrd4ad.services.evaluation.published import METHODS, published_for
from skrd4ad.services.evaluation.result import EvaluationSummary

BAR_METRICS = ("image_auroc", "pixel_auroc", "aupro", "aupro_005")
_PLURALS = {"good": "good parts", "defect": "defects"}
_LINE_OF_FEW, _LINE_OF_MANY, _FEW = 16, 11, 3
"""Characters of a line below a bar; so many groups of bars are few."""


def class_bars(
    evaluations: Sequence[EvaluationSummary], *, metric: str, colours: ChartColours | None = None
) -> go.Figure:
    """One group of bars a class: ours with its interval, and the published RD4AD and SK-RD4AD figures, hatched.

    ``metric`` is one of ``BAR_METRICS``. For ``aupro`` ours stand by the paper's protocol too, as the published ones
    follow that.
    """
    if metric not in BAR_METRICS:
        raise ConfigError(f"The metric is {metric!r}; allowed: {', '.join(BAR_METRICS)}.")
    look = colours or ChartColours()
    shown = [each for each in evaluations if getattr(each.metrics, metric) is not None]
    names = _class_names(shown)
    # name, metric with intervals (None for published figures), values, marker
    series: list[tuple[str, str | None, list[float | None], dict[str, Any]]] = [
        ("Measured here", metric, [getattr(each.metrics, metric) for each in shown], {"color": look.ours})
    ]
    published_as = metric
    if metric == "aupro":
        published_as = "aupro_paper"
        own = [each.metrics.aupro_paper for each in shown]
        series.append(("Measured here, paper protocol", published_as, own, dotted(look.other)))
    for method, shape, colour in zip(METHODS, ("/", "x"), (look.published, look.published_other), strict=True):
        matches = [published_for(each.dataset, each.class_name) for each in shown]
        papers = [None if match is None else match.value(method, published_as) for match in matches]
        series.append((f"{method} (published)", None, papers, hatched(colour, shape)))
    # a chance ranking has an AUROC of 0.5, so bars begin there when all are better
    lowest = [value for _, _, values, _ in series for value in values if value is not None]
    lowest += [found.low for each in shown if (found := each.intervals.intervals.get(metric)) is not None]
    start = 0.5 if "auroc" in metric and min(lowest, default=0.0) > 0.5 else 0.0
    figure = go.Figure()
    for name, measured, values, marker in series:
        if all(value is None for value in values):
            continue
        looks: dict[str, Any] = {"textposition": "outside"}
        if measured is not None:
            intervals = [each.intervals.intervals.get(measured) for each in shown]
            looks = {
                "error_y": whiskers(values, intervals, colour=look.whisker),
                "textposition": "inside",
                "insidetextanchor": "start",
                "textfont": {"color": look.on_mark},
            }
        figure.add_bar(
            x=names,
            y=[None if value is None else value - start for value in values],
            base=start,
            name=in_figure(name),
            marker=marker,
            text=["" if value is None else format_number(value) for value in values],
            textangle=0,
            customdata=[[each.key, value] for each, value in zip(shown, values, strict=True)],
            hovertemplate="%{x}: %{customdata[1]:.4f}<extra>" + in_figure(name) + "</extra>",
            **looks,
        )
    title = METRIC_TITLES[metric] + (" (0.5 is chance)" if "auroc" in metric else "")
    if metric == "aupro" and any("(published)" in trace.name for trace in figure.data):
        title += "<br>published: paper protocol"
    figure.update_xaxes(type="category", tickangle=0)
    figure.update_yaxes(title_text=title, range=[start, 1.0 + 0.06 * (1 - start)])
    gap = max(0.25, 1 - 0.13 * len(shown))  # a few classes are bars too, not walls
    figure.update_layout(barmode="group", bargap=gap, height=360, showlegend=len(figure.data) > 1)
    return figure


def escape_bars(groups: Sequence[EscapeGroup], *, axis: str, colours: ChartColours | None = None) -> go.Figure:
    """Share of defects that escape in each group, with its interval, and the share that a person looks at, hatched.

    ``customdata`` of a bar holds the name of its group and the indices of the images that it counts.
    """
    look = colours or ChartColours()
    names = [f"{in_figure(group.name)}<br>{len(group.escaped)} of {len(group.indices)} pass" for group in groups]
    rates = [100 * group.rate for group in groups]
    intervals = [Interval(100 * group.interval.low, 100 * group.interval.high) for group in groups]
    figure = go.Figure()
    figure.add_bar(
        y=names,
        x=rates,
        orientation="h",
        name="Passed as OK (escape)",
        marker={"color": look.ng},
        error_x=whiskers(rates, intervals, colour=look.whisker),
        customdata=[[group.name, *group.escaped] for group in groups],
        hovertemplate="%{y}, %{x:.1f} %<extra></extra>",
    )
    if any(group.reviewed for group in groups):
        figure.add_bar(
            y=names,
            x=[100 * len(group.reviewed) / len(group.indices) for group in groups],
            orientation="h",
            name="For review",
            marker=hatched(look.review, "/"),
            customdata=[[group.name, *group.reviewed] for group in groups],
            hovertemplate="%{y}: %{x:.1f} % for review<extra></extra>",
        )
    figure.update_xaxes(title_text="Share of the defects in %, 95 % interval", range=[0, 100])
    figure.update_yaxes(title_text=axis, type="category", autorange="reversed")
    figure.update_layout(barmode="group", height=110 + 56 * max(len(groups), 1), showlegend=len(figure.data) > 1)
    return figure


def confusion_chart(cells: Sequence[ConfusionCell], *, colours: ChartColours | None = None) -> go.Figure:
    """Truth against verdict, every cell with its count and share; ``customdata`` holds its images."""
    look = colours or ChartColours()
    meanings = {("good", "NG"): "false reject", ("defect", "OK"): "escape"}
    figure = go.Figure()
    # cells are bars of one height on top of each other, because bars can be clicked
    for cell in reversed(cells):
        meaning = meanings.get((cell.truth, cell.verdict), "")
        colour = look.ng if meaning else look.review if cell.verdict in ("REVIEW", "CANNOT JUDGE") else look.ok
        share = "" if cell.share is None else f"<br>{format_rate(cell.share)} of the {_PLURALS[cell.truth]}"
        figure.add_bar(
            x=[cell.verdict],
            y=[1],
            text=[
                f"<b>{cell.count:d}</b>"
                + (f" {meaning if cell.count == 1 else meaning + 's'}" if meaning else "")
                + share
            ],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": look.on_mark, "size": 15},
            marker={"color": colour if cell.count else look.neutral, "line": {"color": look.on_mark, "width": 1}},
            customdata=[[f"{cell.truth} {cell.verdict}", *cell.indices]],
            hovertemplate=in_figure(f"{cell.truth}, {cell.verdict}: {cell.count} images") + "<extra></extra>",
            showlegend=False,
        )
    verdicts = list(dict.fromkeys(cell.verdict for cell in cells))
    figure.update_xaxes(title_text="Verdict", type="category", categoryorder="array", categoryarray=verdicts)
    figure.update_yaxes(tickvals=[0.5, 1.5], ticktext=["Defects", "Good parts"], range=[0, 2], showgrid=False)
    figure.update_layout(barmode="stack", bargap=0.02, height=280)
    return figure


def difference_chart(
    comparison: Comparison, *, sides: tuple[str, str] = ("first", "second"), colours: ChartColours | None = None
) -> go.Figure:
    """Paired differences of all metrics with their intervals, one line each, around a line at 0 (a forest plot).

    A filled mark stands for a clear difference, whose interval leaves out 0. ``customdata``: metric, both values.
    """
    look = colours or ChartColours()
    shown = [(name, found) for name, found in comparison.differences.items() if found.difference is not None]
    values = [found.difference or 0.0 for _, found in shown]
    ends = [end for _, found in shown if (i := found.interval) is not None for end in (i.low, i.high)]
    low, high = min([0.0, *values, *ends]), max([0.0, *values, *ends])
    margin = 0.06 * (high - low) or 0.01
    figure = go.Figure()
    figure.add_scatter(
        x=values,
        y=[METRIC_TITLES[name] for name, _ in shown],
        mode="markers",
        marker={
            "size": 11,
            "symbol": ["circle" if found.is_clear else "circle-open" for _, found in shown],
            "color": look.ours,
            "line": {"color": look.ours, "width": 2},
        },
        error_x=whiskers(values, [found.interval for _, found in shown], colour=look.ours),
        customdata=[[name, found.a, found.b] for name, found in shown],
        hovertemplate="%{y}: %{customdata[1]:.4f} and %{customdata[2]:.4f}, difference %{x:+.4f}<extra></extra>",
        showlegend=False,
    )
    figure.add_vline(x=0, line={"width": 2, "dash": "dot", "color": look.neutral})
    first, second = sides
    title = f"{second.capitalize()} less {first}, 95 % interval<br>right of 0 the {second} is better"
    figure.update_xaxes(title_text=title, tickformat="+.3~f", range=[low - margin, high + margin])
    figure.update_yaxes(type="category", autorange="reversed")
    figure.update_layout(height=90 + 34 * max(len(shown), 1))
    return figure


def _class_names(evaluations: Sequence[EvaluationSummary]) -> list[str]:
    """Names of classes; with their data set, and then their model, where they would be the same otherwise."""
    full = {(each.dataset, each.class_name) for each in evaluations}
    twice = {name for name, count in Counter(name for _, name in full).items() if count > 1}
    names = [
        f"{each.dataset}/{each.class_name}" if each.class_name in twice else each.class_name for each in evaluations
    ]
    counts = Counter(names)
    line = _LINE_OF_FEW if len(names) <= _FEW else _LINE_OF_MANY
    lines = []
    for name, each in zip(names, evaluations, strict=True):
        told = [name, each.model_folder.name] if counts[name] > 1 else [name]
        parts = [_wrapped(text, line=line) for text in told]
        lines.append("<br>".join([*parts, f"({TEST_SELECTED})"] if each.test_selected else parts))
    return lines


def _wrapped(name: str, *, line: int) -> str:
    """A name in lines that fit below a bar; it breaks after its dashes and underscores only."""
    lines = [""]
    for part in re.findall(r"[^-_]*[-_]+|[^-_]+", name):
        if lines[-1] and len(lines[-1]) + len(part) > line:
            lines.append("")
        lines[-1] += part
    return "<br>".join(map(in_figure, lines))
