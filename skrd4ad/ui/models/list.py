"""The list of models: searching, sorting, choosing one."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from skrd4ad.format import day, format_figure, plural
from skrd4ad.services.models.library import LibraryModel, list_library
from skrd4ad.ui.frame import chosen_model, model_labels
from skrd4ad.ui.models.state import LIST, settle_shown
from skrd4ad.ui.models.text import image_auroc, marks_of
from skrd4ad.ui.text import plain

LIST_HEIGHT = 560
FITTING = 6
"""So many models fit into the list's height without scrolling."""

_SORTS: dict[str, Callable[[LibraryModel], Any] | None] = {
    "Class": None,  # the library's own order
    "Newest": lambda model: model.info.created_at,
    "Image AUROC": lambda model: -1.0 if (value := image_auroc(model.info)) is None else value,
}


def pick_model() -> LibraryModel | None:
    """Draw the list, and give the model that is chosen in it; None when none is found."""
    search = st.text_input(
        "Search",
        key="models-search",
        placeholder="name, class, data set, note, digest",
        icon=":material/search:",
        persist_state="session",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = st.selectbox("Sort by", list(_SORTS), key="models-sort", width=170, persist_state="session")
        archived = st.toggle("Archived too", key="models-archived", persist_state="session")
    found, _ = list_library(search=search or "", archived=archived)
    if (key := _SORTS[str(order)]) is not None:
        found.sort(key=key, reverse=True)
    if not found:
        st.info(_nothing_found(search or "", archived=archived))
        return None
    st.caption(plural(len(found), "model"))
    return _choice(found)


def _choice(found: list[LibraryModel]) -> LibraryModel:
    models = {str(model.info.folder): model for model in found}
    labels = model_labels([model.info for model in found])
    used = chosen_model([model.info for model in found])
    settle_shown(list(models), otherwise="" if used is None else str(used.folder))
    with st.container(height=LIST_HEIGHT if len(found) > FITTING else "content", border=True, key="models-box"):
        chosen = st.radio(
            "Models",
            list(models),
            format_func=lambda folder: f"**{plain(labels[folder])}**",
            captions=[_caption(model) for model in found],
            key=LIST,
            label_visibility="collapsed",
        )
    return models[str(chosen)]


def _caption(model: LibraryModel) -> str:
    info = model.info
    parts = [
        *([info.class_name] if model.about.name else []),
        info.dataset,
        info.model.net,
        f"image AUROC {format_figure(image_auroc(info))}".replace(" ", "\N{NO-BREAK SPACE}"),
        day(info.created_at),
    ]
    return " ".join([plain(" · ".join(parts)), *(mark.markdown for mark in marks_of(model))])


def _nothing_found(search: str, *, archived: bool) -> str:
    found = (
        f"No model has all of these words: {plain(search.strip())}." if search.strip() else "There is no model to show."
    )
    return found if archived else f"{found} Archived models were not looked through."
