"""Escapes on the Evaluate page: what the limits pass, by type and size of defect, and the images behind every mark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from skrd4ad.format import format_number, format_rate
from skrd4ad.metrics.escapes import ConfusionCell, EscapeGroup
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.evaluation.charts import confusion_chart, escape_bars
from skrd4ad.services.evaluation.operating_points import Findings
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.types import Verdict
from skrd4ad.ui.evaluate.figures import Pick, show_figure
from skrd4ad.ui.evaluate.images import show_images
from skrd4ad.ui.frame import go_to, halves

_BAR_PIXELS = 44
"""Height of a bar with its two lines of words; several charts stand on one screen."""
_CELLS: dict[tuple[str, Verdict], str] = {
    ("good", "OK"): "Good parts that pass",
    ("good", "REVIEW"): "Good parts for review",
    ("good", "NG"): "False rejects: good parts that are rejected",
    ("defect", "OK"): "Escapes: defects that pass",
    ("defect", "REVIEW"): "Defects for review",
    ("defect", "NG"): "Defects that are rejected",
}


@dataclass(frozen=True, kw_only=True)
class ImageGroup:
    """Images behind a bar or a cell."""

    chart: str
    """``cell``, ``type`` or ``size``."""
    name: str
    """As the chart names it: the cell, the type, or the range of sizes."""
    title: str
    indices: tuple[int, ...]

    @property
    def id(self) -> str:
        """Names the group."""
        return f"{self.chart}|{self.title}"


def show_escapes(
    stored: StoredEvaluation, calibration: Calibration | None, found: Findings | None, why_none: str
) -> None:
    """What the current limits pass, send to review and reject."""
    if calibration is None or found is None:
        st.info(why_none, icon=":material/tune:")
        if st.button("Calibrate", type="primary", icon=":material/tune:", key="evaluate-escapes-calibrate"):
            go_to("calibrate")
        return
    st.caption(_limits(found))
    groups = groups_of(found)
    key = f"evaluate-group-{stored.summary.key}"

    def pick(chart: str) -> Pick:
        def picked(data: Sequence[Any]) -> None:
            indices = tuple(int(index) for index in data[1:])
            match = next((g for g in groups if (g.chart, g.name, g.indices) == (chart, data[0], indices)), None)
            if match is not None:
                st.session_state[key] = match.id

        return picked

    cells, escapes = halves("evaluate-escapes", 1, 1)
    with cells:
        st.markdown("**Truth against verdict**")
        show_figure(
            confusion_chart(found.confusion),
            key="evaluate-confusion",
            alt=", ".join(f"{_CELLS[cell.truth, cell.verdict]}: {cell.count}" for cell in found.confusion),
            file_name=f"{stored.summary.class_name}_confusion",
            on_pick=pick("cell"),
        )
    with escapes:
        st.markdown("**Escapes by type of defect**")
        _bars(found.by_type, stored, chart="type", axis="Type of defect", on_pick=pick("type"))
        if found.by_size is None:
            st.caption("Escapes by size need masks, and the test images have none.")
        else:
            st.markdown("**Escapes by size of defect**")
            _bars(found.by_size.groups, stored, chart="size", axis="Area of the mask", on_pick=pick("size"))
            st.caption(found.by_size.words)
    by_id = {group.id: group for group in groups}
    if st.session_state.get(key) not in by_id:
        st.session_state[key] = groups[_first(groups)].id
    # beside the charts, where a click is answered at once
    chosen = cells.selectbox(
        "Images shown",
        list(by_id),
        format_func=lambda name: f"{by_id[name].title} ({len(by_id[name].indices)})",
        key=key,
        help="Select a bar or a cell, or choose here.",
        persist_state="session",
    )
    for note in found.notes:
        st.caption(f":material/info: {note}")
    group = by_id[str(chosen)]
    show_images(stored, group.indices, calibration=calibration, name="escapes", title=group.title)


def groups_of(found: Findings) -> list[ImageGroup]:
    """Every bar and every cell that stands for images, in the order of the page."""
    groups = [_cell(cell) for cell in found.confusion]
    groups += [each for group in found.by_type for each in _parts(group, chart="type", of=group.name)]
    if found.by_size is not None:
        for group in found.by_size.groups:
            groups += _parts(group, chart="size", of=f"defects of {group.name}")
        if found.by_size.without_mask:
            groups.append(
                ImageGroup(chart="size", name="", title="Defects without a mask", indices=found.by_size.without_mask)
            )
        if found.by_size.vanished:
            title = "Defects whose mask is lost at the size of the map"
            groups.append(ImageGroup(chart="size", name="", title=title, indices=found.by_size.vanished))
    return groups


def _cell(cell: ConfusionCell) -> ImageGroup:
    title = _CELLS[cell.truth, cell.verdict]
    return ImageGroup(chart="cell", name=f"{cell.truth} {cell.verdict}", title=title, indices=cell.indices)


def _parts(group: EscapeGroup, *, chart: str, of: str) -> list[ImageGroup]:
    parts = (("passed", group.escaped), ("for review", group.reviewed), ("rejected", group.rejected))
    return [
        ImageGroup(chart=chart, name=group.name, title=f"{of[:1].upper()}{of[1:]}, {words}", indices=indices)
        for words, indices in parts
        if indices
    ]


def _first(groups: Sequence[ImageGroup]) -> int:
    """What a reader wants to see first: escapes, else false rejects, else whatever there is."""
    for wanted in ("defect OK", "good NG"):
        for index, group in enumerate(groups):
            if group.name == wanted and group.indices:
                return index
    return next((index for index, group in enumerate(groups) if group.indices), 0)


def _bars(groups: Sequence[EscapeGroup], stored: StoredEvaluation, *, chart: str, axis: str, on_pick: Pick) -> None:
    words = [f"{each.name}: {len(each.escaped)} of {len(each.indices)}, {format_rate(each.rate)}" for each in groups]
    show_figure(
        escape_bars(groups, axis=axis).update_layout(height=80 + _BAR_PIXELS * max(len(groups), 1)),
        key=f"evaluate-escapes-{chart}",
        alt=f"Escapes by {axis[:1].lower()}{axis[1:]}: " + "; ".join(words),
        file_name=f"{stored.summary.class_name}_escapes_by_{chart}",
        on_pick=on_pick,
    )


def _limits(found: Findings) -> str:
    review = "" if found.review is None else f"REVIEW above {format_number(found.review)}, "
    return (
        f"Calibration version {found.calibration}: {review}NG above {format_number(found.reject)}. An escape is a "
        "defect that passes as OK; one for review is none, because a person looks at it. Select a bar or a cell to see "
        "its images."
    )
