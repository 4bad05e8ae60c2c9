"""What the charts of evaluations share: colours, hatching, whiskers."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from skrd4ad.metrics.bootstrap import Interval

TEST_SELECTED = "test-selected"


@dataclass(frozen=True, kw_only=True)
class ChartColours:
    """Colours of the marks; the defaults stand out from light and dark grounds alike."""

    ours: str = "#0f8085"
    other: str = "#7a4fa3"
    """Our figure by the paper's protocol, and the second of two models."""
    published: str = "#7d8a90"
    published_other: str = "#a9825a"
    ok: str = "#00916e"
    review: str = "#b47a00"
    ng: str = "#cb4a0c"
    neutral: str = "#7d8a90"
    """Cells without images, reference lines."""
    whisker: str = "#8b979c"
    """Intervals; best the colour of the page's text."""
    on_mark: str = "#ffffff"
    """Text on filled marks."""
    shade: str = "rgba(127,138,144,0.16)"
    """Ground of the false positive rates that AUPRO counts."""


def in_figure(text: str) -> str:
    """A text from anywhere as it is: Plotly reads some HTML in every text of a figure."""
    return escape(text, quote=False)


def hatched(colour: str, shape: str) -> dict[str, Any]:
    """Marker of bars that stand apart from others by more than their colour."""
    pattern = {"shape": shape, "fgcolor": colour, "bgcolor": "rgba(0,0,0,0)", "size": 6, "solidity": 0.35}
    return {"color": colour, "pattern": pattern, "line": {"color": colour, "width": 1.5}}


def dotted(colour: str) -> dict[str, Any]:
    """Marker of filled bars with light dots, so that text on them can be read."""
    pattern = {"shape": ".", "fillmode": "overlay", "fgcolor": "#ffffff", "fgopacity": 0.2, "size": 8, "solidity": 0.2}
    return {"color": colour, "pattern": pattern}


def whiskers(values: Sequence[float | None], intervals: Sequence[Interval | None], *, colour: str) -> dict[str, Any]:
    """Error bars from intervals; a figure that lies outside its own has none on that side."""
    up = [0.0 if v is None or i is None else max(i.high - v, 0.0) for v, i in zip(values, intervals, strict=True)]
    down = [0.0 if v is None or i is None else max(v - i.low, 0.0) for v, i in zip(values, intervals, strict=True)]
    looks = {"thickness": 2, "width": 5, "color": colour}
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, **looks}
