"""The queue beside the picture: progress, new arrivals, and a window of the images; it follows what others do."""

import streamlit as st

from skrd4ad.format import plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.labelling.score_queue import active_scoring, submit_scoring
from skrd4ad.storage.label_queue import QueueCounts
from skrd4ad.ui.components.presses import new_presses
from skrd4ad.ui.components.queue_list import queue_list
from skrd4ad.ui.frame import calling, section
from skrd4ad.ui.label.filters import show_only
from skrd4ad.ui.label.image_cache import pictures
from skrd4ad.ui.label.queue_view import WINDOW
from skrd4ad.ui.label.sections import go_to_section
from skrd4ad.ui.label.session import LabelSession
from skrd4ad.ui.text import plain, progress_of
from skrd4ad.ui.widgets import button, permitted, rerun

POLL_SECONDS = 4.0
LIST = "label-list"


def show_list(session: LabelSession, info: ModelInfo) -> None:
    """Progress and queue of a session. They are drawn again by themselves, so that the work of others is seen."""
    section(lambda: _list(session, info), every=POLL_SECONDS)


def _list(session: LabelSession, info: ModelInfo) -> None:
    for press in new_presses(LIST):
        if press.act == "open":
            session.open(press.image)
            rerun()
        session.queue.scroll_to(session.queue.first + (WINDOW if press.act == "later" else -WINDOW) // 2)
    items = session.queue.window()
    now = next((item for item in items if item.digest == session.current), None)
    if now is not None and session.notices(now):
        rerun()
    _progress(session, info)
    queue_list(
        items,
        pictures().thumbnails(items, info.levels),
        session.queue.wanted,
        selected=session.current,
        before=session.queue.first,
        after=session.queue.after,
        key=LIST,
    )


def _progress(session: LabelSession, info: ModelInfo) -> None:
    counts = session.queue.counts()
    decided, text = progress_text(counts)
    news = session.queue.news_since(counts)
    with st.container(gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", wrap=False):
            st.caption(f"{plain(text.split(',')[0])}; **{plain(news)}**" if news else plain(text))
            again = button(
                "",
                icon=":material/refresh:",
                type="primary" if news else "tertiary",
                key="label-refresh",
                help="Look the queue up again: new images come in, and the order follows the scores as they are now. "
                "Until then nothing moves under your hands.",
            )
        st.progress(decided / max(1, counts.total))
    _unscored(info, counts)
    if counts.total and not counts.labels.get("none"):
        _all_decided(counts.labels.get("unsure", 0))
    if again:
        session.look_up(session.queue.wanted, session.queue.order)
        rerun()


def _unscored(info: ModelInfo, counts: QueueCounts) -> None:
    waiting = counts.unscored - counts.unreadable
    if not waiting:
        return
    job = active_scoring(info)
    if job is not None:
        st.caption(f"{waiting:,} not scored yet; {plain(progress_of(job)[1])}")
    elif button(
        f"Score {plural(waiting, 'image', grouped=True)}",
        key="label-score",
        width="stretch",
        **permitted(why_not(submit_scoring)),
    ):
        submit_scoring(info)
        rerun()


def _all_decided(unsure: int) -> None:
    st.success("All images of this queue are decided.", icon=":material/check_circle:")
    label = "Look at the unsure one" if unsure == 1 else f"Look at the {unsure} unsure ones"
    if unsure and st.button(
        label, on_click=calling(show_only), args=("unsure",), key="label-look-unsure", width="stretch"
    ):
        rerun()
    if st.button(
        "Improve the model",
        on_click=calling(go_to_section),
        args=("improve",),
        key="label-improve",
        width="stretch",
    ):
        rerun()


def progress_text(counts: QueueCounts) -> tuple[int, str]:
    """How many images are decided, and ``37 of 120 decided, 83 left``."""
    left = counts.labels.get("none", 0)
    decided = counts.total - left
    return decided, f"{decided:,} of {counts.total:,} decided, {left:,} left"
