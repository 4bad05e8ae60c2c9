"""How the Evaluate page shows a chart: in the look of the app, saved as PNG or SVG, with bars that open images."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from skrd4ad.ui.charts import is_dark
from skrd4ad.ui.frame import calling
from skrd4ad.ui.theme import DARK, LIGHT, Palette, chart_template

ImageFormat = Literal["png", "svg"]
_FORMATS: dict[ImageFormat, str] = {"png": "PNG", "svg": "SVG"}
_FORMAT = "evaluate-chart-format"
_ROW_PIXELS = 35
SAVED_SCALE = 2
"""PNG pixels to a CSS pixel."""

FONT = "Arial, Helvetica, sans-serif"
"""A saved picture does not carry the app's own font; with one that machines have, words keep their room."""
FONT_PIXELS = 13

Pick = Callable[[Sequence[Any]], None]
"""Is given the ``customdata`` of a bar, cell or point that was clicked, before the page runs again."""


def table_height(table: pd.DataFrame, *, most: int = 100) -> int:
    """Pixels that show all rows of a table and its head, at most ``most`` rows."""
    return min(_ROW_PIXELS * (len(table) + 1) + 3, most * _ROW_PIXELS)


def right_aligned(*names: str) -> dict[str, Any]:
    """Columns of figures for ``st.dataframe``."""
    return {name: st.column_config.TextColumn(alignment="right") for name in names}


def pick_format() -> None:
    """Let the user choose what the camera above every chart saves."""
    st.segmented_control(
        "Camera saves charts as",
        list(_FORMATS),
        format_func=_FORMATS.__getitem__,
        default="png",
        required=True,
        key=_FORMAT,
        persist_state="session",
        help="Every chart has a camera at its upper right corner: it saves the chart as it is shown.",
    )


def show_figure(figure: go.Figure, *, key: str, alt: str, file_name: str, on_pick: Pick | None = None) -> None:
    """Draw a chart of :mod:`skrd4ad.services.evaluation.charts` over the width of its column.

    Args:
        figure: without a look of its own; it is changed.
        key: of the widget.
        alt: the chart in words, for those who cannot see it.
        file_name: of the saved picture, without its ending.
        on_pick: makes bars, cells and points clickable.
    """
    styled(figure)
    saved_as: ImageFormat = st.session_state.get(_FORMAT) or "png"
    config = {
        "displaylogo": False,
        "displayModeBar": True,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {"format": saved_as, "filename": file_name, "scale": SAVED_SCALE},
    }
    if on_pick is None:
        st.plotly_chart(figure, theme=None, key=key, alt=alt, config=config)
        return
    for trace in figure.select_traces({"type": "bar"}):
        _keep_unfaded(trace)

    def picked() -> None:
        points = st.session_state[key]["selection"]["points"]
        # the second click on a bar takes its mark away, and means the same bar
        data = points[0].get("customdata") if points else st.session_state.get(_last(key))
        if data:
            st.session_state[_last(key)] = data
            on_pick(list(data.values()) if isinstance(data, dict) else list(data))

    st.plotly_chart(
        figure, theme=None, key=key, alt=alt, config=config, on_select=calling(picked), selection_mode="points"
    )


def _last(key: str) -> str:
    return f"{key}-last"


def _keep_unfaded(trace: Any) -> None:
    """What was clicked is named beside its images; nothing else fades for it."""
    text = trace.insidetextfont.color or trace.textfont.color or _palette().text
    look = {"marker": {"opacity": 1}, "textfont": {"color": text}}
    trace.update(selected=look, unselected=look)


def _palette() -> Palette:
    return DARK if is_dark() else LIGHT


def styled(figure: go.Figure) -> go.Figure:
    """The chart in the colour scheme of the page, on its ground, so that a saved picture can be read anywhere."""
    # what the lines are stands below the chart: above it there is the camera
    legend = {"yref": "container", "y": 0, "yanchor": "bottom"}
    return figure.update_layout(
        template=chart_template(is_dark()),
        paper_bgcolor=_palette().background,
        legend=legend,
        font={"family": FONT, "size": FONT_PIXELS},
    )
