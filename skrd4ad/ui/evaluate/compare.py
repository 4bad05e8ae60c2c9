"""Two evaluations side by side on the Evaluate page: what differs, how sure that is, and on which images."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import streamlit as st

from skrd4ad.errors import DataError
from skrd4ad.format import METRIC_TITLES, format_number, format_rate
from skrd4ad.services.evaluation import compare
from skrd4ad.services.evaluation.charts import difference_chart
from skrd4ad.services.evaluation.compare import COMPARISON, Comparison, ComparisonRequest, ImageChange, find_comparison
from skrd4ad.services.evaluation.evaluate import EvaluationSummary, StoredEvaluation
from skrd4ad.services.evaluation.operating_points import current_calibration, open_image
from skrd4ad.types import GOOD
from skrd4ad.ui.evaluate.curves import draw_curves, pick_curves
from skrd4ad.ui.evaluate.figures import show_figure
from skrd4ad.ui.evaluate.findings import findings_of
from skrd4ad.ui.evaluate.images import view_map
from skrd4ad.ui.evaluate.text import HOW_TO_READ, figure_text
from skrd4ad.ui.frame import go_to, halves, show_error

Load = Callable[[str], StoredEvaluation | None]
SHOWN_CHANGES = 100
"""Rows of the table of images."""
_ROW_PIXELS = 35


def show_comparison(
    summaries: Sequence[EvaluationSummary], labels: Mapping[str, str], *, chosen: str, load: Load
) -> None:
    """Choose two evaluations and show how they differ.

    Args:
        summaries: all finished evaluations.
        labels: their names, by key.
        chosen: key of the one that is shown elsewhere on the page: the second of the two.
        load: gives an evaluation by its key.

    Raises:
        StorageError: an evaluation is damaged, or the job cannot be stored.
    """
    if len(summaries) < 2:
        st.info(
            "There is only one evaluation. To compare, train another model on the same data, or evaluate this one on "
            "other images.",
            icon=":material/compare_arrows:",
        )
        if st.button("Train a model", icon=":material/model_training:", key="evaluate-compare-train"):
            go_to("train")
        return
    others = _partners(summaries, chosen)
    first = st.selectbox(
        f"Compare {labels[chosen]} with",
        others,
        format_func=labels.__getitem__,
        key=f"evaluate-partner-{chosen}",
        help=f"Differences above 0 are in favour of {labels[chosen]}.",
        persist_state="session",
    )
    a, b = load(str(first)), load(chosen)
    if a is None or b is None:
        st.info("One of the two was removed meanwhile. Choose another one.")
        return
    try:
        found = find_comparison(a, b)
    except DataError as error:
        # which pairs fit is not known before they are chosen
        st.info(str(error), icon=":material/compare_arrows:")
        return
    if found is None:
        _offer(a.summary.key, b.summary.key)
    else:
        _differences(found, labels)
    _settings(found, a.summary, b.summary)
    st.subheader("Curves over each other", anchor=False)
    _, names, how = pick_curves("curves")
    st.caption(how)
    draw_curves([a, b], names, findings=[findings_of(a)[1], findings_of(b)[1]], key="evaluate-pair")
    if found is not None:
        _images(found, a, b)


def _partners(summaries: Sequence[EvaluationSummary], chosen: str) -> list[str]:
    """What an evaluation can be compared with: those of the same images first, then those of the same class."""
    mine = next(each for each in summaries if each.key == chosen)

    def distance(other: EvaluationSummary) -> int:
        if other.data_digest == mine.data_digest:
            return 0
        return 1 if (other.dataset, other.class_name) == (mine.dataset, mine.class_name) else 2

    return [each.key for each in sorted(summaries, key=distance) if each.key != chosen]


def _offer(first: str, second: str) -> None:
    if COMPARISON.active(a=first, b=second):
        st.caption("The comparison is being made; its progress stands above.")
        return
    last = COMPARISON.latest(a=first, b=second)
    if last is not None and last.state == "failed":
        st.error(f"The comparison failed. {last.error or 'The reason is not known.'}", icon=":material/error:")
    st.caption(
        "Every figure of both is measured on the same images, drawn again together, so that what both find easy or "
        "hard does not blur the difference."
    )
    if st.button("Compare", type="primary", icon=":material/compare_arrows:", key="evaluate-compare"):
        COMPARISON.submit(ComparisonRequest(a=first, b=second))
        st.rerun()


def _differences(found: Comparison, labels: Mapping[str, str]) -> None:
    st.markdown(f"**Differences on {found.n_good} good and {found.n_defect} defective images**")
    st.caption(f"First: {labels[found.a.key]}. Second: {labels[found.b.key]}.")
    show_figure(
        difference_chart(found),
        key="evaluate-differences",
        alt="; ".join(
            f"{METRIC_TITLES[name]} {each.difference:+.3f}"
            for name, each in found.differences.items()
            if each.difference is not None
        ),
        file_name=f"{found.a.class_name}_differences",
    )
    rows = [
        {
            "Figure": METRIC_TITLES[name],
            "First": figure_text(each.a),
            "Second": figure_text(each.b),
            "Difference": "–" if each.difference is None else f"{each.difference:+.3f}",
            "95 % interval": "–" if each.interval is None else f"{each.interval.low:+.3f} to {each.interval.high:+.3f}",
            "Clear": "–" if each.interval is None else "yes" if each.is_clear else "no",
            "How to read it": HOW_TO_READ[name],
        }
        for name, each in found.differences.items()
    ]
    right = ("First", "Second", "Difference", "95 % interval")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        key="evaluate-difference-table",
        height=_ROW_PIXELS * (len(rows) + 1) + 3,
        column_config={name: st.column_config.TextColumn(alignment="right") for name in right},
    )
    for note in found.notes:
        st.caption(f":material/info: {note}")


def _settings(found: Comparison | None, a: EvaluationSummary, b: EvaluationSummary) -> None:
    st.subheader("Settings that differ", anchor=False)
    differing = compare.settings_that_differ(a, b) if found is None else found.settings
    if not differing:
        st.caption("None: model, training, data and limits are the same.")
        return
    table = pd.DataFrame([{"Setting": each.name, "First": each.a, "Second": each.b} for each in differing])
    st.dataframe(table, hide_index=True, key="evaluate-settings", height=_ROW_PIXELS * (len(table) + 1) + 3)


def _images(found: Comparison, a: StoredEvaluation, b: StoredEvaluation) -> None:
    """Images that the two see differently, and one of them under both."""
    st.subheader("Images seen differently", anchor=False)
    flips = len(found.flips)
    st.caption(
        f"{flips} of {len(found.images)} images have another verdict; they stand first, then those whose rank among "
        "the good images differs most. Scores of two models have no common scale, ranks have."
    )
    shown = found.images[:SHOWN_CHANGES]
    table, key = f"evaluate-changes-{a.summary.key}-{b.summary.key}", f"evaluate-change-{a.summary.key}-{b.summary.key}"

    def chosen_in_table() -> None:
        rows = st.session_state[table]["selection"]["rows"]
        if rows:
            st.session_state[key] = rows[0]

    st.dataframe(
        pd.DataFrame([_row(change) for change in shown]),
        hide_index=True,
        key=table,
        height=min(_ROW_PIXELS * (len(shown) + 1) + 3, 8 * _ROW_PIXELS),
        on_select=chosen_in_table,
        selection_mode="single-row",
    )
    place = st.selectbox(
        "Image under both",
        range(len(shown)),
        format_func=lambda number: f"{shown[number].name}: {_verdicts(shown[number])}",
        key=key,
        persist_state="session",
    )
    change = shown[int(place)]
    sides = ((a, change.place_a, change.score_a), (b, change.place_b, change.score_b))
    for number, (column, (stored, at, score)) in enumerate(zip(halves("evaluate-both", 1, 1), sides, strict=True)):
        calibration, why_none = current_calibration(stored)
        with column:
            st.markdown(
                f"**{stored.summary.model_folder.name}**: score {format_number(score)}"
                + (", no limit" if calibration is None else f", limit {format_number(calibration.image_threshold)}")
            )
            try:
                opened = open_image(stored, at)
            except DataError as error:
                show_error(error)
                continue
            view_map(stored, opened, calibration=calibration, key=f"evaluate-both-{number}")
            if why_none:
                st.caption(why_none)


def _row(change: ImageChange) -> dict[str, str]:
    return {
        "Image": change.name,
        "Truth": GOOD if change.label == 0 else change.defect_type,
        "First": change.verdict_a or "–",
        "Second": change.verdict_b or "–",
        "First above good": format_rate(change.rank_a),
        "Second above good": format_rate(change.rank_b),
    }


def _verdicts(change: ImageChange) -> str:
    if change.flipped:
        return f"{change.verdict_a} becomes {change.verdict_b}"
    return f"above {format_rate(change.rank_a)} and {format_rate(change.rank_b)} of the good images"
