"""Watched folders on the Label page: what comes into them comes into the queue, scored."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from skrd4ad.errors import DataError
from skrd4ad.format import ago, format_number, plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.watching.watcher import list_files
from skrd4ad.services.watching.watches import (
    Watch,
    arrivals_of,
    forget_watch,
    keep_watching,
    start_watching,
    stop_watching,
    watch_again,
    watches_of,
    why_not_forget,
)
from skrd4ad.storage.tables import StoredPrediction, WatchedFile
from skrd4ad.ui.frame import section, shielded
from skrd4ad.ui.pickers import pick_folder
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, permitted, rerun

POLL_SECONDS = 3.0


def offer_watching(info: ModelInfo) -> None:
    """Folders that are watched for a model, in a popover, and a way to watch another one."""
    keep_watching()
    active = sum(watch.active for watch in watches_of(info))
    label = f"Watching {plural(active, 'folder')}" if active else "Watch a folder"
    popover = st.popover(label, icon=":material/visibility:", key="label-watch", on_change="rerun")
    if not popover.open:  # folders are looked through for what is inside
        return
    with popover:
        section(lambda: _known(info), every=POLL_SECONDS if active else None)
        shielded(lambda: _another(info))


def watch_text(watch: Watch) -> str:
    """How a watch stands, as Markdown."""
    if not watch.active:
        state = "stopped"
    elif watch.note:
        state = plain(watch.note)
    else:
        state = "watched" if watch.alive else "about to be watched"
    images = f"{plural(watch.taken, 'image', grouped=True)} came"
    latest = f", the last {ago(watch.last_at)}" if watch.last_at is not None else ""
    noted = f", {watch.noted:,} could not be taken" if watch.noted else ""
    after = " " if watch.active and watch.note else "; "  # a note is a sentence
    return f"**{plain(str(watch.folder))}**  \n{state}{after}{images}{latest}{noted}"


def _known(info: ModelInfo) -> None:
    for watch in watches_of(info):
        st.markdown(watch_text(watch))
        with st.container(horizontal=True):
            actions = [("stop", "Stop", stop_watching, why_not(stop_watching))]
            if not watch.active:
                actions = [
                    ("again", "Watch again", watch_again, why_not(watch_again)),
                    ("forget", "Take off the list", forget_watch, why_not_forget(watch.id)),
                ]
            for name, label, act, reason in actions:
                if button(plain(label), key=f"label-watch-{name}-{watch.id}", **permitted(reason)):
                    act(watch.id)
                    rerun()
        if arrivals := arrivals_of(watch.id, info):
            with st.expander("What came last", key=f"label-watch-last-{watch.id}"):
                st.dataframe(arrival_table(arrivals), hide_index=True)


def arrival_table(arrivals: Sequence[tuple[WatchedFile, StoredPrediction | None]]) -> pd.DataFrame:
    """The files that came last, with what the model says of them."""
    return pd.DataFrame(
        {
            "Image": [file.name for file, _ in arrivals],
            "Verdict": [file.note or (said and said.verdict) or "not scored yet" for file, said in arrivals],
            "Score": ["–" if said is None else format_number(said.score) for _, said in arrivals],
            "Came": [ago(file.taken_at) for file, _ in arrivals],
        }
    )


def _another(info: ModelInfo) -> None:
    st.caption("Images that are copied into a watched folder come into the queue within seconds, with their scores.")
    folder = pick_folder(key="label-watch-folder")
    if folder is None:
        return
    existing = False
    if there := _images_there(folder):
        label = f"Take the {plural(there, 'image', grouped=True)} there now too"
        existing = bool(st.toggle(label, key="label-watch-existing"))
    if button("Watch this folder", type="primary", key="label-watch-start", **permitted(why_not(start_watching))):
        start_watching(info, folder, existing=existing)
        rerun()


@st.cache_data(ttl=10, max_entries=16, show_spinner="Counting the images …")
def _images_there(folder: Path) -> int:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder. Choose one that is there.")
    return len(list_files(folder))
