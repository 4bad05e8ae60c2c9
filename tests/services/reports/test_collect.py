import base64
import io
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pypdf
import pytest

import skrd4ad
from skrd4ad.config import ModelConfig
from skrd4ad.errors import ConfigError, DataError, DependencyError
from skrd4ad.inference.predictions import Inspection, Limits
from skrd4ad.model_folder.calibration import Calibration, calibrate
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import ScoringMask, find_regions
from skrd4ad.services.reports import text as words
from skrd4ad.services.reports.chart import HEIGHT, WIDTH, ChartLine, Label, Polygon, score_chart
from skrd4ad.services.reports.collect import PICTURE_SIDE, PICTURED, BatchReport, collect_report
from skrd4ad.services.reports.html import html_text, readable, save
from skrd4ad.services.reports.pdf import pdf_bytes, print_page
from skrd4ad.types import WHOLE, Prediction, Region
from skrd4ad.ui.theme import VERDICTS

HELD_OUT = [0.5 + 0.02 * place for place in range(21)]
CALIBRATION = replace(
    calibrate(HELD_OUT, data="21 good images held out from training", who="A. Weber"),
    version=3,
    review_threshold=0.8,
    pixel_threshold=0.8,
)
DIGEST, DATA_DIGEST = "ab12" * 16, "cd34" * 16
ODD = 'Łódź <b>x</b> & "部品"\n.png'


def can_print(characters: str) -> bool:
    """Whether a font of the system has these characters, as fontconfig says."""
    codes = " ".join(f"{ord(character):x}" for character in characters)
    found = subprocess.run(["fc-list", f":charset={codes}"], capture_output=True, text=True, check=False)
    return bool(found.stdout)


def info(calibration: Calibration | None = CALIBRATION, *, test_selected: bool = False) -> ModelInfo:
    return ModelInfo(
        dataset="parts",
        class_name="disc",
        model=ModelConfig(image_size=64),
        train=None,
        teacher_digest="0" * 64,
        data={"n_train": 192, "digest": DATA_DIGEST},
        test_selected=test_selected,
        digest=DIGEST,
        calibration=calibration,
        folder=Path("/models/parts/disc/20260301-demo"),
    )


def seen(
    name: str,
    score: float,
    *,
    calibration: Calibration | None = CALIBRATION,
    side: int = 32,
    version: int | None = CALIBRATION.version,
    view: str = WHOLE,
    refusal: str | None = None,
) -> Inspection:
    plane = np.full((16, 16), 0.1, np.float32)
    plane[4:8, 4:10] = score
    image = np.full((side, side, 3), 128, np.uint8)
    if calibration is None:
        raw = Prediction(anomaly_map=plane, level_maps=plane[None], score=score)
        return Inspection(name=name, image=image, prediction=raw, score=score)
    return Inspection(
        name=name,
        image=image,
        prediction=Prediction(anomaly_map=plane, level_maps=plane[None], score=score, view=view, refusal=refusal),
        verdict="CANNOT JUDGE" if refusal else calibration.verdict(score),
        score=score,
        limits=Limits(
            reject=calibration.image_threshold,
            review=calibration.review_threshold,
            pixel=calibration.pixel_threshold,
            heat_top=calibration.heat_top,
            mask=ScoringMask(),
            calibration=version,
        ),
        scored_map=plane,
        regions=tuple(find_regions(plane, calibration.pixel_threshold)),
    )


def batch() -> Iterator[Inspection]:
    yield seen("in/bad.png", 1.5)
    yield seen("in/doubt.png", 0.85)
    yield seen("in/good.png", 0.4)
    yield seen(f"in/{ODD}", 2.5)
    yield Inspection(name="in/broken.png", error="in/broken.png is not an image: cut short.")


def report_of(inspections: Iterator[Inspection] | list[Inspection], **settings) -> BatchReport:
    chosen = {"model": info(), "created_at": datetime(2026, 3, 1, 14, 5, tzinfo=UTC)} | settings
    return collect_report(inspections, **chosen)


