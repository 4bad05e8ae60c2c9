import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdf
import pytest

from skrd4ad.cli import main

Run = Callable[..., tuple[int, Any]]


def text_of(path: Path) -> str:
    return " ".join(" ".join(page.extract_text() for page in pypdf.PdfReader(path).pages).split())


def test_a_folder_becomes_a_pdf_and_an_html_twin(tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run) -> None:
    model, data = tiny_model
    pdf, html = tmp_path / "out" / "r.pdf", tmp_path / "out" / "r.html"
    code, found = as_json(
        "report", "--model", model, data / "machined_disc" / "test", "--out", pdf, "--html", html,
        "--who", "A. Weber", "--batch", "Line 3", "--mm-per-pixel", "0.5", "--paper", "letter",
    )  # fmt: skip
    assert code == 0
    assert found["parts"] == found["judged"] == sum(found["counts"].values()) > 4
    assert (found["pdf"], found["html"], found["calibration"]) == (str(pdf), str(html), 1)
    said = text_of(pdf)
    counts = found["counts"]
    for expected in (
        "Line 3",
        "A. Weber",
        f"{counts['NG']} NG, {counts['REVIEW']} to review, {counts['OK']} OK",
        found["promise"],
        "0.500 mm a pixel",
    ):
        assert expected in said
    assert "Line 3" in html.read_text(encoding="utf-8")
    assert round(pypdf.PdfReader(pdf).pages[0].mediabox.width) == 612


def test_the_digest_is_the_models(tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run) -> None:
    model, data = tiny_model
    as_json("report", "--model", model, data / "machined_disc" / "test" / "good", "--out", tmp_path / "r.pdf")
    _, models = as_json("models", "--out", model.parents[2])
    assert models["models"][0]["digest"] in text_of(tmp_path / "r.pdf")


def test_unreadable_images_are_in_the_report_and_the_code_is_1_when_there_is_no_other(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run
) -> None:
    model, data = tiny_model
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    good = data / "machined_disc" / "test" / "good" / "000.png"
    code, found = as_json("report", "--model", model, broken, good, "--out", tmp_path / "some.pdf")
    assert (code, found["counts"]["UNREADABLE"], found["judged"]) == (0, 1, 1)
    code, found = as_json("report", "--model", model, broken, "--out", tmp_path / "none.pdf")
    assert (code, found["judged"]) == (1, 0)
    assert "1 part inspected, none judged." in text_of(tmp_path / "none.pdf")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--out", "{tmp}"), 2, "is a folder; give the name of a file"),
        (("--out", "{tmp}/r", "--html", "{tmp}/r"), 2, "give two files"),
        (("--out", "{tmp}/r.pdf", "--mm-per-pixel", "-1"), 2, "scale is -1.0 mm a pixel"),
        (("--out", "{tmp}/r.pdf", "--paper", "a5"), 2, "--paper"),
        (("--out", "{tmp}/file/r.pdf"), 1, "choose a folder you may write to"),
    ],
)
def test_wrong_use_is_refused_before_any_work(
    tiny_model: tuple[Path, Path],
    tmp_path: Path,
    as_json: Run,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    (tmp_path / "file").write_text("")
    model, data = tiny_model
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    found, document = as_json("report", "--model", model, data / "machined_disc" / "test" / "good", *given)
    assert found == code and message in document["error"]
    assert not (tmp_path / "r.pdf").exists()


def test_people_read_where_the_report_is(
    tiny_model: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = tiny_model
    part = data / "machined_disc" / "test" / "good" / "000.png"
    assert main(["report", "--model", str(model), str(part), "--out", str(tmp_path / "r.pdf")]) == 0
    said = capsys.readouterr().out
    assert "1 part inspected" in said and str(tmp_path / "r.pdf") in said


def test_without_weasyprint_the_web_page_is_written(
    tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = tiny_model
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    part = data / "machined_disc" / "test" / "good" / "000.png"
    given = ("report", "--model", model, part, "--out", tmp_path / "r.pdf")
    code, document = as_json(*given)
    assert code == 1 and "WeasyPrint" in document["error"] and not list(tmp_path.glob("r.*"))
    code, document = as_json(*given, "--html", tmp_path / "r.html")
    assert code == 1 and "WeasyPrint" in document["error"]
    assert "1 part inspected" in (tmp_path / "r.html").read_text(encoding="utf-8")
