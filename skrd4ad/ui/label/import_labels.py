"""Importing labels: a file or folder is looked at, what it would change is said, and only then stored."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import streamlit as st

from skrd4ad.format import ago, plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.exchange.import_job import (
    IMPORT,
    KEPT,
    SHOWN_PROBLEMS,
    Agreed,
    ImportPreview,
    ImportRequest,
    drop_upload,
    latest_import,
    preview_of,
    submit_import,
    submit_preview,
)
from skrd4ad.services.labelling.exchange.merge import Conflicts
from skrd4ad.services.labelling.exchange.records import FORMATS
from skrd4ad.services.labelling.exchange.transfer import kinds_line
from skrd4ad.ui.acting import known_reviewer
from skrd4ad.ui.job_progress import follow_jobs, show_job
from skrd4ad.ui.label.reviewer import ask_reviewer
from skrd4ad.ui.pickers import pick_folder
from skrd4ad.ui.text import STATES, plain
from skrd4ad.ui.widgets import button, choose, permitted, rerun

FEW_PROBLEMS, LIST_HEIGHT = 8, 260
"""More than so many problems scroll in a list of that height, in pixels."""
_CLOSED = "_exchange-closed"
_SOURCES = {"upload": "A file", "server": "A folder on the server"}
_CONFLICTS: dict[Conflicts, str] = {"keep": "Keep yours", "theirs": "Take theirs"}


def show_import(info: ModelInfo) -> None:
    """Import labels into the class of a model."""
    job = latest_import(info)
    if job is not None and job.active:
        follow_jobs(lambda: IMPORT.active(dataset=info.dataset, class_name=info.class_name), _progress)
        return
    ended = None if job is None else job.finished_at
    old = ended is not None and datetime.now(UTC) - ended > KEPT
    closed = job is None or old or st.session_state.get(_CLOSED) == job.id
    source = _pick_source()
    empty_is_good = st.toggle(
        "Images without an annotation are good parts",
        key="exchange-empty",
        persist_state="session",
        help="A file of another tool does not say whether such images are good, or were not looked at. Files "
        "that were exported here say it.",
    )
    pixel_centres = st.toggle(
        "Polygons run through the middles of pixels",
        key="exchange-centres",
        persist_state="session",
        help="OpenCV and supervision trace contours so; read along the edges of pixels, thin defects would lose half.",
    )
    kind: Literal["primary", "secondary"] = "primary" if closed else "secondary"
    if source is not None and button(
        "Check what is in it",
        key="exchange-check",
        icon=":material/fact_check:",
        type=kind,
        **permitted(why_not(submit_preview)),
    ):
        content, name = source
        submit_preview(info, content, name=name, empty_is_good=empty_is_good, pixel_centres=pixel_centres)
        rerun()
    if job is not None and not closed:
        _show_ended(job)


def _pick_source() -> tuple[Path | bytes, str | None] | None:
    """What to import, and its name if it is a file."""
    if choose("From", _SOURCES, default="upload", key="exchange-from") == "server":
        folder = pick_folder(key="exchange-folder")
        st.caption("Its images stay where they are, so leave them there.")
        return None if folder is None else (folder, None)
    file = st.file_uploader(
        "Labels",
        type=["zip", "json", "csv", "xml"],
        key="exchange-upload",
        help="A ZIP of MVTec folders, or of what COCO, CVAT, Label Studio, YOLO, labelme, VIA, Pascal VOC or Datumaro "
        "hold, or of a table, with its images; or the file of labels alone, when the images are in the workspace "
        "already.",
    )
    if file is None:
        st.caption(
            "A ZIP, or a file of labels: JSON, XML or CSV. Nothing is stored before you have seen what it would change."
        )
        return None
    return file.getvalue(), file.name


def _progress(jobs: Sequence[JobView]) -> None:
    for job in jobs:
        st.markdown(f"**{plain(IMPORT.request_of(job.request).named)}**")
        show_job(job)
    st.caption("It goes on when you leave this page, and what came of it will be here.")


def _show_ended(job: JobView) -> None:
    """What the last job found or did, until the user closes it."""
    request = IMPORT.request_of(job.request)
    checked = request.agreed is None
    if job.state == "done" and checked and not request.is_there:
        return  # nobody imported it, and it is not kept any more
    when = "" if job.finished_at is None else f", {ago(job.finished_at)}"
    with st.container(border=True, key="exchange-ended"):
        if job.state != "done" or job.result is None:
            doing = "The check of" if checked else "The import of"
            said = f"{doing} {plain(request.named)}: {STATES[job.state]}{when}. {plain(job.error or '')}"
            (st.error if job.state == "failed" else st.warning)(said, icon=":material/error:")
            if request.is_there and button(
                "Try again", icon=":material/replay:", key="exchange-again", **permitted(IMPORT.why_not)
            ):
                IMPORT.repeat(job.id)
                rerun()
        elif checked:
            st.caption(f"{plain(request.named)}, checked{when}")
            _decide(request, preview_of(job.result))
        else:
            who = "" if request.agreed is None else f" by {plain(request.agreed.reviewer)}"
            lines = [f"{plain(request.named)} was imported{who}{when}.", *map(plain, job.result.get("lines", ()))]
            st.success("  \n".join(lines), icon=":material/check_circle:")
        if button("Close", icon=":material/close:", type="tertiary", key="exchange-close"):
            if not why_not(drop_upload):
                drop_upload(request)
            st.session_state[_CLOSED] = job.id
            rerun()


def _decide(request: ImportRequest, preview: ImportPreview) -> None:
    """What the import would do, and the button that does it."""
    conflicts: Conflicts = "keep"
    st.markdown(f"**{FORMATS[preview.format]}, {plural(preview.usable, 'usable image')}**")
    if preview.kinds.get("differs"):
        conflicts = choose(
            "Where labels differ",
            _CONFLICTS,
            default="keep",
            key="exchange-conflicts",
            persist=False,
            help="Yours stay in the history either way.",
        )
    st.markdown(plain(kinds_line(preview.kinds, conflicts)))
    if preview.notes:
        st.caption("  \n".join(map(plain, preview.notes)))
    skip_bad = _problems(preview)
    changed = preview.changed[conflicts]
    if not changed:
        st.info("Nothing here would change, so there is nothing to import.")
        return
    reviewer = known_reviewer()
    if reviewer is None:
        ask_reviewer()
        return
    if button(
        f"Import {plural(changed, 'image')} as {plain(reviewer)}",
        key="exchange-import",
        icon=":material/upload:",
        type="primary",
        **permitted(why_not(submit_import), disabled=bool(preview.n_problems) and not skip_bad),
    ):
        agreed = Agreed(reviewer=reviewer, conflicts=conflicts, skip_bad=skip_bad, fingerprint=preview.fingerprint)
        submit_import(request, agreed)
        rerun()


def _problems(preview: ImportPreview) -> bool:
    """Entries that are wrong; whether to import without them."""
    if not preview.n_problems:
        return False
    st.warning(f"Entries that cannot be used: {preview.n_problems}", icon=":material/warning:")
    with st.container(height=LIST_HEIGHT if preview.n_problems > FEW_PROBLEMS else "content", border=True):
        st.caption("  \n".join(f"**{plain(entry)}** {plain(problem)}" for entry, problem in preview.problems))
    if preview.n_problems > len(preview.problems):
        st.caption(f"The first {SHOWN_PROBLEMS} are shown.")
    return st.toggle("Import the rest without them", key="exchange-skip")
