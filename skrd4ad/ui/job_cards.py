"""Jobs as cards: what runs, what waits, what ended, and what can be done about it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from skrd4ad.format import ago, duration, format_number, metric_name
from skrd4ad.services.access import why_not_job
from skrd4ad.services.evaluation.compare import COMPARISON
from skrd4ad.services.evaluation.evaluate import EVALUATION
from skrd4ad.services.improve.compare import LABEL_COMPARISON
from skrd4ad.services.improve.retrain import TRAINING
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import JobView, remove_job
from skrd4ad.services.labelling.exchange.import_job import IMPORT
from skrd4ad.services.models.export_job import EXPORT
from skrd4ad.ui.charts import loss_chart, show_chart
from skrd4ad.ui.frame import choose_model, go_to, shielded
from skrd4ad.ui.job_progress import act, follow_jobs, job_buttons
from skrd4ad.ui.text import STATES, plain, plain_lines, progress_of
from skrd4ad.ui.widgets import button, permitted

SHOWN_ENDED = 5
_FIGURES = {name: metric_name(name) for name in ("image_auroc", "pixel_auroc", "aupro")}
_RESUMABLE = ("interrupted", "cancelled", "failed")
_AGAIN: dict[str, tuple[str, JobKind[Any]]] = {
    TRAINING.name: ("Go on from its last epoch", TRAINING),
    EVALUATION.name: ("Evaluate once more", EVALUATION),
    COMPARISON.name: ("Compare once more", COMPARISON),
    LABEL_COMPARISON.name: ("Compare once more", LABEL_COMPARISON),
    EXPORT.name: ("Export once more", EXPORT),
    IMPORT.name: ("Try again", IMPORT),
}
"""By kind of job: the button under one that did not come to its end, and what it does."""


def watch_jobs(when_none: str) -> None:
    """All jobs; ``when_none`` is said when there never was one."""
    follow_jobs(queue().active, lambda jobs: _cards(jobs, when_none), only_the_end=True)


def _cards(jobs: Sequence[JobView], when_none: str) -> None:
    for job in jobs:
        shielded(partial(_active_card, job))
    latest = queue().list(limit=SHOWN_ENDED + len(jobs))
    drawn = {job.id for job in jobs}  # one of them may have ended since it was drawn above
    ended = [job for job in latest if not job.active and job.id not in drawn][:SHOWN_ENDED]
    if not jobs and not ended:
        st.info(when_none)
    if jobs and ended:
        st.subheader("Ended", anchor=False)
    for job in ended:
        was_repeated = any(other.request == job.request and other.created_at > job.created_at for other in latest)
        shielded(partial(_ended_card, job, can_go_on=job.state in _RESUMABLE and not was_repeated))


def _active_card(job: JobView) -> None:
    share, words = progress_of(job)
    with st.container(border=True, key=f"job-{job.id}"):
        st.markdown(f"**{plain(job.title)}**")
        st.progress(share, text=plain(words))
        if job.state == "running" and job.kind == TRAINING.name:
            _figures(job)
            _first_look(job)
            points = queue().points(job.id)
            epochs = int(job.progress.get("epochs") or TRAINING.request_of(job.request).train.epochs)
            show_chart(
                loss_chart(points, epochs=epochs),
                key=f"curve-{job.id}",
                alt=f"Training loss and held-out score after {len(points)} of {epochs} epochs",
            )
        job_buttons(job)


def _figures(job: JobView) -> None:
    at = job.progress
    rate, eta = at.get("images_per_second"), at.get("eta_seconds")
    columns = st.columns(4)
    columns[0].metric("Loss", _number(at.get("loss")), help="Mean restoration error of this epoch; it should fall.")
    columns[1].metric(
        "Held-out score",
        _number(at.get("holdout_score")),
        help="The same error on good images the model does not learn from; lower is better. "
        "The epoch with the lowest is kept, unless the settings say otherwise.",
    )
    columns[2].metric("Speed", "–" if rate is None else f"{rate:.0f} images/s")
    columns[3].metric(
        "Time left", "–" if eta is None or job.paused or job.wish == "cancel" else f"about {duration(eta)}"
    )


def _first_look(job: JobView) -> None:
    folder = Path(str(job.progress.get("first_look") or ""))
    if not folder.is_absolute() or not folder.is_dir():
        return
    _inspect_button(job, folder, "Inspect with a first look")
    st.caption("The memory bank alone decides there, with its own limit. The full model takes its place.")


def _inspect_button(job: JobView, folder: Path, label: str) -> None:
    if button(plain(label), key=f"inspect-{job.id}", icon=":material/frame_inspect:"):
        choose_model(folder)
        go_to("inspect")


def _number(value: float | None) -> str:
    return "–" if value is None else format_number(value)


def _ended_card(job: JobView, *, can_go_on: bool) -> None:
    with st.container(border=True, key=f"job-{job.id}"):
        when = "" if job.finished_at is None else f", {ago(job.finished_at)}"
        st.markdown(f"**{plain(job.title)}** — {STATES[job.state]}{when}")
        if job.problem:
            st.warning(plain(job.problem), icon=":material/warning:")
            why_not = why_not_job(job.kind, "remove it")
            if button("Remove it", key=f"remove-{job.id}", icon=":material/delete:", **permitted(why_not)):
                act(lambda: remove_job(job.id))
            return
        if job.state == "done" and job.result is not None:
            _result(job)
        elif job.state == "failed":
            st.error(plain_lines(job.error or "The reason is not known."), icon=":material/error:")
            if job.details:
                with st.expander("Details", key=f"job-details-{job.id}"):
                    st.code(job.details, language=None)
        known = _AGAIN.get(job.kind)
        if can_go_on and known is not None:
            label, kind = known
            if button(plain(label), key=f"again-{job.id}", icon=":material/replay:", **permitted(kind.why_not)):
                act(lambda: kind.repeat(job.id))


def _result(job: JobView) -> None:
    result = job.result or {}
    metrics = result.get("metrics") or {}
    shown = [(name, metrics[key]) for key, name in _FIGURES.items() if isinstance(metrics.get(key), int | float)]
    badge = " (test-selected)" if metrics.get("test_selected") else ""
    if shown:
        st.caption(", ".join(f"{plain(name)} {value:.3f}" for name, value in shown) + badge + " on the test images")
    if result.get("not_measured"):
        st.caption(f"Not evaluated. {plain(str(result['not_measured']))}")
    if job.kind == EVALUATION.name:
        if "model_folder" in result and button("See it", key=f"see-{job.id}", icon=":material/bar_chart:"):
            choose_model(Path(result["model_folder"]))
            go_to("evaluate")
        return
    if job.kind != TRAINING.name:
        return
    folder = Path(result.get("folder", "")).absolute()
    if "folder" in result and folder.is_dir():
        _inspect_button(job, folder, "Inspect with it")
    else:
        st.caption("Its model folder is not there any more.")
