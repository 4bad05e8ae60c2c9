"""The work in the middle of the Evaluate page: one evaluation in figures, and the ways to look at all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from skrd4ad.format import METRIC_TITLES, OUTCOME_TITLES, format_size, share_text
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.evaluation.result import EvaluationSummary, StoredEvaluation
from skrd4ad.services.evaluation.store import (
    delete_evaluation,
    evaluation_folders,
    evaluation_problem,
    list_evaluations,
    load_evaluation,
)
from skrd4ad.types import size_text
from skrd4ad.ui.evaluate.choice import show_choice
from skrd4ad.ui.evaluate.classes import show_classes
from skrd4ad.ui.evaluate.compare import show_comparison
from skrd4ad.ui.evaluate.curves import show_curves
from skrd4ad.ui.evaluate.escapes import show_escapes
from skrd4ad.ui.evaluate.export import show_export
from skrd4ad.ui.evaluate.figures import pick_format
from skrd4ad.ui.evaluate.findings import findings_of
from skrd4ad.ui.evaluate.targets import Standing, standings_of
from skrd4ad.ui.evaluate.text import (
    HEADLINES,
    HOW_TO_READ,
    WHAT_IT_COUNTS,
    evaluation_labels,
    figure_text,
    images_text,
    show_badges,
)
from skrd4ad.ui.frame import halves, shielded
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, permitted, rerun

VIEWS = {"classes": "Classes", "curves": "Curves", "escapes": "Escapes", "compare": "Compare", "export": "Export"}
_EVALUATION, _FOLLOWED = "evaluation", "evaluate-followed"


@dataclass(frozen=True, eq=False)
class Finished:
    """All finished evaluations; those of the models and images as they are stand first."""

    summaries: tuple[EvaluationSummary, ...]
    at_hand: dict[str, StoredEvaluation]
    """Those that were read already, by key, with what is known of changes since."""
    labels: dict[str, str]

    def load(self, key: str) -> StoredEvaluation | None:
        """An evaluation; None when it was removed meanwhile."""
        return self.at_hand.get(key) or load_evaluation(key)


def show_evaluations(models: Sequence[ModelInfo], chosen: ModelInfo) -> None:
    """Everything of the page."""
    shielded(_damaged)
    summaries = list_evaluations()
    with st.spinner("Looking whether test images have changed …"):
        standings = standings_of(models, chosen, summaries)
    show_choice(standings, models, chosen)
    finished = _finished(standings, summaries)
    if not finished.summaries:
        return
    left, right = halves("evaluate-head", 2, 3)
    with left:
        stored = _pick(finished, standings[0])
    if stored is None:
        st.info("This evaluation was removed meanwhile. Choose another one.")
        return
    with right:
        _about(stored.summary)
    _at_limits(stored)
    _headlines(stored.summary)
    _authors(stored.summary)
    for reason in stored.stale:
        st.warning(plain(reason), icon=":material/update:")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        view = st.segmented_control(
            "View",
            list(VIEWS),
            format_func=VIEWS.__getitem__,
            default="classes",
            required=True,
            wrap=True,
            label_visibility="collapsed",
            key="view",
            bind="query-params",
        )
        pick_format()
    # what goes wrong in one view leaves the way to the others
    shielded(lambda: _show(str(view), stored, finished))


def _damaged() -> None:
    """Each evaluation that cannot be used, with the reason and a way to remove it."""
    for folder in evaluation_folders():
        files = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in sorted(folder.iterdir()))
        if not (problem := _problem(folder.name, str(folder), files)):
            continue
        with st.container(key=f"evaluate-damaged-{folder.name}"):
            st.warning(f"An evaluation cannot be used. {plain(problem)}", icon=":material/warning:")
            if button(
                "Remove it",
                icon=":material/delete:",
                key=f"evaluate-remove-damaged-{folder.name}",
                **permitted(why_not(delete_evaluation)),
            ):
                delete_evaluation(folder.name)
                rerun()


@st.cache_data(max_entries=256, show_spinner=False)
def _problem(key: str, folder: str, files: tuple[tuple[str, int, int], ...]) -> str:  # noqa: ARG001 - a changed file is looked at again
    return evaluation_problem(key)


def _finished(standings: Sequence[Standing], summaries: Sequence[EvaluationSummary]) -> Finished:
    at_hand = {each.stored.summary.key: each.stored for each in standings if each.stored is not None}
    first = [stored.summary for stored in at_hand.values()]
    ordered = (*first, *(each for each in summaries if each.key not in at_hand))
    return Finished(ordered, at_hand, evaluation_labels(ordered))


def _pick(finished: Finished, first: Standing) -> StoredEvaluation | None:
    """The evaluation that is shown; the address names it, and another model in the sidebar brings its own."""
    keys = [each.key for each in finished.summaries]
    folder = str(first.info.folder)
    followed = st.session_state.get(_FOLLOWED)
    if followed is None and (asked := st.query_params.get(_EVALUATION)) in keys:
        st.session_state[_EVALUATION] = asked
    elif followed != folder and first.stored is not None:
        st.session_state[_EVALUATION] = first.stored.summary.key
    st.session_state[_FOLLOWED] = folder
    key = str(
        st.selectbox(
            "Evaluation", keys, format_func=finished.labels.__getitem__, key=_EVALUATION, persist_state="session"
        )
    )
    # not bound to the widget, which would write the label: that changes when other evaluations come
    if st.query_params.get(_EVALUATION) != key:
        st.query_params[_EVALUATION] = key
    return finished.load(key)


def _at_limits(stored: StoredEvaluation) -> None:
    """What the model's own limits do to these images; without limits the view of escapes says what is missing."""
    found, _ = findings_of(stored)
    if found is None:
        return
    with st.container(horizontal=True, gap="medium", key="evaluate-at-limits"):
        for each in found.outcomes:
            st.metric(
                OUTCOME_TITLES[each.name],
                f"{each.count:,} of {each.total:,}",
                share_text(each.share, each.interval.low, each.interval.high),
                delta_color="off",
                delta_arrow="off",
                help=f"{WHAT_IT_COUNTS[each.name]} Below it the share in percent and its exact 95 % interval.",
                width="content",
            )


