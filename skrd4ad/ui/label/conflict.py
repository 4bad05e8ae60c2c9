"""Two reviewers on one image: the second sees what changed, and says what is to become of their own work."""

from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.errors import SkrdError
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.types import Levels
from skrd4ad.ui.components.pictures import mask_at, reduced
from skrd4ad.ui.frame import calling
from skrd4ad.ui.label.history import clock
from skrd4ad.ui.label.image_cache import kept_mask, pictures
from skrd4ad.ui.label.session import LabelSession, PendingChange
from skrd4ad.ui.text import plain, plain_lines
from skrd4ad.ui.theme import decision_text
from skrd4ad.visualize import draw_outlines

SIDE = 240
"""Pixels of the longer side of the small pictures, which are shown at half that size: sharp on every screen."""


def show_conflict(session: LabelSession, *, levels: Levels | None, reviewer: str) -> None:
    """What somebody else changed on the image in hand, or why a step is not stored; nothing when all is well."""
    theirs, mine = session.changed(), session.pending.get(session.item.digest)
    if theirs is None and mine is None:
        return
    take = calling(partial(session.attempt, session.take_theirs))
    with st.container(border=True, key="label-conflict"):
        if theirs is not None:
            st.warning(theirs_text(theirs, st.context.timezone), icon=":material/group:")
        if mine is None:
            st.button("See it as it is now", on_click=take, key="label-see-theirs", type="primary")
            return
        if theirs is None:
            st.error(plain_lines(str(mine.error)), icon=":material/error:")
        st.markdown(f"**{mine_text(mine)}**")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if mine.mask is not None:
                _compare(session, mine.mask, theirs, levels)
            with st.container(width="content", gap="small"):
                st.button(
                    "Try again" if theirs is None else "Store mine after theirs",
                    on_click=calling(lambda: session.attempt(lambda: session.store_mine(reviewer=reviewer))),
                    key="label-store-mine",
                    type="primary",
                    help="Nothing is overwritten: both stay in the history, and the later one holds.",
                )
                label = "Drop mine" if theirs is None else "Take theirs"
                st.button(label, on_click=take, key="label-take-theirs")


def theirs_text(theirs: QueueItem, zone: str | None) -> str:
    """Who changed an image, when, and to what, as Markdown."""
    when = "" if theirs.latest.made_at is None else f" at {clock(theirs.latest.made_at, zone)}"
    drawing = ", with a drawing" if theirs.mask_file else ""
    decision = plain(decision_text(theirs.label, theirs.defect_type))
    return f"**{plain(theirs.latest.reviewer or 'Somebody')}** changed this image{when}: {decision}{drawing}."


def mine_text(mine: PendingChange) -> str:
    """What is not stored, as Markdown."""
    parts = []
    if mine.mask is not None:
        parts.append(f"your drawing, {int(mine.mask.sum()):,} pixels")
    if mine.comment is not None:
        parts.append("your comment")
    elif mine.label is not None:
        parts.append(f"your decision, {plain(decision_text(mine.label, mine.defect_type))}")
    return f"Not stored yet: {'; '.join(parts)}."


def _compare(session: LabelSession, mine: NDArray[np.bool_], theirs: QueueItem | None, levels: Levels | None) -> None:
    try:
        image = pictures().picture(session.item, levels).image
        other = None if theirs is None or theirs.mask_file is None else kept_mask(theirs.mask_file)
    except SkrdError:
        return  # the stage tells why it cannot be shown
    st.image(_outlined(image, mine), caption="Yours", output_format="JPEG", width=SIDE // 2)
    if theirs is not None:
        st.image(_outlined(image, other), caption="Theirs", output_format="JPEG", width=SIDE // 2)


def _outlined(image: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    small = reduced(image, SIDE)
    return small if mask is None else draw_outlines(small, mask_at(mask, small.shape))
