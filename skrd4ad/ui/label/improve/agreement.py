"""Agreement of the model with what people decided, and the images on which both differ."""

import pandas as pd
import streamlit as st

from skrd4ad.format import format_apart, format_rate
from skrd4ad.metrics.consequences import Counts
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.improve.agreement import Agreement, agreement, closeness_of_labelled
from skrd4ad.storage.labelled_images import LabelledImage
from skrd4ad.ui.label.improve.state import OPEN, LoopState
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, rerun

SHOWN = 200
"""Images of the list of differences; the largest differences come first."""
CHOSEN_NEAR = 0.6
"""From here on the labelled images are said to lie near the limit; 0.5 is a choice that has nothing to do with it."""


def show_agreement(state: LoopState) -> None:
    """How often the verdict is what people decided, with the counts behind it."""
    st.subheader("Agreement", anchor=False)
    found = agreement(state.labels)
    if found is None:
        st.caption("This model has no limit yet, so it gives no verdicts. Recalibrate below, or on the Calibrate page.")
        return
    rate = found.rate
    left, right = st.columns([1, 2], vertical_alignment="center")
    left.metric(
        "Both agree",
        "–" if rate is None else format_rate(rate),
        help="Share of the images labelled good or defect, and judged OK or NG, on which both say the same. Images for "
        "REVIEW and images that people are unsure of are counted apart.",
    )
    right.caption(_sentence(found))
    st.dataframe(_table(found), hide_index=True, key="loop-agreement")
    for line in _remarks(state):
        st.caption(plain(line))


def show_disagreements(state: LoopState) -> None:
    """The images on which verdict and label differ; one can be taken in hand."""
    found, calibration = agreement(state.labels), state.info.calibration
    if found is None or calibration is None or not (differing := differences(found, calibration)):
        return
    with st.expander(f"Images on which both differ: {len(differing)}", key="loop-differences"):
        if len(differing) > SHOWN:
            st.caption(f"The {SHOWN} with the largest difference are listed.")
        shown, limit = differing[:SHOWN], calibration.image_threshold
        event = st.dataframe(
            pd.DataFrame([_difference_row(image, limit) for image in shown]),
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            key="loop-difference-table",
        )
        rows = event["selection"]["rows"]
        chosen = shown[rows[0]] if rows and rows[0] < len(shown) else None
        if button(
            "Look at it again",
            disabled=chosen is None,
            icon=":material/search:",
            key="loop-open",
            help="Takes the image that is marked in the list in hand on the Label page.",
        ):
            assert chosen is not None, "the button can be pressed only with an image marked"
            st.session_state[OPEN] = chosen.digest
            rerun()
        if chosen is None:
            st.caption("Mark a line to look at its image again.")


def differences(found: Agreement, calibration: Calibration) -> list[LabelledImage]:
    """Good parts that are NG and defects that are OK, the one farthest from the limit first."""

    def apart(image: LabelledImage) -> float:
        assert image.score is not None, "an image without a score has no verdict"
        limit = calibration.image_threshold if image.label == "good" else calibration.lower_threshold
        return -abs(image.score - limit)

    return sorted((*found.false_rejects, *found.escapes), key=apart)


def counts_text(counts: Counts) -> str:
    """``3, 1, 0``: OK, REVIEW, NG."""
    return f"{counts.ok}, {counts.review}, {counts.ng}"


def _sentence(found: Agreement) -> str:
    text = f"On {found.agreed} of {found.compared} images with a verdict of OK or NG."
    if found.reviewed:
        text += f" {found.reviewed} more are for review."
    if found.unsure.total:
        text += f" People are unsure of {found.unsure.total}."
    return text


def _table(found: Agreement) -> pd.DataFrame:
    rows: list[tuple[str, Counts]] = [("good", found.good), ("defect", found.defect)]
    if found.unsure.total:
        rows.append(("unsure", found.unsure))
    return pd.DataFrame(
        {"Labelled": name, "OK": each.ok, "REVIEW": each.review, "NG": each.ng, "Together": each.total}
        for name, each in rows
    )


def _difference_row(image: LabelledImage, limit: float) -> dict[str, str]:
    score, shown_limit = format_apart(image.score or 0.0, limit)
    return {
        "Image": image.name,
        "Labelled": f"defect ({image.defect_type})" if image.defect_type else image.label,
        "By": image.reviewer,
        "Verdict": "NG" if image.label == "good" else "OK",
        "Score": score,
        "NG above": shown_limit,
    }


def _remarks(state: LoopState) -> list[str]:
    labels = state.labels
    lines = [
        f"{len(state.book.images)} of {labels.in_class} images are labelled. They are the ones people chose to look "
        "at, not a random sample of the parts: these figures tell models and limits apart, and are not the rates of "
        "the process." + _nearness(state)
    ]
    if labels.learnt:
        lines.append(f"{labels.learnt} labelled images are left out, as the model has learnt from them.")
    if not labels.is_exact:
        lines.append(
            "The images this model was trained on are not at hand as they were: it cannot be checked whether other "
            "labelled ones are among them."
        )
    return lines


def _nearness(state: LoopState) -> str:
    calibration = state.info.calibration
    nearness = _closeness(state.info.digest, None if calibration is None else calibration.version, state)
    if nearness is None or nearness < CHOSEN_NEAR:
        return ""
    return (
        f" In {100 * nearness:.0f} % of pairs a labelled image lies closer to the limit than an open one (50 % would "
        "be a choice that has nothing to do with the limit)."
    )


@st.cache_data(max_entries=16, ttl="30s", show_spinner=False)
def _closeness(digest: str, version: int | None, _state: LoopState) -> float | None:  # noqa: ARG001 - what it depends on
    return closeness_of_labelled(_state.labels, _state.seen)
