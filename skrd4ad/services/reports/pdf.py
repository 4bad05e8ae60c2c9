"""A report as a PDF, A4 or Letter, with the standard Helvetica: every reader has it, and nothing is embedded."""

import io
from pathlib import Path
from typing import Any, Literal, get_args

from reportlab.lib.colors import white
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    LongTable,
    PageTemplate,
    Spacer,
    Table,
)

from skrd4ad.errors import CheckpointError, ConfigError, DataError
from skrd4ad.files import new_file
from skrd4ad.services.reports import chart
from skrd4ad.services.reports import text as words
from skrd4ad.services.reports.pdf_style import (
    BODY,
    COUNT,
    FLUSH,
    GROUND,
    HEAD_CELL,
    HEAD_NUMBER,
    HEADING,
    LEAD,
    NUMBER,
    QUIET,
    QUIET_TEXT,
    RULE,
    SMALL,
    STRONG,
    TIGHT,
    TITLE,
    TONES,
    WARNING_GROUND,
    ChartFlowable,
    badge,
    box,
    composed,
    paragraph,
    plain,
    tight,
)
from skrd4ad.services.reports.report import Part, Report

Paper = Literal["a4", "letter"]
_SIZES = {"a4": A4, "letter": LETTER}
MARGIN = 16 * mm
_SUBSTITUTE_NOTE = "Characters that the font of this document lacks are written by their number, as in \\u0142."


def write_pdf(report: Report, path: Path, *, paper: Paper = "a4") -> None:
    """Write a report as a PDF, in one go.

    Args:
        report: what to say.
        path: file to write; replaced when it exists.
        paper: its size.

    Raises:
        ConfigError: there is no such paper.
        DataError: the file cannot be written.
    """
    if paper not in _SIZES:
        raise ConfigError(f"The paper is {paper!r}; allowed: {', '.join(get_args(Paper))}.")
    data = pdf_bytes(report, paper=paper)
    try:
        with new_file(path) as temporary:
            temporary.write_bytes(data)
    except CheckpointError as error:
        raise DataError(f"{error} Choose a place you may write to.") from error


def pdf_bytes(report: Report, *, paper: Paper = "a4") -> bytes:
    """The PDF itself, for a download."""
    file = io.BytesIO()
    width, height = (side - 2 * MARGIN for side in _SIZES[paper])
    # without padding, so that texts and tables share their left edge
    frame = Frame(
        MARGIN, MARGIN, width, height, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0, id="page"
    )
    document = BaseDocTemplate(
        file,
        pagesize=_SIZES[paper],
        pageTemplates=[PageTemplate(frames=[frame])],
        title=plain(f"{report.title} {report.batch}".strip()),
        author=plain(report.who),
        subject=plain(words.summary_line(report)),
        creator=report.software,
        lang="en",
    )
    foot = plain(words.footer(report))

    def canvas(*args: Any, **settings: Any) -> Canvas:
        return _NumberedCanvas(foot, *args, **settings)

    document.build(_story(report, width), canvasmaker=canvas)
    return file.getvalue()