def pdf_text(report: BatchReport, **settings) -> str:
    """Text of all pages; line breaks are spaces, as they depend on widths."""
    pages = pypdf.PdfReader(io.BytesIO(pdf_bytes(report, **settings))).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.links, self.open = "", [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data", "srcset")]
        if tag not in ("meta", "img", "polygon", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_data(self, data) -> None:
        self.text += data


def plain(html: str) -> str:
    return " ".join(Page(html).text.split())


def test_counts_order_and_severity() -> None:
    report = report_of(batch())
    assert report.counts == {"NG": 2, "REVIEW": 1, "OK": 1, "NO LIMIT": 0, "CANNOT JUDGE": 0, "UNREADABLE": 1}
    assert report.judged == 4
    assert [part.name for part in report.parts] == ["bad.png", "doubt.png", "good.png", ODD, "broken.png"]
    assert [part.number for part in report.pictured] == [4, 1, 2]
    assert report.folder == "in"
    assert [row for row in words.summary_rows(report) if row[0] in ("NG", "UNREADABLE")] == [
        ("NG", "2", "500"),
        ("UNREADABLE", "1", "200"),
    ]


def test_pdf_says_everything_that_a_reader_signs() -> None:
    report = report_of(batch(), batch="ChartLine 3, lot 17", who="A. Weber")
    text = pdf_text(report)
    for expected in (
        "Inspection report",
        "ChartLine 3, lot 17",
        "2026-03-01 14:05 UTC",
        "5 parts inspected: 2 NG, 1 to review, 1 OK, 1 unreadable.",
        "500 per 1000 judged",
        DIGEST,
        DATA_DIGEST,
        "efficientnet_lite0, 2 skips, 64 px",
        "20260301-demo",
        "192 good images",
        "21 held-out good images certify a false-reject rate of 4.55 %",
        "quantile of held-out good images (split conformal)",
        "score 1.50, limit 0.900",
        "score 0.850, review above 0.800, limit 0.900",
        "in/broken.png is not an image: cut short.",
        "Signature",
        "SK-RD4AD Studio",
        "calibration 3",
    ):
        assert expected in text
    assert "Test-fitted" not in text and "by hand" not in text


def test_pages_are_numbered_of_all() -> None:
    pages = pypdf.PdfReader(io.BytesIO(pdf_bytes(report_of(seen(f"{n}.png", 2.0) for n in range(9))))).pages
    assert len(pages) > 2
    for number, page in enumerate(pages, start=1):
        assert f"{number} of {len(pages)}" in page.extract_text()


@pytest.mark.parametrize(("paper", "size"), [("a4", (595, 842)), ("letter", (612, 792))])
def test_paper(paper, size: tuple[int, int]) -> None:
    page = pypdf.PdfReader(io.BytesIO(pdf_bytes(report_of(batch()), paper=paper))).pages[0]
    assert (round(page.mediabox.width), round(page.mediabox.height)) == size


@pytest.mark.skipif(not can_print("部어"), reason="no font of this system has these characters")
def test_names_print_in_their_own_script() -> None:
    text = pdf_text(report_of([*batch(), seen("in/деталь é żółć 한국어.png", 2.0)]))
    assert text.count('Łódź <b>x</b> & "部品"\\n.png') == text.count("деталь é żółć 한국어.png") == 2


def test_characters_that_nobody_sees_are_written_as_numbers() -> None:
    report = report_of([Inspection(name="‮gnp.exe", error="a\x00b\udcffc\td is empty.")])
    for said in (pdf_text(report), plain(html_text(report))):
        assert "\\u202egnp.exe" in said and "a\\x00b\\udcffc\\td is empty." in said
    assert readable("a\u200db é　部") == "a\u200db é　部"


def test_every_page_names_the_batch_its_model_and_its_limits() -> None:
    odd = 'Lot "7" \\ </style><b>部</b>'
    report = report_of((seen(f"{n}.png", 2.0) for n in range(9)), batch=odd)
    first, *others = (
        " ".join(page.extract_text().split()) for page in pypdf.PdfReader(io.BytesIO(pdf_bytes(report))).pages
    )
    head = "disc (parts) · model 20260301-demo · REVIEW above 0.800, NG above 0.900"
    assert head in first and len(others) > 1
    for text in others:
        assert head in text and 'Inspection report · Lot "7" \\ </style><b>' in text
    for text in (first, *others):
        assert (
            f"SK-RD4AD Studio {skrd4ad.__version__} · model {DIGEST[:16]} · calibration 3 · 2026-03-01 14:05 UTC"
            in text
        )
    assert words.subject(report_of([], model=info(None))) == "disc (parts) · model 20260301-demo · no limit"


@pytest.mark.parametrize(
    "name", ["a" * 400 + ".png", "\udcff.png", "\x00\x1b[31m.png", "‮gnp.exe", "%s {0} {{x}}.png", ""]
)
def test_no_name_breaks_a_report(name: str, tmp_path: Path) -> None:
    report = report_of([seen(name, 2.0), Inspection(name=name, error=f"{name} is empty.")])
    save(pdf_bytes(report), tmp_path / "r.pdf")
    save(html_text(report).encode(), tmp_path / "r.html")
    assert len(pypdf.PdfReader(tmp_path / "r.pdf").pages) >= 2
    assert "2 parts inspected" in plain((tmp_path / "r.html").read_text(encoding="utf-8"))


def test_html_needs_nothing_else_and_escapes_names() -> None:
    html = html_text(report_of(batch(), batch="<script>alert(1)</script>", who="<img src=x>"))
    page = Page(html)
    assert page.open == []
    assert not {"script", "link", "iframe", "b", "object"} & set(page.tags)
    assert page.tags.count("img") == 6
    assert page.links and all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert not re.search(r"https?:|@import|url\((?!\"data:)", html)
    assert "&lt;b&gt;x&lt;/b&gt;" in html and "&lt;script&gt;" in html
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_both_forms_say_the_same() -> None:
    report = report_of(batch(), mm_per_pixel=0.5)
    pdf, html = pdf_text(report), plain(html_text(report))
    facts = (*words.batch_facts(report), *words.model_facts(report), *words.calibration_facts(report))
    cells = [cell for part in report.parts[:3] for cell in words.table_row(part, 0.5)]
    for expected in [value for _, value in facts] + cells + [words.gallery_note(report), words.promise(CALIBRATION)]:
        assert expected in pdf and expected in html


def test_regions_are_in_millimetres_when_a_scale_is_given() -> None:
    region = Region(area=24, peak=1.5, mean=1.4, box=(4, 4, 10, 8), centroid=(6.5, 5.5))
    assert words.region_row(region, 0.5) == ("1.50", "6.00", "2.00, 2.00", "3.00 × 2.00")
    assert words.region_row(region, (0.5, 0.25)) == ("1.50", "3.00", "2.00, 1.00", "3.00 × 1.00")
    assert (
        dict(words.batch_facts(report_of([], mm_per_pixel=(0.5, 0.25))))["Scale"] == "0.500 mm a pixel in x, 0.250 in y"
    )
    assert words.region_row(region, None) == ("1.50", "24", "4, 4", "6 × 4")
    assert "6.00 mm²" in pdf_text(report_of([seen("a.png", 1.5)], mm_per_pixel=0.5))
    assert "24 px" in pdf_text(report_of([seen("a.png", 1.5)]))


def test_pictures_are_small_and_show_the_heat() -> None:
    (part,) = report_of([seen("big.png", 1.5, side=1600)]).pictured
    assert part.pictures is not None
    photo, heat = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        for data in (part.pictures.photo, part.pictures.overlay)
    )
    assert photo.shape == heat.shape == (PICTURE_SIDE, PICTURE_SIDE, 3)
    difference = np.abs(photo.astype(int) - heat).max(axis=2)
    assert difference[180, 200] > 40 and difference[420, 420] < 8


def test_the_worst_parts_get_the_pictures_and_the_rest_the_table() -> None:
    scores = [1.0 + 0.01 * ((index * 37) % 70) for index in range(70)]
    report = report_of([*(seen(f"{n}.png", score) for n, score in enumerate(scores)), seen("doubt.png", 0.85)])
    shown = [part.score for part in report.pictured]
    assert len(shown) == PICTURED == 60 and shown == sorted(scores, reverse=True)[:60]
    assert report.without_pictures == 11
    note = "60 parts shown; 11 more are in the table of all parts only."
    assert note in pdf_text(report) and note in plain(html_text(report))


def test_memory_does_not_grow_with_the_number_of_parts() -> None:
    images: list[weakref.ref] = []
    alive: list[int] = []

    def stream() -> Iterator[Inspection]:
        for number in range(50):
            made = seen(f"{number}.png", 1.0 + number)
            images.append(weakref.ref(made.image))
            yield made
            del made
            alive.append(sum(image() is not None for image in images))

    report = report_of(stream(), pictured=3)
    assert len(alive) == 50 and max(alive) <= 2
    assert [part.number for part in report.pictured] == [50, 49, 48]
    assert sum(part.pictures is not None for part in report.parts) == 3


def test_sixty_rejected_parts_fill_pages_without_torn_entries() -> None:
    data = pdf_bytes(report_of(seen(f"{n}.png", 2.0) for n in range(60)))
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    entries = 0
    for page in pages:
        text = page.extract_text()
        titles = len(re.findall(r"\d+ · \d+\.png", text))
        assert len(re.findall(r"score 2\.00, limit 0\.900", text)) == titles
        entries += titles
    assert entries == 60


def test_a_refused_part_is_not_judged_but_shown_with_its_reason() -> None:
    refused = seen("dark.png", 3.0, refusal="cannot judge: darker than the training images")
    report = report_of([refused, seen("bad.png", 1.5), seen("good.png", 0.4)])
    assert (report.counts["CANNOT JUDGE"], report.counts["NG"], report.judged) == (1, 1, 2)
    assert [part.name for part in report.pictured] == ["bad.png", "dark.png"]
    for said in (pdf_text(report), plain(html_text(report))):
        assert "1 NG, 0 to review, 1 OK, 1 cannot judge" in said and "CANNOT JUDGE" in said
        assert said.count("cannot judge: darker than the training images") == 2


def test_tiles_are_named_with_what_they_cost() -> None:
    report = report_of([seen("a.png", 1.5, view="tiled 4x3 at 1:1")])
    for said in (pdf_text(report), plain(html_text(report))):
        assert "seen tiled 4x3 at 1:1" in said and "each tile of a large image is one more chance" in said
    assert not words.warnings(report_of([seen("a.png", 1.5)]))


def test_an_empty_batch_is_a_report_too() -> None:
    report = report_of([])
    text, html = pdf_text(report), plain(html_text(report))
    for said in (text, html):
        assert "No part was inspected." in said and "21 held-out good images certify" in said
    assert "1 of 1" in text


def test_a_batch_that_cannot_be_read() -> None:
    report = report_of([Inspection(name=f"{n}.png", error=f"{n}.png is empty.") for n in range(3)])
    for said in (pdf_text(report), plain(html_text(report))):
        assert "3 parts inspected, none judged." in said and "2.png is empty." in said
        assert "1000 per 1000 parts" in said
    assert score_chart(report) == ()


def test_without_a_calibration_there_are_scores_and_no_verdicts() -> None:
    report = report_of([seen("a.png", 1.5, calibration=None)], model=info(None))
    assert report.counts["NO LIMIT"] == 1 and report.judged == 0
    for said in (pdf_text(report), plain(html_text(report))):
        assert "No limit: this model has no calibration" in said
        assert "1.50" in said and "no calibration" in said


def test_what_weakens_the_promise_is_said() -> None:
    fitted = replace(CALIBRATION, test_fitted=True)
    by_hand = seen("a.png", 1.5, version=None)
    other = seen("b.png", 1.5, version=2)
    report = report_of([by_hand, other], model=info(fitted, test_selected=True))
    for said in (pdf_text(report), plain(html_text(report))):
        assert "Test-fitted: the limits were chosen on the test images" in said
        assert "Test-selected: the model's epoch was chosen on the test set." in said
        assert "Limit given by hand for this batch" in said
        assert "Verdicts of this batch were made with calibration versions 2" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "21 held-out good images certify a false-reject rate of 4.55 %; 1.00 % was asked for, which so few"),
        (
            {"target_false_reject_rate": 0.1, "certified_false_reject_rate": 0.1},
            "certify a false-reject rate of 10.0 %.",
        ),
        ({"certified_false_reject_rate": None}, "No false-reject rate is certified"),
    ],
)
def test_the_promise_in_words(changes: dict, said: str) -> None:
    assert said in words.promise(replace(CALIBRATION, **changes))