def _headlines(summary: EvaluationSummary) -> None:
    """The figures of one evaluation at a glance."""
    with st.container(horizontal=True, gap="medium"):
        for name in HEADLINES:
            value, interval = getattr(summary.metrics, name), summary.intervals.intervals.get(name)
            if value is None:
                continue
            st.metric(
                METRIC_TITLES[name],
                figure_text(value),
                None if interval is None else f"{interval.low:.3f} to {interval.high:.3f}",
                delta_color="off",
                delta_arrow="off",
                help=f"{HOW_TO_READ[name]} Below it its 95 % interval.",
                width="content",
            )


def _authors(summary: EvaluationSummary) -> None:
    """What the authors of the data set measure by, beside the figures above."""
    if not summary.authors:
        return
    with st.container(horizontal=True, gap="medium", key="evaluate-authors"):
        for name, value in summary.authors.items():
            st.metric(
                plain(name),
                figure_text(value),
                help="As the authors of this data set measure, at the size of the maps. Their own tools measure at the "
                "size of the images.",
                width="content",
            )


def _about(summary: EvaluationSummary) -> None:
    """What was measured, when and how, and the way to remove it."""
    st.caption(f"{images_text(summary)}, measured {plain(summary.created_at[:16].replace('T', ' '))} UTC")
    with st.container(horizontal=True, vertical_alignment="center"):
        show_badges(summary)
        with st.popover(
            "How it was measured", icon=":material/info:", type="tertiary", key=f"evaluate-how-{summary.key}"
        ):
            st.markdown("\n".join(f"- {plain(line)}" for line in _protocol(summary)))
        # one key an evaluation: after removing, the question must not stay open for the next one
        with st.popover("Remove", icon=":material/delete:", type="tertiary", key=f"evaluate-bin-{summary.key}"):
            st.markdown(
                f"This removes the figures, curves and maps of this evaluation ({format_size(summary.size_bytes)}). "
                "The model and the images stay, and it can be evaluated again."
            )
            if button(
                "Remove this evaluation",
                type="primary",
                key=f"evaluate-remove-{summary.key}",
                **permitted(why_not(delete_evaluation)),
            ):
                delete_evaluation(summary.key)
                st.session_state.pop(_FOLLOWED, None)
                rerun()


def _protocol(summary: EvaluationSummary) -> list[str]:
    lines = [
        f"Model: {summary.model_title}",
        f"Test images: {summary.dataset}/{summary.class_name}, {images_text(summary)}, {summary.metrics.n_masks} "
        f"masks with {summary.metrics.n_regions} regions",
        f"Maps of {size_text(summary.image_size)} pixels",
        summary.protocol,
    ]
    if summary.note:
        lines.append(f"Data: {summary.note}")
    if summary.calibration is not None and (summary.ignores_pixels or summary.min_area > 1):
        lines.append(f"Ignored pixels and smallest region: as in calibration version {summary.calibration}")
    if summary.left_out:
        lines.append(f"{summary.left_out} images that the model was trained or calibrated with are left out")
    if summary.vanished_regions:
        lines.append(f"{summary.vanished_regions} regions of masks vanish at the size of the maps")
    return [*lines, f"Digests: model {summary.model_digest[:12]}, test images {summary.data_digest[:12]}"]


def _show(view: str, stored: StoredEvaluation, finished: Finished) -> None:
    key = stored.summary.key
    if view == "classes":
        show_classes({**finished.at_hand, key: stored}, finished.labels, chosen=key)
    elif view == "curves":
        show_curves(stored, *findings_of(stored))
    elif view == "escapes":
        show_escapes(stored, *findings_of(stored))
    elif view == "compare":
        show_comparison(finished.summaries, finished.labels, chosen=key, load=finished.load)
    else:
        show_export(finished.summaries, finished.labels, chosen=key, load=finished.load)
