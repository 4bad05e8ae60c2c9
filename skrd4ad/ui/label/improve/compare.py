"""Old against new on the same labelled images, and which of the two is used from now on."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from skrd4ad.format import format_figure, format_number, format_rate
from skrd4ad.metrics.bootstrap import PairedDifference
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.services.improve.adopt import go_back, note_outcome, use_new_model
from skrd4ad.services.improve.compare import LabelComparison, Side, auroc_difference, compare_on_labels
from skrd4ad.services.improve.pixel_metrics import PixelState
from skrd4ad.services.improve.retrain import predecessor_of, successors_of
from skrd4ad.services.models.library import delete_model
from skrd4ad.services.models.list import list_models
from skrd4ad.types import Verdict
from skrd4ad.ui.charts import is_dark, show_chart
from skrd4ad.ui.frame import choose_model, halves, model_labels
from skrd4ad.ui.label.improve.figures import score_with_progress
from skrd4ad.ui.label.improve.state import LoopState, loop_state, pixel_worker, reviewer
from skrd4ad.ui.theme import DARK, LIGHT, VERDICTS, chart_template

SHOWN = 200
TURNS = {"better": "nearer to the label", "worse": "farther from it", "same": "as near"}
POLL_SECONDS = 1.0
_SYMBOLS = {"good": "circle-open", "defect": "triangle-up"}
_NAMES = {"good": "Labelled good", "defect": "Labelled defect"}


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
    st.caption(f"The model in use went on from {before.folder.name}. Nothing went on from it yet.")
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
    if not found.new.images:
        st.info(
            "No decided image is left that neither model has learnt from and both have a score of. Label more images."
        )
    st.caption(f"Old: {_named(found.old)}. New: {_named(found.new)}.")
    left, right = halves("loop-compare", 1, 1)
    with left:
        _figures(found)
    with right:
        if found.pairs:
            show_chart(
                _ratio_chart(found),
                key="loop-ratio",
                alt=f"Scores of {len(found.pairs)} labelled images against the limits of the old and the new model",
            )
    _changes(found)
    _decide(found, in_use=in_use)


def _offer_scores(old: LoopState, new: LoopState, found: LabelComparison) -> None:
    st.caption(f"{found.without_score} labelled images wait for a score of one of the models.")
    if st.button("Score them now", icon=":material/play_arrow:", key="loop-compare-score"):
        problems: dict[str, str] = {}
        for state in (old, new):
            missing = tuple(image for image in state.labels.images if image.score is None)
            problems |= score_with_progress(state, missing)
        if problems:
            st.warning("  \n".join(problems.values()), icon=":material/warning:")
        else:
            st.rerun()


def _figures(found: LabelComparison) -> None:
    @st.fragment(run_every=POLL_SECONDS)
    def watch() -> None:
        pixels = _pixels(found)
        if _are_known(pixels):  # the section runs again, and polls no more
            st.rerun()
        _table(found, pixels)

    pixels = _pixels(found)
    if _are_known(pixels):
        _table(found, pixels)
    else:
        watch()
    for line in comparison_notes(found, _difference(found)):
        st.caption(line)


def _pixels(found: LabelComparison) -> list[PixelState | None]:
    return [pixel_worker().ask(side.info, side.images, purpose="compare") for side in (found.old, found.new)]


def _are_known(pixels: Sequence[PixelState | None]) -> bool:
    return all(each is None or each.is_current for each in pixels)


def _table(found: LabelComparison, pixels: Sequence[PixelState | None]) -> None:
    sides = (found.old, found.new)
    rows = {
        "Image AUROC": [format_figure(side.figures.auroc) for side in sides],
        "Image AP": [format_figure(side.figures.average_precision) for side in sides],
        "Pixel AUROC": [_pixel_figure(each, "pixel_auroc") for each in pixels],
        "AUPRO": [_pixel_figure(each, "aupro") for each in pixels],
        "Agreement": [_agreement(side) for side in sides],
        "Good: OK, REVIEW, NG": [_counts(side, "good") for side in sides],
        "Defects: OK, REVIEW, NG": [_counts(side, "defect") for side in sides],
        "NG above": [
            "–" if side.info.calibration is None else format_number(side.info.calibration.image_threshold)
            for side in sides
        ],
    }
    st.dataframe(
        pd.DataFrame(
            {"": list(rows), "Old": [each[0] for each in rows.values()], "New": [each[1] for each in rows.values()]}
        ),
        hide_index=True,
        key="loop-compare-table",
    )


def comparison_notes(found: LabelComparison, difference: PairedDifference | None) -> list[str]:
    """What must be known to read the comparison, one sentence or two a line."""
    figures = found.new.figures
    lines = [
        f"On {figures.n_good} good and {figures.n_defect} defective images, each model by its own limits. "
        f"{found.seen} decided images are left out, as a model has learnt from them or took its first limits from them."
    ]
    if difference is not None and difference.difference is not None:
        change = f"The image AUROC changes by {difference.difference:+.3f}"
        if difference.interval is None:
            lines.append(f"{change}; too few images for an interval.")
        else:
            low, high = difference.interval.low, difference.interval.high
            verdict = "a clear difference" if difference.is_clear else "no clear difference"
            lines.append(
                f"{change}, between {low:+.3f} and {high:+.3f} with other images chosen alike (95 %): {verdict}."
            )
    for name, side in (("old", found.old), ("new", found.new)):
        if side.in_sample:
            lines.append(
                f"The limits of the {name} model were taken from {side.in_sample} of these good images, which flatters "
                "its agreement."
            )
    if not found.is_exact:
        lines.append(
            "It is not known of both models which images they have learnt from, so some of these may be among them."
        )
    return lines


def _changes(found: LabelComparison) -> None:
    changes = sorted(found.changes, key=lambda pair: (pair.turn != "worse", pair.turn != "better", pair.image.name))
    if not found.pairs:
        return
    if not changes:
        st.caption("Every image gets the same verdict from both.")
        return
    turns = [pair.turn for pair in changes]
    title = (
        f"Images with another verdict: {turns.count('better')} nearer to their label, {turns.count('worse')} farther"
    )
    with st.expander(title, key="loop-changes"):
        st.dataframe(
            pd.DataFrame(
                {
                    "Image": [pair.image.name for pair in changes[:SHOWN]],
                    "Labelled": [pair.image.label for pair in changes[:SHOWN]],
                    "Old": [pair.old for pair in changes[:SHOWN]],
                    "New": [pair.new for pair in changes[:SHOWN]],
                    "New verdict": [TURNS[pair.turn] for pair in changes[:SHOWN]],
                    "Old score": [format_number(pair.image.score or 0.0) for pair in changes[:SHOWN]],
                    "New score": [format_number(pair.new_score) for pair in changes[:SHOWN]],
                }
            ),
            hide_index=True,
            key="loop-change-table",
        )
        if len(changes) > SHOWN:
            st.caption(f"The first {SHOWN} are listed, those farther from their label before the others.")


def _decide(found: LabelComparison, *, in_use: str) -> None:
    new = found.new.info
    if note := read_metadata(new.folder).note:
        st.caption("  \n".join(f":material/history: {line}" for line in note.splitlines()))
    who = st.text_input(
        "Who decides",
        value=reviewer(),
        key="loop-decides",
        persist_state="session",
        placeholder="your name",
        max_chars=80,
        width=320,
    )
    unnamed = not (who or "").strip()
    with st.container(horizontal=True):
        if in_use == "new":
            if st.button("Go back to the old model", icon=":material/undo:", key="loop-back", disabled=unnamed):
                go_back(found, who=who or "")
                choose_model(found.old.info.folder)
                st.rerun()
        else:
            if st.button(
                "Use the new model", type="primary", icon=":material/check:", key="loop-use", disabled=unnamed
            ):
                use_new_model(found, who=who or "")
                choose_model(new.folder)
                st.rerun()
            with st.popover("Keep the old one", icon=":material/close:", key="loop-keep-popover", disabled=unnamed):
                _keep(found, who=who or "")
    if unnamed:
        st.caption("Type your name to decide: it is noted with the new model.")


def _keep(found: LabelComparison, *, who: str) -> None:
    new = found.new.info
    st.markdown("The new model stays in the list of models, with a note that it was not used; or it is deleted.")
    if st.button("Keep both, use the old one", type="primary", key="loop-keep"):
        note_outcome(found, who=who, used=False)
        st.rerun()
    sure = st.checkbox(f"Delete {new.folder.name} for good", key=f"loop-sure-{new.digest}")
    if st.button("Delete the new model", disabled=not sure, icon=":material/delete:", key="loop-delete"):
        delete_model(new.folder)
        st.rerun()


def _difference(found: LabelComparison) -> PairedDifference | None:
    if found.old.figures.auroc is None:
        return None
    key = hash(
        tuple((a.digest, a.label, a.score, b.score) for a, b in zip(found.old.images, found.new.images, strict=True))
    )
    return _paired(found.old.info.digest, found.new.info.digest, key, found)


@st.cache_data(max_entries=16, ttl="10m", show_spinner=False)
def _paired(old: str, new: str, key: int, _found: LabelComparison) -> PairedDifference:  # noqa: ARG001 - on what it rests
    return auroc_difference(_found)


def _named(side: Side) -> str:
    version = side.info.calibration
    return f"{side.info.folder.name}, {'without limits' if version is None else f'limits version {version.version}'}"


def _pixel_figure(state: PixelState | None, name: str) -> str:
    if state is None:
        return "–"
    if state.error is not None:
        return "cannot be had"
    if state.figures is None or not state.is_current:
        done, total = state.progress
        return f"{done} of {total} images" if total else "being computed"
    return format_figure(getattr(state.figures, name))


def _agreement(side: Side) -> str:
    if side.agreement is None or side.agreement.rate is None:
        return "–"
    return f"{format_rate(side.agreement.rate)} of {side.agreement.compared}"


def _counts(side: Side, kind: str) -> str:
    if side.agreement is None:
        return "–"
    counts = side.agreement.good if kind == "good" else side.agreement.defect
    return f"{counts.ok}, {counts.review}, {counts.ng}"


def _ratio_chart(found: LabelComparison) -> go.Figure:
    """Score over limit of the old model across, of the new one upwards; NG lies beyond 1, on either side by its own
    model. Both models must have a calibration with a limit above 0, as scores of this model are."""
    figure = go.Figure(layout={"template": chart_template(is_dark()), "height": 340})
    old, new = found.old.info.calibration, found.new.info.calibration
    assert old is not None and new is not None, "pairs exist only with limits"
    limits = (old.image_threshold, new.image_threshold)
    colours: tuple[tuple[str, Verdict], ...] = (("good", "OK"), ("defect", "NG"))
    for label, verdict in colours:
        pairs = [pair for pair in found.pairs if pair.image.label == label]
        figure.add_scatter(
            x=[_ratio(pair.image.score, limits[0]) for pair in pairs],
            y=[_ratio(pair.new_score, limits[1]) for pair in pairs],
            name=_NAMES[label],
            mode="markers",
            marker={"symbol": _SYMBOLS[label], "size": 9, "color": VERDICTS[verdict].colour, "opacity": 0.8},
            text=[f"{pair.image.name}<br>old {pair.old}, new {pair.new}" for pair in pairs],
            hovertemplate="%{text}<extra></extra>",
        )
    line = {"color": (DARK if is_dark() else LIGHT).quiet_text, "width": 1, "dash": "dot"}
    figure.add_hline(y=1, line=line)
    figure.add_vline(x=1, line=line)
    figure.update_xaxes(title_text="Old model: score over its NG limit", rangemode="tozero")
    figure.update_yaxes(title_text="New model: score over its NG limit", rangemode="tozero")
    return figure


def _ratio(score: float | None, limit: float) -> float | None:
    return None if score is None or limit <= 0 else score / limit