def test_close_scores_read_differently_from_their_limit() -> None:
    (part,) = report_of([seen("a.png", 0.9004)]).parts
    assert words.score_line(part) == "score 0.9004, limit 0.9000"
    assert words.table_row(part, None)[1:3] == ("0.9004", "0.9000")


def test_the_chart_counts_every_part_and_stays_in_its_box() -> None:
    report = report_of(batch())
    shapes = score_chart(report)
    points = [point for shape in shapes if isinstance(shape, Polygon) for point in shape.points]
    points += [end for shape in shapes if isinstance(shape, ChartLine) for end in (shape.start, shape.end)]
    points += [shape.at for shape in shapes if isinstance(shape, Label)]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    texts = {shape.text for shape in shapes if isinstance(shape, Label)}
    assert {"NG 2", "REVIEW 1", "OK 1", "review above 0.800", "NG above 0.900"} <= texts
    ticks = [shape for shape in shapes if isinstance(shape, ChartLine) and shape.tone == "OK"]
    assert len(ticks) == 21


@pytest.mark.parametrize("scores", [[0.4], [0.4, 0.4], [0.0], [-1.0, 1e6], [1e-9, 2e-9]])
def test_any_scores_can_be_charted(scores: list[float]) -> None:
    assert "Scores" in pdf_text(report_of([seen(f"{n}.png", score) for n, score in enumerate(scores)]))


