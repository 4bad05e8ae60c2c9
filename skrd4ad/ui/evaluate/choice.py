"""The top of the Evaluate page: what can be evaluated, what runs, and what came to nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import streamlit as st

from skrd4ad.errors import DataError
from skrd4ad.format import METRIC_TITLES, ago
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.evaluation.evaluate import EVALUATION, EvaluationRequest
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.ui.cache import dataset_classes
from skrd4ad.ui.evaluate.figures import right_aligned, table_height
from skrd4ad.ui.evaluate.targets import KINDS, Standing, request_for
from skrd4ad.ui.evaluate.text import figure_text
from skrd4ad.ui.frame import model_labels, shielded
from skrd4ad.ui.job_progress import follow_jobs, show_job
from skrd4ad.ui.pickers import pick_source
from skrd4ad.ui.text import plain, plain_lines
from skrd4ad.ui.widgets import button, permitted, rerun


def show_choice(standings: Sequence[Standing], models: Sequence[ModelInfo], chosen: ModelInfo) -> None:
    """What can be evaluated, folded away when nothing is left to do for the chosen model."""
    first = standings[0]
    if all(each.stored is None for each in standings) and not any(each.job for each in standings):
        st.info(
            "Nothing has been evaluated in this workspace yet. An evaluation scores test images with known answers, "
            "measures how well scores tell good parts from defects, and how sure that is. It runs in the background.",
            icon=":material/query_stats:",
        )
    with st.expander(
        plain(_summary(standings)),
        expanded=not first.is_current or any(each.is_missing for each in standings),
        key=f"evaluate-what-{first.id}",
        icon=":material/fact_check:",
    ):
        labels = _labels(standings, models)
        _buttons(standings, models, chosen, labels)
        _table(standings, labels)
    _watch()
    _ended(standings)


def _summary(standings: Sequence[Standing]) -> str:
    counts = Counter(each.state for each in standings)
    return "Models and their test images: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def _labels(standings: Sequence[Standing], models: Sequence[ModelInfo]) -> dict[str, str]:
    """The model, and the images when they are not those of its own class, by :attr:`Standing.id`."""
    of_model = model_labels(models)
    labels = {}
    for each in standings:
        label, request = of_model[str(each.info.folder)], each.request
        is_own = (request.source, request.class_name) == (str(each.info.data.get("source") or ""), each.info.class_name)
        labels[each.id] = label if is_own else f"{label} on {request.source}/{request.class_name}"
    return labels


def _buttons(
    standings: Sequence[Standing], models: Sequence[ModelInfo], chosen: ModelInfo, labels: dict[str, str]
) -> None:
    by_id = {each.id: each for each in standings}
    first = standings[0].id
    wanted = st.multiselect(
        "Evaluate",
        list(by_id),
        default=[first],
        format_func=labels.__getitem__,
        key=f"evaluate-wanted-{first}",
        help="Each model is measured on test images of its own class, unless it says other ones.",
    )
    can = [by_id[each] for each in wanted if not by_id[each].problem and by_id[each].job is None]
    missing = [each for each in standings if each.is_missing]
    with st.container(horizontal=True):
        again = bool(can) and all(each.is_current for each in can)
        label = "Evaluate again" if again else "Evaluate" if len(can) < 2 else f"Evaluate {len(can)}"
        if button(
            label,
            type="secondary" if again else "primary",
            icon=":material/play_arrow:",
            key="evaluate-start",
            **permitted(
                EVALUATION.why_not,
                disabled=not can,
                help="What was measured is kept by the contents of model and images; this measures it once more."
                if again
                else None,
            ),
        ):
            _submit([replace(each.request, again=again) for each in can])
        if button(
            "Evaluate all that are missing" + (f" ({len(missing)})" if missing else ""),
            icon=":material/playlist_play:",
            key="evaluate-missing",
            **permitted(EVALUATION.why_not, disabled=not missing),
        ):
            _submit([each.request for each in missing])
        with st.popover("Other test images", icon=":material/folder_open:"):
            shielded(lambda: _other_images(models, chosen))


def _submit(requests: Sequence[EvaluationRequest]) -> None:
    # images that were added since the data set was read count
    dataset_classes.clear()
    for request in requests:
        EVALUATION.submit(request, lane="long" if len(requests) > 1 else None)
    rerun()


def _table(standings: Sequence[Standing], labels: dict[str, str]) -> None:
    figures = [None if each.stored is None else each.stored.summary for each in standings]
    table = pd.DataFrame(
        {
            "Model": [labels[each.id] for each in standings],
            "Test images": ["–" if each.problem else str(each.n_images) for each in standings],
            "State": [each.state for each in standings],
            METRIC_TITLES["image_auroc"]: [
                "–" if each is None else figure_text(each.metrics.image_auroc) for each in figures
            ],
            METRIC_TITLES["aupro"]: ["–" if each is None else figure_text(each.metrics.aupro) for each in figures],
            "Remark": [_remark(each) for each in standings],
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        height=table_height(table, most=6),
        key="evaluate-standings",
        column_config=right_aligned("Test images", METRIC_TITLES["image_auroc"], METRIC_TITLES["aupro"]),
    )


def _remark(standing: Standing) -> str:
    if standing.problem:
        return standing.problem
    return " ".join(standing.stored.stale) if standing.stored is not None else ""


def _other_images(models: Sequence[ModelInfo], chosen: ModelInfo) -> None:
    """Ask for an evaluation of any model on any class that is at hand."""
    st.caption("Measure a model on images it does not belong to, such as a new batch with known answers.")
    labels = model_labels(models)
    folder = st.selectbox(
        "Model",
        list(labels),
        index=list(labels).index(str(chosen.folder)),
        format_func=labels.__getitem__,
        key=f"evaluate-other-model-{chosen.folder}",
    )
    info = next(info for info in models if str(info.folder) == folder)
    source, layout = pick_source("evaluate-other", label="Images", default="folder")
    if source is None:
        return
    try:
        classes = {data.name: data for data in dataset_classes(source, layout) if data.test}
    except DataError as error:
        # on the way to a data set most folders are none: that is no failure
        st.caption(plain_lines(str(error)))
        return
    if not classes:
        st.caption(f"{plain(source)} has no test images: good and defective ones with known answers are needed.")
        return
    names = list(classes)
    name = str(
        st.selectbox(
            "Class",
            names,
            index=names.index(info.class_name) if info.class_name in names else 0,
            key=f"evaluate-other-class-{source}-{info.class_name}",
        )
    )
    if name != info.class_name:
        st.caption(f"This model has learnt {plain(info.class_name)}: what it says of {plain(name)} describes neither.")
    count = len(classes[name].test)
    if button(
        f"Evaluate on these {count} images", type="primary", key="evaluate-other", **permitted(EVALUATION.why_not)
    ):
        _submit([request_for(info, source=source, layout=layout, class_name=name)])


def _watch() -> None:
    """Evaluations and comparisons that run or wait."""
    follow_jobs(
        lambda: [job for job in queue().active() if job.kind in KINDS],
        _progress,
        before_rerun=dataset_classes.clear,
    )


def _progress(jobs: Sequence[JobView]) -> None:
    for job in jobs:
        show_job(job, job.title)


def _ended(standings: Sequence[Standing]) -> None:
    """Tries that came to nothing, with the reason."""
    for each in standings:
        job = each.ended
        if job is None or each.job is not None:
            continue
        when = "" if job.finished_at is None else f", {ago(job.finished_at)}"
        if job.state != "failed":
            st.caption(
                f"{plain(job.title)}: {plain(job.state)}{when}. Nothing was stored; what was known before still stands."
            )
            continue
        reason = plain_lines(job.error or "The reason is not known.")
        st.error(f"{plain(job.title)} failed{when}. {reason}", icon=":material/error:")
        if job.details:
            with st.expander("Details", key=f"evaluate-details-{job.id}"):
                st.code(job.details, language=None)
