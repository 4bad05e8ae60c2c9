"""The Label page: a queue of images, the image in hand, and the decision on it."""

from typing import Literal

import streamlit as st

from skrd4ad.inference.predictions import limits_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.labelling.add_images import add_class
from skrd4ad.services.labelling.queue import counts_of, filter_of, names_of
from skrd4ad.storage.label_queue import Order, QueueFilter
from skrd4ad.ui.acting import known_reviewer
from skrd4ad.ui.frame import calling, go_to, halves, section, shielded
from skrd4ad.ui.label.add import CAME, add_data_set, has_data_set, offer_images, tell_added
from skrd4ad.ui.label.canvas import show_stage
from skrd4ad.ui.label.conflict import show_conflict
from skrd4ad.ui.label.decide import show_decisions, take_presses
from skrd4ad.ui.label.export_labels import show_export
from skrd4ad.ui.label.filters import clear_filter, pick_filter, show_only
from skrd4ad.ui.label.import_labels import show_import
from skrd4ad.ui.label.improve.page import show_loop
from skrd4ad.ui.label.improve.state import OPEN
from skrd4ad.ui.label.list import show_list
from skrd4ad.ui.label.reviewer import ask_reviewer, offer_change
from skrd4ad.ui.label.sections import go_to_section, pick_section
from skrd4ad.ui.label.session import LabelSession
from skrd4ad.ui.label.watch import offer_watching
from skrd4ad.ui.login.account import has_login
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, permitted

_SESSION = "_label-desk"


def show_label(info: ModelInfo) -> None:
    """The page for a model, which is the filter for scores and verdicts."""
    known_reviewer()  # the other sections sign with the name as well
    if OPEN in st.session_state:
        go_to_section("decide")
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="label-sections"
    ):
        shown = pick_section()
        if shown == "decide":
            with st.container(horizontal=True, width="content"):
                offer_images(info)
                offer_watching(info)
    tell_added()
    if shown == "improve":
        show_loop(info)
    elif shown == "exchange":
        show_exchange(info)
    else:
        section(lambda: _decide(info))


def _decide(info: ModelInfo) -> None:
    reviewer = known_reviewer()
    if reviewer is None:
        ask_reviewer()
        return
    limits = limits_of(info)
    wanted = filter_of(info, limits)
    kept: LabelSession | None = st.session_state.get(_SESSION)
    if (kept is None or kept.current is None) and _nothing_there(info, wanted):
        return
    with st.container(key="label-desk"):
        left, middle, right = st.columns([22, 52, 26], gap="medium")
    with left:
        types, reviewers = names_of(wanted) if kept is None else (kept.types, kept.reviewers)
        session = _label_session(*pick_filter(wanted, types=types, reviewers=reviewers))
    if asked_for := st.session_state.pop(OPEN, None):
        session.attempt(lambda: session.open(str(asked_for)))
    if session.current is not None:
        take_presses(session, reviewer=reviewer)
    if session.current is None:
        with middle:
            _nothing_found()
        return
    with middle:
        show_conflict(session, levels=info.levels, reviewer=reviewer)
        decidable = show_stage(session, info, limits, reviewer=reviewer)
    with left:
        show_list(session, info)
    with right:
        show_decisions(session, decidable=decidable, reviewer=reviewer, cookie=not has_login())
        offer_change(reviewer)


def _label_session(wanted: QueueFilter, order: Order) -> LabelSession:
    """What this reviewer works in; it follows the filter."""
    session: LabelSession | None = st.session_state.get(_SESSION)
    came = st.session_state.pop(CAME, False)
    if session is None:
        session = st.session_state[_SESSION] = LabelSession(wanted, order)
    elif came or (session.queue.wanted, session.queue.order) != (wanted, order):
        session.look_up(wanted, order)
    return session


def _nothing_there(info: ModelInfo, wanted: QueueFilter) -> bool:
    """Say so when the class has no images at all, and offer ways to add some."""
    if counts_of(wanted).total:
        return False
    st.info(
        f"There are no images of {plain(info.class_name.replace('_', ' '))} to decide on yet. Add those of its "
        "data set or your own, or send images to review on the Inspect page."
    )
    with st.container(horizontal=True):
        kind: Literal["primary", "secondary"] = "primary"
        if has_data_set(info):
            kind = "secondary"
            if button(
                "Add the test images of its data set",
                type="primary",
                key="label-add-test",
                **permitted(why_not(add_class)),
            ):
                add_data_set(info)
        if button("Inspect images", type=kind, icon=":material/frame_inspect:", key="label-go-inspect"):
            go_to("inspect")
    return True


def _nothing_found() -> None:
    """Say that the filter lets no image through."""
    st.info("No image is let through by this filter. If it was for open ones: all of them are decided.")
    with st.container(horizontal=True):
        st.button("Show all images", on_click=calling(clear_filter), type="primary", key="label-show-all")
        st.button(
            "Show decided ones",
            on_click=calling(show_only),
            args=("good", "defect", "unsure"),
            key="label-show-decided",
        )


def show_exchange(info: ModelInfo) -> None:
    """Export on the left, import on the right, for the class of a model."""
    left, right = halves("label-exchange", 1, 1)
    with left:
        st.subheader("Export", anchor=False)
        shielded(lambda: show_export(info))
    with right:
        st.subheader("Import", anchor=False)
        shielded(lambda: show_import(info))
