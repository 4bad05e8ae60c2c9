"""New limits from images labelled good: what they would be, what they would change, and the signature."""

import pandas as pd
import streamlit as st

from skrd4ad.format import format_number, format_rate, plural
from skrd4ad.services.access import why_not
from skrd4ad.services.calibration.calibrate import ThresholdChoice, save
from skrd4ad.services.improve.agreement import Agreement
from skrd4ad.services.improve.recalibrate import Recalibration, confirmed_normals, recalibration
from skrd4ad.ui.frame import halves
from skrd4ad.ui.label.improve.agreement import counts_text
from skrd4ad.ui.label.improve.state import LoopState, reviewer
from skrd4ad.ui.login.account import ask_signature
from skrd4ad.ui.study.challenge import ask_override
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, permitted, rerun

_BANDS = {"none": "No review", "rate": "Good parts to review", "escapes": "Escapes that are left"}
_SAVED = "_label-loop-saved"
SHOWN = 100


def show_recalibration(state: LoopState) -> None:
    """Recalibrate in a moment: the scores are there already."""
    st.subheader("Recalibrate", anchor=False)
    if told := st.session_state.pop(_SAVED, None):
        st.success(plain(told), icon=":material/check:")
    good = confirmed_normals(state.labels)
    if not good:
        st.info(
            "Label good images that the model has not learnt from and has a score of: the limits are then taken from "
            "them. No training is needed."
        )
        return
    left, right = halves("loop-recalibrate", 2, 3)
    with left:
        choice = _pick_choice(state)
    found = recalibration(state.labels, state.seen, choice, with_defects=True)
    with left:
        st.caption(
            f"{plural(found.n, 'image')} labelled good cannot certify less than {format_rate(found.certifiable)} false "
            "rejects; more of them can."
        )
        _sign(state, found)
    with right:
        _consequences(state, found)


def _pick_choice(state: LoopState) -> ThresholdChoice:
    percent = st.number_input(
        "False rejects, % of good parts",
        min_value=0.01,
        max_value=50.0,
        value=1.0,
        step=0.5,
        key="loop-rate",
        persist_state="session",
    )
    has_defects = any(image.score is not None for image in state.labels.of("defect"))
    options = [name for name in _BANDS if name != "escapes" or has_defects]
    band = st.segmented_control(
        "Review band",
        options,
        format_func=_BANDS.__getitem__,
        default="none",
        required=True,
        wrap=True,
        key=f"loop-band-{len(options)}",
        persist_state="session",
        help="Parts between two limits go to a person. The lower limit is chosen by the share of good parts that may "
        "be looked at, or by the share of labelled defects that may pass unseen.",
    )
    rate = float(percent) / 100
    if band == "rate":
        lowest = float(percent) + 0.1
        review = st.number_input(
            "Reviewed or rejected, % of good parts",
            min_value=lowest,
            max_value=90.0,
            value=max(5.0, 2 * lowest),
            step=0.5,
            key=f"loop-review-{lowest}",
            persist_state="session",
        )
        return ThresholdChoice(way="rate", rate=rate, review_rate=float(review) / 100)
    if band == "escapes":
        escapes = st.number_input(
            "Escapes, % of labelled defects", 0.0, 99.0, 1.0, 0.5, key="loop-escapes", persist_state="session"
        )
        return ThresholdChoice(way="rate", rate=rate, review_escape_rate=float(escapes) / 100)
    return ThresholdChoice(way="rate", rate=rate)


def _sign(state: LoopState, found: Recalibration) -> None:
    who = ask_signature("Who calibrates", key="loop-who", value=reviewer())
    note = st.text_input("Note", key=f"loop-note-{state.info.digest}", max_chars=1000)
    override = ask_override(state.info, key=f"loop-override-{state.info.digest}")
    calibration = found.proposal.calibration
    if calibration.test_fitted:
        st.badge("uses test images: figures on them will be optimistic", color="orange", icon=":material/warning:")
    if button(
        "Use these limits",
        type="primary",
        **permitted(why_not(save), disabled=not who),
        icon=":material/save:",
        key="loop-save-limits",
    ):
        saved = save(found.proposal, who=who, note=note or "", override=override)
        assert saved.calibration is not None, "a calibration was stored"
        st.session_state[_SAVED] = (
            f"Version {saved.calibration.version} is saved; every verdict uses it from now on. The Calibrate page has "
            "the versions before it."
        )
        rerun()
    st.caption(f"From {plain(calibration.data)}." + ("" if who else " Type your name to save."))


def _consequences(state: LoopState, found: Recalibration) -> None:
    old, new = state.info.calibration, found.proposal.calibration
    st.dataframe(
        pd.DataFrame(
            {
                "": ["REVIEW above", "NG above", "Good: OK, REVIEW, NG", "Defects: OK, REVIEW, NG"],
                "Now": [
                    "–" if old is None or old.review_threshold is None else format_number(old.review_threshold),
                    "–" if old is None else format_number(old.image_threshold),
                    *_counts(found.before),
                ],
                "New": [
                    "–" if new.review_threshold is None else format_number(new.review_threshold),
                    format_number(new.image_threshold),
                    *_counts(found.after),
                ],
            }
        ),
        hide_index=True,
        key="loop-limits",
    )
    st.caption(
        f"{plain(found.proposal.promise)} This holds for parts like these images. Good parts that were labelled "
        "because they lie near the limit score higher than the line's usual ones: limits from them alone let more "
        "defects pass."
    )
    notes = "  \n".join(f":material/info: {plain(warning)}" for warning in found.proposal.warnings)
    if notes:
        st.caption(notes)
    if found.before is not None:
        _changes(found)


def _changes(found: Recalibration) -> None:
    if not found.changes:
        st.caption("No labelled image would get another verdict.")
        return
    with st.expander(f"Labelled images with another verdict: {len(found.changes)}", key="loop-limit-changes"):
        rows = [
            {
                "Image": image.name,
                "Labelled": image.label,
                "Now": before,
                "New": after,
                "Score": format_number(image.score or 0.0),
            }
            for image, before, after in found.changes[:SHOWN]
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="loop-limit-change-table")
        if len(found.changes) > SHOWN:
            st.caption(f"The {SHOWN} with the lowest scores are listed.")


def _counts(found: Agreement | None) -> tuple[str, str]:
    return ("–", "–") if found is None else (counts_text(found.good), counts_text(found.defect))