def test_verdicts_look_as_in_the_app() -> None:
    for verdict, look in VERDICTS.items():
        assert (verdict, words.LOOKS[verdict].colour) == (look.word, look.colour)


def test_wrong_settings_are_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="scale is 0 mm"):
        report_of([], mm_per_pixel=0)
    with pytest.raises(ConfigError, match="number of parts with pictures is -1"):
        report_of([], pictured=-1)
    with pytest.raises(ConfigError, match="paper is 'a5'; allowed: a4, letter"):
        pdf_bytes(report_of([]), paper="a5")  # type: ignore[arg-type]


def test_a_place_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        save(b"report", tmp_path / "file" / "report")


def test_html_pictures_are_the_reports() -> None:
    report = report_of([seen("a.png", 1.5)])
    link = Page(html_text(report)).links[1]
    assert report.pictured[0].pictures is not None
    assert base64.b64decode(link.partition(",")[2]) == report.pictured[0].pictures.overlay


def test_the_pictures_of_the_pdf_are_the_reports_own_files() -> None:
    report = report_of(seen(f"{n}.png", 1.0 + n / 200) for n in range(200))
    data = pdf_bytes(report)
    kept = [picture for part in report.pictured for picture in (part.pictures.photo, part.pictures.overlay)]
    assert len(kept) == 2 * PICTURED and all(picture in data for picture in kept)
    assert len(data) < sum(map(len, set(kept))) + 300_000


