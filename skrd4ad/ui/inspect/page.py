"""The work in the middle of the Inspect page: one part large, its regions beside it, all parts below."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.data.images.model_input import CORNERS, on_image
from skrd4ad.data.masks import read_sample_mask
from skrd4ad.errors import ImageError
from skrd4ad.inference.predictions import Inspection, limits_of, under_limits
from skrd4ad.model_folder.info import ModelInfo, calibration_stamp
from skrd4ad.services.access import why_not
from skrd4ad.services.inspection.inspect import image_row, inspect_images, to_record
from skrd4ad.types import Pitch
from skrd4ad.ui.cache import predictor_of, runtime_of
from skrd4ad.ui.components.gallery import GalleryItem, gallery, thumbnail
from skrd4ad.ui.components.map_viewer import Begin, ViewerState, map_viewer
from skrd4ad.ui.frame import asked_for, section, write_address
from skrd4ad.ui.inspect.batch import Scored, show_batch
from skrd4ad.ui.inspect.details import about, show_files
from skrd4ad.ui.inspect.explain import cut_skip_maps, offer_explanations
from skrd4ad.ui.inspect.kept import kept_inspections
from skrd4ad.ui.inspect.sources import Item, pick_items
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import pick_pitch, rerun
from skrd4ad.visualize import COLOUR_MAPS, draw_frame

_SCORED, _SELECTED, _BEGIN = "_scored", "_selected", "_inspect_begin"
_CHANGED = "_inspect_changed"
LOOK_SECONDS = 4.0
LEVEL_NAMES = ("Fine", "Middle", "Coarse", "Nearest good patch")


def show_inspection(info: ModelInfo) -> None:
    """Score the images that the user chose, show one of them large, and all of them as a strip below."""
    if reason := why_not(inspect_images):
        st.info(plain(reason))
        return
    items = pick_items(info)
    if not items:
        return
    limit = _limit(info)
    _notice_other_limits(info)
    scored = _score_all(info, items, limit)
    scale = _scale()
    colours = str(st.sidebar.selectbox("Colour map", COLOUR_MAPS, key="inspect-colours", persist_state="session"))
    st.sidebar.caption(plain(runtime_of(info)[1]))
    section(lambda: _show_parts(info, items, scored, limit, mm_per_pixel=scale, colours=colours), name="inspect-parts")
    found = [scored[item.id] for item in items]
    show_batch(info, items, found, limit=limit, mm_per_pixel=scale, state=_state(info))


def _show_parts(
    info: ModelInfo,
    items: Sequence[Item],
    scored: Mapping[str, Scored],
    limit: float | None,
    *,
    mm_per_pixel: Pitch | None,
    colours: str,
) -> None:
    by_id = {item.id: item for item in items}
    tiles = sorted((scored[item.id].tile for item in items), key=lambda tile: (tile.score is None, -(tile.score or 0)))
    if (asked := asked_for("image")) is not None:
        st.session_state[_SELECTED] = next((item.id for item in items if item.key == asked), None)
    chosen = st.session_state.get(_SELECTED)
    shown = by_id[chosen] if chosen in by_id else by_id[tiles[0].id]
    # the picture comes first on the page, but the strip decides which one it is
    stage = st.container()
    picked = gallery(tiles, selected=shown.id, key="inspect-gallery", film=True)
    if picked is not None and picked != chosen and picked in by_id:
        st.session_state[_SELECTED] = picked
        shown = by_id[picked]
    write_address(image=shown.key)
    inspection = _inspection(info, shown, limit)
    with stage:
        trial = _picture(info, shown, inspection, mm_per_pixel=mm_per_pixel, colours=colours)
    if inspection.limits is None:
        return
    if trial is not None:
        inspection = under_limits(inspection, limits_of(info, trial.threshold))
    show_files(inspection, shown)
    offer_explanations(info, inspection, state=f"{_state(info)}:{shown.id}")


def _notice_other_limits(info: ModelInfo) -> None:
    """Show the page against new limits as soon as another tab or person has chosen them."""
    if st.session_state.pop(_CHANGED, False):
        st.toast("The limits of this model were changed. Parts are held against them now.", icon=":material/tune:")
    shown = calibration_stamp(info.folder)

    def look() -> None:
        if calibration_stamp(info.folder) != shown:
            st.session_state[_CHANGED] = True
            rerun()

    section(look, every=LOOK_SECONDS, name="inspect-limits")


def _scale() -> Pitch | None:
    """Millimetres a pixel of the images, from the sidebar; None while it is not set."""
    about = "Of the images as they come from the camera. 0: not set, regions are given in pixels."
    with st.sidebar:
        return pick_pitch("Scale, mm per pixel", least=0.0, value=0.0, key="inspect-scale", help=about)


def _limit(info: ModelInfo) -> float | None:
    """A limit set by hand for a model that has none; None for the model's own."""
    if info.calibration is not None:
        return None
    st.warning(
        "This model has no limit: no good images were held out when it was trained, or it was imported. "
        "Scores and maps are shown against a limit you set by hand, which promises nothing.",
        icon=":material/info:",
    )
    return st.number_input("Limit", value=1.0, step=0.05, key=f"limit-{info.digest}")


