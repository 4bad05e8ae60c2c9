"""The Models page: the list, the card of the chosen model, its exports, and bringing models in."""

import streamlit as st

from skrd4ad.services.access import why_not
from skrd4ad.services.models.library import LibraryModel, delete_model, list_library
from skrd4ad.services.models.list import BrokenModel
from skrd4ad.ui.frame import go_to, halves
from skrd4ad.ui.models.actions import ask_to_delete, show_actions
from skrd4ad.ui.models.card import show_card
from skrd4ad.ui.models.certificates import show_exports
from skrd4ad.ui.models.export import pick_export, watch_exports
from skrd4ad.ui.models.import_model import show_import
from skrd4ad.ui.models.list import pick_model
from skrd4ad.ui.models.state import say_told, weights_problem
from skrd4ad.ui.models.text import marks_of
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, permitted


def show_models() -> None:
    """The whole page."""
    say_told()
    everything, broken = list_library(archived=True)
    _damaged(broken)
    if not everything:
        _nothing_there()
        return
    left, right = halves("models", 1, 2)
    with left:
        model = pick_model()
        with st.expander("Bring in a model", icon=":material/upload:", key="models-bring-in"):
            show_import()
    with right:
        if model is not None:
            _chosen(model)


def _chosen(model: LibraryModel) -> None:
    with st.container(key="models-card"):
        st.subheader(plain(model.title), anchor=False)
        marks = marks_of(model)
        if marks:
            with st.container(horizontal=True):
                for mark in marks:
                    st.badge(plain(mark.word), icon=mark.icon, color=mark.colour, help=plain(mark.meaning))
        if problem := weights_problem(model.info):
            st.error(plain(problem), icon=":material/error:")
        show_actions(model)
        tabs = st.tabs(["Card", "Training", "Figures", "Limits", "Data", "Environment", "Exports"], key="models-tabs")
        show_card(model, tabs[:-1])
        with tabs[-1]:
            watch_exports(model.info)
            show_exports(model.info)
            st.subheader("Make an export", anchor=False)
            pick_export(model.info)


def _nothing_there() -> None:
    st.info("There is no model yet. Train one from good images, or bring one in from a file.")
    if button("Train a model", type="primary", icon=":material/model_training:", key="models-train"):
        go_to("train")
    st.subheader("Bring in a model", anchor=False)
    show_import()


def _damaged(broken: list[BrokenModel]) -> None:
    for model in broken:
        with st.container(key=f"models-damaged-{model.folder}"):
            st.warning(f"A model folder cannot be used. {plain(model.reason)}", icon=":material/warning:")
            if button(
                "Delete this folder",
                icon=":material/delete:",
                key=f"models-delete-{model.folder}",
                **permitted(why_not(delete_model)),
            ):
                ask_to_delete(model.folder)
