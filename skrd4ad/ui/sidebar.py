"""The sidebar of every page: the model that was chosen, and the jobs that run."""

from pathlib import Path

import streamlit as st

import skrd4ad
from skrd4ad.format import format_number
from skrd4ad.model_folder.info import GUARDS_OFF, ModelInfo, has_guards
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.models.list import list_models
from skrd4ad.ui.frame import choose_model, chosen_model, model_labels, shielded
from skrd4ad.ui.garbage import SLOW, collects_after_every_run
from skrd4ad.ui.job_progress import expect_jobs
from skrd4ad.ui.login.account import show_account
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import rerun


def sidebar() -> None:
    """Who is logged in and the chosen model; jobs come after the page, by
    :func:`skrd4ad.ui.job_progress.sidebar_jobs`."""
    with st.sidebar:
        shielded(show_account)
        if collects_after_every_run():
            st.warning(SLOW, icon=":material/speed:")
        shielded(_model)
        shielded(_jobs)


def version() -> None:
    """Which build this is, below all else of the sidebar."""
    st.sidebar.caption(plain(f"SK-RD4AD Studio {skrd4ad.__version__}"))


def _jobs() -> None:
    expect_jobs(False)  # without a database nobody is to look for them
    queue().supervise()
    expect_jobs(True)


def _model() -> None:
    models, _ = list_models()
    if (info := chosen_model(models)) is not None:
        _model_choice(models, info)


def _model_choice(models: list[ModelInfo], info: ModelInfo) -> None:
    labels = model_labels(models)
    folder = str(info.folder)
    chosen = st.selectbox(
        "Model",
        list(labels),
        index=list(labels).index(folder),
        format_func=labels.__getitem__,
        key=f"model-{folder}",
    )
    if chosen != folder:
        choose_model(Path(chosen))
        rerun()
    limit = "No limit yet: scores without verdicts"
    if info.calibration is not None:
        limit = f"NG above {format_number(info.calibration.image_threshold)}, version {info.calibration.version:d}"
    st.caption(f"{plain(info.model.net)}, {info.model.skips} skips  \n{limit}")
    if info.first_look:
        st.caption(":orange-badge[:material/bolt: first look] the memory bank alone decides")
    if not has_guards(info.folder):
        st.caption(f":red[:material/gpp_maybe: {GUARDS_OFF}]")
