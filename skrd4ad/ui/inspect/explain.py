"""Why a model decided as it did: its map with the skips cut, the good patch that the worst place was compared with, and
the good images that look most like the part."""

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.data.images.read import read_image
from skrd4ad.format import format_number
from skrd4ad.inference.predictions import Inspection
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.installed import is_installed
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.inspection.nearest_patch import Box, NearestPatch, nearest_patch
from skrd4ad.services.inspection.similar_images import SimilarImage, similar_images
from skrd4ad.services.inspection.skip_ablation import CUT_NOTE, skip_ablation, skip_text
from skrd4ad.ui.cache import predictor_of
from skrd4ad.ui.components.gallery import thumbnail
from skrd4ad.ui.components.pictures import jpeg
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.widgets import button

NEIGHBOURS = 3
CROP_SIDE = 320
"""Pixels of the longer side of a patch and its surroundings as they are shown."""
_SKIPS, _NEAREST, _COMPARED = "inspect-skips", "_nearest", "_compared"


def cut_skip_maps(info: ModelInfo, inspection: Inspection, *, state: str) -> dict[str, NDArray[np.float32]] | None:
    """Maps of the same student with skips cut, by name, when the user asks for them; they become views of the picture.

    ``state`` changes with the model and the image.
    """
    if not st.session_state.get(_SKIPS) or not inspection.seen_whole or info.model.skips == 0:
        return None
    if not is_installed("torch"):
        return None
    return _cut_maps(state, info, inspection)


@st.cache_resource(max_entries=12, show_spinner=False)
def _cut_maps(state: str, _info: ModelInfo, _inspection: Inspection) -> dict[str, NDArray[np.float32]]:  # noqa: ARG001
    assert _inspection.image is not None
    maps = skip_ablation(predictor_of(_info), _inspection.image)
    return {skip_text(skips): found for skips, found in maps.items() if skips < _info.model.skips}


def offer_explanations(info: ModelInfo, inspection: Inspection, *, state: str) -> None:
    """What helps to understand a decision, folded away until it is asked for."""
    with st.expander("Why?", key="inspect-why"):
        if not is_installed("torch"):
            st.caption("Explanations look inside the network. They need torch, which is not installed here.")
            return
        if inspection.seen_whole and info.model.skips > 0:
            st.toggle("Views with the skips cut", key=_SKIPS, help=CUT_NOTE, persist_state="session")
        if inspection.seen_whole and info.model.retrieval:
            _compared(info, inspection, state)
        _nearest_good(info, inspection, state)


def _compared(info: ModelInfo, inspection: Inspection, state: str) -> None:
    found: dict[str, NearestPatch | None] = st.session_state.setdefault(_COMPARED, {})
    if button("Compare the worst place with good parts", key="compared", icon=":material/frame_inspect:"):
        assert inspection.image is not None and inspection.scored_map is not None
        scores = inspection.scored_map
        y, x = np.unravel_index(scores.argmax(), scores.shape)
        peak = ((x + 0.5) / scores.shape[1], (y + 0.5) / scores.shape[0])
        found.clear()
        found[state] = nearest_patch(predictor_of(info), inspection.image, class_of_model(info), peak=peak)
    if state not in found:
        return
    shown = found[state]
    if shown is None:
        st.info("The training image of the nearest good patch is not among the images of the class any more.")
        return
    assert inspection.image is not None
    own, good = st.columns(2)
    own.image(_crop(inspection.image, shown.box), caption="this part, worst place", width="stretch")
    patch = _crop(read_image(shown.path, levels=info.levels), shown.good_box)
    good.image(patch, caption=f"nearest good: {shown.path.name}", width="stretch")
    st.caption(
        f"Distance {format_number(shown.distance)} in the teacher's features; on good parts it is "
        f"{format_number(shown.usual)} on average, and 0 is the same."
    )


def _crop(image: NDArray[np.uint8], box: Box) -> bytes:
    """JPEG of a part of an image, enlarged so that its pixels can be looked at."""
    x0, y0, x1, y1 = box
    scale = CROP_SIDE / max(x1 - x0, y1 - y0)
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    return jpeg(np.asarray(cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_CUBIC), np.uint8))


def _nearest_good(info: ModelInfo, inspection: Inspection, state: str) -> None:
    found: dict[str, tuple[SimilarImage, ...]] = st.session_state.setdefault(_NEAREST, {})
    if button("Show the good images most like it", key="nearest", icon=":material/compare:"):
        assert inspection.image is not None
        found.clear()
        with progress_bar("images") as task:
            found[state] = similar_images(
                predictor_of(info), inspection.image, class_of_model(info), k=NEIGHBOURS, task=task
            )
    if state not in found:
        return
    columns = st.columns(NEIGHBOURS)
    for column, neighbour in zip(columns, found[state], strict=False):
        column.image(
            thumbnail(read_image(neighbour.path, levels=info.levels)),
            caption=f"distance {format_number(neighbour.distance)}",
        )
    st.caption("Training images, by the distance of the teacher's features of the whole picture; 0 is the same.")
