"""What can be done with a model: use, name, note, archive, hand on, delete."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import streamlit as st

from skrd4ad.errors import CheckpointError
from skrd4ad.format import format_size, plural
from skrd4ad.model_folder.bundle import bundle_name
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import LONGEST_NAME, LONGEST_NOTE
from skrd4ad.services.access import bound, why_not
from skrd4ad.services.models.library import (
    LibraryModel,
    archive_model,
    bundle_of,
    delete_model,
    jobs_using,
    note_model,
    rename_model,
    watched_for,
    what_goes,
)
from skrd4ad.services.models.list import list_models
from skrd4ad.ui.frame import choose_model, chosen_model, dialog
from skrd4ad.ui.models.state import show_next, tell, weights_problem
from skrd4ad.ui.models.text import is_shipped
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, file_button, permitted, rerun


def show_actions(model: LibraryModel) -> None:
    """The buttons of a model."""
    info, about = model.info, model.about
    used = chosen_model(list_models()[0])
    in_use = used is not None and used.folder == info.folder
    with st.container(horizontal=True, gap="xsmall", key="models-actions"):
        if button(
            "In use" if in_use else "Use it",
            type="primary",
            icon=":material/check:" if in_use else ":material/frame_inspect:",
            disabled=in_use or about.archived,
            help="Makes it the model of the side bar, on every page."
            + (" An archived model is not offered; unarchive it first." if about.archived else ""),
            key="models-use",
        ):
            choose_model(info.folder)
            tell(f"{plain(model.title)} is now the model of every page.")
            rerun()
        if button("Rename", icon=":material/edit:", key="models-rename", **permitted(why_not(rename_model))):
            dialog("Rename the model", lambda: _ask_name(model))
        if button("Note", icon=":material/notes:", key="models-note", **permitted(why_not(note_model))):
            dialog("Note on the model", lambda: _ask_note(model))
        word, icon = ("Unarchive", ":material/unarchive:") if about.archived else ("Archive", ":material/archive:")
        if button(
            word,
            icon=icon,
            key="models-archive",
            **permitted(
                why_not(archive_model),
                help="An archived model is kept with all it has, and not offered where a model is chosen.",
            ),
        ):
            _archive(model)
        file_button(
            "Bundle",
            bound(lambda: bundle_of(info.folder)[1]),
            bundle_name(info),
            key="models-bundle",
            **permitted(
                why_not(bundle_of),
                disabled=bool(weights_problem(info)),
                help="The model as one file with the SHA-256 of each part, for another machine. Without its exports, "
                "and without the teacher's weights, whose digest it names.",
            ),
        )
        if button("Delete", icon=":material/delete:", key="models-delete", **permitted(why_not(delete_model))):
            ask_to_delete(info.folder)


def ask_to_delete(folder: Path) -> None:
    """Ask once whether a model folder goes, and name what goes with it."""

    dialog("Delete this model?", lambda: _delete_question(folder))


def _delete_question(folder: Path) -> None:
    goes = what_goes(folder)
    st.markdown(f"**{plain(goes.title)}** goes, and nothing brings it back:")
    lines = [f"{plural(goes.files, 'file')}, {format_size(goes.size)}, in {plain(str(goes.folder))}"]
    if goes.exports:
        lines.append(f"{plural(len(goes.exports), 'export')}: {plain(', '.join(goes.exports))}")
    st.markdown("\n".join(f"- {line}" for line in lines))
    st.caption("Evaluations, labels and reviews made with it stay. To keep it out of the lists only, archive it.")
    shipped = False
    with suppress(CheckpointError):  # of a damaged model nobody can tell where it came from
        shipped = is_shipped(read_info(folder))
    if shipped:
        st.warning(
            "This model came with the program. Only a fresh copy of the program brings it back; archiving hides it.",
            icon=":material/warning:",
        )
    jobs = jobs_using(folder)
    if jobs:
        titles = ", ".join(job.title for job in jobs)
        st.error(f"A job needs it: {plain(titles)}. Cancel it, or wait for it.", icon=":material/error:")
    watched = watched_for(folder)
    if watched:
        st.error(
            f"It judges what comes into {plain(', '.join(watched))}. Stop watching on the Label page first.",
            icon=":material/error:",
        )
    with st.container(horizontal=True):
        if button("Delete for good", type="primary", disabled=bool(jobs or watched), key="models-delete-yes"):
            delete_model(folder)
            tell(f"{plain(goes.title)} was deleted.")
            rerun()
        if button("Keep it", key="models-delete-no"):
            rerun()


def _archive(model: LibraryModel) -> None:
    folder, title = model.info.folder, plain(model.title)
    if model.about.archived:
        archive_model(folder, archived=False)
        tell(f"{title} is offered again.")
    else:
        archive_model(folder)
        tell(f'{title} is archived. The switch "Archived too" shows it in the list.')
    show_next(folder)
    rerun()


def _ask_name(model: LibraryModel) -> None:
    info = model.info
    with st.form(f"models-form-{info.folder}", border=False):
        name = st.text_input(
            "Name",
            value=model.about.name,
            max_chars=LONGEST_NAME,
            placeholder=info.title,
            help="Empty for its title. Its folder keeps its own name.",
            key=f"models-name-{info.folder}",
        )
        _save(info, lambda: rename_model(info.folder, name or ""))


def _ask_note(model: LibraryModel) -> None:
    info = model.info
    with st.form(f"models-form-{info.folder}", border=False):
        note = st.text_area(
            "Note",
            value=model.about.note,
            max_chars=LONGEST_NOTE,
            height=160,
            help="Empty for none. It goes with the model in its bundle.",
            key=f"models-note-{info.folder}",
        )
        _save(info, lambda: note_model(info.folder, note or ""))


def _save(info: ModelInfo, keep: Callable[[], object]) -> None:
    if button("Save", type="primary", icon=":material/save:", key="models-save", draw=st.form_submit_button):
        keep()
        show_next(info.folder)
        rerun()
