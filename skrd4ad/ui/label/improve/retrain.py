"""Retraining with images labelled good: what it would learn from, the job, and what became of it."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from skrd4ad.config import TrainConfig
from skrd4ad.format import ago, duration, format_number, plural
from skrd4ad.services.access import why_not
from skrd4ad.services.improve.retrain import (
    TRAINING,
    RetrainPlan,
    active_retrainings,
    plan_retraining,
    submit_retraining,
)
from skrd4ad.services.jobs.view import JobView
from skrd4ad.ui.frame import halves
from skrd4ad.ui.job_progress import follow_jobs, show_job
from skrd4ad.ui.label.improve.state import LoopState
from skrd4ad.ui.text import plain, plain_lines
from skrd4ad.ui.widgets import button, permitted, rerun

_RESUMABLE = ("interrupted", "cancelled", "failed")
FEW_TO_COMPARE = 5


def show_retraining(state: LoopState) -> None:
    """A new training from the current student, or the one that runs."""
    st.subheader("Retrain", anchor=False)
    if active_retrainings(state.info):
        follow_jobs(lambda: active_retrainings(state.info), _progress)
        return
    if (ended := _latest_ended(state)) is not None:
        _show_ended(ended)
    plan = plan_retraining(state.info, state.book, state.seen)
    if plan.problem is not None:
        st.info(plain(plan.problem))
        return
    left, right = halves("loop-retrain", 3, 2)
    with left:
        st.markdown("\n".join(f"- {line}" for line in plan_lines(plan)))
        for line in _remarks(plan):
            st.caption(plain(line))
    with right:
        config = _pick_config(plan)
        if button(
            "Retrain with the images labelled good",
            type="primary",
            icon=":material/model_training:",
            key="loop-retrain",
            **permitted(why_not(submit_retraining)),
        ):
            submit_retraining(plan, config=config)
            rerun()
        st.caption(f"{_duration(plan, config)}The model in use stays in use; nothing is replaced by itself.")


def plan_lines(plan: RetrainPlan) -> list[str]:
    """What a retraining would learn from, one line each."""
    own = plan.own - plan.own_held_out
    lines = []
    if plan.own:
        lines.append(f"**{own:d}** training images of the model, and **{plan.learn:d}** labelled good, are learnt from")
    else:
        lines.append(f"**{plan.learn:d}** images labelled good are learnt from")
    held_out = f"**{plan.limits:d}** labelled good"
    if plan.own_held_out:
        held_out += f", and **{plan.own_held_out:d}** held out before,"
    lines.append(f"{held_out} choose the epoch and the first limits")
    lines.append(f"**{plan.compare:d}** labelled good are kept from both, to compare the old and the new model on")
    return lines


def _remarks(plan: RetrainPlan) -> list[str]:
    lines = ["Which image is for what is decided by its content, and stays so in every later retraining."]
    if plan.compare < FEW_TO_COMPARE:
        lines.append(
            f"With {plural(plan.compare, 'good image')} to compare on, the comparison will say little. Label more good "
            "images first."
        )
    if plan.tests:
        lines.append(
            f"Test images of the data set among those labelled good: {plan.tests}. The new model is not evaluated on "
            "them, and its card says so."
        )
    if plan.own_defects:
        lines.append(f"{plan.own_defects} training images that are labelled defective are left out.")
    if plan.missing:
        lines.append(f"{plan.missing} images labelled good are left out, as their files are gone.")
    if not plan.own:
        lines.append("The images this model was trained on are not at hand: only images labelled good are learnt from.")
    return lines


def _pick_config(plan: RetrainPlan) -> TrainConfig:
    base = plan.config
    with st.expander(f"{base.epochs} epochs, learning rate {base.learning_rate:g}", key="loop-settings"):
        left, right = st.columns(2)
        key = plan.info.digest
        epochs = left.number_input("Epochs", 1, 10_000, base.epochs, key=f"loop-epochs-{key}")
        rate = right.number_input(
            "Learning rate", 1e-5, 1.0, base.learning_rate, 1e-3, format="%.5f", key=f"loop-lr-{key}"
        )
        st.caption(
            "The student goes on from what it has learnt, so a third of the epochs and a lower learning rate are "
            "enough. Teacher, design and all else stay as they were."
        )
    return replace(base, epochs=int(epochs), learning_rate=float(rate))


def _duration(plan: RetrainPlan, config: TrainConfig) -> str:
    """About how long, by how long the model itself took; empty when that is not known."""
    info = plan.info
    n_before = info.data.get("n_train")
    if not info.training_seconds or info.train is None or not isinstance(n_before, int) or n_before < 1:
        return ""
    images = plan.own - plan.own_held_out + plan.learn
    seconds = info.training_seconds / info.train.epochs * config.epochs * images / n_before
    return f"About {duration(seconds)} on a machine like the one it was trained on. "


def _progress(jobs: Sequence[JobView]) -> None:
    for job in jobs:
        show_job(job)
        _losses(job)


def _losses(job: JobView) -> None:
    loss, holdout = job.progress.get("loss"), job.progress.get("holdout_score")
    figures = [
        f"{name} {format_number(value)}"
        for name, value in (("loss", loss), ("held-out score", holdout))
        if value is not None
    ]
    st.caption(" ".join([*([f"{', '.join(figures)}."] if figures else []), "The Train page shows its curve."]))


def _latest_ended(state: LoopState) -> JobView | None:
    """The latest retraining of this model, when it ended without a model."""
    job = TRAINING.latest(start_from=str(state.info.folder))
    return job if job is not None and job.state in _RESUMABLE else None


def _show_ended(job: JobView) -> None:
    when = "" if job.finished_at is None else f" {ago(job.finished_at)}"
    reason = f": {plain_lines(job.error)}" if job.error else "."
    st.warning(f"The last retraining was {plain(job.state)}{when}{reason}", icon=":material/warning:")
    if button(
        "Go on from its last epoch",
        key=f"loop-again-{job.id}",
        icon=":material/replay:",
        **permitted(TRAINING.why_not),
    ):
        TRAINING.repeat(job.id)
        rerun()
