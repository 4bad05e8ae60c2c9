"""The loop behind the Label page: how the model does on what was labelled, and what can be done about it."""

from collections.abc import Callable

import streamlit as st

from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.ui.frame import halves, section
from skrd4ad.ui.label.improve.agreement import show_agreement, show_disagreements
from skrd4ad.ui.label.improve.compare import show_comparison
from skrd4ad.ui.label.improve.figures import show_figures
from skrd4ad.ui.label.improve.recalibrate import show_recalibration
from skrd4ad.ui.label.improve.retrain import show_retraining
from skrd4ad.ui.label.improve.state import LoopState, loop_state
from skrd4ad.ui.text import plain

REFRESH_SECONDS = 2.0


def show_loop(info: ModelInfo) -> None:
    """Agreement, figures, new limits, a new training, and old against new, for the class of a model."""
    section(lambda: _standing(info), every=REFRESH_SECONDS)
    section(lambda: _with_state(info, show_recalibration))
    section(lambda: _with_state(info, show_retraining))
    section(lambda: _with_state(info, show_comparison))


def _standing(info: ModelInfo) -> None:
    state = loop_state(info)
    if not state.book.images:
        st.info(
            f"No image of {plain(info.class_name.replace('_', ' '))} is labelled yet. Label at least one good and one "
            "defective image to see how well the model does on them."
        )
        return
    left, right = halves("loop-standing", 3, 2)
    with left:
        show_agreement(state)
    with right:
        show_figures(state)
    show_disagreements(state)


def _with_state(info: ModelInfo, show: Callable[[LoopState], None]) -> None:
    state = loop_state(info)
    if state.book.images:
        st.divider()
        show(state)
