"""The work on the Study page: photographs to measure, and what the studies made so far found."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from skrd4ad.errors import DocumentError
from skrd4ad.format import minute
from skrd4ad.metrics.gauge import FIT_BELOW, UNFIT_ABOVE
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.reports.pdf import print_page
from skrd4ad.services.study import text
from skrd4ad.services.study.design import tables_in
from skrd4ad.services.study.measure import Study, analyse
from skrd4ad.services.study.report import study_html
from skrd4ad.services.study.store import STUDY, StudyRequest, delete_study, load_study, study_ids
from skrd4ad.ui.frame import halves, shielded
from skrd4ad.ui.job_progress import follow_jobs, show_job
from skrd4ad.ui.pickers import pick_folder
from skrd4ad.ui.study.challenge import show_challenge
from skrd4ad.ui.study.chart import score_chart
from skrd4ad.ui.text import STATES, plain, plain_lines
from skrd4ad.ui.widgets import button, file_button, permitted, rerun

VIEWS = {"studies": "Studies", "challenge": "Challenge parts"}
_STUDY = "study"
_FOLDERS = "(the folders are the parts)"


def show_page(info: ModelInfo) -> None:
    """The whole page."""
    view = st.segmented_control(
        "View",
        list(VIEWS),
        format_func=VIEWS.__getitem__,
        default="studies",
        required=True,
        key="study-view",
        bind="query-params",
        label_visibility="collapsed",
    )
    shielded(lambda: _show_studies(info) if view == "studies" else show_challenge(info))


def _show_studies(info: ModelInfo) -> None:
    names = study_ids()
    if not names:
        st.info(
            "No study has been made in this workspace yet. Take about ten parts, good and defective ones and some that "
            "are close calls, photograph each three times as in production (taken out and put back each time), and "
            "choose the folder below.",
            icon=":material/straighten:",
        )
    with st.expander("New study", expanded=not names, icon=":material/add:", key=f"study-new-{bool(names)}"):
        shielded(lambda: _new(info))
    follow_jobs(STUDY.active, _jobs)
    if names:
        shielded(lambda: _show(_pick(names)))


def _new(info: ModelInfo) -> None:
    st.markdown(
        "Give a folder with one folder of photographs for each part, below folders `good` and `defect` where the truth "
        "is known; or a CSV table with the columns `file` and `part`, and as wanted `operator`, `camera`, `round`, "
        "`truth`, `reference`."
    )
    folder = pick_folder(key="study-folder")
    if folder is None:
        return
    tables = {path.name: path for path in tables_in(folder)}
    table = st.selectbox("Table", [*tables, _FOLDERS], key=f"study-table-{folder}") if tables else _FOLDERS
    source = tables.get(str(table), folder)
    if button(
        "Measure",
        type="primary",
        icon=":material/straighten:",
        key="study-measure",
        **permitted(STUDY.why_not, help=f"With {plain(info.title)}"),
    ):
        STUDY.submit(StudyRequest(model=str(info.folder), source=str(source)))
        rerun()


def _jobs(jobs: Sequence[JobView]) -> None:
    for job in jobs:
        with st.container(border=True, key=f"study-job-{job.id}"):
            show_job(job, job.title)
    last = None if jobs else STUDY.latest()
    if last is not None and last.state != "done":
        st.warning(
            f"{plain(last.title)} was not made: {STATES[last.state]}. {plain_lines(last.error or '')}",
            icon=":material/warning:",
        )
        if button("Try again", icon=":material/replay:", key=f"study-again-{last.id}", **permitted(STUDY.why_not)):
            STUDY.repeat(last.id)
            rerun()


def _pick(names: Sequence[str]) -> str:
    if st.session_state.get(_STUDY) not in names:
        asked = st.query_params.get(_STUDY)
        st.session_state[_STUDY] = asked if asked in names else names[0]
    name = str(st.selectbox("Study", names, format_func=_label, key=_STUDY, persist_state="session"))
    if st.query_params.get(_STUDY) != name:
        st.query_params[_STUDY] = name
    return name


def _label(name: str) -> str:
    try:
        record = load_study(name)
    except DocumentError:
        return f"{name} (damaged)"
    return f"{record.source.name} · {record.model_title} · {minute(record.made_at)}"


def _show(name: str) -> None:
    try:
        study = analyse(load_study(name))
    except DocumentError as error:
        st.warning(plain_lines(str(error)), icon=":material/warning:")
        _remove(name)
        return
    _judgement(study)
    _headlines(study)
    left, right = halves("study-figures", 1, 1)
    with left:
        st.subheader("The score as a measurement", anchor=False)
        if study.gauge is not None:
            _table(text.gauge_rows(study.gauge), "Standard deviation", "Score", "Of the total")
            _table(text.gauge_facts(study), "What follows", "Figure")
    with right:
        st.subheader("Agreement of the verdicts", anchor=False)
        if study.attribute is not None:
            _table(text.attribute_rows(study.attribute), "Parts, of all", "Count, share, 95 %")
    for line in filter(None, (*study.why_not.values(), text.bias_text(study))):
        st.caption(f":material/info: {plain(line)}")
    st.subheader("Scores of each part", anchor=False)
    score_chart(study)
    if study.stability is not None:
        st.subheader("Stability over the rounds", anchor=False)
        _table(text.stability_rows(study), "Round", "Shift of its mean")
    st.subheader("What the study is large enough for", anchor=False)
    for line in study.plan:
        st.markdown(plain(line))
    with st.expander(f"All {len(study.parts)} parts", key=f"study-parts-{name}"):
        st.dataframe(
            pd.DataFrame([text.part_row(part) for part in study.parts], columns=text.PART_COLUMNS),
            hide_index=True,
        )
        for line in study.record.left_out:
            st.caption(f"Left out: {plain(line)}")
    with st.expander("How it was computed, with what", key=f"study-how-{name}"):
        st.caption(plain(text.SOURCE))
        _table(text.facts(study), "What", "Value")
    with st.container(horizontal=True):
        stem = f"study-{name}"
        file_button("Report (PDF)", lambda: print_page(study_html(study)), f"{stem}.pdf", key=f"study-pdf-{name}")
        file_button("Web page", lambda: study_html(study), f"{stem}.html", key=f"study-html-{name}")
        _remove(name)


def _judgement(study: Study) -> None:
    share = None if study.gauge is None else study.gauge.share
    is_fit = share is not None and share < FIT_BELOW and not study.wavering
    is_unfit = share is None or share > UNFIT_ABOVE
    show = st.success if is_fit else st.error if is_unfit else st.warning
    icon = ":material/check_circle:" if is_fit else ":material/error:" if is_unfit else ":material/warning:"
    show(plain(text.judgement(study)), icon=icon)


def _headlines(study: Study) -> None:
    with st.container(horizontal=True, gap="medium", key="study-headlines"):
        for name, value, help in text.headlines(study):
            st.metric(plain(name), plain(value), help=plain(help), width="content")


def _table(rows: Sequence[Sequence[str]], *columns: str) -> None:
    table = pd.DataFrame([[plain(cell) for cell in row] for row in rows], columns=columns)
    st.table(table.set_index(columns[0]))


def _remove(name: str) -> None:
    with st.popover("Remove", icon=":material/delete:", type="tertiary", key=f"study-bin-{name}"):
        st.markdown("This removes the study. The photographs stay, and it can be made again.")
        if button("Remove this study", type="primary", key=f"study-remove-{name}", **permitted(why_not(delete_study))):
            delete_study(name)
            st.session_state.pop(_STUDY, None)
            rerun()