def test_a_page_reads_nothing_from_files_or_the_network(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "secret.jpg"
    cv2.imwrite(str(file), np.zeros((8, 8, 3), np.uint8))
    inside = "data:image/jpeg;base64," + base64.b64encode(file.read_bytes()).decode()
    html = "<p>text</p>" + "".join(f'<img src="{url}">' for url in (file.as_uri(), "http://127.0.0.1:9/x.jpg"))
    (page,) = pypdf.PdfReader(io.BytesIO(print_page(html))).pages
    assert not page.images and page.extract_text() == "text"
    assert caplog.text.count("disallowed protocol") == 2
    (page,) = pypdf.PdfReader(io.BytesIO(print_page(f'<img src="{inside}">'))).pages
    assert len(page.images) == 1


def test_printing_tells_its_pages_and_can_be_stopped() -> None:
    report = report_of(seen(f"{n}.png", 2.0) for n in range(9))
    told: list[str] = []
    pages = len(pypdf.PdfReader(io.BytesIO(pdf_bytes(report, progress=told.append))).pages)
    assert [text for text in dict.fromkeys(told) if text.startswith("page")] == [f"page {n + 1}" for n in range(pages)]

    class Stopped(BaseException):
        pass

    def stop(text: str) -> None:
        told.append(text)
        if text == "page 2":
            raise Stopped

    told.clear()
    with pytest.raises(Stopped):
        pdf_bytes(report, progress=stop)
    assert told[-1] == "page 2" and "page 3" not in told
    told.clear()
    pdf_bytes(report_of([]))
    assert told == []


@pytest.mark.parametrize("error", ["ImportError('no package')", "OSError('cannot load libpango')"])
def test_without_the_library_the_page_still_works(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weasyprint.py").write_text(f"print('advice')\nraise {error}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    report = report_of(batch())
    with pytest.raises(DependencyError, match=r"A PDF needs WeasyPrint .*apt-get install libpango.*print it to a PDF"):
        pdf_bytes(report)
    assert capsys.readouterr().out == ""
    assert "5 parts inspected" in plain(html_text(report))


def test_printing_leaves_pillow_strict_about_images_that_are_cut_off() -> None:
    script = (
        "from PIL import ImageFile; from skrd4ad.services.reports.pdf import require_weasyprint; "
        "require_weasyprint(); print(ImageFile.LOAD_TRUNCATED_IMAGES)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
