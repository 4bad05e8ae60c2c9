"""A clock in the browser that runs the fragment it stands in again, as long as the tab is seen.

Streamlit's own ``run_every`` goes on in hidden tabs, and asks again whether or not the server has answered. Here the
time to the next run counts from the answer, a hidden tab asks nothing, and one that is seen again asks at once.
"""

import time
from pathlib import Path

import streamlit as st

_component = st.components.v2.component(
    "skrd4ad_ticker", html="<span></span>", js=Path(__file__).with_name("ticker.js").read_text(encoding="utf-8")
)


def ticker(seconds: float, *, key: str) -> None:
    """Run the fragment again so many seconds after this run has reached the browser.

    Args:
        seconds: between an answer and the next question.
        key: widget key, one a page; the style sheet hides what is called ``ticker-…``.
    """
    # other data at every run is what tells the browser that there was one; Streamlit keeps two underscores for itself
    name = f"ticker-{key}".replace("__", "_")
    _component(key=name, data={"seconds": seconds, "run": time.monotonic()}, height=1, on_tick_change=lambda: None)
