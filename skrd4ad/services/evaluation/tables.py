"""Evaluations as files to take away: CSV, a LaTeX table, and one HTML file that needs nothing else."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from skrd4ad.format import METRIC_TITLES
from skrd4ad.metrics.bootstrap import METRIC_NAMES, Interval
from skrd4ad.services.evaluation.chart_parts import TEST_SELECTED
from skrd4ad.services.evaluation.operating_points import Findings
from skrd4ad.services.evaluation.published import METHODS, PROTOCOL_DIFFERENCE, published_for
from skrd4ad.services.evaluation.result import EvaluationSummary, StoredEvaluation
from skrd4ad.types import size_option

TABLE_METRICS = ("image_auroc", "pixel_auroc", "aupro", "aupro_005", "aupro_paper")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "·": r"$\cdot$",
}


def metrics_csv(evaluations: Sequence[EvaluationSummary]) -> str:
    """One row for each evaluation and metric: value, interval, whether test-selected, and what was measured on what."""
    return _csv([row for each in evaluations for row in _metric_rows(each)])


def images_csv(stored: StoredEvaluation, findings: Findings | None) -> str:
    """One row for each image: name, label, type, scores, verdict, area of its mask in pixels of the map."""
    verdicts = {} if findings is None else {p: cell.verdict for cell in findings.confusion for p in cell.indices}
    rows = [
        {
            "place": image.place,
            "name": image.name,
            "label": "defect" if image.label else "good",
            "defect_type": image.defect_type,
            "score": image.score,
            "verdict_score": image.verdict_score,
            "verdict": verdicts.get(image.place),
            "mask_area": image.mask_area,
            "sha256": image.content,
        }
        for image in stored.images
    ]
    return _csv(rows)


def latex_table(evaluations: Sequence[EvaluationSummary], *, published: bool = True) -> str:
    """A booktabs table in percent, a row for each class, with 95 % intervals; the caption states the protocol."""
    rows = []
    for each in evaluations:
        cells = [_latex_cell(getattr(each.metrics, name), each.intervals.intervals.get(name)) for name in TABLE_METRICS]
        badge = r"\textsuperscript{\dag}" if each.test_selected else ""
        rows.append(
            [f"{_latex(each.dataset)}/{_latex(each.class_name)}{badge}", _latex(each.model_folder.name), *cells]
        )
        match = published_for(each.dataset, each.class_name) if published else None
        for method in METHODS if match is not None else ():
            values = [match.value(method, name) for name in TABLE_METRICS] if match is not None else []
            mark = r"\textsuperscript{\ddag}" if match is not None and match.by_name_only else ""
            shown = [r"\textit{" + f"{100 * value:.1f}" + "}" if value is not None else "--" for value in values]
            rows.append(["", rf"\textit{{{method} (published)}}{mark}", *shown])
    head = ["Class", "Model", *(_latex(METRIC_TITLES[name]) for name in TABLE_METRICS)]
    body = "\n".join(" & ".join(row) + r" \\" for row in rows)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs} and \\usepackage{graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_caption(evaluations, published=published)}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{ll{'c' * len(TABLE_METRICS)}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _metric_rows(summary: EvaluationSummary) -> Iterable[dict[str, object]]:
    match = published_for(summary.dataset, summary.class_name)
    metrics = summary.metrics
    for name in METRIC_NAMES:
        interval = summary.intervals.intervals.get(name)
        papers = [None if match is None else match.value(method, name) for method in METHODS]
        yield {
            "dataset": summary.dataset,
            "class": summary.class_name,
            "model": summary.model_folder.name,
            "model_digest": summary.model_digest,
            "metric": name,
            "title": METRIC_TITLES[name],
            "value": getattr(metrics, name),
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
            "published_rd4ad": papers[0],
            "published_skrd4ad": papers[1],
            "published_by_name_only": None if match is None or papers == [None, None] else match.by_name_only,
            "test_selected": summary.test_selected,
            "n_good": metrics.n_good,
            "n_defect": metrics.n_defect,
            "n_masks": metrics.n_masks,
            "image_size": size_option(summary.image_size),
            "replicates": summary.intervals.replicates,
            "seed": summary.intervals.seed,
            "data_digest": summary.data_digest,
            "evaluated_at": summary.created_at,
            "protocol": summary.protocol,
        }


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    """At least one row; the keys of the first name the columns."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _field(value) for name, value in row.items()})
    return stream.getvalue()


def _field(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe; names of files need not be valid text."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if re.match(r"[=+\-@\t\r\n]", text) else text


def _latex(text: str) -> str:
    readable = text.encode("utf-8", "backslashreplace").decode()
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(readable.split()))


def _latex_cell(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "--"
    if interval is None:
        return f"{100 * value:.1f}"
    return rf"{100 * value:.1f} {{\scriptsize [{100 * interval.low:.1f}, {100 * interval.high:.1f}]}}"


def _caption(evaluations: Sequence[EvaluationSummary], *, published: bool) -> str:
    drawn = sorted({(each.intervals.replicates, each.intervals.seed) for each in evaluations})
    draws = "; ".join(f"{replicates} replicates, seed {seed}" for replicates, seed in drawn)
    matches = [published_for(each.dataset, each.class_name) for each in evaluations] if published else []
    shown = [match for match in matches if match is not None]
    parts = [
        "Figures in percent, with 95 % bootstrap intervals in brackets (images resampled, good and defective ones each "
        f"among themselves; {draws}).",
        "AUPRO: pooled test set, exact thresholds, 8-connected regions, false positive rate to 0.30 and to 0.05; the "
        "paper protocol is the original code's per-image form with 200 thresholds.",
    ]
    if any(each.ignores_pixels for each in evaluations):
        parts.append("Pixels that a calibration ignores are left out of scores, maps and pixel metrics.")
    if left_out := sum(each.left_out for each in evaluations):
        parts.append(f"{left_out} test images that a model was trained or calibrated with are left out.")
    if all(not each.test_selected for each in evaluations):
        parts.append("Nothing was fitted on test images.")
    else:
        parts.append(f"\x00 {TEST_SELECTED}: the epoch was chosen on the test set, so these figures are optimistic.")
    if shown:
        parts.append(PROTOCOL_DIFFERENCE)
    if any(match.by_name_only for match in shown):
        parts.append("\x01 Matched by the name of the class alone.")
    caption = _latex(" ".join(parts))
    return caption.replace("\x00", r"\textsuperscript{\dag}").replace("\x01", r"\textsuperscript{\ddag}")
