"""A report as one HTML file that needs nothing else: pictures inside, no scripts, nothing from elsewhere.

Its print style sheet is the layout of the PDF, too.
"""

import base64
import unicodedata
from pathlib import Path
from typing import Any, Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import skrd4ad
from skrd4ad.errors import CheckpointError, ConfigError, DataError
from skrd4ad.files import new_file
from skrd4ad.services.access import needs
from skrd4ad.services.reports import chart, text
from skrd4ad.services.reports.collect import BatchReport
from skrd4ad.services.reports.text import LOOKS, Look, Point

Paper = Literal["a4", "letter"]

FONTS = '"Noto Sans", "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif'
"""Fonts of the printed page, the first that the system has; characters that it lacks come from the system's others."""
TONES: dict[chart.Tone, str] = {
    **{outcome: look.colour for outcome, look in LOOKS.items()},
    "text": "#1b2326",
    "quiet": "#566267",
    "grid": "#d3dadc",
}
DIRECTION_CONTROLS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def html_text(report: BatchReport, *, paper: Paper = "a4") -> str:
    """The HTML document itself, for a download; ``paper`` is the size of the printed pages."""
    if paper not in get_args(Paper):
        raise ConfigError(f"The paper is {paper!r}; allowed: {', '.join(get_args(Paper))}.")
    return render(
        "report.html",
        report=report,
        text=text,
        looks=LOOKS,
        chart=chart,
        shapes=chart.score_chart(report),
        paper=paper,
        fonts=Markup(FONTS),
    )


def render(template: str, **values: Any) -> str:
    """HTML of a template in ``templates/``; every text is escaped, and is valid UTF-8 (see :func:`readable`)."""
    environment = Environment(
        loader=PackageLoader("skrd4ad.services", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if hasattr(value, "__html__") or not isinstance(value, str) else readable(value),
    )
    environment.globals |= {"software": f"SK-RD4AD Studio {skrd4ad.__version__}", "label_size": chart.LABEL_SIZE}
    environment.filters |= {
        "colour": TONES.__getitem__,
        "css": lambda tone: "tone-" + tone.lower().replace(" ", "-"),
        "css_string": _css_string,
        "jpeg": lambda data: Markup("data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")),
        "picture": _picture,
        "points": _points,
    }
    return environment.get_template(template).render(values)


@needs("inspector", "keep a report")
def save(data: bytes, path: Path) -> None:
    """Write a report in one go; a file that is there is replaced."""
    try:
        with new_file(path) as temporary:
            temporary.write_bytes(data)
    except CheckpointError as error:
        raise DataError(f"{error} Choose a place you may write to.") from error


def readable(text: str) -> str:
    """Text with control characters, halves of surrogate pairs and changes of direction as escapes such as ``\\n``.

    Names of files need not be valid text, and a change of direction can show ``exe.png`` as ``gnp.exe``.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Cs") or unicodedata.bidirectional(character) in DIRECTION_CONTROLS
        else character
        for character in text
    )


def _points(points: tuple[Point, ...], scale: float = 1) -> str:
    return " ".join(f"{x * scale:.2f},{y * scale:.2f}" for x, y in points)


def _picture(look: Look) -> Markup:
    """The shape of an outcome as an SVG image; one style rule holds it, so a table row needs no element for it."""
    polygon = f'<polygon fill="{look.colour}" points="{_points(look.shape, 10)}"/>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">{polygon}</svg>'
    return Markup("data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode())


def _css_string(text: str) -> Markup:
    """A string of a style sheet; every character that could end it is written as its number."""
    inside = "".join(
        character if character.isascii() and character.isalnum() else f"\\{ord(character):x} "
        for character in readable(text)
    )
    return Markup(f'"{inside}"')
