"""Jobs as cards: what runs, what waits, what ended, and what can be done about it."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from skrd4ad.errors import SkrdError
from skrd4ad.format import ago, duration, format_number, metric_name
from skrd4ad.services import training
from skrd4ad.services.evaluation import evaluate
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.exchange import import_job
from skrd4ad.services.models import export_job
from skrd4ad.ui.charts import loss_chart, show_chart
from skrd4ad.ui.frame import POLL_SECONDS, choose_model, shielded, show_error
from skrd4ad.ui.text import STATES, progress_of

SHOWN_ENDED = 5
_FIGURES = {name: metric_name(name) for name in ("image_auroc", "pixel_auroc", "aupro")}
_RESUMABLE = ("interrupted", "cancelled", "failed")
_AGAIN: dict[str, tuple[str, Callable[[str], str]]] = {
    training.KIND: ("Go on from its last epoch", training.resume_training),
    evaluate.KIND: ("Evaluate once more", evaluate.repeat_evaluation),
    export_job.KIND: ("Export once more", export_job.repeat_export),
    import_job.KIND: ("Try again", import_job.repeat_import),
}
"""By kind of job: the button under one that did not come to its end, and what it does."""


def watch_jobs(when_none: str) -> None:
    """All jobs, refreshed every second while one runs; the page runs again once when the last one ends.

    ``when_none`` is said when there never was a job.
    """
    active = bool(queue().active())

    @st.fragment(run_every=POLL_SECONDS if active else None)
    def watch() -> None:
        # a tick runs the fragment alone, without the shield of its page
        shielded(lambda: _cards(when_none, were_active=active))

    watch()


def _cards(when_none: str, *, were_active: bool) -> None:
    jobs = queue().active()
    if were_active and not jobs:
        st.rerun()
    for job in jobs:
        _active_card(job)
    latest = queue().list(limit=SHOWN_ENDED + len(jobs))
    ended = [job for job in latest if not job.active][:SHOWN_ENDED]
    if not jobs and not ended:
        st.info(when_none)
    if jobs and ended:
        st.subheader("Ended", anchor=False)
    for job in ended:
        was_repeated = any(other.request == job.request and other.created_at > job.created_at for other in latest)
        _ended_card(job, can_go_on=job.state in _RESUMABLE and not was_repeated)


def _active_card(job: JobView) -> None:
    share, words = progress_of(job)
    with st.container(border=True, key=f"job-{job.id}"):
        st.markdown(f"**{job.title}**")
        st.progress(share, text=words)
        if job.state == "running" and job.kind == training.KIND:
            _figures(job)
            points = queue().points(job.id)
            epochs = int(job.progress.get("epochs") or job.request["train"]["epochs"])
            show_chart(
                loss_chart(points, epochs=epochs),
                key=f"curve-{job.id}",
                alt=f"Training loss and held-out score after {len(points)} of {epochs} epochs",
            )
        _active_buttons(job)


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


def _number(value: float | None) -> str:
    return "–" if value is None else format_number(value)


def _active_buttons(job: JobView) -> None:
    with st.container(horizontal=True):
        if job.state == "running" and job.paused:
            if st.button("Go on", key=f"resume-{job.id}", icon=":material/play_arrow:"):
                _do(lambda: queue().resume_paused(job.id))
        elif job.state == "running" and st.button("Pause", key=f"pause-{job.id}", icon=":material/pause:"):
            _do(lambda: queue().pause(job.id))
        label = "Cancel" if job.state == "running" else "Take out of the queue"
        if st.button(label, key=f"cancel-{job.id}", icon=":material/close:", disabled=job.wish == "cancel"):
            _do(lambda: queue().cancel(job.id))


def _ended_card(job: JobView, *, can_go_on: bool) -> None:
    with st.container(border=True, key=f"job-{job.id}"):
        when = "" if job.finished_at is None else f", {ago(job.finished_at)}"
        st.markdown(f"**{job.title}** — {STATES[job.state]}{when}")
        if job.state == "done" and job.result is not None:
            _result(job)
        elif job.state == "failed":
            st.error(job.error or "The reason is not known.", icon=":material/error:")
            if job.details:
                with st.expander("Details", key=f"job-details-{job.id}"):
                    st.code(job.details, language=None)
        if can_go_on and job.kind in _AGAIN:
            label, again = _AGAIN[job.kind]
            if st.button(label, key=f"again-{job.id}", icon=":material/replay:"):
                _do(lambda: again(job.id))


def _result(job: JobView) -> None:
    result = job.result or {}
    metrics = result.get("metrics") or {}
    shown = [(name, metrics[key]) for key, name in _FIGURES.items() if metrics.get(key) is not None]
    badge = " (test-selected)" if metrics.get("test_selected") else ""
    if shown:
        st.caption(", ".join(f"{name} {value:.3f}" for name, value in shown) + badge + " on the test images")
    if result.get("not_measured"):
        st.caption(f"Not evaluated. {result['not_measured']}")
    if job.kind == evaluate.KIND:
        if st.button("See it", key=f"see-{job.id}", icon=":material/bar_chart:"):
            choose_model(Path(result["model_folder"]))
            st.switch_page("pages/evaluate.py")
        return
    if job.kind != training.KIND:
        return
    folder = Path(result["folder"])
    if folder.is_dir():
        if st.button("Inspect with it", key=f"inspect-{job.id}", icon=":material/frame_inspect:"):
            choose_model(folder)
            st.switch_page("pages/inspect.py")
    else:
        st.caption("Its model folder is not there any more.")


def _do(action: Callable[[], object]) -> None:
    try:
        action()
    except SkrdError as error:
        show_error(error)
    else:
        # the whole page, so that it starts polling when a job was added
        st.rerun()
