"""How the app looks: its colours, the verdict badge, numbers, and the style of charts.

Streamlit's own widgets take the same colours from ``.streamlit/config.toml``; a test holds both together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from skrd4ad.format import format_apart
from skrd4ad.storage.annotations import Label
from skrd4ad.types import Verdict


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours of one colour scheme: neutral greys and one accent."""

    background: str
    surface: str
    """Sidebar, widgets and the ground behind pictures."""
    text: str
    quiet_text: str
    border: str
    accent: str
    """What can be done."""
    on_accent: str
    """Text on the accent; Streamlit's primary buttons always have white text, so the accent is dark enough for it."""
    link: str
    """The accent where it is text."""


LIGHT = Palette(
    background="#ffffff",
    surface="#f3f5f5",
    text="#1b2326",
    quiet_text="#566267",
    border="#d3dadc",
    accent="#0b6b70",
    on_accent="#ffffff",
    link="#0b6b70",
)
DARK = Palette(
    background="#14191b",
    surface="#1f2629",
    text="#e6ebec",
    quiet_text="#9fabaf",
    border="#384347",
    accent="#0f8085",
    on_accent="#ffffff",
    link="#3db8bd",
)


@dataclass(frozen=True, kw_only=True)
class VerdictLook:
    """A verdict as a word, a shape and a colour, so that it never rests on colour alone."""

    word: str
    meaning: str
    colour: str
    """One tone that stands out from the background of both colour schemes."""
    shape: str
    """A CSS ``clip-path``: Streamlit removes SVG from HTML, not styles."""


VERDICTS: dict[Verdict, VerdictLook] = {
    "OK": VerdictLook(word="OK", meaning="good part", colour="#00916e", shape="circle(50%)"),
    "REVIEW": VerdictLook(
        word="REVIEW", meaning="a person decides", colour="#b47a00", shape="polygon(50% 0, 100% 50%, 50% 100%, 0 50%)"
    ),
    "NG": VerdictLook(word="NG", meaning="rejected part", colour="#cb4a0c", shape="polygon(50% 5%, 100% 95%, 0 95%)"),
    "CANNOT JUDGE": VerdictLook(
        word="CANNOT JUDGE",
        meaning="unlike the training images",
        colour="#8465bd",
        shape="polygon(10% 10%, 90% 10%, 90% 90%, 10% 90%)",
    ),
}

ON_REJECT = "#ffffff"
"""Text on the filled badge of a rejected part."""

CHART_COLOURS_LIGHT = ("#0b6b70", "#cb4a0c", "#5b6670", "#b47a00", "#7a4fa3", "#2f6db5")
CHART_COLOURS_DARK = ("#3db8bd", "#f0793f", "#aab4ba", "#e0a92e", "#b99ae0", "#7fb0ea")


def verdict_badge(verdict: Verdict, score: float, limit: float) -> str:
    """A verdict with its score and limit as HTML, for ``st.html``: shape, word, "0.820, limit 0.610".

    Only a rejected part has a filled badge; the others are quiet and take their text's colour from the page, so that
    they fit both colour schemes.
    """
    look = VERDICTS[verdict]
    rejected = verdict == "NG"
    paint = f"background:{look.colour};color:{ON_REJECT}" if rejected else "color:inherit"
    # hidden from screen readers, which read the word beside it
    shape = (
        '<span aria-hidden="true" style="display:inline-block;flex:none;width:0.8em;height:0.8em;'
        f'background:{ON_REJECT if rejected else look.colour};clip-path:{look.shape}"></span>'
    )
    found, allowed = format_apart(score, limit)
    return (
        f'<span title="{escape(look.meaning)}" style="display:inline-flex;align-items:center;gap:.45em;'
        f"padding:.2em .7em;border:1.5px solid {look.colour};border-radius:999px;line-height:1.3;white-space:nowrap;"
        f'font-variant-numeric:tabular-nums;{paint}">'
        f'{shape}<strong style="letter-spacing:.02em">{escape(look.word)}</strong>'
        f"<span>{escape(found)}, limit {escape(allowed)}</span></span>"
    )


def chart_template(dark: bool) -> go.layout.Template:
    """Plotly template of the app; show charts with ``st.plotly_chart(figure, theme=None)``."""
    palette = DARK if dark else LIGHT
    colours = CHART_COLOURS_DARK if dark else CHART_COLOURS_LIGHT
    axis = {
        "gridcolor": palette.border,
        "linecolor": palette.border,
        "zerolinecolor": palette.border,
        "tickfont": {"color": palette.quiet_text},
        "title": {"font": {"color": palette.quiet_text, "size": 13}},
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            "colorway": list(colours),
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": '"Source Sans", sans-serif', "size": 14, "color": palette.text},
            "title": {"font": {"size": 16}, "x": 0, "xanchor": "left"},
            "margin": {"l": 48, "r": 16, "t": 40, "b": 40},
            "xaxis": axis | {"showgrid": False},
            "yaxis": axis,
            "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"color": palette.text}},
            "hoverlabel": {
                "bgcolor": palette.surface,
                "bordercolor": palette.border,
                "font": {"color": palette.text},
            },
            "hovermode": "closest",
        }
    )


LABEL_LOOKS: Mapping[Label, VerdictLook] = {
    "good": VERDICTS["OK"],
    "defect": VERDICTS["NG"],
    "unsure": VERDICTS["REVIEW"],
}
"""Decisions look as the verdicts do; the decision's own word or letter always stands beside."""

LABEL_NAMES: Mapping[Label, str] = {"none": "open", "good": "good", "defect": "defect", "unsure": "unsure"}


def decision_text(label: Label, defect_type: str | None) -> str:
    """``good``, ``defect (scratch)``, ``open``."""
    return f"{LABEL_NAMES[label]} ({defect_type})" if defect_type else LABEL_NAMES[label]
