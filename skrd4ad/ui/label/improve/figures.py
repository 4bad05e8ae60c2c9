"""Figures of the model on labelled images: of images at once, of pixels a moment later."""

import streamlit as st

from skrd4ad.format import plural
from skrd4ad.metrics.bootstrap import Interval
from skrd4ad.services.access import why_not
from skrd4ad.services.improve.agreement import auroc_interval, image_figures
from skrd4ad.services.improve.pixel_metrics import PixelState
from skrd4ad.services.labelling.score_queue import active_scoring, score_labelled, submit_scoring
from skrd4ad.storage.labelled_images import LabelledImage
from skrd4ad.ui.label.improve.state import LoopState, pixel_worker
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain, plain_lines, progress_of
from skrd4ad.ui.widgets import button, permitted, rerun

FEW = 100
"""Labelled images that are scored while the user waits; more go to the queue of jobs, with the rest of the class."""
_PROBLEMS = "_label-loop-problems"


def show_figures(state: LoopState) -> None:
    """Image AUROC and average precision, pixel AUROC and AUPRO, each with the number of images behind it."""
    st.subheader("Figures", anchor=False)
    found = image_figures(state.labels.images)
    if found.image_auroc is None or found.image_ap is None:
        missing = [name for name, n in (("good", found.n_good), ("defective", found.n_defect)) if not n]
        st.info(
            f"Label at least one {' and one '.join(missing)} image that the model has not learnt from, to see how well "
            "its scores tell good parts from defects."
        )
    else:
        left, right = st.columns(2)
        left.metric(
            "Image AUROC",
            f"{found.image_auroc:.3f}",
            help="The chance that a labelled defect scores above a labelled good part; 1 is perfect, 0.5 is by chance.",
        )
        right.metric(
            "Image AP",
            f"{found.image_ap:.3f}",
            help="Precision averaged over all recalls: how clean the list is when the highest scores come first.",
        )
        interval = _interval(state.info.digest, _key(state.labels.images), state)
        st.caption(f"{found.n_good} good and {found.n_defect} defective images{_interval_text(interval)}")
    _unscored(state)
    show_pixels(pixel_worker().ask(state.info, state.labels.images, purpose="figures"))


def show_pixels(state: PixelState | None) -> None:
    """Pixel figures as they are known now."""
    if state is None:
        st.caption("Draw the mask of a defect to see how well the model finds its pixels.")
        return
    figures = state.figures
    left, right = st.columns(2)
    left.metric(
        "Pixel AUROC",
        "–" if figures is None or figures.pixel_auroc is None else f"{figures.pixel_auroc:.3f}",
        help="The chance that a pixel inside a drawn defect scores above one outside of all defects.",
    )
    right.metric(
        "AUPRO",
        "–" if figures is None or figures.aupro is None else f"{figures.aupro:.3f}",
        help="Share of each drawn region that is found, averaged over all regions and over false-positive rates up to "
        "0.30: small defects count as much as large ones.",
    )
    if state.error is not None:
        st.error(f"The pixel figures cannot be had: {plain_lines(str(state.error))}", icon=":material/error:")
    elif figures is not None:
        drawn = ", drawn from more" if figures.drawn else ""
        newer = "" if state.is_current else "; being brought up to date"
        st.caption(
            f"{plural(figures.n_masks, 'defect')} with a mask and {plural(figures.n_good, 'good image')}{drawn}{newer}"
        )
        for line in figures.left_out:
            st.caption(plain(line))
    else:
        done, total = state.progress
        st.caption(f"{done:d} of {total:d} images looked at" if total else "Being computed")


def score_with_progress(state: LoopState, images: tuple[LabelledImage, ...]) -> dict[str, str]:
    """Let the model look at images while the user sees how far it is; why an image cannot be scored, by its digest."""
    with progress_bar("images scored") as task, st.spinner("Scoring the images …"):
        return score_labelled(state.info, images, task=task)


def _unscored(state: LoopState) -> None:
    missing = tuple(image for image in state.labels.images if image.score is None)
    if not missing:
        return
    if (job := active_scoring(state.info)) is not None:
        st.caption(f"{len(missing)} labelled images wait for a score: {plain(progress_of(job)[1])}.")
        return
    st.caption(f"{len(missing)} labelled images have no score of this model yet and do not count.")
    if button("Score them now", icon=":material/play_arrow:", key="loop-score", **permitted(why_not(score_labelled))):
        if len(missing) > FEW:
            submit_scoring(state.info)
        else:
            st.session_state[_PROBLEMS] = list(score_with_progress(state, missing).values())
        rerun()
    for line in st.session_state.get(_PROBLEMS, []):
        st.caption(plain(line))


def _key(images: tuple[LabelledImage, ...]) -> int:
    return hash(tuple((image.digest, image.label, image.score) for image in images))


@st.cache_data(max_entries=16, ttl="10m", show_spinner=False)
def _interval(digest: str, key: int, _state: LoopState) -> Interval | None:  # noqa: ARG001 - what it depends on
    return auroc_interval(_state.labels.images)


def _interval_text(interval: Interval | None) -> str:
    if interval is None:
        return "; too few for an interval."
    return f"; AUROC between {interval.low:.3f} and {interval.high:.3f} with other images chosen alike (95 %)."
