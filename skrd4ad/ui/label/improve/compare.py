"""Old against new on the same labelled images, and which of the two is used from now on."""

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from skrd4ad.format import format_number, format_rate, plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.services.access import why_not
from skrd4ad.services.evaluation.chart_parts import in_figure
from skrd4ad.services.evaluation.compare import Comparison, compare_scores, find_comparison
from skrd4ad.services.improve.adopt import go_back, note_outcome, use_new_model
from skrd4ad.services.improve.agreement import agreement
from skrd4ad.services.improve.compare import (
    LABEL_COMPARISON,
    LabelComparison,
    LabelComparisonRequest,
    compare_on_labels,
    in_sample,
)
from skrd4ad.services.improve.retrain import predecessor_of, successors_of
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.score_queue import score_labelled
from skrd4ad.services.models.library import delete_model
from skrd4ad.services.models.list import list_models
from skrd4ad.types import Verdict
from skrd4ad.ui.charts import is_dark, show_chart
from skrd4ad.ui.evaluate.compare import offer_comparison, show_changes, show_differences, show_settings
from skrd4ad.ui.frame import choose_model, halves, model_labels
from skrd4ad.ui.job_progress import follow_jobs, show_job
from skrd4ad.ui.label.improve.agreement import counts_text
from skrd4ad.ui.label.improve.figures import score_with_progress
from skrd4ad.ui.label.improve.state import LoopState, loop_state, reviewer
from skrd4ad.ui.login.account import ask_signature
from skrd4ad.ui.study.challenge import ask_override
from skrd4ad.ui.text import plain
from skrd4ad.ui.theme import DARK, LIGHT, VERDICTS, chart_template
from skrd4ad.ui.widgets import button, permitted, rerun

SIDES = ("Old", "New")
_SYMBOLS = ("circle-open", "triangle-up")


def show_comparison(state: LoopState) -> None:
    """A model that went on from the one in use beside it; nothing is replaced before the user says so."""
    st.subheader("Old against new", anchor=False)
    models, _ = list_models()
    new = _pick_new(successors_of(state.info, models))
    if new is not None:
        _compare(state, loop_state(new), in_use="old")
        return
    before = predecessor_of(state.info, models)
    if before is None:
        st.info(
            "There is no model yet that went on from this one. Retrain it, and both are compared here on the images "
            "that neither has learnt from."
        )
        return
    st.caption(f"The model in use went on from {plain(before.folder.name)}. Nothing went on from it yet.")
    _compare(loop_state(before), state, in_use="new")


def _pick_new(successors: Sequence[ModelInfo]) -> ModelInfo | None:
    if len(successors) < 2:
        return successors[0] if successors else None
    labels = model_labels(successors)
    folders = {str(info.folder): info for info in successors}
    chosen = st.selectbox(
        "New model", list(folders), format_func=labels.__getitem__, key=f"loop-new-{successors[0].digest}"
    )
    return folders[chosen]


def _compare(old: LoopState, new: LoopState, *, in_use: str) -> None:
    found = compare_on_labels(old.info, new.info, books=(old.book, new.book), seen=(old.seen, new.seen))
    if found.without_score:
        _offer_scores(old, new, found)
    st.caption(f"Old: {plain(_named(old.info))}. New: {plain(_named(new.info))}.")
    if not found.images:
        st.info(
            "No decided image is left that neither model has learnt from and both have a score of. Label more images."
        )
    left, right = halves("loop-compare", 1, 1)
    with left:
        _verdicts(found)
        for line in comparison_notes(found):
            st.caption(plain(line))
    with right:
        if old.info.calibration and new.info.calibration and found.images:
            show_chart(
                _ratio_chart(found),
                key="loop-ratio",
                alt=f"Scores of {len(found.images)} labelled images against the limits of the old and the new model",
            )
    if found.has_both_kinds:
        _figures(found)
    if found.images:
        with st.expander(f"Images seen differently: {_changed(found)}", key="loop-changes", on_change="rerun") as box:
            if box.open:
                show_changes(found.images, found.old, found.new, key="loop-compare", sides=SIDES)
    _decide(found, in_use=in_use)


