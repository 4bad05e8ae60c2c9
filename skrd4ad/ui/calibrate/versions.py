"""Saving a calibration with its provenance, and the versions a model has had."""

from datetime import datetime

import pandas as pd
import streamlit as st

from skrd4ad.format import format_number, format_rate
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.folder import read_history
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.calibration.calibrate import Proposal, save, use_version
from skrd4ad.ui.calibrate.scoring_mask import forget_applied
from skrd4ad.ui.frame import halves
from skrd4ad.ui.login.account import ask_signature
from skrd4ad.ui.study.challenge import ask_override
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, permitted, rerun

METHOD_TEXTS = {
    "split-conformal": "false-reject rate (split-conformal)",
    "f1-max": "F1-max",
    "balanced-accuracy": "balanced accuracy",
    "least-cost": "least cost",
    "manual": "by hand",
}
_RATES = {
    "false_reject_rate": "false rejects",
    "good_review_rate": "good parts to review",
    "escape_rate": "escapes",
    "defect_review_rate": "defects to review",
}
_SAVED = "calibrate-saved"


def save_form(info: ModelInfo, proposal: Proposal) -> None:
    """What a new version records, and the button that stores it."""
    history = read_history(info.folder)
    version = 1 if history is None else history.next_version
    title = f"Save as version {version}"
    if told := st.session_state.pop(_SAVED, None):
        st.success(plain(told), icon=":material/check:")
    left, right = halves("calibrate-save", 1, 1)
    with left:
        st.subheader(title, anchor=False)
        who = ask_signature("Who calibrates", key="calibrate-who")
        note = st.text_area("Note", key=f"calibrate-note-{info.digest}-{version}", height=80, max_chars=1000)
        override = ask_override(info, key=f"calibrate-override-{version}")
        if proposal.calibration.test_fitted:
            st.badge("uses test images: figures on them will be optimistic", color="orange", icon=":material/warning:")
        if button(
            title,
            type="primary",
            icon=":material/save:",
            key="calibrate-save",
            **permitted(why_not(save), disabled=not who),
        ):
            saved = save(proposal, who=who, note=note or "", override=override)
            assert saved.calibration is not None
            forget_applied(info)
            st.session_state[_SAVED] = f"Version {saved.calibration.version} is saved; every verdict uses it."
            rerun()
        if not who:
            st.caption("A version is signed: type your name to save.")
    with right:
        st.subheader("What it records", anchor=False)
        st.markdown("\n".join(f"- {line}" for line in _record(proposal)))
        if proposal.calibration.certified_false_reject_rate is None:
            st.caption(
                "No promise is recorded: the limits were chosen by looking at the scores, not by a false-reject rate "
                "alone. The rates under the chart describe the normals at hand."
            )
        else:
            st.caption(plain(proposal.promise))


def show_versions(info: ModelInfo) -> None:
    """All versions a model has had, and the choice of another one."""
    st.subheader("Versions", anchor=False)
    history = read_history(info.folder)
    if history is None:
        st.caption("This model has no calibration yet: scores come without verdicts.")
        return
    newest_first = list(reversed(history.versions))
    st.dataframe(_table(newest_first, history.current_version), hide_index=True, key="calibrate-history")
    others = [each.version for each in newest_first if each.version != history.current_version]
    if not others:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        version = st.selectbox(
            "Another version",
            others,
            format_func=lambda number: f"version {number}",
            key=f"calibrate-version-{info.digest}-{history.current_version}",
            width=220,
        )
        with st.popover("Use this one", icon=":material/history:"):
            chosen = history.of_version(int(version))
            st.markdown(
                f"From now on verdicts use version {version:d} ({limits_text(chosen)}) in place of version "
                f"{history.current_version:d}, which stays in the history."
            )
            override = ask_override(info, key=f"calibrate-use-override-{version}")
            if button(
                f"Use version {version:d}", type="primary", key="calibrate-use", **permitted(why_not(use_version))
            ):
                use_version(info.folder, int(version), override=override)
                forget_applied(info)
                rerun()


def _record(proposal: Proposal) -> list[str]:
    calibration = proposal.calibration
    lines = [
        f"**{limits_text(calibration)}**",
        f"Way: {plain(METHOD_TEXTS.get(calibration.method, calibration.method))}",
        f"From: {plain(calibration.data)} (n = {calibration.n})",
    ]
    if calibration.target_false_reject_rate is not None and calibration.certified_false_reject_rate is not None:
        lines.append(
            f"Asked for {format_rate(calibration.target_false_reject_rate)} false rejects, certified "
            f"{format_rate(calibration.certified_false_reject_rate)}"
        )
    rates = [
        f"{title} {format_rate(calibration.expected[name])}"
        for name, title in _RATES.items()
        if name in calibration.expected
    ]
    if rates:
        lines.append(f"Expected: {', '.join(rates)}")
    drawn = calibration.ignore is not None or proposal.new_mask is not None
    ignored = "the drawn regions are ignored" if drawn else "no region is ignored"
    area = calibration.min_area
    small = f"regions from {area} map pixels count" if area > 1 else "every region counts"
    return [*lines, f"{small}; {ignored}"]


def limits_text(calibration: Calibration) -> str:
    """``REVIEW above 0.610, NG above 0.820``."""
    above = f"NG above {format_number(calibration.image_threshold)}"
    if calibration.review_threshold is None:
        return above
    return f"REVIEW above {format_number(calibration.review_threshold)}, {above}"


def _table(versions: list[Calibration], current: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Version": [
                f"{each.version}, in use" if each.version == current else str(each.version) for each in versions
            ],
            "When (UTC)": [f"{datetime.fromisoformat(each.created_at):%Y-%m-%d %H:%M}" for each in versions],
            "Who": [each.who for each in versions],
            "REVIEW above": [
                "–" if each.review_threshold is None else format_number(each.review_threshold) for each in versions
            ],
            "NG above": [format_number(each.image_threshold) for each in versions],
            "Way": [METHOD_TEXTS.get(each.method, each.method) for each in versions],
            "n": [each.n for each in versions],
            "False rejects": [
                format_rate(each.expected["false_reject_rate"]) if "false_reject_rate" in each.expected else "–"
                for each in versions
            ],
            "Test images": ["used: optimistic" if each.test_fitted else "not used" for each in versions],
            "From": [each.data for each in versions],
            "Note": [each.note for each in versions],
        }
    )
