"""Why a model decided as it did: its map with the skips cut, and the good images that look most like the part."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.data.images import read_image
from skrd4ad.engine.checkpoint import ModelInfo
from skrd4ad.services.catalogue import class_of_model
from skrd4ad.services.explain import CUT_NOTE, maps_by_skips, skip_words
from skrd4ad.services.inspection import Inspection
from skrd4ad.services.neighbours import Neighbour, nearest_normals
from skrd4ad.ui.cache import predictor_of
from skrd4ad.ui.components.gallery import thumbnail
from skrd4ad.ui.theme import format_number

NEIGHBOURS = 3
_SKIPS, _NEAREST = "inspect-skips", "_nearest"
_WHOLE = "resized whole"


def cut_skip_maps(info: ModelInfo, inspection: Inspection, *, state: str) -> dict[str, NDArray[np.float32]] | None:
    """Maps of the same student with skips cut, by name, when the user asks for them; they become views of the picture.

    Args:
        info: the model.
        inspection: of an image that was read.
        state: changes with the model and the image.
    """
    if not st.session_state.get(_SKIPS) or inspection.view != _WHOLE or info.model.skips == 0:
        return None
    return _cut_maps(state, info, inspection)


@st.cache_resource(max_entries=12, show_spinner=False)
def _cut_maps(state: str, _info: ModelInfo, _inspection: Inspection) -> dict[str, NDArray[np.float32]]:  # noqa: ARG001
    assert _inspection.image is not None
    maps = maps_by_skips(predictor_of(_info), _inspection.image)
    return {skip_words(skips): found for skips, found in maps.items() if skips < _info.model.skips}


def offer_explanations(info: ModelInfo, inspection: Inspection, *, state: str) -> None:
    """What helps to understand a decision, folded away until it is asked for."""
    with st.expander("Why?"):
        if inspection.view == _WHOLE and info.model.skips > 0:
            st.toggle("Views with the skips cut", key=_SKIPS, help=CUT_NOTE, persist_state="session")
        _nearest_good(info, inspection, state)


def _nearest_good(info: ModelInfo, inspection: Inspection, state: str) -> None:
    found: dict[str, tuple[Neighbour, ...]] = st.session_state.setdefault(_NEAREST, {})
    if st.button("Show the good images most like it", key="nearest", icon=":material/compare:"):
        place = st.empty()

        def progress(done: int, total: int) -> None:
            place.progress(done / total, text=f"Looking at image {done} of {total}")

        assert inspection.image is not None
        found.clear()
        found[state] = nearest_normals(
            predictor_of(info),
            inspection.image,
            class_of_model(info),
            k=NEIGHBOURS,
            progress=progress,
        )
        place.empty()
    if state not in found:
        return
    columns = st.columns(NEIGHBOURS)
    for column, neighbour in zip(columns, found[state], strict=False):
        column.image(thumbnail(read_image(neighbour.path)), caption=f"distance {format_number(neighbour.distance)}")
    st.caption("Training images, by the distance of the teacher's features of the whole picture; 0 is the same.")