def _offer_scores(old: LoopState, new: LoopState, found: LabelComparison) -> None:
    st.caption(f"{found.without_score} labelled images wait for a score of one of the models.")
    if button(
        "Score them now", icon=":material/play_arrow:", key="loop-compare-score", **permitted(why_not(score_labelled))
    ):
        problems: dict[str, str] = {}
        for state in (old, new):
            missing = tuple(image for image in state.labels.images if image.score is None)
            problems |= score_with_progress(state, missing)
        if problems:
            st.warning("  \n".join(map(plain, problems.values())), icon=":material/warning:")
        else:
            rerun()


def _figures(found: LabelComparison) -> None:
    """Differences with their intervals: of images at once, of pixels as well when that was asked for."""
    whole = find_comparison(found.old, found.new)
    if whole is None:
        limits = [side.summary.calibration for side in (found.old, found.new)]
        shown = _scores_compared(found.old.summary.key, found.new.summary.key, str(limits), found)
    show_differences(whole or shown, key="loop-compare", sides=SIDES)
    if whole is None:
        request = LabelComparisonRequest(
            old=str(found.old.summary.model_folder), new=str(found.new.summary.model_folder)
        )

        def running() -> list[JobView]:
            return LABEL_COMPARISON.active(**asdict(request))

        if running():
            follow_jobs(running, _progress)
        else:
            st.caption("Figures of pixels are measured when they are asked for.")
            offer_comparison(LABEL_COMPARISON, request, key="loop-compare-start")
    with st.expander("Settings that differ", key="loop-settings-differ"):
        show_settings((whole or shown).settings, key="loop-compare-settings", sides=SIDES)


def _progress(jobs: Sequence[JobView]) -> None:
    for job in jobs:
        show_job(job)


def _verdicts(found: LabelComparison) -> None:
    sides = [found.old.judged, found.new.judged]
    judged = [agreement(labels) for labels in sides]
    rows = {
        "Agreement": ["–" if a is None or a.rate is None else f"{format_rate(a.rate)} of {a.compared}" for a in judged],
        "Good: OK, REVIEW, NG": ["–" if a is None else counts_text(a.good) for a in judged],
        "Defects: OK, REVIEW, NG": ["–" if a is None else counts_text(a.defect) for a in judged],
        "NG above": [
            "–" if (c := labels.info.calibration) is None else format_number(c.image_threshold) for labels in sides
        ],
    }
    st.dataframe(
        pd.DataFrame({"": list(rows), **{SIDES[n]: [each[n] for each in rows.values()] for n in (0, 1)}}),
        hide_index=True,
        key="loop-compare-table",
    )


def comparison_notes(found: LabelComparison) -> list[str]:
    """What must be known to read the comparison, one sentence or two a line."""
    figures = found.new.summary.metrics
    lines = [
        f"On {figures.n_good} good and {figures.n_defect} defective images, each model by its own limits. "
        f"{found.seen} decided images are left out, as a model has learnt from them or took its first limits from them."
    ]
    for name, side in (("old", found.old), ("new", found.new)):
        if flattering := in_sample(side.judged):
            lines.append(
                f"The limits of the {name} model were taken from {flattering} of these good images, which flatters "
                "its agreement."
            )
    if not found.is_exact:
        lines.append(
            "It is not known of both models which images they have learnt from, so some of these may be among them."
        )
    return lines


def _changed(found: LabelComparison) -> str:
    turns = [image.turn for image in found.images]
    if turns.count("same") == len(turns):
        return "every image gets the same verdict from both"
    return f"{plural(turns.count('better'), 'verdict')} nearer to the label, {turns.count('worse')} farther"


