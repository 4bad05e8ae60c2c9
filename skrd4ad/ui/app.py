"""SK-RD4AD Studio: ``skrd4ad app``, or ``streamlit run app.py`` in a checkout."""

import streamlit as st

from skrd4ad.paths import assets
from skrd4ad.services.leftovers import start_sweeping
from skrd4ad.ui.acting import may_enter
from skrd4ad.ui.frame import PAGES, go_to, page_file, shielded
from skrd4ad.ui.garbage import start_collecting
from skrd4ad.ui.job_progress import sidebar_jobs
from skrd4ad.ui.login.account import ask_for_login
from skrd4ad.ui.login.binding import warn_of_binding
from skrd4ad.ui.sidebar import sidebar

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


def show_app() -> None:
    """One run of the app for one browser tab."""
    pictures = assets()
    st.set_page_config(page_title="SK-RD4AD Studio", page_icon=str(pictures / "icon.png"), layout="wide")
    st.logo(str(pictures / "logo.svg"), size="large", icon_image=str(pictures / "icon.svg"))
    page = st.navigation(
        [
            st.Page(home, title="SK-RD4AD Studio", default=True, visibility="hidden"),
            *(st.Page(page_file(name), title=title, icon=ICONS[name]) for name, title in PAGES.items()),
        ]
    )
    start_collecting()
    start_sweeping()
    warn_of_binding()
    if may_enter():
        sidebar()
        shielded(page.run)
        shielded(sidebar_jobs)
    else:
        shielded(ask_for_login)


if __name__ == "__main__":
    show_app()
