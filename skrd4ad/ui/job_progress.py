"""Jobs on a page: how far they are, with pause and cancel, drawn anew while one runs or waits."""

from collections.abc import Callable, Sequence

import streamlit as st

from skrd4ad.errors import SkrdError
from skrd4ad.format import duration
from skrd4ad.services.access import why_not_job
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.ui.frame import section, show_error
from skrd4ad.ui.text import plain, progress_of
from skrd4ad.ui.widgets import button, permitted, rerun

MOVING_SECONDS, STANDING_SECONDS = 1.0, 5.0
"""Between two looks at jobs: where a bar moves, and elsewhere."""
SHOWN_IN_SIDEBAR = 3
_FOLLOWED, _AT_START = "_page-follows-jobs", "_jobs-at-start-of-page"


def follow_jobs(
    jobs: Callable[[], Sequence[JobView]],
    draw: Callable[[Sequence[JobView]], None],
    *,
    only_the_end: bool = False,
    before_rerun: Callable[[], None] = lambda: None,
) -> None:
    """Draw active jobs, and again while there are any; the page runs again when one of them comes, starts or ends.

    The sidebar shows no jobs beside them, so that a page asks the server once.

    Args:
        jobs: those that run or wait now.
        draw: called with them, also when there are none.
        only_the_end: the page runs again only when the last one has ended, or its bar begins or ceases to move.
        before_rerun: called before the page runs again.
    """
    # what stands above was drawn of jobs that have ended or begun meanwhile, and nothing below would ever tell
    if st.session_state.get(_AT_START) not in (None, _states(queue().active())):
        before_rerun()
        rerun()
    first = jobs()
    if first:
        st.session_state[_FOLLOWED] = True
    _follow(
        jobs,
        draw,
        first=first,
        every=_pace(first),
        differs=_ended_or_paced if only_the_end else _came_or_went,
        before_rerun=before_rerun,
    )


def expect_jobs(expected: bool) -> None:
    """Say before the page is drawn whether the sidebar is to show jobs, unless the page follows them itself."""
    st.session_state[_FOLLOWED] = not expected
    st.session_state[_AT_START] = _states(queue().active()) if expected else None


def sidebar_jobs() -> None:
    """Jobs at the end of the sidebar, where the page that was drawn before follows none itself."""
    if st.session_state[_FOLLOWED] or not (jobs := queue().active()):
        return
    with st.sidebar:
        _follow(
            queue().active,
            _draw_small,
            first=jobs,
            every=STANDING_SECONDS,
            differs=lambda before, now: bool(before) and not now,
            before_rerun=lambda: None,
        )


def _follow(
    jobs: Callable[[], Sequence[JobView]],
    draw: Callable[[Sequence[JobView]], None],
    *,
    first: Sequence[JobView],
    every: float | None,
    differs: Callable[[Sequence[JobView], Sequence[JobView]], bool],
    before_rerun: Callable[[], None],
) -> None:
    def tick() -> None:
        now = jobs()
        if differs(first, now):
            before_rerun()
            rerun()
        draw(now)

    section(tick, every=every, name=f"{draw.__module__}.{draw.__qualname__}")


def _pace(jobs: Sequence[JobView]) -> float | None:
    if not jobs:
        return None
    moving = any(job.state == "running" and not job.paused for job in jobs)
    return MOVING_SECONDS if moving else STANDING_SECONDS


def _came_or_went(before: Sequence[JobView], now: Sequence[JobView]) -> bool:
    return _states(before) != _states(now)


def _states(jobs: Sequence[JobView]) -> list[tuple[str, str]]:
    return [(job.id, job.state) for job in jobs]


def _ended_or_paced(before: Sequence[JobView], now: Sequence[JobView]) -> bool:
    return bool(before) and _pace(before) != _pace(now)


def _draw_small(jobs: Sequence[JobView]) -> None:
    st.caption("Jobs")
    for job in jobs[:SHOWN_IN_SIDEBAR]:
        share, words = progress_of(job)
        st.progress(share, text=plain(f"{job.title.split(' · ')[0]}: {words}{time_left(job)}"))
    if len(jobs) > SHOWN_IN_SIDEBAR:
        st.caption(f"and {len(jobs) - SHOWN_IN_SIDEBAR} more in the queue")


def show_job(job: JobView, title: str = "") -> None:
    """A job's bar, with what it does and how long it will take, and its buttons below."""
    share, words = progress_of(job)
    st.progress(share, text=plain(": ".join(filter(None, (title, words + time_left(job))))))
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
            if button("Go on", key=f"resume-{job.id}", icon=":material/play_arrow:", **permitted(why_not)):
                act(lambda: queue().resume_paused(job.id))
        elif job.state == "running" and button(
            "Pause", key=f"pause-{job.id}", icon=":material/pause:", **permitted(why_not, disabled=job.wish == "cancel")
        ):
            act(lambda: queue().pause(job.id))
        label = "Cancel" if job.state == "running" else "Take out of the queue"
        if button(
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
        rerun()
