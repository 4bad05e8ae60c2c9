"""The History section of the Overview: who did what, newest first, and whether that record was altered."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import ceil
from pathlib import PurePath

import pandas as pd
import streamlit as st

from skrd4ad.services.history import (
    HistoryEntry,
    HistoryFilter,
    Verification,
    details_text,
    history_csv,
    history_page,
    verify_history,
)
from skrd4ad.ui.frame import halves, section
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import file_button

ROWS = 15
"""Entries on a page."""
NOT_RECORDED = "not recorded"
COLUMNS = {"No.": st.column_config.NumberColumn(width=50), "Details": st.column_config.TextColumn(width="large")}


def show_history() -> None:
    """Entries under a filter, page by page; a change of the filter runs this section alone."""
    section(_history)


def _history() -> None:
    st.subheader("History", anchor=False)
    everything = history_page(HistoryFilter(), limit=0)
    if not everything.total:
        st.info(
            "Nothing is recorded yet. Who trains, calibrates, imports, exports, promotes, renames, archives or deletes "
            "a model stands here from then on.",
            icon=":material/history:",
        )
        return
    wanted = _filter(everything.whats, everything.people)
    total = history_page(wanted, limit=0).total
    if not total:
        st.caption("No entry fits this filter.")
    table = st.container()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        # a key of its own for every filter, as a new one begins at its first page
        number = st.pagination(max(1, ceil(total / ROWS)), width=300, key=f"history-page-{abs(hash(wanted))}")
        file_button(
            "All as CSV",
            lambda: history_csv(wanted),
            "history.csv",
            disabled=not total,
            help="All entries under this filter, with their hashes.",
            key="history-csv",
        )
    if total:
        entries = history_page(wanted, limit=ROWS, offset=ROWS * (number - 1)).entries
        table.dataframe(_table(entries), hide_index=True, height="content", column_config=COLUMNS)
    _say_verified(_verified(everything.head))


def _filter(whats: Sequence[str], people: Sequence[str]) -> HistoryFilter:
    left, right = halves("history-filter", 1, 1)
    first, second = left.columns(2)
    third, fourth = right.columns(2)
    what = first.multiselect("What", whats, placeholder="all", key="history-what")
    about = second.text_input("Class or model", placeholder="any text of it", key="history-about")
    who = third.multiselect(
        "Who", people, placeholder="all", format_func=lambda name: name or NOT_RECORDED, key="history-who"
    )
    # a range of which only the first day is chosen has one entry
    days: tuple[date, ...] = tuple(fourth.date_input("Days (UTC)", value=[], key="history-days"))
    return HistoryFilter(
        what=tuple(what),
        who=tuple(who),
        about=(about or "").strip(),
        since=_midnight(days[0]) if days else None,
        before=_midnight(days[-1] + timedelta(days=1)) if len(days) == 2 else None,
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _table(entries: Sequence[HistoryEntry]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "No.": [entry.id for entry in entries],
            "When (UTC)": [entry.at[:19].replace("T", " ") for entry in entries],
            "Who": [entry.who or NOT_RECORDED for entry in entries],
            "What": [entry.what for entry in entries],
            "Data set": [entry.dataset or "–" for entry in entries],
            "Class": [entry.class_name or "–" for entry in entries],
            "Model": [PurePath(entry.model_folder).name or "–" for entry in entries],
            "Details": [details_text(entry) for entry in entries],
        }
    )


@st.cache_data(ttl="1m", max_entries=8, show_spinner="Verifying the history …")
def _verified(head: str) -> Verification:  # noqa: ARG001 - another newest hash is another chain
    return verify_history()


def _say_verified(found: Verification) -> None:
    if found.problem:
        st.error(
            f"The history was altered. {plain(found.problem)} The {found.n} rows before it hold; restore the database "
            "from a backup to see what was there.",
            icon=":material/gpp_bad:",
        )
        return
    st.caption(
        f":material/verified_user: Chain verified, {found.n} entries. Newest hash: `{plain(found.head)}`  \n"
        "Whoever keeps this hash elsewhere can tell later whether newer entries were cut off: "
        "`skrd4ad history --verify --head HASH`."
    )
