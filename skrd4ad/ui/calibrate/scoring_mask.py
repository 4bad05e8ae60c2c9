"""What counts in a score: the smallest region, and the regions to ignore."""

import math
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.data.images.model_input import seen_at_full_size
from skrd4ad.data.images.read import read_image
from skrd4ad.format import format_number
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import ScoringMask
from skrd4ad.services.calibration.calibrate import scoring_mask_with
from skrd4ad.types import Alignment, ImageSize, Levels, Pitch, height_width, pitch_xy, size_text
from skrd4ad.ui.components.mask_brush import mask_brush
from skrd4ad.ui.components.pictures import mask_at, reduced
from skrd4ad.ui.frame import halves
from skrd4ad.ui.widgets import button, choose, pick_pitch, rerun

DRAWN_SIDE = 1024
"""Pixels of the longer side of the image that is drawn on; the map is smaller, so nothing is lost."""
_PIXELS, _AREA = "pixels of the map", "mm²"


def applied_mask(info: ModelInfo) -> ScoringMask:
    """What counts in the scores that are shown: what the user applied, else that of the current calibration."""
    kept: ScoringMask | None = st.session_state.get(_applied(info))
    return scoring_mask_of(info) if kept is None else kept


def pick_scoring_mask(info: ModelInfo, typical: Path | None) -> None:
    """Let the user choose what counts; it takes effect when it is applied, as all images are scored again then."""
    now = applied_mask(info)
    image = None
    if typical is not None:
        seen_by = (info.model.image_size, info.levels, info.alignment)
        image = _drawn_on(str(typical), typical.stat().st_mtime_ns, *seen_by)
    with st.expander("What counts: smallest region, ignored regions", key="calibrate-scoring"):
        st.caption(_text(now))
        left, right = halves("calibrate-counts", 1, 2)
        with left:
            min_area = _pick_area(info, now, image)
        with right:
            mask = _pick_mask(info, now, image)
        with left:
            wanted = scoring_mask_with(now, min_area=min_area, mask=mask)
            changed = not _same(wanted, now)
            if button("Score again with this", key="calibrate-apply", disabled=not changed, icon=":material/refresh:"):
                st.session_state[_applied(info)] = wanted
                rerun()
            st.caption("Not applied yet: the scores above are without it." if changed else "The scores above use this.")


def forget_applied(info: ModelInfo) -> None:
    """What was applied is saved, or another version counts: from now on the current calibration tells."""
    st.session_state.pop(_applied(info), None)


def map_pixels_of(area: float, *, mm_per_pixel: Pitch, shape: tuple[int, ...], size: ImageSize) -> int:
    """Pixels of a map of a size that an area in mm² takes up, rounded up, at least 1.

    ``mm_per_pixel`` and ``shape``, (height, width, …), are those of the image as the camera took it.
    """
    (x, y), (height, width) = pitch_xy(mm_per_pixel), height_width(size)
    one = (shape[0] / height) * (shape[1] / width) * (x * y)
    return max(1, math.ceil(area / one - 1e-9))


def _pick_area(info: ModelInfo, now: ScoringMask, image: NDArray[np.uint8] | None) -> int:
    size = info.model.image_size
    whole = math.prod(height_width(size))
    key = f"{info.digest}-{info.calibration_versions}"
    units = {unit: unit for unit in (_PIXELS, _AREA) if unit == _PIXELS or image is not None}
    unit = choose("Smallest region, in", units, default=_PIXELS, key="calibrate-area-unit")
    if unit == _PIXELS or image is None:
        pixels = st.number_input(
            "Smallest region that counts, pixels of the map",
            1,
            whole,
            min(now.min_area, whole),
            key=f"calibrate-area-{key}",
            help=f"The map has {size_text(size)} pixels. A smaller region above a limit is no defect. 1 counts all.",
        )
        return int(pixels)
    height, width = image.shape[:2]
    scale = pick_pitch("Scale, mm per pixel of the image", least=0.0001, value=0.1, key="calibrate-scale")
    assert scale is not None, "it is above 0"
    area = st.number_input("Smallest region that counts, mm²", 0.0, value=1.0, step=0.5, key=f"calibrate-mm2-{key}")
    pixels = min(map_pixels_of(float(area), mm_per_pixel=scale, shape=(height, width), size=size), whole)
    st.caption(f"That is {pixels:d} pixels of the map, for an image of {width:d} x {height:d} pixels.")
    return pixels


def _pick_mask(info: ModelInfo, now: ScoringMask, image: NDArray[np.uint8] | None) -> NDArray[np.bool_] | None:
    """Ignored regions as drawn; None when they stay as they are."""
    if image is None:
        st.info("There is no image to draw on: the training images are not at hand. Upload new good images above.")
        return None
    shown = reduced(image, DRAWN_SIDE)
    start = None if now.ignored is None else mask_at(now.ignored, shown.shape)
    name = f"{info.digest[:16]}-{info.calibration_versions}"
    moves = " They move with the part." if info.alignment is not None else ""
    st.markdown(f"**Ignored regions**: no verdict, map or figure sees what is painted.{moves}")
    # what was drawn is kept over a visit to another page
    kept: NDArray[np.bool_] | None = st.session_state.get(f"calibrate-mask-{name}")
    if kept is not None and kept.shape == shown.shape[:2]:
        start = kept
    drawn = mask_brush(
        shown, image_id=f"ignore-{name}", key="calibrate-brush", mask=start, colour="ignore", max_height=420
    )
    if drawn is None:
        return kept
    st.session_state[f"calibrate-mask-{name}"] = drawn
    return drawn


def _text(scoring: ScoringMask) -> str:
    area = (
        f"regions from {scoring.min_area} pixels of the map on count" if scoring.min_area > 1 else "every region counts"
    )
    share = 0.0 if scoring.ignored is None else float(scoring.ignored.mean())
    return f"Now {area}; {f'{format_number(100 * share)} % of the image' if share else 'nothing'} is ignored."


def _same(one: ScoringMask, other: ScoringMask) -> bool:
    if one.min_area != other.min_area:
        return False
    if one.ignored is None or other.ignored is None:
        return one.ignored is other.ignored
    return bool(np.array_equal(mask_at(other.ignored, one.ignored.shape), one.ignored))


@st.cache_data(max_entries=4, show_spinner=False)
def _drawn_on(
    path: str,
    changed: int,  # noqa: ARG001 - a changed file is another image
    size: ImageSize,
    levels: Levels | None,
    alignment: Alignment | None,
) -> NDArray[np.uint8]:
    """The photograph, or the part as it is turned and cropped: then what is drawn moves with the part."""
    return seen_at_full_size(read_image(Path(path), levels=levels), size, alignment)


def _applied(info: ModelInfo) -> str:
    return f"calibrate-applied-{info.digest}"
