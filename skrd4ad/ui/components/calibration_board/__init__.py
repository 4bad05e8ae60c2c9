"""Distributions of scores with two limits that move in the browser; what they do and promise follows at once."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st

from skrd4ad.digests import content_digest
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.consequences import Costs, require_rate
from skrd4ad.ui.components.envelope import pack
from skrd4ad.ui.theme import VERDICTS

Kind = Literal["held-out", "new", "labelled", "defect"]
"""Good images by where they come from, and defects. Held-out and new ones stand behind the promise about new parts. The
figures count the good images of a labelled set where there are any, otherwise those too."""
KINDS: tuple[Kind, ...] = ("held-out", "new", "labelled", "defect")

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "skrd4ad_calibration_board",
    html=(_FOLDER / "calibration_board.html").read_text(encoding="utf-8"),
    css=(_FOLDER / "calibration_board.css").read_text(encoding="utf-8"),
    # a component is one module
    js="\n".join(
        (_FOLDER / name).read_text(encoding="utf-8") for name in ("numbers.js", "plot.js", "calibration_board.js")
    ),
)


@dataclass(frozen=True, kw_only=True)
class ScoreGroup:
    """Scores that are drawn together."""

    name: str
    """In words; for defects, the type."""
    kind: Kind
    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class BoardState:
    """Two limits."""

    review: float | None
    """REVIEW above this score; None for no review."""
    reject: float
    """NG above this score."""


def calibration_board(
    groups: Sequence[ScoreGroup],
    *,
    proposal: BoardState,
    limits: BoardState,
    defect_rate: float,
    costs: Costs | None,
    unit: str,
    key: str,
) -> BoardState | None:
    """Show distributions of scores with two limits to move.

    Args:
        groups: The scores; at least one group is good and has images.
        proposal: Where a button takes the limits back to.
        limits: Where the limits stand. A page keeps the answer of this call and passes it on the next run: other limits
            move them there.
        defect_rate: Share of defective parts among all parts, 0 to 1.
        costs: What a mistake or a look costs; None when nobody said.
        unit: Of the costs, such as "€".
        key: Widget key.

    Returns:
        The limits where the user left them. None while they are untouched, or since ``limits`` last overruled the user.

    Raises:
        ConfigError: the rate is not 0 to 1, or a limit is not finite, or review is above reject.
        DataError: there is no good image, or a score is not finite.
    """
    for each in (proposal, limits):
        _check(groups, each)
    require_rate(defect_rate)
    value: Mapping[str, Any] = st.session_state.get(key) or {}
    choice = _Choice.read(value.get("choice"))
    memory = f"{key}-following"
    following = _follow(st.session_state.get(memory), asked=limits, choice=choice)
    payload = _payload(groups, following, proposal=proposal, defect_rate=defect_rate, costs=costs, unit=unit)
    _component(key=key, data=payload, on_choice_change=lambda: None)
    st.session_state[memory] = following  # after the call above, where Streamlit may break the run off
    return None if choice is None or choice.turn != following.turn else choice.limits


@dataclass(frozen=True)
class _Choice:
    """Where the user put the limits, and how often Python had set them by then."""

    limits: BoardState
    turn: int

    @classmethod
    def read(cls, value: Mapping[str, Any] | None) -> "_Choice | None":
        if not value:
            return None
        review, reject = value["review"], float(value["reject"])
        lower = reject if review is None else float(review)
        if not (math.isfinite(lower) and math.isfinite(reject) and lower <= reject):
            raise DataError(f"The board sent the limits {review} and {reject}, which are none; load the page again.")
        return cls(BoardState(review=None if review is None else lower, reject=reject), int(value["turn"]))


@dataclass(frozen=True, kw_only=True)
class _Following:
    """Who moved the limits last; a board in the browser follows Python only when the turn changes."""

    sent: BoardState
    """Where Python set the limits last."""
    turn: int
    """How often Python has set them."""
    choice: _Choice | None

    @property
    def shown(self) -> BoardState:
        return self.choice.limits if self.choice and self.choice.turn == self.turn else self.sent


def _follow(before: _Following | None, *, asked: BoardState, choice: _Choice | None) -> _Following:
    if before is None:
        return _Following(sent=asked, turn=1 if choice is None else choice.turn + 1, choice=choice)
    if choice is None and before.choice is not None:  # the board left the page and came back
        return _Following(sent=asked, turn=before.turn + 1, choice=None)
    # A page learns of a move from this call's answer: what it asks for in the same run is older than the move.
    if choice != before.choice or asked == before.shown:
        return _Following(sent=before.sent, turn=before.turn, choice=choice)
    return _Following(sent=asked, turn=before.turn + 1, choice=choice)


def _payload(
    groups: Sequence[ScoreGroup],
    following: _Following,
    *,
    proposal: BoardState,
    defect_rate: float,
    costs: Costs | None,
    unit: str,
) -> bytes:
    scores = {str(i): np.asarray(group.scores, "<f8").tobytes() for i, group in enumerate(groups)}
    named = json.dumps([(group.name, group.kind) for group in groups])
    header = {
        "turn": following.turn,
        # also after a move: a board that is drawn anew must not show other limits than Python has
        "limits": asdict(following.shown),
        "content": content_digest(named, *scores.values())[:16],
        "proposal": asdict(proposal),
        "defectRate": float(defect_rate),
        "costs": None
        if costs is None
        else {"escape": costs.escape, "falseReject": costs.false_reject, "review": costs.review},
        "unit": unit,
        "groups": [{"name": group.name, "kind": group.kind} for group in groups],
        "verdicts": {name: asdict(look) for name, look in VERDICTS.items()},
    }
    return pack(header, scores)


def _check(groups: Sequence[ScoreGroup], limits: BoardState) -> None:
    for group in groups:
        if group.kind not in KINDS:
            raise DataError(f"The images {group.name!r} are of the kind {group.kind!r}; allowed: {', '.join(KINDS)}.")
        if not np.isfinite(group.scores).all():
            raise DataError(f"A score of the images {group.name!r} is not finite; allowed: finite numbers.")
    if not any(group.scores for group in groups if group.kind != "defect"):
        raise DataError("There are 0 good images; what limits do to good parts is not known without any.")
    lower = limits.reject if limits.review is None else limits.review
    if not (math.isfinite(lower) and math.isfinite(limits.reject) and lower <= limits.reject):
        raise ConfigError(
            f"The limits are {limits.review} and {limits.reject}; allowed: finite numbers, review not above reject."
        )
