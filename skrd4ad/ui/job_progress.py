"""Jobs on a page: how far they are, with pause and cancel, drawn anew every second while one runs or waits."""

from collections.abc import Callable, Sequence

import streamlit as st

from skrd4ad.errors import SkrdError
from skrd4ad.format import duration
from skrd4ad.services.access import why_not_job
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.ui.frame import section, show_error
from skrd4ad.ui.text import plain, progress_of
from skrd4ad.ui.widgets import permitted

POLL_SECONDS = 1.0


def follow_jobs(
    jobs: Callable[[], Sequence[JobView]],
    draw: Callable[[Sequence[JobView]], None],
    *,
    only_the_end: bool = False,
    before_rerun: Callable[[], None] = lambda: None,
) -> None:
    """Draw active jobs, and again every second; the page runs again when one of them comes, starts or ends.

    Args:
        jobs: those that run or wait now.
        draw: called with them, also when there are none.
        only_the_end: the page runs again only when the last one has ended.
        before_rerun: called before the page runs again.
    """
    before = [(job.id, job.state) for job in jobs()]

    def tick() -> None:
        now = jobs()
        if (bool(before) and not now) if only_the_end else [(job.id, job.state) for job in now] != before:
            before_rerun()
            st.rerun()
        draw(now)

    section(tick, every=POLL_SECONDS if before else None)


def show_job(job: JobView, title: str = "") -> None:
    """A job's bar, with what it does and how long it will take, and its buttons below."""
    share, words = progress_of(job)
    st.progress(share, text=": ".join(filter(None, (title, plain(words) + time_left(job)))))
    job_buttons(job)


def time_left(job: JobView) -> str:
    """``, about 3 min 5 s left`` of a running job that can tell; else empty."""
    eta = job.progress.get("eta_seconds")
    if not eta or job.state != "running" or job.paused or job.wish == "cancel":
        return ""
    return f", about {duration(eta)} left"


def job_buttons(job: JobView) -> None:
    """Pause or go on, and cancel."""
    why_not = why_not_job(job.kind, "pause or cancel it")
    with st.container(horizontal=True):
        if job.state == "running" and job.paused:
            if st.button("Go on", key=f"resume-{job.id}", icon=":material/play_arrow:", **permitted(why_not)):
                act(lambda: queue().resume_paused(job.id))
        elif job.state == "running" and st.button(
            "Pause", key=f"pause-{job.id}", icon=":material/pause:", **permitted(why_not, disabled=job.wish == "cancel")
        ):
            act(lambda: queue().pause(job.id))
        label = "Cancel" if job.state == "running" else "Take out of the queue"
        if st.button(
            label,
            key=f"cancel-{job.id}",
            icon=":material/close:",
            **permitted(why_not, disabled=job.wish == "cancel"),
        ):
            act(lambda: queue().cancel(job.id))


def act(action: Callable[[], object]) -> None:
    """Do what a button says, then run the page again; what goes wrong becomes a message."""
    try:
        action()
    except SkrdError as error:
        show_error(error)
    else:
        # the whole page, so that it starts polling when a job was added
        st.rerun()
