"""The picture in the middle of the Label page: what is known of it, and the brush to draw its defect."""

from html import escape

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.errors import ImageError, SkrdError
from skrd4ad.format import format_number
from skrd4ad.inference.predictions import Limits
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.inspection.inspect import StartMap
from skrd4ad.services.labelling.annotate import draw
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.ui.cache import predictor_of
from skrd4ad.ui.components.mask_brush import mask_brush
from skrd4ad.ui.components.queue_list import verdict_under
from skrd4ad.ui.frame import calling, show_error
from skrd4ad.ui.label.image_cache import Picture, map_key, pictures
from skrd4ad.ui.label.session import LabelSession
from skrd4ad.ui.text import plain, plain_lines
from skrd4ad.ui.theme import LABEL_LOOKS, decision_text, verdict_badge

AHEAD = 2
"""Images that are read while the reviewer looks at this one."""
MAX_HEIGHT = 600


def show_stage(session: LabelSession, info: ModelInfo, limits: Limits | None, *, reviewer: str) -> bool:
    """The image in hand; False when nobody can decide on it: it cannot be shown, or they may not."""
    item = session.item
    st.html(_head(session, item, limits))
    if item.refusal is not None:
        st.caption(f":material/info: {plain(item.refusal)}")
    try:
        picture = pictures().picture(item, info.levels)
    except ImageError as error:
        st.error(plain_lines(str(error)), icon=":material/broken_image:")
        st.caption("The other images of the queue are not affected: go on with N.")
        return False
    if reason := why_not(draw):
        st.image(picture.jpeg)
        st.caption(plain(reason))
        return False
    start = _start_map(item, info, limits)
    mask_brush(
        picture.image,
        image_id=session.drawing_id(),
        key="label-brush",
        mask=_mask(session, picture),
        anomaly_map=None if start is None else start.values,
        threshold=None if start is None else start.threshold,
        max_height=MAX_HEIGHT,
        picture=(f"{item.digest} {map_key(info)} {start is not None}", picture.jpeg),
        page_keys=True,
        on_change=calling(lambda image_id, mask: session.draw(image_id.split(":")[0], mask, reviewer=reviewer)),
    )
    pictures().read_ahead(session.queue.following(item.digest, AHEAD), info, limits)
    return True


def _mask(session: LabelSession, picture: Picture) -> NDArray[np.bool_] | None:
    try:
        mask = session.drawing()
    except SkrdError as error:
        show_error(error)
        return None
    shape = picture.image.shape[:2]
    if mask is not None and mask.shape != shape:
        st.warning(
            f"Its mask has {mask.shape[1]:d} x {mask.shape[0]:d} pixels, the image {shape[1]:d} x {shape[0]:d}; it is "
            "not shown. It stays in the history; what you draw replaces it.",
            icon=":material/warning:",
        )
        return None
    return mask


def _start_map(item: QueueItem, info: ModelInfo, limits: Limits | None) -> StartMap | None:
    try:
        return pictures().start_map(item, info, limits, lambda: predictor_of(info))
    except SkrdError as error:
        st.caption(f":material/info: There is no anomaly map to start from. {plain(str(error))}")
        return None


def _head(session: LabelSession, item: QueueItem, limits: Limits | None) -> str:
    """Name, verdict and decision as HTML, for ``st.html``."""
    verdict = verdict_under(item, session.queue.wanted)
    if verdict is not None and item.score is not None and limits is not None:
        found = verdict_badge(verdict, item.score, limits.reject)
    elif item.score is None:
        found = "<small>not scored by this model yet</small>"
    else:
        found = f"<small>score {escape(format_number(item.score))}</small>"
    decision = escape(decision_text(item.label, item.defect_type))
    mark = f'<span class="label-mark">{decision}</span>'
    if item.label != "none":
        colour = LABEL_LOOKS[item.label].colour
        mark = f'<span class="label-mark" style="border-color:{colour}" title="{decision}"><b>{decision}</b></span>'
    left = session.queue.counts().labels.get("none", 0)  # beside the list, which a narrow page has far below
    position = f"{session.queue.index_of(item.digest) + 1:,} of {len(session.queue.digests):,}, {left:,} left"
    return (
        f'<div class="label-head"><span class="label-name" title="{escape(item.name)}">{escape(item.name)}</span>'
        f"{found}{mark}<small>{position}</small></div>"
    )
