"""A bar for what a page does while its user waits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from skrd4ad.format import duration
from skrd4ad.types import Progress

SLOW_SECONDS = 1.0
"""With less than this left, how long it takes is not said."""
STEPS = 200
"""How often the bar moves at most."""


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A bar with a count and the time that is left; it vanishes at the end of the block.

    Args:
        what: is counted, such as ``images``.
    """
    place = st.empty()
    start = time.monotonic()
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        step = done * STEPS // max(total, 1)
        if step == shown:
            return
        shown = step
        left = (time.monotonic() - start) / max(done, 1) * (total - done)
        about = f", about {duration(left)} left" if left > SLOW_SECONDS else ""
        place.progress(min(done / max(total, 1), 1.0), text=f"{done} of {total} {what}{about}")

    try:
        yield show
    finally:
        place.empty()
