"""Charts of the pages, in the style of the app."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from skrd4ad.ui.theme import chart_template


def is_dark() -> bool:
    """Whether the page is shown in the dark colour scheme."""
    return bool(st.context.theme.type == "dark")


def loss_chart(points: Sequence[dict[str, Any]], *, epochs: int) -> go.Figure:
    """Training loss and held-out score by epoch; the axis reserves the room of all ``epochs``.

    Points are ``{"step": epoch, "loss": …, "holdout_score": …}``; a held-out score may be missing.
    """
    figure = go.Figure(layout={"template": chart_template(is_dark()), "height": 240})
    for name, title, dash in (("loss", "Training loss", "solid"), ("holdout_score", "Held-out good images", "dot")):
        values = [point.get(name) for point in points]
        if name == "loss" or any(value is not None for value in values):
            figure.add_scatter(
                x=[point["step"] for point in points],
                y=values,
                name=title,
                mode="lines",
                line={"width": 2, "dash": dash},
                hovertemplate="epoch %{x}: %{y:.4f}",
            )
    figure.update_xaxes(title_text="Epoch", range=[1, max(epochs, 2)])
    figure.update_yaxes(title_text="Restoration error", rangemode="tozero")
    return figure


def show_chart(figure: go.Figure, *, key: str, alt: str) -> None:
    """Draw a chart over the width of its column, without the tool bar."""
    st.plotly_chart(figure, theme=None, key=key, alt=alt, config={"displayModeBar": False})
