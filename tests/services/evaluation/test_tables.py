import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from skrd4ad.metrics.bootstrap import METRIC_NAMES
from skrd4ad.services.evaluation.charts import class_bars
from skrd4ad.services.evaluation.curve_chart import curve_chart
from skrd4ad.services.evaluation.html import html_report
from skrd4ad.services.evaluation.operating_points import Findings, findings
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.services.evaluation.tables import images_csv, latex_table, metrics_csv
from tests.evaluation_world import EvaluationWorld


@pytest.fixture
def stored(evaluated: EvaluationWorld) -> StoredEvaluation:
    return evaluated.stored()


@pytest.fixture
def found(stored: StoredEvaluation) -> Findings:
    return findings(stored, stored.limits()[0])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_of_figures_holds_every_metric_with_its_interval(stored: StoredEvaluation) -> None:
    carpet = replace(stored.summary, dataset="mvtec", class_name="carpet", test_selected=True)
    rows = rows_of(metrics_csv([stored.summary, carpet]))
    assert [row["metric"] for row in rows] == [*METRIC_NAMES, *METRIC_NAMES]
    for row in rows[:9]:
        interval = stored.summary.intervals.intervals[row["metric"]]
        assert float(row["value"]) == getattr(stored.summary.metrics, row["metric"])
        assert (float(row["low"]), float(row["high"])) == (interval.low, interval.high)
        assert (row["test_selected"], row["published_rd4ad"]) == ("false", "")
    aupro = rows[9 + METRIC_NAMES.index("aupro_paper")]
    assert (aupro["published_rd4ad"], aupro["published_skrd4ad"], aupro["test_selected"]) == ("0.97", "0.977", "true")
    assert rows[9 + METRIC_NAMES.index("aupro")]["published_rd4ad"] == ""


def test_the_table_of_images_holds_scores_and_verdicts(stored: StoredEvaluation, found: Findings) -> None:
    rows = rows_of(images_csv(stored, found))
    verdicts = {place: cell.verdict for cell in found.confusion for place in cell.indices}
    assert len(rows) == 12
    for row, image in zip(rows, stored.images, strict=True):
        assert (row["name"], row["sha256"]) == (image.name, image.content)
        assert np.float32(row["score"]) == stored.scores[image.place]
        assert row["verdict"] == verdicts[image.place]
        assert row["mask_area"] == ("" if image.mask_area is None else str(image.mask_area))
    assert {row["verdict"] for row in rows_of(images_csv(stored, None))} == {""}


def test_no_name_becomes_a_formula_or_breaks_the_file(stored: StoredEvaluation) -> None:
    names = ["=1+1.png", "@x", "a,b\n.png", "teil_\udcff.png"]
    odd = tuple(replace(image, name=name) for image, name in zip(stored.images, names, strict=False))
    text = images_csv(replace(stored, images=odd), None)
    assert [row["name"] for row in rows_of(text)] == ["'=1+1.png", "'@x", "a,b\n.png", "teil_\\udcff.png"]
    assert text.encode()


def test_a_latex_table_is_whole_escaped_and_says_how_it_was_measured(stored: StoredEvaluation) -> None:
    odd = replace(stored.summary, class_name="50%_of_{A} & B", test_selected=True)
    carpet = replace(stored.summary, dataset="mvtec", class_name="carpet")
    by_name = replace(stored.summary, dataset="line", class_name="bottle")
    table = latex_table([odd, carpet, by_name])
    assert r"50\%\_of\_\{A\} \& B\textsuperscript{\dag}" in table
    body = table[table.index(r"\midrule") : table.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3 + 2 + 2
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {6}
    unescaped = re.sub(r"\\[{}]", "", table)
    assert unescaped.count("{") == unescaped.count("}")
    interval = stored.summary.intervals.intervals["aupro"]
    aupro = stored.summary.metrics.aupro
    assert f"{100 * aupro:.1f} {{\\scriptsize [{100 * interval.low:.1f}, {100 * interval.high:.1f}]}}" in table
    assert r"\textit{RD4AD (published)} & -- & \textit{98.9} & -- & -- & \textit{97.0}" in table
    caption = next(line for line in table.splitlines() if line.startswith(r"\caption"))
    for words in ("95 \\% bootstrap", "images resampled", "exact thresholds", "8-connected", "seed 111",
                  "chosen on the test set", "best on the test set", "by the name of the class alone"):  # fmt: skip
        assert words in caption


def test_without_published_figures_the_caption_is_shorter(stored: StoredEvaluation) -> None:
    carpet = replace(stored.summary, dataset="mvtec", class_name="carpet", left_out=3, ignores_pixels=True)
    table = latex_table([carpet], published=False)
    assert "published" not in table
    assert "Nothing was fitted on test images." in table
    assert "3 test images that a model was trained or calibrated with are left out" in table
    assert "Pixels that a calibration ignores are left out" in table


def test_an_html_report_needs_nothing_else(stored: StoredEvaluation, found: Findings) -> None:
    figures = {
        "AUPRO </script><b>": class_bars([stored.summary], metric="aupro"),
        "ROC": curve_chart([stored], name="image_roc", findings=[found]),
    }
    name = "</script><script>alert(1)</script>"
    odd = replace(stored, summary=replace(stored.summary, class_name=name, test_selected=True), stale=("It is old.",))
    text = html_report([odd], figures=figures, findings=[found], title="A & B")
    assert text.count("</script>") == 2 + 2  # two figures, the library, the code
    assert "alert(1)</script>" not in text
    assert "default-src 'none'" in text
    page = re.sub(r"(?s)<script.*?</script>", "", text)
    assert not re.findall(r"""(?:src|href)\s*=|url\(|@import""", page)
    assert "<h1>A &amp; B</h1>" in page
    assert "test-selected" in page and "It is old." in page
    interval = stored.summary.intervals.intervals["image_auroc"]
    assert f"<small>{interval.low:.3g}" in page
    drawn = re.findall(r'(?s)<script type="application/json" data-for="chart-\d">(.*?)</script>', text)
    assert [json.loads(each)["data"][0]["type"] for each in drawn] == ["bar", "scatter"]
    assert page.count('data-format="svg"') == page.count('data-format="png"') == 2
    for cell in found.confusion:
        assert f"<td>{cell.truth}</td><td>{cell.verdict}</td><td>{cell.count}</td>" in page
    assert found.by_size.text in page


def test_published_figures_are_marked_in_the_html_report(stored: StoredEvaluation) -> None:
    carpet = replace(stored, summary=replace(stored.summary, dataset="mvtec", class_name="carpet"))
    page = re.sub(r"(?s)<script.*?</script>", "", html_report([carpet], figures={}))
    assert "SK-RD4AD (published), carpet" in page
    assert "0.977" in page
    assert "best on the test set" in page
    plain = html_report([stored], figures={})
    assert "(published)" not in plain
