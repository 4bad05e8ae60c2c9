"""SK-RD4AD Studio: ``skrd4ad app``, or ``streamlit run app.py`` in a checkout."""

import sys
from pathlib import Path

import streamlit as st

from skrd4ad.paths import assets

SHELL = "skrd4ad.ui.shell"
SKELETON = Path(__file__).with_name("skeleton.html")


def show_app() -> None:
    """One run of the app for one browser tab. The first of a server shows the outline of a page at once, while it
    imports what the pages need."""
    pictures = assets()
    st.set_page_config(page_title="SK-RD4AD Studio", page_icon=str(pictures / "icon.png"), layout="wide")
    st.logo(str(pictures / "logo.svg"), size="large", icon_image=str(pictures / "icon.svg"))
    skeleton = st.empty()  # in every run: what stands below keeps its place
    if SHELL not in sys.modules:
        skeleton.html(SKELETON)
    from skrd4ad.ui.shell import show_pages

    show_pages(skeleton)


if __name__ == "__main__":
    show_app()
