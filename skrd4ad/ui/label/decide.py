"""Deciding: what the keys and buttons do, the type, the comment, and the history of the image."""

from functools import partial

import streamlit as st

from skrd4ad.services.labelling.annotate import Label, history_of
from skrd4ad.types import GOOD
from skrd4ad.ui.components.decision_panel import Shown, decision_panel
from skrd4ad.ui.components.presses import Press, new_presses
from skrd4ad.ui.frame import show_error
from skrd4ad.ui.label.history import history_html, history_lines
from skrd4ad.ui.label.session import Desk
from skrd4ad.ui.label.text import decision_words, plain

PANEL = "label-panel"
_STAY = "label-stay"
LABELS: tuple[Label, ...] = ("good", "defect", "unsure")


def take_presses(desk: Desk, *, reviewer: str) -> None:
    """Do what was pressed since the last run, in its order."""
    for press in new_presses(PANEL):
        if desk.current is not None:
            desk.attempt(partial(take_press, desk, press, reviewer=reviewer, stay=_stays()))


def take_press(desk: Desk, press: Press, *, reviewer: str, stay: bool) -> None:
    """Do what a press asks for. A decision on an image that is no longer in hand is left out: it was pressed twice.

    Args:
        desk: of the reviewer.
        press: acts of the decision panel.
        reviewer: who pressed.
        stay: whether a defect stays in hand, to be drawn.

    Raises:
        SkrdError: it cannot be done.
    """
    if press.act in ("next", "previous"):
        desk.step(1 if press.act == "next" else -1)
    elif press.act == "back":
        if press.image != desk.current:  # it was meant for the image that was shown
            desk.open(press.image)
        desk.take_back(reviewer=reviewer)
    elif press.image == desk.current:
        _decide(desk, press, reviewer=reviewer, stay=stay)


def _decide(desk: Desk, press: Press, *, reviewer: str, stay: bool) -> None:
    item = desk.item
    label: Label = next((each for each in LABELS if each == press.act), "defect")
    kind = (press.value or item.defect_type) if label == "defect" else None
    confirmed = (label, kind) == (item.label, item.defect_type)
    if not desk.decide(label, reviewer=reviewer, defect_type=kind):
        return
    done = f"{item.name}: {decision_words(label, kind)}."
    if label == "defect" and stay and not confirmed:
        desk.note = f"{done} Draw it, or go on with N."
        return
    desk.go_on()
    desk.note = f"{done} {desk.note}".strip()


def show_decisions(desk: Desk, *, decidable: bool, reviewer: str, cookie: bool) -> None:
    """Buttons, type, comment and history of the image in hand.

    Args:
        desk: of the reviewer.
        decidable: whether its picture is shown.
        reviewer: who decides.
        cookie: whether the browser keeps the name for the next visit.
    """
    item = desk.item
    decision_panel(
        Shown(image=item.digest, label=item.label, defect_type=item.defect_type, decidable=decidable),
        types=desk.types,
        reviewer=reviewer if cookie else None,
        key=PANEL,
    )
    if desk.trouble is not None:
        show_error(desk.trouble)
    with st.container(key="label-note"):
        st.caption(plain(desk.note) or "G, U: decide and go on. Z takes the last step back, drawn or decided.")
    st.toggle(
        "Stay on a defect to draw it",
        key=_STAY,
        persist_state="session",
        help="Off: D and the numbers go on to the next open image, as G and U do. On: they stay, and the same key "
        "again goes on. A drawing makes a part a defect by itself.",
    )
    if decidable:
        _new_type(desk, reviewer=reviewer)
        _comment(desk, reviewer=reviewer)
    _history(desk)


def _stays() -> bool:
    return bool(st.session_state.get(_STAY))


def _new_type(desk: Desk, *, reviewer: str) -> None:
    image = desk.item.digest
    key = f"label-new-type-{len(desk.types)}"

    def add() -> None:
        given = str(st.session_state.get(key) or "").strip()
        # the browser may send the text once more while the next image is on its way
        again = image != desk.current or (desk.item.label, desk.item.defect_type) == ("defect", given)
        if given and not again:
            press = Press(act="type", image=image, value=given)
            desk.attempt(lambda: take_press(desk, press, reviewer=reviewer, stay=_stays()))

    st.text_input(
        "New type of defect",
        key=key,
        on_change=add,
        placeholder="New type of defect, then Enter",
        label_visibility="collapsed",
        max_chars=80,
    )


def _comment(desk: Desk, *, reviewer: str) -> None:
    image, comment = desk.item.digest, desk.item.comment
    key = f"label-comment-{image}-{hash(comment)}"  # another one when the comment is changed elsewhere

    def keep() -> None:
        item = desk.item  # as it is by now: only the comment is to change
        if item.digest == image:
            text = str(st.session_state.get(key) or "")
            desk.attempt(lambda: desk.decide(item.label, reviewer=reviewer, defect_type=item.defect_type, comment=text))

    st.text_area(
        "Comment",
        comment,
        key=key,
        on_change=keep,
        placeholder="Comment",
        label_visibility="collapsed",
        height=68,
        max_chars=2000,
    )


def _history(desk: Desk) -> None:
    item = desk.item
    lines = history_lines(history_of(item.digest))
    if not lines:
        return
    st.caption("History")
    st.html(history_html(lines, st.context.timezone))
    if item.label != "none" and item.known_type is not None:  # an open image is decided without being told
        st.caption(f"The data set says: {plain('good' if item.known_type == GOOD else item.known_type)}.")
