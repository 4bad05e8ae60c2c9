"""Adding images to the queue of a class: those of its data set, and uploads."""

from collections.abc import Callable
from typing import get_args

import streamlit as st

from skrd4ad.data.images.read import IMAGE_SUFFIXES
from skrd4ad.errors import ConfigError, DataError, SkrdError
from skrd4ad.format import plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.labelling.add_images import Added, add_class, add_files
from skrd4ad.services.labelling.score_queue import submit_scoring
from skrd4ad.task import Task
from skrd4ad.types import Split
from skrd4ad.ui.frame import show_error
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, permitted, rerun

CAME = "label-came"
"""Set when images came by this session's own doing: the queue is looked up again."""
SPLITS: dict[Split, str] = {"test": "Test images", "train": "Training images"}
_TOLD = "_label-added"
SHOWN_PROBLEMS = 5


def offer_images(info: ModelInfo) -> None:
    """Ways to add images, in a popover; ``tell_added`` says what came of it."""
    with st.popover("Add images", icon=":material/add_photo_alternate:", key="label-add"):
        _data_set(info)
        st.divider()
        _uploads(info)


def tell_added() -> None:
    """What came of adding images, once."""
    told: Added | SkrdError | None = st.session_state.pop(_TOLD, None)
    if isinstance(told, SkrdError):
        show_error(told)
    elif told is not None:
        st.success(plain(told.text), icon=":material/check_circle:")
        if told.problems:
            more = len(told.problems) - SHOWN_PROBLEMS
            shown = [*told.problems[:SHOWN_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]
            st.warning("  \n".join(map(plain, shown)), icon=":material/warning:")


def add_data_set(info: ModelInfo, *, splits: tuple[Split, ...] = ("test",), take_labels: bool = False) -> None:
    """Add images of the data set that the model was trained on, then run the page again."""
    _add(info, lambda task: add_class(info, class_of_model(info), splits=splits, take_labels=take_labels, task=task))


def has_data_set(info: ModelInfo) -> bool:
    """Whether the model knows its data set; it may not be at hand."""
    return bool(info.data.get("source"))


def _data_set(info: ModelInfo) -> None:
    if not has_data_set(info):
        st.caption("This model was imported and does not know its data set.")
        return
    splits = st.pills(
        "From its data set",
        list(get_args(Split)),
        format_func=SPLITS.__getitem__,
        selection_mode="multi",
        default=["test"],
        key="label-add-splits",
        persist_state="session",
    )
    take = st.toggle(
        "Take its labels over",
        key="label-add-labels",
        persist_state="session",
        help='What the data set says of each image, with its masks, becomes a decision of the reviewer "data set". An '
        "image that somebody has decided on keeps that decision.",
    )
    if button(
        "Add these images", key="label-add-data", type="primary", **permitted(why_not(add_class), disabled=not splits)
    ):
        add_data_set(info, splits=tuple(splits), take_labels=bool(take))


def _uploads(info: ModelInfo) -> None:
    turn = st.session_state.setdefault("_label-upload", 0)
    files = st.file_uploader(
        "Upload images",
        type=[suffix.lstrip(".") for suffix in IMAGE_SUFFIXES],
        accept_multiple_files=True,
        key=f"label-upload-{turn}",
        help="PNG, JPEG, BMP, TIFF, WebP or DICOM. They are kept in the workspace.",
    )
    count = plural(len(files), "image") if files else "images"
    if button(
        f"Add {count}", key="label-add-uploads", type="primary", **permitted(why_not(add_files), disabled=not files)
    ):
        st.session_state["_label-upload"] = turn + 1  # the uploads are in the queue now
        _add(info, lambda task: add_files(info, [(f.name, f.getvalue()) for f in files], task=task))


def _add(info: ModelInfo, work: Callable[[Task], Added]) -> None:
    try:
        with progress_bar("images") as task:
            st.session_state[_TOLD] = work(task)
        submit_scoring(info)
    except DataError as error:
        st.session_state[_TOLD] = ConfigError(f"{error} Upload images instead.")
    except SkrdError as error:
        st.session_state[_TOLD] = error
    st.session_state[CAME] = True
    rerun()
