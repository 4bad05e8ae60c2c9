"""A report as one HTML file that needs nothing else: pictures inside, no scripts, nothing from elsewhere."""

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from skrd4ad.errors import CheckpointError, DataError
from skrd4ad.files import new_file
from skrd4ad.services.reports import chart
from skrd4ad.services.reports import text as words
from skrd4ad.services.reports.report import Outcome, Report
from skrd4ad.services.reports.text import LOOKS


def write_html(report: Report, path: Path) -> None:
    """Write a report as one HTML file, in one go.

    Args:
        report: what to say.
        path: file to write; replaced when it exists.

    Raises:
        DataError: the file cannot be written.
    """
    # names of files need not be valid text
    data = html_text(report).encode("utf-8", "backslashreplace")
    try:
        with new_file(path) as temporary:
            temporary.write_bytes(data)
    except CheckpointError as error:
        raise DataError(f"{error} Choose a place you may write to.") from error


def html_text(report: Report) -> str:
    """The HTML document itself, for a download."""
    environment = Environment(
        loader=PackageLoader("skrd4ad.services", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        report=report,
        words=words,
        looks=LOOKS,
        badge=_badge,
        chart=_chart_svg(report),
        jpeg=lambda data: "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii"),
    )


def _badge(outcome: Outcome) -> Markup:
    """Shape and word of an outcome."""
    look = LOOKS[outcome]
    return Markup(
        '<span class="badge" title="{}"><svg viewBox="0 0 10 10" aria-hidden="true"><polygon class="{}" points="{}"/>'
        "</svg>{}</span>"
    ).format(look.meaning, _css(outcome), _points(look.shape, 10), look.word)


def _chart_svg(report: Report) -> Markup | None:
    """The chart as SVG; its colours come from the style sheet, so it fits the light and the dark scheme."""
    shapes = chart.score_chart(report)
    if not shapes:
        return None
    inside = Markup("").join(_svg(shape) for shape in shapes)
    return Markup('<svg class="chart" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>').format(
        chart.WIDTH, chart.HEIGHT, chart.chart_words(report), inside
    )


def _svg(shape: chart.Shape) -> Markup:
    if isinstance(shape, chart.Polygon):
        return Markup('<polygon class="{}" points="{}"/>').format(_css(shape.tone), _points(shape.points, 1))
    if isinstance(shape, chart.Line):
        (x1, y1), (x2, y2) = shape.start, shape.end
        dash = Markup(' stroke-dasharray="3 2"') if shape.dashed else ""
        return Markup(
            '<line class="{}" x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}" stroke-width="{:g}"{}/>'
        ).format(_css(shape.tone), x1, y1, x2, y2, shape.width, dash)
    return Markup('<text class="{}" x="{:.2f}" y="{:.2f}" text-anchor="{}" font-size="{:g}">{}</text>').format(
        _css(shape.tone), *shape.at, shape.anchor, chart.LABEL_SIZE, shape.text
    )


def _css(tone: chart.Tone) -> str:
    return "tone-" + tone.lower().replace(" ", "-")


def _points(points: tuple[words.Point, ...], scale: float) -> str:
    return " ".join(f"{x * scale:.2f},{y * scale:.2f}" for x, y in points)
