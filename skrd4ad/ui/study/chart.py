"""Every score of every part of a study, with the limit."""

import plotly.graph_objects as go
import streamlit as st

from skrd4ad.format import format_number
from skrd4ad.services.evaluation.chart_parts import in_figure
from skrd4ad.services.study.measure import Study
from skrd4ad.types import Verdict
from skrd4ad.ui.charts import is_dark, show_chart
from skrd4ad.ui.inspect.control_chart import SYMBOLS
from skrd4ad.ui.theme import DARK, LIGHT, VERDICTS, chart_template

MOST = 60
"""Parts in the chart: those whose scores vary most."""


def score_chart(study: Study) -> None:
    """Draw the scores of each part, the parts by their mean."""
    parts = sorted(study.parts, key=lambda part: part.lowest - part.highest)[:MOST]
    order = {part.name: place for place, part in enumerate(sorted(parts, key=lambda part: part.mean))}
    shown = [each for each in study.record.measurements if each.photograph.part in order]
    figure = go.Figure(layout={"template": chart_template(is_dark()), "height": 320})
    kinds: list[tuple[Verdict | None, str]] = [*SYMBOLS.items(), ("CANNOT JUDGE", "square"), (None, "circle")]
    for verdict, symbol in kinds:
        points = [each for each in shown if each.verdict == verdict]
        if not points:
            continue
        look = VERDICTS["OK" if verdict is None else verdict]
        figure.add_scatter(
            x=[order[each.photograph.part] for each in points],
            y=[each.score for each in points],
            customdata=[
                [in_figure(f"{each.photograph.part}, {each.photograph.setting}"), format_number(each.score)]
                for each in points
            ],
            name="Scores" if verdict is None else look.word,
            mode="markers",
            marker={"symbol": symbol, "color": look.colour, "size": 8, "opacity": 0.8},
            hovertemplate="%{customdata[0]}: score %{customdata[1]}<extra></extra>",
        )
    if study.record.reject is not None:
        colour = (DARK if is_dark() else LIGHT).quiet_text
        figure.add_hline(
            y=study.record.reject,
            line={"color": colour, "dash": "dash", "width": 1.5},
            annotation={"text": "NG above", "font": {"color": colour, "size": 12}},
        )
    names = {name: in_figure(name if len(name) <= 12 else f"{name[:11]}…") for name in order}
    figure.update_xaxes(zeroline=False, tickvals=list(order.values()), ticktext=[names[name] for name in order])
    figure.update_yaxes(title_text="Score")
    show_chart(figure, key="study-scores", alt="Scores of each part, with the limit")
    if len(study.parts) > MOST:
        st.caption(f"The {MOST} of {len(study.parts)} parts whose scores vary most.")
