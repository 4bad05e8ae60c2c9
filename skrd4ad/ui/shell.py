"""The pages of the app, and what runs with every one of them."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from skrd4ad.services.leftovers import start_sweeping
from skrd4ad.ui.acting import may_enter
from skrd4ad.ui.frame import PAGES, go_to, page_file, shielded, whole_run
from skrd4ad.ui.garbage import start_collecting
from skrd4ad.ui.job_progress import sidebar_jobs
from skrd4ad.ui.login.account import ask_for_login
from skrd4ad.ui.login.binding import warn_of_binding
from skrd4ad.ui.sidebar import sidebar, version

ICONS = {
    "overview": ":material/dashboard:",
    "train": ":material/model_training:",
    "inspect": ":material/frame_inspect:",
    "calibrate": ":material/tune:",
    "label": ":material/draw:",
    "evaluate": ":material/query_stats:",
    "study": ":material/straighten:",
    "models": ":material/deployed_code:",
}


def home() -> None:
    """The bare address leads to the first page, which keeps an address of its own."""
    go_to("overview")


def show_pages(skeleton: DeltaGenerator) -> None:
    """One run of the app for one browser tab; the skeleton goes once the page is known."""
    page = st.navigation(
        [
            st.Page(home, title="SK-RD4AD Studio", default=True, visibility="hidden"),
            *(st.Page(page_file(name), title=title, icon=ICONS[name]) for name, title in PAGES.items()),
        ]
    )
    skeleton.empty()
    start_collecting()
    start_sweeping()
    warn_of_binding()
    if may_enter():
        sidebar()
        whole_run(lambda: shielded(page.run))
        shielded(sidebar_jobs)
        version()
    else:
        shielded(ask_for_login)
