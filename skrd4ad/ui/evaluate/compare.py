"""Two evaluations side by side on the Evaluate page: what differs, how sure that is, and on which images."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import pandas as pd
import streamlit as st

from skrd4ad.documents import to_plain
from skrd4ad.errors import DataError
from skrd4ad.format import METRIC_TITLES, format_number, format_rate
from skrd4ad.services.evaluation.charts import difference_chart
from skrd4ad.services.evaluation.compare import COMPARISON, Comparison, ComparisonRequest, find_comparison
from skrd4ad.services.evaluation.compare_images import ImageChange
from skrd4ad.services.evaluation.compare_settings import SettingDifference, settings_that_differ
from skrd4ad.services.evaluation.operating_points import open_image
from skrd4ad.services.evaluation.result import EvaluationSummary, MeasuredImages, StoredEvaluation
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.types import GOOD
from skrd4ad.ui.evaluate.curves import draw_curves, pick_curves
from skrd4ad.ui.evaluate.figures import right_aligned, show_figure, table_height
from skrd4ad.ui.evaluate.findings import findings_of
from skrd4ad.ui.evaluate.images import view_map
from skrd4ad.ui.evaluate.text import HOW_TO_READ, figure_text
from skrd4ad.ui.frame import calling, go_to, halves, show_error
from skrd4ad.ui.text import plain, plain_lines
from skrd4ad.ui.widgets import button, permitted, rerun

R = TypeVar("R")
Load = Callable[[str], StoredEvaluation | None]
FIRST_SECOND = ("First", "Second")
TURNS = {"better": "nearer to the label", "worse": "farther from it", "same": ""}
SHOWN_CHANGES = 100


def show_comparison(
    summaries: Sequence[EvaluationSummary], labels: Mapping[str, str], *, chosen: str, load: Load
) -> None:
    """Choose two evaluations and show how they differ."""
    if len(summaries) < 2:
        st.info(
            "There is only one evaluation. To compare, train another model on the same data, or evaluate this one on "
            "other images.",
            icon=":material/compare_arrows:",
        )
        if button("Train a model", icon=":material/model_training:", key="evaluate-compare-train"):
            go_to("train")
        return
    others = _partners(summaries, chosen)
    first = st.selectbox(
        f"Compare {plain(labels[chosen])} with",
        others,
        format_func=labels.__getitem__,
        key=f"evaluate-partner-{chosen}",
        help=f"Differences above 0 are in favour of {plain(labels[chosen])}.",
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
        st.info(plain_lines(str(error)), icon=":material/compare_arrows:")
        return
    if found is None:
        if COMPARISON.active(a=a.summary.key, b=b.summary.key):
            st.caption("The comparison is being made; its progress stands above.")
        else:
            offer_comparison(COMPARISON, ComparisonRequest(a=a.summary.key, b=b.summary.key), key="evaluate-compare")
        settings = settings_that_differ(a.summary, b.summary)
    else:
        settings = found.settings
        st.markdown(f"**Differences on {found.n_good} good and {found.n_defect} defective images**")
        st.caption(f"First: {plain(labels[found.a.key])}. Second: {plain(labels[found.b.key])}.")
        show_differences(found, key="evaluate")
    show_settings(settings, key="evaluate-settings")
    st.subheader("Curves over each other", anchor=False)
    _, names, how = pick_curves("curves")
    st.caption(how)
    draw_curves([a, b], names, findings=[findings_of(a)[0], findings_of(b)[0]], key="evaluate-pair")
    if found is not None:
        st.subheader("Images seen differently", anchor=False)
        show_changes(found.images, a, b, key="evaluate")


def _partners(summaries: Sequence[EvaluationSummary], chosen: str) -> list[str]:
    """What an evaluation can be compared with: those of the same images first, then those of the same class."""
    mine = next(each for each in summaries if each.key == chosen)

    def distance(other: EvaluationSummary) -> int:
        if other.data_digest == mine.data_digest:
            return 0
        return 1 if (other.dataset, other.class_name) == (mine.dataset, mine.class_name) else 2

    return [each.key for each in sorted(summaries, key=distance) if each.key != chosen]


def offer_comparison(kind: JobKind[R], request: R, *, key: str) -> None:
    """The button that asks for a comparison, and why the last one failed."""
    last = kind.latest(**to_plain(request))
    if last is not None and last.state == "failed":
        st.error(
            f"The comparison failed. {plain_lines(last.error or 'The reason is not known.')}", icon=":material/error:"
        )
    st.caption(
        "Every figure of both is measured on the same images, drawn again together, so that what both find easy or "
        "hard does not blur the difference."
    )
    if button("Compare", type="primary", icon=":material/compare_arrows:", key=key, **permitted(kind.why_not)):
        kind.submit(request)
        rerun()


def show_differences(found: Comparison, *, key: str, sides: tuple[str, str] = FIRST_SECOND) -> None:
    """Paired differences of all figures with their intervals, as a chart and a table, and notes on them."""
    known = {name: each for name, each in found.differences.items() if each.difference is not None}
    show_figure(
        difference_chart(found, sides=(sides[0].lower(), sides[1].lower())),
        key=f"{key}-differences",
        alt="; ".join(f"{METRIC_TITLES[name]} {each.difference:+.3f}" for name, each in known.items()),
        file_name=f"{found.a.class_name}_differences",
    )
    first, second = sides
    rows = [
        {
            "Figure": METRIC_TITLES[name],
            first: figure_text(each.a),
            second: figure_text(each.b),
            "Difference": "–" if each.difference is None else f"{each.difference:+.3f}",
            "95 % interval": "–" if each.interval is None else f"{each.interval.low:+.3f} to {each.interval.high:+.3f}",
            "Clear": "–" if each.interval is None else "yes" if each.is_clear else "no",
            "How to read it": HOW_TO_READ[name],
        }
        for name, each in found.differences.items()
    ]
    table = pd.DataFrame(rows)
    st.dataframe(
        table,
        hide_index=True,
        key=f"{key}-difference-table",
        height=table_height(table),
        column_config=right_aligned(first, second, "Difference", "95 % interval"),
    )
    for note in found.notes:
        st.caption(f":material/info: {plain(note)}")


def show_settings(differing: Sequence[SettingDifference], *, key: str, sides: tuple[str, str] = FIRST_SECOND) -> None:
    """Settings in which two models differ."""
    st.subheader("Settings that differ", anchor=False)
    if not differing:
        st.caption("None: model, training, data and limits are the same.")
        return
    table = pd.DataFrame([{"Setting": each.name, sides[0]: each.a, sides[1]: each.b} for each in differing])
    st.dataframe(table, hide_index=True, key=key, height=table_height(table))


def show_changes(
    images: Sequence[ImageChange],
    a: MeasuredImages,
    b: MeasuredImages,
    *,
    key: str,
    sides: tuple[str, str] = FIRST_SECOND,
) -> None:
    """Images that the two see differently, and one of them under both."""
    turns = [image.turn for image in images]
    flips = len(images) - turns.count("same")
    st.caption(
        f"{flips} of {len(images)} images have another verdict, {turns.count('better')} nearer to their label and "
        f"{turns.count('worse')} farther from it; they stand first, then those whose rank among the good images "
        "differs most. Scores of two models have no common scale, ranks have."
    )
    shown = images[:SHOWN_CHANGES]
    pair = f"{a.summary.key}-{b.summary.key}"
    table, chosen = f"{key}-changes-{pair}", f"{key}-change-{pair}"

    def chosen_in_table() -> None:
        if marked := st.session_state[table]["selection"]["rows"]:
            st.session_state[chosen] = marked[0]

    rows = pd.DataFrame([_row(change, sides) for change in shown])
    st.dataframe(
        rows,
        hide_index=True,
        key=table,
        height=table_height(rows, most=8),
        on_select=calling(chosen_in_table),
        selection_mode="single-row",
    )
    index = st.selectbox(
        "Image under both",
        range(len(shown)),
        format_func=lambda number: f"{shown[number].name}: {_verdicts(shown[number])}",
        key=chosen,
        persist_state="session",
    )
    change = shown[int(index)]
    opened = ((a, change.place_a, change.score_a), (b, change.place_b, change.score_b))
    for number, (column, (side, at, score)) in enumerate(zip(halves(f"{key}-both", 1, 1), opened, strict=True)):
        with column:
            _show_side(side, at, score, key=f"{key}-both-{number}")


def _show_side(side: MeasuredImages, index: int, score: float, *, key: str) -> None:
    calibration, why_none = side.limits()
    limit = "no limit" if calibration is None else f"limit {format_number(calibration.image_threshold)}"
    st.markdown(f"**{plain(side.summary.model_folder.name)}**: score {format_number(score)}, {limit}")
    try:
        opened = open_image(side, index)
    except DataError as error:
        show_error(error)
        return
    view_map(side, opened, calibration=calibration, key=key)
    if why_none:
        st.caption(plain(why_none))


def _row(change: ImageChange, sides: tuple[str, str]) -> dict[str, str]:
    first, second = sides
    return {
        "Image": change.name,
        "Truth": GOOD if change.label == 0 else change.defect_type,
        first: change.verdict_a or "–",
        second: change.verdict_b or "–",
        f"{second} verdict": TURNS[change.turn],
        f"{first} score": format_number(change.score_a),
        f"{second} score": format_number(change.score_b),
        f"{first} above good": format_rate(change.rank_a),
        f"{second} above good": format_rate(change.rank_b),
    }


def _verdicts(change: ImageChange) -> str:
    if change.flipped:
        return f"{change.verdict_a} becomes {change.verdict_b}"
    return f"above {format_rate(change.rank_a)} and {format_rate(change.rank_b)} of the good images"
