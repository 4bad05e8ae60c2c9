"""Deciding: what the keys and buttons do, the type, the comment, and the history of the image."""

from functools import partial

import streamlit as st

from skrd4ad.services.labelling.annotate import history_of
from skrd4ad.storage.annotations import Label
from skrd4ad.types import GOOD
from skrd4ad.ui.components.decision_panel import decision_panel
from skrd4ad.ui.components.presses import Press, new_presses
from skrd4ad.ui.frame import calling, show_error
from skrd4ad.ui.label.history import history_html, history_lines
from skrd4ad.ui.label.session import LabelSession
from skrd4ad.ui.text import plain
from skrd4ad.ui.theme import decision_text

PANEL = "label-panel"
_STAY = "label-stay"
LABELS: tuple[Label, ...] = ("good", "defect", "unsure")


def take_presses(session: LabelSession, *, reviewer: str) -> None:
    """Do what was pressed since the last run, in its order."""
    for press in new_presses(PANEL):
        if session.current is not None:
            session.attempt(partial(take_press, session, press, reviewer=reviewer))


def take_press(session: LabelSession, press: Press, *, reviewer: str) -> None:
    """Do what a press asks for. A decision on an image that is no longer in hand is left out: it was pressed twice."""
    if press.act in ("next", "previous"):
        session.step(1 if press.act == "next" else -1)
    elif press.act == "back":
        if press.image != session.current:  # it was meant for the image that was shown
            session.open(press.image)
        session.take_back(reviewer=reviewer)
    elif press.image == session.current:
        _decide(session, press, reviewer=reviewer)


def _decide(session: LabelSession, press: Press, *, reviewer: str) -> None:
    item = session.item
    label: Label = next((each for each in LABELS if each == press.act), "defect")
    kind = (press.value or item.defect_type) if label == "defect" else None
    confirmed = (label, kind) == (item.label, item.defect_type)
    if not session.decide(label, reviewer=reviewer, defect_type=kind):
        return
    done = f"{item.name}: {decision_text(label, kind)}."
    if label == "defect" and st.session_state.get(_STAY) and not confirmed:
        session.note = f"{done} Draw it, or go on with N."
        return
    session.go_on()
    session.note = f"{done} {session.note}".strip()


def show_decisions(session: LabelSession, *, decidable: bool, reviewer: str, cookie: bool) -> None:
    """Buttons, type, comment and history of the image in hand, whose picture is shown if it is ``decidable``.

    With ``cookie`` the browser keeps the reviewer's name for the next visit.
    """
    item = session.item
    decision_panel(item, decidable=decidable, types=session.types, reviewer=reviewer if cookie else None, key=PANEL)
    if session.trouble is not None:
        show_error(session.trouble)
    with st.container(key="label-note"):
        st.caption(plain(session.note) or "G, U: decide and go on. Z takes the last step back, drawn or decided.")
    st.toggle(
        "Stay on a defect to draw it",
        key=_STAY,
        persist_state="session",
        help="Off: D and the numbers go on to the next open image, as G and U do. On: they stay, and the same key "
        "again goes on. A drawing makes a part a defect by itself.",
    )
    if decidable:
        _new_type(session, reviewer=reviewer)
        _comment(session, reviewer=reviewer)
    _history(session)


def _new_type(session: LabelSession, *, reviewer: str) -> None:
    image = session.item.digest
    key = f"label-new-type-{len(session.types)}"

    def add() -> None:
        given = str(st.session_state.get(key) or "").strip()
        # the browser may send the text once more while the next image is on its way
        again = image != session.current or (session.item.label, session.item.defect_type) == ("defect", given)
        if given and not again:
            press = Press(act="type", image=image, value=given)
            session.attempt(lambda: take_press(session, press, reviewer=reviewer))

    st.text_input(
        "New type of defect",
        key=key,
        on_change=calling(add),
        placeholder="New type of defect, then Enter",
        label_visibility="collapsed",
        max_chars=80,
    )


def _comment(session: LabelSession, *, reviewer: str) -> None:
    image, comment = session.item.digest, session.item.latest.comment
    key = f"label-comment-{image}-{hash(comment)}"  # another one when the comment is changed elsewhere

    def keep() -> None:
        item = session.item  # as it is by now: only the comment is to change
        if item.digest == image:
            text = str(st.session_state.get(key) or "")
            session.attempt(
                lambda: session.decide(item.label, reviewer=reviewer, defect_type=item.defect_type, comment=text)
            )

    st.text_area(
        "Comment",
        comment,
        key=key,
        on_change=calling(keep),
        placeholder="Comment",
        label_visibility="collapsed",
        height=68,
        max_chars=2000,
    )


def _history(session: LabelSession) -> None:
    item = session.item
    lines = history_lines(history_of(item.digest))
    if not lines:
        return
    st.caption("History")
    st.html(history_html(lines, st.context.timezone))
    if item.label != "none" and item.known_type is not None:  # an open image is decided without being told
        st.caption(f"The data set says: {plain('good' if item.known_type == GOOD else item.known_type)}.")