class _NumberedCanvas(Canvas):
    """Canvas that writes the foot of the pages when it knows how many there are."""

    def __init__(self, foot: str, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._foot = foot
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - the library's name
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        pages = self._pages
        for number, page in enumerate(pages, start=1):
            self.__dict__.update(page)
            self._draw_foot(f"{number} of {len(pages)}")
            super().showPage()
        super().save()

    def _draw_foot(self, number: str) -> None:
        width = self._pagesize[0]
        self.setStrokeColor(RULE)
        self.setLineWidth(0.5)
        self.line(MARGIN, 13.5 * mm, width - MARGIN, 13.5 * mm)
        self.setFillColor(QUIET)
        self.setFont("Helvetica", 7)
        self.drawString(MARGIN, 10 * mm, self._foot)
        self.drawRightString(width - MARGIN, 10 * mm, number)


def _story(report: Report, width: float) -> list[Flowable]:
    story: list[Flowable] = [
        paragraph(report.title, TITLE),
        paragraph(words.summary_line(report), LEAD),
        Spacer(0, 6),
        *[_warning(text, width) for text in words.warnings(report)],
        _summary(report, width),
        Spacer(0, 8),
        _facts(words.batch_facts(report), width),
        *_section("Model", [_facts(words.model_facts(report), width)]),
        *_section("Calibration", _calibration(report, width)),
    ]
    if shapes := chart.score_chart(report):
        story += _section("Scores", [ChartFlowable(shapes, width)])
    story += _gallery(report, width)
    story += _all_parts(report, width)
    story.append(_sign_off(width))
    return story


def _section(title: str, content: list[Flowable]) -> list[Flowable]:
    return [KeepTogether([paragraph(title, HEADING), *content])]


def _calibration(report: Report, width: float) -> list[Flowable]:
    promise = paragraph(words.promise(report.calibration), STRONG)
    facts = words.calibration_facts(report)
    return [promise, Spacer(0, 3), _facts(facts, width)] if facts else [promise]


def _facts(facts: words.Facts, width: float) -> Table:
    rows = [[paragraph(name, QUIET_TEXT), paragraph(value, BODY)] for name, value in facts]
    return Table(rows, colWidths=[38 * mm, width - 38 * mm], style=[*FLUSH, *tight(1)], hAlign="LEFT")


def _warning(text: str, width: float) -> Table:
    style = [
        ("BACKGROUND", (0, 0), (-1, -1), WARNING_GROUND),
        ("LINEBEFORE", (0, 0), (0, -1), 2.5, TONES["REVIEW"]),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
    ]
    return Table([[paragraph(text, STRONG)]], colWidths=[width], style=style, spaceAfter=6)


def _summary(report: Report, width: float) -> Table:
    """One box an outcome: shape and word, the count, the count per 1000."""
    cells = [
        [badge(outcome), paragraph(count, COUNT), paragraph(f"{rate} per 1000 {words.counted_of(outcome)}", SMALL)]
        for outcome, count, rate in words.summary_rows(report)
    ]
    style: list[tuple[Any, ...]] = [("BACKGROUND", (0, 0), (-1, -1), GROUND), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    for column, (outcome, _, _) in enumerate(words.summary_rows(report)):
        style.append(("LINEABOVE", (column, 0), (column, 0), 2.5, TONES[outcome]))
        style.append(("LINEBEFORE", (column, 0), (column, 0), 4 if column else 0, white))
    style += [("TOPPADDING", (0, 0), (-1, -1), 6), ("BOTTOMPADDING", (0, 0), (-1, -1), 6)]
    return Table([cells], colWidths=[width / len(cells)] * len(cells), style=style)


def _gallery(report: Report, width: float) -> list[Flowable]:
    heading = [paragraph(words.GALLERY_TITLE, HEADING), paragraph(words.gallery_note(report), QUIET_TEXT)]
    if not report.pictured:
        return [KeepTogether(heading)]
    first, *others = (_pictured(part, report, width) for part in report.pictured)
    return [KeepTogether([*heading, Spacer(0, 4), first]), *others]


def _pictured(part: Part, report: Report, width: float) -> Table:
    assert part.pictures is not None
    side = 50 * mm
    scale = side / max(part.pictures.width, part.pictures.height)
    pictures = [
        Image(io.BytesIO(data), width=part.pictures.width * scale, height=part.pictures.height * scale, lazy=0)
        for data in (part.pictures.photo, part.pictures.overlay)
    ]
    title = Table(
        [[badge(part.outcome), paragraph(f"{part.number} · {part.name}", STRONG)]],
        colWidths=[22 * mm, width - 22 * mm],
        style=[*FLUSH, *tight(1)],
    )
    regions = _regions(part, report, width - 2 * side - 8 * mm)
    style = [
        *FLUSH,
        *TIGHT,
        ("SPAN", (0, 0), (-1, 0)),
        ("NOSPLIT", (0, 0), (-1, -1)),
        ("LINEABOVE", (0, 0), (-1, 0), 0.5, RULE),
        ("BOTTOMPADDING", (0, 1), (-1, 1), 7),
    ]
    widths = [side + 3 * mm, side + 5 * mm, width - 2 * side - 8 * mm]
    return Table([[title, "", ""], [*pictures, regions]], colWidths=widths, style=style)


def _regions(part: Part, report: Report, width: float) -> list[Flowable]:
    lines = [paragraph(line, BODY) for line in words.part_lines(part)]
    found: list[Flowable] = [*lines, Spacer(0, 3)]
    if not part.regions:
        return [*found, paragraph(words.NO_REGIONS, SMALL)]
    head = [paragraph(name, HEAD_NUMBER) for name in words.region_columns(report.mm_per_pixel)]
    rows = [[paragraph(cell, NUMBER) for cell in words.region_row(r, report.mm_per_pixel)] for r in part.regions]
    style = [*FLUSH, *tight(1.5), ("LINEBELOW", (0, 0), (-1, 0), 0.5, RULE), ("LEFTPADDING", (0, 0), (-1, -1), 3)]
    shares = (0.16, 0.24, 0.29, 0.31)
    found.append(Table([head, *rows], colWidths=[share * width for share in shares], style=style))
    if left := words.regions_left(part):
        found.append(paragraph(left, SMALL))
    return found


def _all_parts(report: Report, width: float) -> list[Flowable]:
    heading = paragraph(f"All parts ({len(report.parts)})", HEADING)
    if not report.parts:
        return [heading, paragraph("No part was inspected.", QUIET_TEXT)]
    first, *numbers, last = words.TABLE_COLUMNS
    head = [
        paragraph(first, HEAD_CELL),
        *(paragraph(name, HEAD_NUMBER) for name in numbers),
        paragraph(last, HEAD_CELL),
    ]
    rows: list[list[Flowable]] = [head]
    for part in report.parts:
        *figures, name = words.table_row(part, report.mm_per_pixel)
        rows.append(
            [badge(part.outcome, size=7), *(paragraph(cell, NUMBER) for cell in figures), paragraph(name, SMALL)]
        )
    widths = [24 * mm, 11 * mm, 16 * mm, 16 * mm, 15 * mm, 22 * mm]
    style = [
        *tight(1.8),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, QUIET),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, RULE),
    ]
    found: list[Flowable] = [
        heading,
        LongTable(rows, colWidths=[*widths, width - sum(widths)], style=style, repeatRows=1),
    ]
    if any(plain(part.name + part.reason) != composed(part.name + part.reason) for part in report.parts):
        found.append(paragraph(_SUBSTITUTE_NOTE, SMALL))
    return found


def _sign_off(width: float) -> Flowable:
    boxes = Table(
        [[cell for name in words.DECISIONS for cell in (box(), paragraph(name, BODY))]],
        colWidths=[6 * mm, 26 * mm, 6 * mm, 34 * mm, 6 * mm, width - 78 * mm],
        style=[*FLUSH, ("VALIGN", (0, 0), (-1, -1), "MIDDLE")],
    )
    rows = [[paragraph(name, HEAD_CELL) for name in ("", "Name", "Date", "Signature")]]
    rows += [[paragraph(role, BODY), "", "", ""] for role in words.SIGNERS]
    lines = Table(
        rows,
        colWidths=[30 * mm, 0.32 * width, 0.16 * width, width - 30 * mm - 0.48 * width],
        rowHeights=[5 * mm, 11 * mm, 11 * mm],
        style=[
            ("BOX", (0, 0), (-1, -1), 0.6, QUIET),
            ("INNERGRID", (0, 0), (-1, -1), 0.4, RULE),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ],
    )
    return KeepTogether(
        [
            paragraph("Decision on the batch", HEADING),
            paragraph(words.DECISION_NOTE, QUIET_TEXT),
            Spacer(0, 4),
            boxes,
            Spacer(0, 4),
            lines,
        ]
    )
