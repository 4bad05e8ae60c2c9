"""The work in the middle of the Inspect page: one part large, its regions beside it, all parts below."""

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.data.images.model_input import CORNERS, on_image
from skrd4ad.data.masks import read_sample_mask
from skrd4ad.errors import ImageError
from skrd4ad.inference.predictions import Inspection
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.inspection.inspect import image_row, inspect_images, to_record
from skrd4ad.types import Pitch
from skrd4ad.ui.cache import predictor_of, runtime_of
from skrd4ad.ui.components.gallery import GalleryItem, gallery, thumbnail
from skrd4ad.ui.components.map_viewer import map_viewer
from skrd4ad.ui.frame import halves
from skrd4ad.ui.inspect.batch import Scored, show_batch
from skrd4ad.ui.inspect.details import chosen_region, show_files, show_regions, show_verdict
from skrd4ad.ui.inspect.explain import cut_skip_maps, offer_explanations
from skrd4ad.ui.inspect.sources import Item, pick_items
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import pick_pitch
from skrd4ad.visualize import COLOUR_MAPS, draw_frame

_SCORED, _SELECTED = "_scored", "_selected"
LEVEL_NAMES = ("fine", "middle", "coarse", "nearest good patch")


def show_inspection(info: ModelInfo) -> None:
    """Score the images that the user chose, show them as a gallery, and one of them large."""
    if reason := why_not(inspect_images):
        st.info(plain(reason))
        return
    items = pick_items(info)
    if not items:
        return
    limit = _limit(info)
    scored = _score_all(info, items, limit)
    by_id = {item.id: item for item in items}
    tiles = sorted((scored[item.id].tile for item in items), key=lambda tile: (tile.score is None, -(tile.score or 0)))
    chosen = st.session_state.get(_SELECTED)
    shown = by_id[chosen] if chosen in by_id else by_id[tiles[0].id]

    # the picture comes first on the page, but the gallery decides which one it is
    stage = st.container()
    picked = gallery(tiles, selected=shown.id, key="inspect-gallery")
    if picked is not None and picked != chosen and picked in by_id:
        st.session_state[_SELECTED] = picked
        shown = by_id[picked]
    scale = _scale()
    colours = str(st.sidebar.selectbox("Colour map", COLOUR_MAPS, key="inspect-colours", persist_state="session"))
    st.sidebar.caption(plain(runtime_of(info)[1]))
    with stage:
        _show_part(info, shown, limit, mm_per_pixel=scale, colours=colours)
    found = [scored[item.id] for item in items]
    show_batch(info, items, found, limit=limit, mm_per_pixel=scale, state=_state(info))


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
        found = inspect_images(predictor_of(info), ((item.name, item.source) for item in missing), threshold=limit)
        for done, (item, inspection) in enumerate(zip(missing, found, strict=True), start=1):
            kept[state, limit, item.id] = _scored(item, inspection)
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


def _show_part(info: ModelInfo, item: Item, limit: float | None, *, mm_per_pixel: Pitch | None, colours: str) -> None:
    inspection = _inspection(info, item, limit)
    picture, beside = halves("part", 5, 3)
    if inspection.image is None or inspection.prediction is None:
        picture.error(inspection.error, icon=":material/broken_image:")
        beside.caption("The other images are not affected.")
        return
    counted, limits = inspection.counted_map, inspection.limits
    assert limits is not None and counted is not None
    strides = len(inspection.prediction.level_maps)
    # the viewer numbers the regions above its own limit; with a review limit the table holds more
    same_regions = limits.pixel == limits.reject
    with picture:
        state = map_viewer(
            _with_frame(inspection.image, inspection.prediction.frame),
            counted,
            image_id=f"{_state(info)}:{item.id}:{colours}",
            key="inspect-viewer",
            threshold=limits.reject,
            top=limits.heat_top,
            refused=inspection.refusal is not None,
            level_maps=inspection.prediction.level_maps,
            level_names=LEVEL_NAMES[:strides],
            mask=_truth_mask(item),
            colour_map=colours,
            comparison_maps=cut_skip_maps(info, inspection, state=f"{_state(info)}:{item.id}"),
            highlight=chosen_region() if same_regions else None,
        )
    trial = None if state is None or state.threshold == limits.reject else state.threshold
    if trial is not None:
        inspection = _inspection(info, item, trial)
    with beside:
        show_verdict(inspection, item, trial=trial is not None)
        if info.levels is not None:
            st.caption(plain(f"Images above 8 bit are shown from {info.levels}, the levels of the model."))
        show_regions(inspection, mm_per_pixel=mm_per_pixel)
        show_files(inspection, item)
        offer_explanations(info, inspection, state=f"{_state(info)}:{item.id}")


def _with_frame(image: NDArray[np.uint8], frame: NDArray[np.float64] | None) -> NDArray[np.uint8]:
    """The photograph with the frame of what the model looked at, where that is the part."""
    return image if frame is None else draw_frame(image, on_image(CORNERS, frame))


def _inspection(info: ModelInfo, item: Item, limit: float | None) -> Inspection:
    """Inspection of one image; the last ones are kept, so that a moved slider does not run the model again."""
    return _inspected(_state(info), item.id, limit, info, item)


@st.cache_resource(max_entries=12, show_spinner=False)
def _inspected(state: str, item_id: str, limit: float | None, _info: ModelInfo, _item: Item) -> Inspection:  # noqa: ARG001
    found = inspect_images(predictor_of(_info), [(_item.name, _item.source)], threshold=limit)
    return next(iter(found))


def _truth_mask(item: Item) -> NDArray[np.bool_] | None:
    if item.sample is None or not item.sample.masks:
        return None
    try:
        return read_sample_mask(item.sample).defect
    except ImageError as error:
        st.caption(f"The mask of this sample cannot be shown: {plain(str(error))}")
        return None