def _decide(found: LabelComparison, *, in_use: str) -> None:
    new = found.new.judged.info
    if note := read_metadata(new.folder).note:
        st.caption("  \n".join(f":material/history: {plain(line)}" for line in note.splitlines()))
    who = ask_signature("Who decides", key="loop-decides", value=reviewer(), width=320)
    override = "" if in_use == "new" else ask_override(new, key=f"loop-use-override-{new.digest}")
    unnamed = not who
    with st.container(horizontal=True):
        if in_use == "new":
            if button(
                "Go back to the old model",
                icon=":material/undo:",
                key="loop-back",
                **permitted(why_not(go_back), disabled=unnamed),
            ):
                go_back(found, who=who)
                choose_model(found.old.summary.model_folder)
                rerun()
        else:
            if button(
                "Use the new model",
                type="primary",
                icon=":material/check:",
                key="loop-use",
                **permitted(why_not(use_new_model), disabled=unnamed),
            ):
                use_new_model(found, who=who, override=override)
                choose_model(new.folder)
                rerun()
            with st.popover("Keep the old one", icon=":material/close:", key="loop-keep-popover", disabled=unnamed):
                _keep(found, who=who)
    if unnamed:
        st.caption("Type your name to decide: it is noted with the new model.")


def _keep(found: LabelComparison, *, who: str) -> None:
    new = found.new.judged.info
    st.markdown("The new model stays in the list of models, with a note that it was not used; or it is deleted.")
    if button("Keep both, use the old one", type="primary", key="loop-keep", **permitted(why_not(note_outcome))):
        note_outcome(found, who=who, used=False)
        rerun()
    sure = st.checkbox(f"Delete {plain(new.folder.name)} for good", key=f"loop-sure-{new.digest}")
    if button(
        "Delete the new model",
        icon=":material/delete:",
        key="loop-delete",
        **permitted(why_not(delete_model), disabled=not sure),
    ):
        delete_model(new.folder)
        rerun()


@st.cache_data(max_entries=16, ttl="10m", show_spinner=False)
def _scores_compared(old: str, new: str, limits: str, _found: LabelComparison) -> Comparison:  # noqa: ARG001 - on what it rests
    return compare_scores(_found.old, _found.new)


def _named(info: ModelInfo) -> str:
    version = info.calibration
    return f"{info.folder.name}, {'without limits' if version is None else f'limits version {version.version}'}"


def _ratio_chart(found: LabelComparison) -> go.Figure:
    """Score over limit of the old model across, of the new one upwards; NG lies beyond 1, on either side by its own
    model. Both models must have a calibration with a limit above 0, as scores of this model are."""
    figure = go.Figure(layout={"template": chart_template(is_dark()), "height": 340})
    old, new = found.old.judged.info.calibration, found.new.judged.info.calibration
    assert old is not None and new is not None, "drawn only with limits"
    colours: tuple[tuple[str, Verdict], ...] = (("good", "OK"), ("defect", "NG"))
    for label, (name, verdict) in enumerate(colours):
        images = [image for image in found.images if image.label == label]
        figure.add_scatter(
            x=[_ratio(image.score_a, old.image_threshold) for image in images],
            y=[_ratio(image.score_b, new.image_threshold) for image in images],
            name=f"Labelled {name}",
            mode="markers",
            marker={"symbol": _SYMBOLS[label], "size": 9, "color": VERDICTS[verdict].colour, "opacity": 0.8},
            text=[f"{in_figure(image.name)}<br>old {image.verdict_a}, new {image.verdict_b}" for image in images],
            hovertemplate="%{text}<extra></extra>",
        )
    line = {"color": (DARK if is_dark() else LIGHT).quiet_text, "width": 1, "dash": "dot"}
    figure.add_hline(y=1, line=line)
    figure.add_vline(x=1, line=line)
    figure.update_xaxes(title_text="Old model: score over its NG limit", rangemode="tozero")
    figure.update_yaxes(title_text="New model: score over its NG limit", rangemode="tozero")
    return figure


def _ratio(score: float, limit: float) -> float | None:
    return None if limit <= 0 else score / limit
