"""Test images behind a bar or a cell: a gallery, and one of them large with its map, its mask and its limit."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from skrd4ad.data.sources import opens_at_once
from skrd4ad.errors import DataError
from skrd4ad.format import plural
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.info import read_info
from skrd4ad.services.evaluation.operating_points import OpenedImage, open_image
from skrd4ad.services.evaluation.result import EvaluatedImage, MeasuredImages, StoredEvaluation
from skrd4ad.services.models.list import model_name
from skrd4ad.types import GOOD
from skrd4ad.ui.components.gallery import GalleryItem, gallery, thumbnail
from skrd4ad.ui.components.map_viewer import About, map_viewer
from skrd4ad.ui.frame import go_to
from skrd4ad.ui.text import plain, plain_lines
from skrd4ad.ui.widgets import button, rerun

PAGE_SIZE = 48


def show_images(
    stored: StoredEvaluation, indices: Sequence[int], *, calibration: Calibration | None, name: str, title: str
) -> None:
    """Images of an evaluation by their indices, in that order."""
    count = len(indices)
    st.markdown(f"**{plain(title)}** — {plural(count, 'image')}")
    if not indices:
        st.caption("There are none.")
        return
    if not opens_at_once(stored.summary.source):
        st.info("The pictures of this data set are drawn when a model for it is opened for the first time.")
        if button("Open it on the Inspect page", key=f"evaluate-draw-{name}", icon=":material/frame_inspect:"):
            go_to("inspect", model=model_name(read_info(stored.summary.model_folder)))
        return
    group = f"{stored.summary.key}-{name}-{title}"
    more = f"evaluate-shown-{group}"
    shown = indices[: st.session_state.get(more, PAGE_SIZE)]
    tiles = _tiles(stored, shown, calibration)
    by_id = {tile.id: index for tile, index in zip(tiles, shown, strict=True)}
    kept = f"evaluate-picked-{name}"
    selected = st.session_state.get(kept)
    selected = selected if selected in by_id else tiles[0].id
    picked = gallery(tiles, selected=selected, key=f"evaluate-gallery-{name}")
    if picked is not None and picked in by_id:
        selected = picked
    st.session_state[kept] = selected
    if count > len(shown) and button(
        f"Show {min(PAGE_SIZE, count - len(shown))} more of {count}", key=f"evaluate-more-{name}"
    ):
        st.session_state[more] = len(shown) + PAGE_SIZE
        rerun()
    show_image(stored, by_id[selected], calibration=calibration, key=f"evaluate-viewer-{name}")


def show_image(stored: StoredEvaluation, index: int, *, calibration: Calibration | None, key: str) -> None:
    """One image of an evaluation, large, and what is known of it beside it."""
    try:
        opened = open_image(stored, index)
    except DataError as error:
        st.error(plain_lines(str(error)), icon=":material/broken_image:")
        return
    view_map(stored, opened, calibration=calibration, key=key)


def view_map(measured: MeasuredImages, opened: OpenedImage, *, calibration: Calibration | None, key: str) -> None:
    """The map of an image over it with the outline of its mask, its verdict and its regions."""
    limit, top = _scale(measured, calibration)
    image = opened.about
    map_viewer(
        opened.image,
        opened.anomaly_map,
        image_id=f"{measured.summary.key}-{image.place}-{image.score}",
        key=key,
        threshold=limit,
        review=None if calibration is None else calibration.review_threshold,
        pixel=None if calibration is None else calibration.pixel_threshold,
        score=image.verdict_score,
        top=top,
        mask=opened.mask if image.label == 1 else None,
        refused=calibration is not None and bool(image.refused),
        judged=calibration is not None,
        about=About(
            title=image.name,
            truth=truth_of(image),
            notes=[_of_mask(image)] if image.label == 1 else [],
            warnings=[opened.warning] if opened.warning else [],
        ),
    )
    if calibration is None:
        st.caption(
            "Without limits the colours are anchored at the highest score of the good test images. That is for viewing "
            "only and judges nothing."
        )


def _of_mask(image: EvaluatedImage) -> str:
    if image.mask_area:
        return f"Its mask covers {image.mask_area} pixels of the map; its outline is drawn in the picture."
    if image.mask_area == 0:
        return "Its mask is so small that nothing of it is left at the size of the map."
    return "It has no mask."


def truth_of(image: EvaluatedImage) -> str:
    """``good``, or the type of the defect."""
    return GOOD if image.label == 0 else image.defect_type


def _scale(measured: MeasuredImages, calibration: Calibration | None) -> tuple[float, float]:
    """Where the colours are anchored, and where they saturate."""
    if calibration is not None:
        return calibration.image_threshold, calibration.heat_top
    good = measured.scores[measured.labels == 0]
    top = float(measured.scores.max())
    return (float(good.max()) if good.size else top / 2), top


def _tiles(stored: StoredEvaluation, indices: Sequence[int], calibration: Calibration | None) -> list[GalleryItem]:
    bar = st.empty()
    tiles = []
    for done, index in enumerate(indices, start=1):
        image = stored.images[index]
        small, error = _small(stored.summary.key, stored.summary.created_at, index, _state(image), stored)
        tiles.append(
            GalleryItem(
                id=f"{stored.summary.key[:12]}-{index}",
                name=image.name,
                thumbnail=small,
                score=image.verdict_score if error is None else None,
                verdict=None if calibration is None or error is not None else calibration.verdict(image.verdict_score),
                truth=truth_of(image),
                error=error,
            )
        )
        if done % 16 == 0:
            bar.progress(done / len(indices), text=f"{done} of {len(indices)} images")
    bar.empty()
    return tiles


def _state(image: EvaluatedImage) -> tuple[int, int] | None:
    try:
        state = image.path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


@st.cache_data(max_entries=4000, show_spinner=False)
def _small(
    key: str,  # noqa: ARG001
    created_at: str,  # noqa: ARG001
    index: int,
    state: tuple[int, int] | None,  # noqa: ARG001 - a changed file is another image
    _stored: StoredEvaluation,
) -> tuple[bytes, str | None]:
    """Thumbnail of an image, or why there is none."""
    try:
        return thumbnail(np.ascontiguousarray(open_image(_stored, index).image)), None
    except DataError as error:
        return b"", str(error)
