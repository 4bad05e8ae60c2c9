"""Beside the part on the Inspect page: its verdict, its regions, and its files."""

import pandas as pd
import streamlit as st

from skrd4ad.errors import DataError
from skrd4ad.format import format_number, plural
from skrd4ad.inference.predictions import Inspection
from skrd4ad.services.inspection.inspect import mask_of, overlay_of, png_bytes
from skrd4ad.types import GOOD, Pitch, Region, pitch_xy
from skrd4ad.ui.components.gallery import mistake_of
from skrd4ad.ui.inspect.sources import Item
from skrd4ad.ui.text import plain
from skrd4ad.ui.theme import verdict_badge
from skrd4ad.ui.widgets import file_button

_REGIONS = "inspect-regions"


def show_verdict(inspection: Inspection, item: Item, *, trial: bool) -> None:
    """Verdict with score and limit, or why the image cannot be judged, and what the data set says."""
    limits, prediction = inspection.limits, inspection.prediction
    assert inspection.score is not None and limits is not None and prediction is not None
    if inspection.verdict is not None:
        st.html(verdict_badge(inspection.verdict, inspection.score, limits.reject))
    if inspection.refusal is not None:
        reason = inspection.refusal.removeprefix("cannot judge: ")
        st.warning(plain(f"{reason[:1].upper()}{reason[1:]}"), icon=":material/visibility_off:")
    if trial:
        st.caption("Against the trial limit of the slider, not the model's.")
    elif limits.calibration is not None:
        st.caption(f"Calibration version {limits.calibration:d}, {plain(prediction.view)}")
    st.markdown(f"**{plain(item.name)}**")
    if item.truth is not None:
        st.caption(f"The data set says: {'good part' if item.truth == GOOD else f'defect, {plain(item.truth)}'}.")
        if mistake := mistake_of(inspection.verdict, truth=item.truth):
            st.caption(f"{'An' if mistake == 'escape' else 'A'} {mistake} at this limit.")


def chosen_region() -> int | None:
    """Row of the table of regions that the user chose, from 0; the picture marks it."""
    rows = st.session_state.get(_REGIONS, {}).get("selection", {}).get("rows", [])
    return int(rows[0]) if rows else None


def show_regions(inspection: Inspection, *, mm_per_pixel: Pitch | None) -> None:
    """Table of the regions, in pixels of the image or in mm; a chosen row is marked in the picture."""
    if not inspection.regions or inspection.limits is None:
        st.caption("No region is above the limit.")
        return
    table = pd.DataFrame([_row(region, mm_per_pixel) for region in inspection.regions])
    count = len(table)
    st.caption(
        f"{plural(count, 'region')} above {format_number(inspection.limits.pixel)}, highest "
        f"peak first, in {'pixels of the image' if mm_per_pixel is None else 'millimetres'}"
    )
    st.dataframe(
        table,
        hide_index=True,
        height=min(35 * (count + 1) + 3, 250),
        key=_REGIONS,
        on_select="rerun",
        selection_mode="single-row",
    )


def _row(region: Region, mm_per_pixel: Pitch | None) -> dict[str, str]:
    x, y = (1.0, 1.0) if mm_per_pixel is None else pitch_xy(mm_per_pixel)

    def pair(across: float, down: float, *, between: str) -> str:
        lengths = (across * x, down * y)
        return between.join(f"{each:.0f}" if mm_per_pixel is None else format_number(each) for each in lengths)

    x0, y0, x1, y1 = region.box
    area = {"Area, px": f"{region.area}"}
    if mm_per_pixel is not None:
        area = {"Area, mm²": format_number(region.area * (x * y))}
    return {
        **area,
        "Peak": format_number(region.peak),
        "Mean": format_number(region.mean),
        "Box x, y": pair(x0, y0, between=", "),
        "Size": pair(x1 - x0, y1 - y0, between=" x "),
        "Centre": pair(*region.centroid, between=", "),
    }


def show_files(inspection: Inspection, item: Item) -> None:
    """Overlay and mask of the part for download."""
    stem = item.name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    with st.container(horizontal=True):
        file_button("Overlay", lambda: png_bytes(overlay_of(inspection)), f"{stem}_overlay.png", key="download-overlay")
        file_button("Mask", lambda: _mask_file(inspection), f"{stem}_mask.png", key="download-mask")


def _mask_file(inspection: Inspection) -> bytes:
    mask = mask_of(inspection)
    if mask is None:
        raise DataError("Without a limit there is no mask.")
    return png_bytes(mask)
