"""Curves on the Evaluate page: ROC, precision and recall, PRO, with the limits of the current calibration on them."""

import pandas as pd
import streamlit as st

from skrd4ad.format import METRIC_TITLES, format_number, format_rate
from skrd4ad.metrics.curves import CurveName, OperatingPoint
from skrd4ad.services.evaluation.curve_chart import CURVE_TITLES, curve_chart
from skrd4ad.services.evaluation.operating_points import Findings
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.ui.evaluate.figures import show_figure
from skrd4ad.ui.evaluate.findings import offer_calibration
from skrd4ad.ui.frame import halves
from skrd4ad.ui.text import plain

KINDS: dict[str, tuple[str, tuple[CurveName, ...], str]] = {
    "roc": (
        "ROC",
        ("image_roc", "pixel_roc"),
        "Every limit is a point: how many defects it finds against how many good ones it rejects. Nearer to the upper "
        "left is better; the dotted line is guessing.",
    ),
    "pr": (
        "Precision and recall",
        ("image_pr", "pixel_pr"),
        "Every limit is a point: how many of the rejected are defects against how many defects are found. Nearer to "
        "the upper right is better; where defects are rare this shows more than ROC.",
    ),
    "pro": (
        "PRO",
        ("pro",),
        "Share found of each defect region, averaged over regions, so that small defects count as much as large ones. "
        "AUPRO is the area up to a false positive rate of 0.05 or 0.30, divided by that rate.",
    ),
}


def pick_curves(key: str) -> tuple[str, tuple[CurveName, ...], str]:
    """The kind of curves to show, as in ``KINDS``."""
    kind = st.segmented_control(
        "Curve",
        list(KINDS),
        format_func=lambda name: KINDS[name][0],
        default="roc",
        required=True,
        key=key,
        bind="query-params",
    )
    return KINDS[str(kind)]


def show_curves(stored: StoredEvaluation, found: Findings | None, why_none: str) -> None:
    """Curves of one evaluation with its operating points."""
    _, names, how = pick_curves("curve")
    st.caption(how)
    draw_curves([stored], names, findings=[found], key="evaluate")
    if found is None:
        offer_calibration(why_none, key="evaluate-curves-calibrate")
        return
    st.markdown(f"**What the limits of calibration version {found.calibration.version} do on these images**")
    st.dataframe(_points(found), hide_index=True, key="evaluate-points")
    for note in found.notes:
        st.caption(f":material/info: {plain(note)}")


def draw_curves(
    evaluations: list[StoredEvaluation],
    names: tuple[CurveName, ...],
    *,
    findings: list[Findings | None],
    key: str,
) -> None:
    """Curves of one evaluation, those of images and of pixels beside each other; or of two, over each other."""
    there = [name for name in names if any(name in each.curves for each in evaluations)]
    if not there:
        st.info("These curves need masks, and the test images have none.", icon=":material/info:")
        return
    # two models need room for their names
    beside = len(there) > 1 and len(evaluations) == 1
    columns = halves(f"{key}-curves", 1, 1) if beside else [st.container() for _ in there]
    for name, column in zip(there, columns, strict=True):
        with column:
            st.markdown(f"**{CURVE_TITLES[name]}**")
            show_figure(
                curve_chart(evaluations, name=name, findings=findings),
                key=f"{key}-curve-{name}",
                alt=_alt(evaluations, name),
                file_name=f"{evaluations[0].summary.class_name}_{name}",
            )
    if len(there) < len(names):
        st.caption("Curves over pixels need masks, and the test images have none.")


def _alt(evaluations: list[StoredEvaluation], name: CurveName) -> str:
    areas = [
        f"{each.summary.model_title}: {METRIC_TITLES[area]} {value:.3f}"
        for each in evaluations
        if name in each.curves
        for area, value in each.curves[name].areas.items()
    ]
    return f"{CURVE_TITLES[name]}. {'; '.join(areas)}"


def _points(found: Findings) -> pd.DataFrame:
    points: list[tuple[str, OperatingPoint | None]] = [
        ("Images above the reject limit", found.image_point),
        ("Images above the review limit", found.review_point),
        ("Pixels above the pixel limit", found.pixel_point),
    ]
    return pd.DataFrame(
        [
            {
                "Counts": name,
                "Limit": format_number(point.threshold),
                "False positives": _rate(point.false_positive_rate),
                "Recall": _rate(point.recall),
                "Precision": _rate(point.precision),
                "PRO": _rate(point.pro),
            }
            for name, point in points
            if point is not None
        ]
    )


def _rate(value: float | None) -> str:
    return "–" if value is None else format_rate(value)
