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
    """Training loss and held-out score by epoch; the axis reserves the room of the whole training.

    Args:
        points: ``{"step": epoch, "loss": …, "holdout_score": …}``; a held-out score may be missing.
        epochs: of the whole training.
    """
    steps = [point["step"] for point in points]
    figure = go.Figure(layout={"template": chart_template(is_dark()), "height": 240})
    figure.add_scatter(
        x=steps,
        y=[point.get("loss") for point in points],
        name="Training loss",
        mode="lines",
        line={"width": 2},
        hovertemplate="epoch %{x}: %{y:.4f}",
    )
    if any(point.get("holdout_score") is not None for point in points):
        figure.add_scatter(
            x=steps,
            y=[point.get("holdout_score") for point in points],
            name="Held-out good images",
            mode="lines",
            line={"width": 2, "dash": "dot"},
            hovertemplate="epoch %{x}: %{y:.4f}",
        )
    figure.update_xaxes(title_text="Epoch", range=[1, max(epochs, 2)])
    figure.update_yaxes(title_text="Restoration error", rangemode="tozero")
    return figure


def show_chart(figure: go.Figure, *, key: str, alt: str) -> None:
    """Draw a chart over the width of its column, without the tool bar."""
    st.plotly_chart(figure, theme=None, key=key, alt=alt, config={"displayModeBar": False})
