"""Escapes on the Evaluate page: what the limits pass, by type and size of defect, and the images behind every mark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from skrd4ad.format import format_number, format_rate
from skrd4ad.metrics.escapes import EscapeGroup
from skrd4ad.services.evaluation.charts import confusion_chart, escape_bars
from skrd4ad.services.evaluation.operating_points import Findings
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.types import Verdict
from skrd4ad.ui.evaluate.figures import Pick, show_figure
from skrd4ad.ui.evaluate.findings import offer_calibration
from skrd4ad.ui.evaluate.images import show_images
from skrd4ad.ui.frame import halves
from skrd4ad.ui.text import plain

_BAR_PIXELS = 44
"""Height of a bar with its two lines of words; several charts stand on one screen."""
_CELLS: dict[tuple[str, Verdict], str] = {
    ("good", "OK"): "Good parts that pass",
    ("good", "REVIEW"): "Good parts for review",
    ("good", "NG"): "False rejects: good parts that are rejected",
    ("good", "CANNOT JUDGE"): "Good parts that cannot be judged",
    ("defect", "OK"): "Escapes: defects that pass",
    ("defect", "REVIEW"): "Defects for review",
    ("defect", "NG"): "Defects that are rejected",
    ("defect", "CANNOT JUDGE"): "Defects that cannot be judged",
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


def show_escapes(stored: StoredEvaluation, found: Findings | None, why_none: str) -> None:
    """What the current limits pass, send to review and reject."""
    if found is None:
        offer_calibration(why_none, key="evaluate-escapes-calibrate")
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
            st.caption(plain(found.by_size.text))
    by_id = {group.id: group for group in groups}
    if st.session_state.get(key) not in by_id:
        st.session_state[key] = _first(groups).id
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
        st.caption(f":material/info: {plain(note)}")
    group = by_id[str(chosen)]
    show_images(stored, group.indices, calibration=found.calibration, name="escapes", title=group.title)


def groups_of(found: Findings) -> list[ImageGroup]:
    """Every bar and every cell that stands for images, in the order of the page."""
    groups = [
        ImageGroup(
            chart="cell",
            name=f"{cell.truth} {cell.verdict}",
            title=_CELLS[cell.truth, cell.verdict],
            indices=cell.indices,
        )
        for cell in found.confusion
    ]
    groups += [each for group in found.by_type for each in _parts(group, chart="type", of=group.name)]
    if found.by_size is not None:
        for group in found.by_size.groups:
            groups += _parts(group, chart="size", of=f"defects of {group.name}")
        others = {
            "Defects without a mask": found.by_size.without_mask,
            "Defects whose mask is lost at the size of the map": found.by_size.vanished,
        }
        groups += [
            ImageGroup(chart="size", name="", title=title, indices=indices)
            for title, indices in others.items()
            if indices
        ]
    return groups


def _parts(group: EscapeGroup, *, chart: str, of: str) -> list[ImageGroup]:
    parts = {
        "passed": group.escaped,
        "for review": group.reviewed,
        "rejected": group.rejected,
        "cannot be judged": group.refused,
    }
    return [
        ImageGroup(chart=chart, name=group.name, title=f"{of[:1].upper()}{of[1:]}, {what}", indices=indices)
        for what, indices in parts.items()
        if indices
    ]


def _first(groups: Sequence[ImageGroup]) -> ImageGroup:
    """What a reader wants to see first: escapes, else false rejects, else whatever there is."""
    filled = [group for group in groups if group.indices]
    wanted = [group for name in ("defect OK", "good NG") for group in filled if group.name == name]
    return next(iter([*wanted, *filled, *groups]))


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
    limits = found.calibration
    review = "" if limits.review_threshold is None else f"REVIEW above {format_number(limits.review_threshold)}, "
    return (
        f"Calibration version {limits.version}: {review}NG above {format_number(limits.image_threshold)}. "
        "An escape is a defect that passes as OK; one for review is none, because a person looks at it. Select a bar "
        "or a cell to see its images."
    )
