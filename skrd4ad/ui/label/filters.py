"""Which images of the class are in the queue, and in which order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, get_args

import streamlit as st

from skrd4ad.storage.annotations import Label
from skrd4ad.storage.label_queue import Order, Origin, QueueFilter
from skrd4ad.types import Verdict
from skrd4ad.ui.frame import calling
from skrd4ad.ui.text import plain
from skrd4ad.ui.theme import LABEL_NAMES

ORDERS: dict[Order, str] = {
    "closest": "Closest to the limit",
    "highest": "Highest score",
    "newest": "Newest",
    "random": "Random",
}
ORIGINS: dict[Origin, str] = {
    "inspect": "Inspect page",
    "dataset": "data set",
    "watch": "watched folder",
    "import": "import",
}
T = TypeVar("T")
_KEYS = ("verdicts", "labels", "types", "reviewers", "origins", "sent")


def pick_filter(wanted: QueueFilter, *, types: Sequence[str], reviewers: Sequence[str]) -> tuple[QueueFilter, Order]:
    """Let the user narrow the queue."""
    has_limit = wanted.reject is not None
    order = st.selectbox(
        "Order",
        list(ORDERS),
        format_func=lambda each: "Highest score" if each == "closest" and not has_limit else ORDERS[each],
        key="label-order",
        persist_state="session",
        label_visibility="collapsed",
    )
    active = sum(bool(st.session_state.get(_key(name))) for name in _KEYS)
    with st.popover(f"Filter · {active}" if active else "Filter", icon=":material/filter_list:", width="stretch"):
        narrowed = _narrowed(wanted, types=types, reviewers=reviewers)
        st.button("Show all images", on_click=calling(clear_filter), disabled=not active, key="label-filter-clear")
    return narrowed, order


def clear_filter() -> None:
    """Take every restriction off; a callback, or before the filter is drawn."""
    for name in _KEYS:
        st.session_state[_key(name)] = False if name == "sent" else []


def show_only(*labels: Label) -> None:
    """Let only images through that have one of these labels; a callback, or before the filter is drawn."""
    clear_filter()
    st.session_state[_key("labels")] = list(labels)


def _narrowed(wanted: QueueFilter, *, types: Sequence[str], reviewers: Sequence[str]) -> QueueFilter:
    verdicts: tuple[Verdict, ...] = ()
    if wanted.reject is None:
        st.caption("This model has no limit, so there are no verdicts to filter by.")
    else:
        kinds: list[Verdict] = [each for each in get_args(Verdict) if each != "REVIEW" or wanted.review is not None]
        verdicts = _pills("Verdict", "verdicts", {kind: plain(kind) for kind in kinds})
    return replace(
        wanted,
        verdicts=verdicts,
        labels=_pills("Decision", "labels", LABEL_NAMES),
        defect_types=_several("Defect type", "types", types),
        reviewers=_several("Decided by", "reviewers", reviewers),
        origins=_pills("Came from", "origins", ORIGINS),
        only_sent=bool(st.toggle("Only images sent to review", key=_key("sent"), persist_state="session")),
    )


def _pills(label: str, name: str, options: Mapping[T, str]) -> tuple[T, ...]:
    chosen = st.pills(
        label,
        list(options),
        format_func=options.__getitem__,
        selection_mode="multi",
        key=_key(name),
        persist_state="session",
        wrap=True,
    )
    return tuple(chosen)


def _several(label: str, name: str, options: Sequence[str]) -> tuple[str, ...]:
    chosen = st.session_state.get(_key(name)) or []
    known = list(dict.fromkeys([*options, *chosen]))
    return tuple(st.multiselect(label, known, key=_key(name), persist_state="session", placeholder="All"))


def _key(name: str) -> str:
    return f"label-filter-{name}"
