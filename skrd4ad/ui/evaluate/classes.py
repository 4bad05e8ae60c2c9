"""Classes on the Evaluate page: bars beside the published figures, and every figure with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from skrd4ad.format import METRIC_TITLES
from skrd4ad.metrics.bootstrap import METRIC_NAMES
from skrd4ad.services.evaluation.charts import BAR_METRICS, class_bars
from skrd4ad.services.evaluation.published import METHODS, PROTOCOL_DIFFERENCE, published_for
from skrd4ad.services.evaluation.result import EvaluationSummary, StoredEvaluation
from skrd4ad.ui.evaluate.figures import show_figure, table_height
from skrd4ad.ui.evaluate.images import show_images
from skrd4ad.ui.evaluate.text import HEADLINES, HOW_TO_READ, badges_of, figure_text, images_text
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, rerun

_OPENED = "evaluate-class-opened"
COLUMNS = (*HEADLINES, *(name for name in METRIC_NAMES if name not in HEADLINES))
"""Figures in the order of the table: those that are quoted most stand first."""
_PUBLISHED = {False: "published", True: "published, matched by the class's name alone"}


def show_classes(evaluations: Mapping[str, StoredEvaluation], labels: Mapping[str, str], *, chosen: str) -> None:
    """One bar a class, a table of every figure, and the images of the bar that was clicked."""
    summaries = [stored.summary for stored in evaluations.values()]
    metric = _pick_metric(summaries)
    shown = [each for each in summaries if getattr(each.metrics, metric) is not None]
    show_figure(
        class_bars(summaries, metric=metric),
        key=f"evaluate-bars-{metric}",
        alt=f"{METRIC_TITLES[metric]}: "
        + ", ".join(f"{labels[each.key]} {figure_text(getattr(each.metrics, metric))}" for each in shown),
        file_name=f"classes_{metric}",
        on_pick=_open,
    )
    st.caption(f"{HOW_TO_READ[metric]} Whiskers are 95 % intervals. Select a bar to see its images below.")
    if len(shown) < len(summaries):
        st.caption(f"{len(summaries) - len(shown)} without masks are left out: this figure needs them.")
    opened = evaluations.get(str(st.session_state.get(_OPENED)))
    if opened is not None:
        _show_opened(opened, labels[opened.summary.key])
    _published_text(summaries)
    show_table(summaries, labels)
    show_types(evaluations[chosen].summary, labels[chosen])
    show_mask_classes(evaluations[chosen].summary, labels[chosen])


def show_table(summaries: Sequence[EvaluationSummary], labels: Mapping[str, str]) -> None:
    """Every figure of every evaluation with its interval, the published ones below each."""
    rows: list[dict[str, Any]] = []
    for each in summaries:
        rows.append(_own_row(each, labels[each.key]))
        match = published_for(each.dataset, each.class_name)
        if match is not None:
            rows += [
                {"Evaluation": f"{method}, published", "Images": "–", "Badges": _PUBLISHED[match.by_name_only]}
                | {METRIC_TITLES[name]: figure_text(match.value(method, name)) for name in COLUMNS}
                for method in METHODS
            ]
    table = pd.DataFrame(rows)
    st.dataframe(
        table,
        hide_index=True,
        key="evaluate-table",
        height=table_height(table, most=12),
        column_config=_columns(),
    )
    first = summaries[0].intervals
    st.caption(
        f"In brackets 95 % intervals: images drawn again {first.replicates} times, good and defective each among "
        f"themselves, seed {first.seed}. They say how far a figure would move with other test images like these; they "
        "know nothing of another training. Near 1 they are too narrow: a miss that these images do not hold cannot be "
        "drawn. With 40 images of each kind, intervals of a true image AUROC of 0.99 hold it 8 times in 10; 1.000 to "
        "1.000 is no certainty. – : undefined, as without masks."
    )


def show_types(summary: EvaluationSummary, label: str) -> None:
    """Every figure of each type of defect against all good images, folded away."""
    if not summary.by_defect:
        return
    with st.expander(f"By type of defect: {plain(label)}", key=f"evaluate-types-{summary.key}"):
        rows = [
            {"Type": name, "Images": f"{metrics.n_good} good, {metrics.n_defect} defective"}
            | {
                METRIC_TITLES[each]: figure_text(getattr(metrics, each), summary.intervals.by_type[name].get(each))
                for each in COLUMNS
            }
            for name, metrics in summary.by_defect.items()
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="evaluate-type-table", column_config=_columns())
        st.caption(
            "Each type against all good images, with 95 % intervals in brackets, drawn as above. A type with a single "
            "image has none."
        )


def show_mask_classes(summary: EvaluationSummary, label: str) -> None:
    """Pixel figures of each class of defect that the masks tell apart, folded away."""
    if not summary.by_mask_class:
        return
    with st.expander(f"By class in the masks: {plain(label)}", key=f"evaluate-mask-classes-{summary.key}"):
        rows = [
            {"Class": name, "Images": f"{metrics.n_masks} with masks"}
            | {METRIC_TITLES[each]: figure_text(getattr(metrics, each)) for each in COLUMNS}
            for name, metrics in summary.by_mask_class.items()
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="evaluate-mask-class-table", column_config=_columns())
        st.caption("Pixels of each class against those of good images; pixels of other classes are left out.")


def _columns() -> dict[str, Any]:
    return {
        METRIC_TITLES[name]: st.column_config.TextColumn(help=HOW_TO_READ[name], alignment="right") for name in COLUMNS
    }


def _own_row(summary: EvaluationSummary, label: str) -> dict[str, Any]:
    intervals = summary.intervals.intervals
    return {"Evaluation": label, "Images": images_text(summary), "Badges": ", ".join(badges_of(summary)) or "–"} | {
        METRIC_TITLES[name]: figure_text(getattr(summary.metrics, name), intervals.get(name)) for name in COLUMNS
    }


def _pick_metric(summaries: Sequence[EvaluationSummary]) -> str:
    known = [name for name in BAR_METRICS if any(getattr(each.metrics, name) is not None for each in summaries)]
    return str(
        st.segmented_control(
            "Figure",
            known,
            format_func=METRIC_TITLES.__getitem__,
            default=known[0],
            required=True,
            wrap=True,
            label_visibility="collapsed",
            key="figure",
            bind="query-params",
        )
    )


def _show_opened(stored: StoredEvaluation, label: str) -> None:
    """Images of the class whose bar was clicked."""
    indices = sorted(range(len(stored.images)), key=lambda index: -stored.images[index].verdict_score)
    calibration, _ = stored.limits()
    with st.container(border=True):
        title = f"All test images of {label}, highest score first"
        show_images(stored, indices, calibration=calibration, name="classes", title=title)
        if button("Close", icon=":material/close:", key="evaluate-class-close"):
            del st.session_state[_OPENED]
            rerun()


def _open(data: Sequence[Any]) -> None:
    st.session_state[_OPENED] = str(data[0])


def _published_text(summaries: Sequence[EvaluationSummary]) -> None:
    """What stands beside our figures, and why it was not measured as they were."""
    matches = [match for each in summaries if (match := published_for(each.dataset, each.class_name)) is not None]
    if not matches:
        st.caption("This app knows no published RD4AD or SK-RD4AD figures of these classes, so none stand beside them.")
        return
    with st.container(border=True):
        st.badge("published", color="gray", icon=":material/menu_book:", help=PROTOCOL_DIFFERENCE)
        texts = dict.fromkeys(match.text for match in matches)
        st.caption(f"{PROTOCOL_DIFFERENCE}  \n" + "  \n".join(map(plain, texts)))
