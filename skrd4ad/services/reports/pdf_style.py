"""How the PDF looks: type, colours, and what is drawn as vectors."""

import unicodedata
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from reportlab.graphics import shapes as drawn
from reportlab.lib.colors import Color, HexColor, white
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Flowable, Paragraph

from skrd4ad.services.reports import chart
from skrd4ad.services.reports.report import Outcome
from skrd4ad.services.reports.text import LOOKS, Point

INK, QUIET, RULE, GROUND = HexColor("#1b2326"), HexColor("#566267"), HexColor("#d3dadc"), HexColor("#f3f5f5")
WARNING_GROUND = HexColor("#fdf3e0")
TONES: dict[chart.Tone, Color] = {outcome: HexColor(look.colour) for outcome, look in LOOKS.items()}
TONES |= {"text": INK, "quiet": QUIET, "grid": RULE}

BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=8.5, leading=11.5, textColor=INK, splitLongWords=1)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=7.5, leading=9.5)
QUIET_TEXT = ParagraphStyle("quiet", parent=BODY, textColor=QUIET)
NUMBER = ParagraphStyle("number", parent=SMALL, alignment=TA_RIGHT)
TITLE = ParagraphStyle("title", parent=BODY, fontName="Helvetica-Bold", fontSize=19, leading=23)
LEAD = ParagraphStyle("lead", parent=BODY, fontSize=10.5, leading=14, textColor=QUIET)
HEADING = ParagraphStyle(
    "heading", parent=BODY, fontName="Helvetica-Bold", fontSize=11, leading=14, spaceBefore=11, spaceAfter=4
)
HEAD_CELL = ParagraphStyle("head", parent=SMALL, fontName="Helvetica-Bold", textColor=QUIET)
HEAD_NUMBER = ParagraphStyle("head-number", parent=HEAD_CELL, alignment=TA_RIGHT)
COUNT = ParagraphStyle("count", parent=BODY, fontName="Helvetica-Bold", fontSize=20, leading=24)
STRONG = ParagraphStyle("strong", parent=BODY, fontName="Helvetica-Bold")

FLUSH = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 0)]
TIGHT = [
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
]


def tight(padding: float) -> list[tuple[Any, ...]]:
    """Table style with this much room, in points, above and below every row."""
    return [*TIGHT, ("TOPPADDING", (0, 0), (-1, -1), padding), ("BOTTOMPADDING", (0, 0), (-1, -1), padding)]


def badge(outcome: Outcome, *, size: float = 8.5) -> drawn.Drawing:
    """The shape of an outcome as vectors, and its word."""
    look, side = LOOKS[outcome], size * 0.95
    drawing = drawn.Drawing(side + 5 + len(look.word) * size * 0.7, size * 1.2)
    drawing.add(_polygon(look.shape, scale=side, height=side, colour=TONES[outcome]))
    drawing.add(
        drawn.String(side + 3.5, side * 0.12, look.word, fontName="Helvetica-Bold", fontSize=size, fillColor=INK)
    )
    drawing.hAlign = "LEFT"
    return drawing


def box() -> drawn.Drawing:
    """An empty box to tick."""
    drawing = drawn.Drawing(10, 10)
    drawing.add(drawn.Rect(0.5, 0.5, 9, 9, fillColor=white, strokeColor=QUIET, strokeWidth=0.8))
    return drawing


def _polygon(points: Sequence[Point], *, scale: float, height: float, colour: Color) -> drawn.Polygon:
    flat = [value for x, y in points for value in (x * scale, height - y * scale)]
    return drawn.Polygon(flat, fillColor=colour, strokeColor=None)


class ChartFlowable(Flowable):
    """The chart over the width of the page."""

    def __init__(self, shapes: Sequence[chart.Shape], width: float) -> None:
        super().__init__()
        self.shapes, self.scale = shapes, width / chart.WIDTH
        self.width, self.height = width, chart.HEIGHT * self.scale

    def draw(self) -> None:
        """Draw on the page's canvas."""
        canvas = self.canv
        # the shapes' y runs downwards
        canvas.translate(0, self.height)
        canvas.scale(self.scale, self.scale)
        for shape in self.shapes:
            if isinstance(shape, chart.Polygon):
                path = canvas.beginPath()
                (x, y), *others = shape.points
                path.moveTo(x, -y)
                for x, y in others:
                    path.lineTo(x, -y)
                path.close()
                canvas.setFillColor(TONES[shape.tone])
                canvas.drawPath(path, stroke=0, fill=1)
            elif isinstance(shape, chart.Line):
                canvas.setStrokeColor(TONES[shape.tone])
                canvas.setLineWidth(shape.width)
                canvas.setDash(*((3, 2) if shape.dashed else ()))
                canvas.line(shape.start[0], -shape.start[1], shape.end[0], -shape.end[1])
            else:
                canvas.setFillColor(TONES[shape.tone])
                canvas.setFont("Helvetica", chart.LABEL_SIZE)
                draw = {"start": canvas.drawString, "middle": canvas.drawCentredString, "end": canvas.drawRightString}
                draw[shape.anchor](shape.at[0], -shape.at[1], plain(shape.text))


def paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    """A paragraph of plain text; nothing in it is markup."""
    return Paragraph(escape(plain(text)), style)


def composed(text: str) -> str:
    """Text with its accents composed, as the standard fonts have them."""
    return unicodedata.normalize("NFC", text)


def plain(text: str) -> str:
    """Text in the characters of the standard fonts (Windows-1252); any other becomes its number."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in composed(text))
    return shown.encode("cp1252", "backslashreplace").decode("cp1252")
