"""Test images behind a bar or a cell: a gallery, and one of them large with its map, its mask and its limit."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from skrd4ad.errors import DataError
from skrd4ad.format import format_number, plural
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.evaluation.operating_points import OpenedImage, open_image
from skrd4ad.services.evaluation.result import EvaluatedImage, MeasuredImages, StoredEvaluation
from skrd4ad.types import GOOD, Verdict
from skrd4ad.ui.components.gallery import GalleryItem, gallery, thumbnail
from skrd4ad.ui.components.map_viewer import map_viewer
from skrd4ad.ui.frame import halves
from skrd4ad.ui.text import plain, plain_lines
from skrd4ad.ui.theme import verdict_badge
from skrd4ad.ui.widgets import button

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
        st.rerun()
    show_image(stored, by_id[selected], calibration=calibration, key=f"evaluate-viewer-{name}")


def show_image(stored: StoredEvaluation, index: int, *, calibration: Calibration | None, key: str) -> None:
    """One image of an evaluation, large, and what is known of it beside it."""
    picture, beside = halves(key, 5, 3)
    try:
        opened = open_image(stored, index)
    except DataError as error:
        picture.error(plain_lines(str(error)), icon=":material/broken_image:")
        _about(beside, stored.images[index], calibration)
        return
    with picture:
        view_map(stored, opened, calibration=calibration, key=key)
    with beside:
        _about(st.container(), opened.about, calibration)
        if opened.warning:
            st.warning(plain(opened.warning), icon=":material/warning:")


def view_map(measured: MeasuredImages, opened: OpenedImage, *, calibration: Calibration | None, key: str) -> None:
    """The map of an image over it with the outline of its mask."""
    limit, top = _scale(measured, calibration)
    map_viewer(
        opened.image,
        opened.anomaly_map,
        image_id=f"{measured.summary.key}-{opened.about.place}-{opened.about.score}",
        key=key,
        threshold=limit,
        top=top,
        mask=opened.mask if opened.about.label == 1 else None,
    )
    if calibration is None:
        st.caption(
            "Without limits the colours are anchored at the highest score of the good test images. That is for viewing "
            "only and judges nothing."
        )


def truth_of(image: EvaluatedImage) -> str:
    """``good``, or the type of the defect."""
    return GOOD if image.label == 0 else image.defect_type


def _about(column: "st.delta_generator.DeltaGenerator", image: EvaluatedImage, calibration: Calibration | None) -> None:
    with column:
        if calibration is None:
            st.markdown(f"Score {format_number(image.verdict_score)}, no limit")
        else:
            verdict: Verdict = "CANNOT JUDGE" if image.refused else calibration.verdict(image.verdict_score)
            limit = calibration.lower_threshold if verdict == "OK" else calibration.image_threshold
            st.html(verdict_badge(verdict, image.verdict_score, limit))
            if image.label == 1 and verdict == "OK":
                st.markdown("An **escape**: a defect that passes as OK.")
            if image.label == 0 and verdict == "NG":
                st.markdown("A **false reject**: a good part that is rejected.")
        st.markdown(f"**{plain(image.name)}**")
        st.caption(
            "The data set says: good part."
            if image.label == 0
            else f"The data set says: defect, {plain(image.defect_type)}."
        )
        if image.mask_area:
            st.caption(f"Its mask covers {image.mask_area} pixels of the map; its outline is drawn in the picture.")
        elif image.mask_area == 0:
            st.caption("Its mask is so small that nothing of it is left at the size of the map.")
        elif image.label == 1:
            st.caption("It has no mask.")


def _scale(measured: MeasuredImages, calibration: Calibration | None) -> tuple[float, float]:
    """Where the colours are anchored, and where they saturate."""
    if calibration is not None:
        return calibration.pixel_threshold, calibration.heat_top
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