def _state(info: ModelInfo) -> str:
    """Weights, calibration and runtime of a model; verdicts are kept as long as all stay."""
    calibration = info.calibration.version if info.calibration else 0
    return f"{info.digest}:{calibration}:{info.calibration_versions}:{runtime_of(info)[0].text}"


def _score_all(info: ModelInfo, items: Sequence[Item], limit: float | None) -> dict[str, Scored]:
    kept: dict[tuple[str, float | None, str], Scored] = st.session_state.setdefault(_SCORED, {})
    state = _state(info)
    missing = [item for item in items if (state, limit, item.id) not in kept]
    # always there: what follows would be drawn anew, and lose its zoom and its trial limit, when it moved up a place
    with progress_bar("images") as task:
        if missing:
            task.report(0, len(missing))  # at once: a single large photograph may take a minute
        found = inspect_images(predictor_of(info), ((item.name, item.source) for item in missing), threshold=limit)
        for done, (item, inspection) in enumerate(zip(missing, found, strict=True), start=1):
            kept[state, limit, item.id] = _scored(item, inspection)
            kept_inspections().put((state, limit, item.id), inspection)
            task.report(done, len(missing))
    return {item.id: kept[state, limit, item.id] for item in items}


def _scored(item: Item, inspection: Inspection) -> Scored:
    tile = GalleryItem(
        id=item.id,
        name=item.name,
        thumbnail=b"" if inspection.image is None else thumbnail(inspection.image),
        score=inspection.score,
        verdict=inspection.verdict,
        truth=item.truth,
        error=inspection.error,
    )
    truth = {"truth": item.truth}
    return Scored(tile, {**to_record(inspection), **truth}, {**image_row(inspection), **truth})


def _picture(
    info: ModelInfo, item: Item, inspection: Inspection, *, mm_per_pixel: Pitch | None, colours: str
) -> ViewerState | None:
    """The part large, its verdict and its regions beside it; gives what the user chose while a limit is on trial."""
    counted, limits, prediction = inspection.counted_map, inspection.limits, inspection.prediction
    if inspection.image is None or prediction is None:
        st.error(plain(f"{inspection.error} The other images are not affected."), icon=":material/broken_image:")
        return None
    assert limits is not None and counted is not None
    view, trial = asked_for("view"), asked_for("limit")
    begin: Begin | None = st.session_state.get(_BEGIN)
    if view is not None or trial is not None:
        begin = Begin(
            turn=1 if begin is None else begin.turn + 1,
            view=view if view is None else view or "overlay",
            threshold=None if trial is None else _number(trial, otherwise=limits.reject),
        )
        st.session_state[_BEGIN] = begin
    state = map_viewer(
        _with_frame(inspection.image, prediction.frame),
        counted,
        image_id=f"{_state(info)}:{item.id}:{colours}",
        key="inspect-viewer",
        threshold=limits.reject,
        review=limits.review,
        pixel=limits.pixel,
        score=inspection.score,
        top=limits.heat_top,
        refused=inspection.refusal is not None,
        level_maps=prediction.level_maps,
        level_names=LEVEL_NAMES[: len(prediction.level_maps)],
        mask=_truth_mask(item),
        colour_map=colours,
        comparison_maps=cut_skip_maps(info, inspection, state=f"{_state(info)}:{item.id}"),
        pitch=mm_per_pixel,
        about=about(inspection, item, levels=info.levels),
        begin=begin,
        one_screen=True,
    )
    if view is not None or trial is not None:
        return None  # the browser tells once it shows what was asked for
    if state is None:
        write_address(view=None, limit=None)
        return None
    st.session_state.pop(_BEGIN, None)  # the user goes on from there
    is_trial = state.threshold != limits.reject
    write_address(
        view=None if state.view == "overlay" else state.view, limit=str(state.threshold) if is_trial else None
    )
    return state if is_trial else None


def _number(text: str, *, otherwise: float) -> float:
    """A finite number of an address, which may hold anything."""
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    return otherwise


def _with_frame(image: NDArray[np.uint8], frame: NDArray[np.float64] | None) -> NDArray[np.uint8]:
    """The photograph with the frame of what the model looked at, where that is the part."""
    return image if frame is None else draw_frame(image, on_image(CORNERS, frame))


def _inspection(info: ModelInfo, item: Item, limit: float | None) -> Inspection:
    """Inspection of one image, as it was kept when it was scored, or done again."""
    key = (_state(info), limit, item.id)
    if (kept := kept_inspections().get(key)) is not None:
        return kept
    (inspection,) = inspect_images(predictor_of(info), [(item.name, item.source)], threshold=limit)
    kept_inspections().put(key, inspection)
    return inspection


def _truth_mask(item: Item) -> NDArray[np.bool_] | None:
    if item.sample is None or not item.sample.masks:
        return None
    try:
        return read_sample_mask(item.sample).defect
    except ImageError as error:
        st.caption(f"The mask of this sample cannot be shown: {plain(str(error))}")
        return None
