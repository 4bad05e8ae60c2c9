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
from skrd4ad.ui.components.browser import SharedValue, load_component
from skrd4ad.ui.components.envelope import pack
from skrd4ad.ui.theme import VERDICTS

Kind = Literal["held-out", "new", "labelled", "defect"]
"""Good images by where they come from, and defects. Held-out and new ones stand behind the promise about new parts. The
figures count the good images of a labelled set where there are any, otherwise those too."""
KINDS: tuple[Kind, ...] = ("held-out", "new", "labelled", "defect")

_component = load_component(Path(__file__).parent, "numbers.js", "plot.js")


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

    @property
    def in_order(self) -> bool:
        """Whether both are finite, and review is not above reject."""
        lower = self.reject if self.review is None else self.review
        return math.isfinite(lower) and math.isfinite(self.reject) and lower <= self.reject


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

    Returns:
        The limits where the user left them. None while they are untouched, or since ``limits`` last overruled the user.
    """
    for each in (proposal, limits):
        _check(groups, each)
    require_rate(defect_rate)
    value: Mapping[str, Any] = st.session_state.get(key) or {}
    choice = _read(value.get("choice"))
    memory = f"{key}-following"
    before: SharedValue[BoardState] | None = st.session_state.get(memory)
    if before is None:  # without a memory, an old move is not a new one
        shared = SharedValue(sent=limits, turn=1 if choice is None else choice[1] + 1, choice=choice)
    else:
        shared = before.follow(limits, choice)
    payload = _payload(groups, shared, proposal=proposal, defect_rate=defect_rate, costs=costs, unit=unit)
    _component(key=key, data=payload, on_choice_change=lambda: None)
    st.session_state[memory] = shared  # after the call above, where Streamlit may break the run off
    return shared.chosen


def _read(value: Mapping[str, Any] | None) -> tuple[BoardState, int] | None:
    """Where the user put the limits, and the turn it was done in."""
    if not value:
        return None
    review, reject = value["review"], float(value["reject"])
    limits = BoardState(review=None if review is None else float(review), reject=reject)
    if not limits.in_order:
        raise DataError(f"The board sent the limits {review} and {reject}, which are none; load the page again.")
    return limits, int(value["turn"])


def _payload(
    groups: Sequence[ScoreGroup],
    shared: SharedValue[BoardState],
    *,
    proposal: BoardState,
    defect_rate: float,
    costs: Costs | None,
    unit: str,
) -> bytes:
    scores = {str(i): np.asarray(group.scores, "<f8").tobytes() for i, group in enumerate(groups)}
    named = json.dumps([(group.name, group.kind) for group in groups])
    header = {
        "turn": shared.turn,
        # also after a move: a board that is drawn anew must not show other limits than Python has
        "limits": asdict(shared.shown),
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
    if not limits.in_order:
        raise ConfigError(
            f"The limits are {limits.review} and {limits.reject}; allowed: finite numbers, review not above reject."
        )
