"""A bar for what a page does while its user waits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from skrd4ad.format import duration
from skrd4ad.task import Status, Task
from skrd4ad.ui.text import plain

SLOW_SECONDS = 1.0
"""With less than this left, how long it takes is not said."""
STEPS = 200
"""How often the bar moves at most."""


@contextmanager
def progress_bar(what: str) -> Iterator[Task]:
    """A bar with what is done and the time that is left; it vanishes at the end of the block.

    ``what`` is counted, such as ``images``, where the work does not say itself what it does.
    """
    bar = st.empty()
    start = time.monotonic()
    shown: tuple[int, str] | None = None

    def show(at: Status) -> None:
        nonlocal shown
        # where nothing more is counted, it is the text that says what goes on
        step = (at.done * STEPS // max(at.total, 1), at.text if at.done >= at.total else "")
        if step == shown:
            return
        shown = step
        left = (time.monotonic() - start) / max(at.done, 1) * (at.total - at.done)
        about = f", about {duration(left)} left" if left > SLOW_SECONDS else ""
        text = at.text or f"{at.done:,} of {at.total:,} {what}"
        bar.progress(min(at.done / max(at.total, 1), 1.0), text=plain(f"{text}{about}"))

    try:
        yield Task(show=show)
    finally:
        bar.empty()
