"""What is said of a part on the Inspect page beside its picture, and its files."""

import streamlit as st

from skrd4ad.errors import DataError
from skrd4ad.inference.predictions import Inspection
from skrd4ad.services.inspection.inspect import mask_of, overlay_of, png_bytes
from skrd4ad.types import Levels
from skrd4ad.ui.components.map_viewer import About
from skrd4ad.ui.inspect.sources import Item
from skrd4ad.ui.widgets import file_button


def about(inspection: Inspection, item: Item, *, levels: Levels | None) -> About:
    """Where a verdict comes from, or why there is none. ``levels``: of the model, for images above 8 bit."""
    limits, prediction = inspection.limits, inspection.prediction
    notes, warnings = [], []
    if limits is not None and prediction is not None and limits.calibration is not None:
        notes.append(f"Calibration version {limits.calibration:d}, {prediction.view}")
    if levels is not None:
        notes.append(f"Images above 8 bit are shown from {levels}, the levels of the model.")
    if inspection.refusal is not None:
        reason = inspection.refusal.removeprefix("cannot judge: ")
        warnings.append(f"{reason[:1].upper()}{reason[1:]}")
    return About(title=item.name, truth=item.truth, notes=notes, warnings=warnings)


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
