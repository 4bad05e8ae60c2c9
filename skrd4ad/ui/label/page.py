"""The Label page: a queue of images, the image in hand, and the decision on it."""

import streamlit as st

from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.inspection.verdict import limits_of
from skrd4ad.services.labelling.annotate import Order, QueueFilter
from skrd4ad.services.labelling.queue import filter_of, names_of
from skrd4ad.ui.frame import shielded
from skrd4ad.ui.label.add import CAME, offer_images, tell_added
from skrd4ad.ui.label.canvas import show_stage
from skrd4ad.ui.label.conflict import show_conflict
from skrd4ad.ui.label.decide import show_decisions, take_presses
from skrd4ad.ui.label.empty import nothing_found, nothing_there
from skrd4ad.ui.label.exchange import show_exchange
from skrd4ad.ui.label.filters import pick_filter
from skrd4ad.ui.label.improve.page import show_loop
from skrd4ad.ui.label.improve.state import OPEN
from skrd4ad.ui.label.list import show_list
from skrd4ad.ui.label.reviewer import ask_reviewer, has_login, known_reviewer, offer_change
from skrd4ad.ui.label.sections import go_to_section, pick_section
from skrd4ad.ui.label.session import Desk
from skrd4ad.ui.label.watch import offer_watching

_DESK = "_label-desk"


def show_label(info: ModelInfo) -> None:
    """The page for a model, which is the filter for scores and verdicts."""
    known_reviewer()  # the other sections sign with the name as well
    if OPEN in st.session_state:
        go_to_section("decide")
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="label-sections"
    ):
        section = pick_section()
        if section == "decide":
            with st.container(horizontal=True, width="content"):
                offer_images(info)
                offer_watching(info)
    tell_added()
    if section == "improve":
        show_loop(info)
        return
    if section == "exchange":
        show_exchange(info)
        return

    @st.fragment
    def work() -> None:
        # a decision runs the fragment alone, without the shield around the page
        shielded(lambda: _decide(info))

    work()


def _decide(info: ModelInfo) -> None:
    reviewer = known_reviewer()
    if reviewer is None:
        ask_reviewer()
        return
    limits = limits_of(info)
    wanted = filter_of(info, limits)
    kept: Desk | None = st.session_state.get(_DESK)
    if (kept is None or kept.current is None) and nothing_there(info, wanted):
        return
    with st.container(key="label-desk"):
        left, middle, right = st.columns([22, 52, 26], gap="medium")
    with left:
        types, reviewers = names_of(wanted) if kept is None else (kept.types, kept.reviewers)
        desk = _desk(*pick_filter(wanted, types=types, reviewers=reviewers))
    if asked_for := st.session_state.pop(OPEN, None):
        desk.attempt(lambda: desk.open(str(asked_for)))
    if desk.current is not None:
        take_presses(desk, reviewer=reviewer)
    if desk.current is None:
        with middle:
            nothing_found()
        return
    with middle:
        show_conflict(desk, reviewer=reviewer)
        decidable = show_stage(desk, info, limits, reviewer=reviewer)
    with left:
        show_list(desk, info)
    with right:
        show_decisions(desk, decidable=decidable, reviewer=reviewer, cookie=not has_login())
        offer_change(reviewer)


def _desk(wanted: QueueFilter, order: Order) -> Desk:
    """The desk of this session, which follows the filter."""
    desk: Desk | None = st.session_state.get(_DESK)
    came = st.session_state.pop(CAME, False)
    if desk is None:
        desk = st.session_state[_DESK] = Desk(wanted, order)
    elif came or (desk.queue.wanted, desk.queue.order) != (wanted, order):
        desk.look_up(wanted, order)
    return desk
