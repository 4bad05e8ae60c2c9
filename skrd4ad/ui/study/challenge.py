"""Challenge parts on the Study page, and the reason for which limits are used though some fail."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from skrd4ad.format import format_number, plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.study.challenge import (
    ChallengeOutcome,
    ChallengePart,
    Expected,
    add_challenge_parts,
    challenge_parts,
    judge_challenge,
    remove_challenge_parts,
)
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, choose, permitted, rerun

_OUTCOMES = "challenge-outcomes"
_EXPECTED: dict[Expected, str] = {"OK": "OK: a good part", "NG": "NG: a defective part"}


def ask_override(info: ModelInfo, *, key: str) -> str:
    """The reason to use limits though challenge parts fail; asked only where the class has such parts."""
    if not challenge_parts(info):
        return ""
    given = st.text_input(
        "Reason, if challenge parts fail",
        key=key,
        max_chars=1000,
        placeholder="empty: limits under which one fails are refused",
        help="Limits are tried on the challenge parts of the class before they are used. The history keeps the reason.",
    )
    return (given or "").strip()


def show_challenge(info: ModelInfo) -> None:
    """The challenge parts of the model's class: what it says of them now, and how they are changed."""
    parts = challenge_parts(info)
    st.caption(
        "Parts whose verdict is known. Judge them at the start of a shift; new limits and retrained models become "
        "current only when each gets its verdict."
    )
    outcomes = _known(info, parts)
    if parts:
        if outcomes:
            _tell(outcomes)
        st.dataframe(_table(parts, outcomes), hide_index=True, key="challenge-table")
        if button(
            f"Judge {plural(len(parts), 'part')} now",
            type="primary",
            icon=":material/rule:",
            key="challenge-judge",
            **permitted(why_not(judge_challenge)),
        ):
            with progress_bar("parts judged") as task:
                judged = judge_challenge(info, task=task)
            st.session_state[_OUTCOMES] = (_key(info, parts), judged)
            rerun()
    _change(info, parts)


def _change(info: ModelInfo, parts: Sequence[ChallengePart]) -> None:
    with st.expander("Add or remove", expanded=not parts, key=f"challenge-change-{bool(parts)}"):
        files = st.file_uploader("Images", accept_multiple_files=True, key=f"challenge-files-{len(parts)}")
        expected = choose("They must be", _EXPECTED, default="NG", key="challenge-expected")
        if button(
            f"Add {plural(len(files), 'image')}" if files else "Add images",
            icon=":material/add:",
            key="challenge-add",
            **permitted(why_not(add_challenge_parts), disabled=not files),
        ):
            add_challenge_parts(info, [(file.name, file.getvalue()) for file in files], expected)
            rerun()
        if not parts:
            return
        names = st.multiselect("Parts to remove", [part.name for part in parts], key=f"challenge-names-{len(parts)}")
        if button(
            "Remove",
            icon=":material/delete:",
            key="challenge-remove",
            **permitted(why_not(remove_challenge_parts), disabled=not names),
        ):
            remove_challenge_parts(info, [str(name) for name in names])
            rerun()


def _tell(outcomes: Sequence[ChallengeOutcome]) -> None:
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if failed:
        told = "; ".join(map(str, failed[:5]))
        st.error(plain(f"{len(failed)} of {plural(len(outcomes), 'part')} failed: {told}."), icon=":material/error:")
    else:
        st.success(f"All {len(outcomes)} got the expected verdict.", icon=":material/check_circle:")


def _table(parts: Sequence[ChallengePart], outcomes: Sequence[ChallengeOutcome]) -> pd.DataFrame:
    said = {outcome.part.digest: outcome for outcome in outcomes}
    rows = []
    for part in parts:
        outcome = said.get(part.digest)
        score = "" if outcome is None or outcome.score is None else format_number(outcome.score)
        verdict = "not judged yet" if outcome is None else outcome.error or outcome.verdict or "no verdict"
        rows.append({"Part": part.name, "Must be": part.expected, "Is": verdict, "Score": score})
    return pd.DataFrame(rows)


def _known(info: ModelInfo, parts: Sequence[ChallengePart]) -> Sequence[ChallengeOutcome]:
    key, outcomes = st.session_state.get(_OUTCOMES, (None, ()))
    return outcomes if key == _key(info, parts) else ()


def _key(info: ModelInfo, parts: Sequence[ChallengePart]) -> tuple[object, ...]:
    return info.digest, None if info.calibration is None else info.calibration.version, tuple(parts)
