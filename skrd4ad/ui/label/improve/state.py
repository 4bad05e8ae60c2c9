"""What the sections of the loop look at: labels with scores, and what the model has seen; kept between reruns."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import SeenImages
from skrd4ad.services.improve.agreement import Labels, labels_of, read_book, read_seen
from skrd4ad.services.improve.pixel_metrics import PixelWorker
from skrd4ad.storage.labelled_images import LabelBook
from skrd4ad.ui.acting import REVIEWER

OPEN = "label-open"
"""Where the loop leaves the digest of an image that the Label page shall take in hand."""
_BOOKS = "_label-loop-books"
KEPT_BOOKS = 4


@dataclass(frozen=True)
class LoopState:
    """The labels of a model's class as they are now."""

    info: ModelInfo
    book: LabelBook
    seen: SeenImages
    labels: Labels


def loop_state(info: ModelInfo) -> LoopState:
    """The labels of a model's class as they are now, with its calibration as it is now."""
    fresh = read_info(info.folder)
    book, seen = book_of(fresh), seen_of(fresh)
    return LoopState(fresh, book, seen, labels_of(fresh, book, seen))


def book_of(info: ModelInfo) -> LabelBook:
    """Labelled images with the scores of a model; only what changed since the last rerun is read."""
    books: dict[str, LabelBook] = st.session_state.setdefault(_BOOKS, {})
    book = read_book(info, books.pop(info.digest, None))
    books[info.digest] = book
    while len(books) > KEPT_BOOKS:
        books.pop(next(iter(books)))
    return book


def seen_of(info: ModelInfo) -> SeenImages:
    """What a model has seen of images; looked up again after two minutes."""
    return _seen(str(info.folder), info.digest)


@st.cache_resource(show_spinner=False)
def pixel_worker() -> PixelWorker:
    """The thread that computes pixel figures, one for all users."""
    return PixelWorker()


def reviewer() -> str:
    """The name that decisions are made under on the Label page; empty while there is none."""
    return str(st.session_state.get(REVIEWER) or "")


@st.cache_data(max_entries=16, ttl="2m", show_spinner="Looking up what the model has learnt from …")
def _seen(folder: str, digest: str) -> SeenImages:  # noqa: ARG001 - a new digest is a new model
    return read_seen(read_info(Path(folder)))
