"""The way limits are chosen, and the numbers it needs."""

import math

import streamlit as st

from skrd4ad.format import format_number
from skrd4ad.metrics.consequences import PARTS, Costs
from skrd4ad.metrics.thresholds import smallest_certifiable
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.calibration.calibrate import Distributions, ThresholdChoice
from skrd4ad.services.calibration.threshold_choice import Way
from skrd4ad.ui.frame import halves
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import choose

WAYS: dict[Way, str] = {
    "rate": "False rejects",
    "f1": "F1-max",
    "balanced": "Balanced",
    "cost": "Least cost",
    "manual": "By hand",
}
_ABOUT: dict[Way, str] = {
    "rate": "The share of good parts that may be rejected; held-out normals certify it.",
    "f1": "The NG limit with the best F1 on the labelled images: few escapes and few false rejects alike.",
    "balanced": "The NG limit with the best mean of good parts passed and defects found, whatever their numbers.",
    "cost": "The limits with the least expected cost on the labelled images.",
    "manual": "Move the limits yourself. Nothing is promised of limits set by hand.",
}
_BANDS = {"none": "No review", "rate": "Good parts to review", "escapes": "Escapes that are left"}


def pick_choice(found: Distributions, current: Calibration | None) -> ThresholdChoice | None:
    """How the user wants the limits chosen; None while something is missing, which the page then says."""
    left, right = halves("calibrate-way", 1, 1)
    with left:
        way = choose("Way to choose the limits", WAYS, default="rate", key="calibrate-way")
        st.caption(_ABOUT[way])
    rate, review_rate, escape_rate = 0.01, None, None
    if way == "rate" and found.normals:
        with left:
            rate = _pick_rate(found)
    with right:
        if way in ("rate", "f1", "balanced"):
            review_rate, escape_rate = _pick_band(found, rate if way == "rate" else None)
        costs, defect_rate = _pick_costs(opened=way == "cost")
    # said once every widget is drawn: Streamlit forgets what was entered in one that a run leaves out
    if missing := _missing(way, found, costs):
        st.info(missing)
        return None
    if way == "manual":
        # limits by hand start where they stand now, or at the highest good score
        review = None if current is None else current.review_threshold
        reject = max(found.normals or found.good_scores) if current is None else current.image_threshold
        return ThresholdChoice(way=way, threshold=reject, review_threshold=review, costs=costs, defect_rate=defect_rate)
    return ThresholdChoice(
        way=way,
        rate=rate,
        review_rate=review_rate,
        review_escape_rate=escape_rate,
        costs=costs,
        defect_rate=defect_rate,
    )


def unit() -> str:
    """The unit of the costs."""
    return str(st.session_state.get("calibrate-unit") or "€")


def _missing(way: Way, found: Distributions, costs: Costs | None) -> str:
    if way == "rate" and not found.normals:
        return "There are no held-out normals. Upload new good images above; scoring them takes seconds."
    if way in ("f1", "balanced", "cost") and not (found.good_scores and found.defect_scores):
        return (
            "This way needs labelled good parts and defects. Choose the test images or a folder of your own above, or "
            "another way."
        )
    if way == "cost" and costs is None:
        return "Say what an escape and a false reject cost."
    if way == "manual" and not (found.normals or found.good_scores):
        return "There are no good images to show. Upload some above."
    return ""


def _pick_rate(found: Distributions) -> float:
    n, least = len(found.normals), smallest_certifiable(len(found.normals))
    percent = st.number_input(
        "False rejects, % of good parts",
        min_value=0.01,
        max_value=50.0,
        value=1.0,
        step=0.5,
        key="calibrate-rate",
        persist_state="session",
    )
    certify = f"{n} normals cannot certify less than {format_number(100 * least)} %."
    st.caption(certify if percent / 100 >= least else f"{certify} The limit is the highest score among them.")
    return float(percent) / 100


def _pick_band(found: Distributions, rate: float | None) -> tuple[float | None, float | None]:
    """Share of good parts above the review limit, or share of defects below it; both None for no review."""
    possible = {"none": True, "rate": bool(found.normals), "escapes": bool(found.defect_scores)}
    bands = {name: text for name, text in _BANDS.items() if possible[name]}
    kind = choose(
        "Review band",
        bands,
        default="none",
        key=f"calibrate-band-{len(bands)}",
        help="Parts between two limits go to a person. The lower limit is chosen by the share of good parts that may "
        "be looked at, or by the share of known defects that may pass unseen.",
    )
    if kind == "none":
        return None, None
    if kind == "escapes":
        percent = st.number_input(
            "Escapes, % of defects", 0.0, 99.0, 1.0, 0.5, key="calibrate-escapes", persist_state="session"
        )
        return None, float(percent) / 100
    lowest = 0.1 if rate is None else math.floor(1000 * rate) / 10 + 0.1
    percent = st.number_input(
        "Reviewed or rejected, % of good parts",
        lowest,
        90.0,
        max(5.0, 2 * lowest),
        0.5,
        key=f"calibrate-review-rate-{lowest}",
        persist_state="session",
    )
    return float(percent) / 100, None


def _pick_costs(*, opened: bool) -> tuple[Costs | None, float]:
    """Costs, when both of the mistakes have one, and the share of defective parts."""
    with st.expander("Defect rate and costs", expanded=opened, key=f"calibrate-costs-{opened}"):
        left, right = st.columns(2)
        per_thousand = left.number_input(
            "Defects per 1000 parts", 0.0, 1000.0, 10.0, 1.0, key="calibrate-defects", persist_state="session"
        )
        money = right.text_input("Unit of costs", "€", key="calibrate-unit", persist_state="session")
        columns = st.columns(3)
        names = {"escape": "an escape", "false-reject": "a false reject", "review": "a review"}
        values = [
            column.number_input(
                f"{plain(money or '€')} for {event}",
                min_value=0.0,
                value=None,
                step=1.0,
                key=f"calibrate-cost-{name}",
                persist_state="session",
                placeholder="nobody reviews" if name == "review" and opened else "not given",
            )
            for column, (name, event) in zip(columns, names.items(), strict=True)
        ]
    escape, false_reject, review = values
    rate = float(per_thousand) / PARTS
    if escape is None or false_reject is None or (escape == 0 and false_reject == 0):
        return None, rate
    return Costs(escape=escape, false_reject=false_reject, review=review), rate
