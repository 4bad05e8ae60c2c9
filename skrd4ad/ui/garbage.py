"""Garbage collection of the app's process: on a timer beside the pages, not after every run of a script.

Streamlit collects after every run of a page or fragment (``runner.postScriptGC``). With torch loaded the heap holds
half a million objects, and each such collection holds the interpreter's lock for 0.4 s.
"""

import ctypes
import gc
import logging
import sys
import threading
import time
from functools import cache

import streamlit as st

EVERY_SECONDS = 60.0
NEW_MODULES = 50
"""So many imported since the last freeze, and the heap is frozen again: pages import theirs when first shown."""
OPTION = "runner.postScriptGC"
SLOW = (
    f"Streamlit's setting {OPTION} is on: every page run of every tab stops all others for about half a second. Start "
    "the app from its own folder, whose .streamlit/config.toml turns it off, or with "
    f"--{OPTION} false."
)

log = logging.getLogger(__name__)


def collects_after_every_run() -> bool:
    """Whether Streamlit collects after every run of a script, against the app's own configuration."""
    return bool(st.get_option(OPTION))


@cache
def start_collecting() -> None:
    """Begin to collect on a timer; once a process, however many sessions ask for it."""
    if collects_after_every_run():
        log.warning(SLOW)
    threading.Thread(target=_collect_for_ever, name="garbage", daemon=True).start()


def collect(frozen_modules: int) -> int:
    """Collect; returns the number of modules whose objects are frozen now.

    What imports left behind lives as long as the process. ``gc.freeze`` takes it out of all later collections; objects
    of sessions that are alive at that moment go with it, so it is done for imports only, a few times in a process.
    """
    gc.collect()
    give_memory_back()
    if len(sys.modules) < frozen_modules + NEW_MODULES:
        return frozen_modules
    gc.freeze()
    return len(sys.modules)


def give_memory_back() -> None:
    """Let the system have the memory that sessions have left.

    glibc keeps what is free below what is in use, in an arena for each thread that ran a page; other C libraries give
    it back by themselves.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _collect_for_ever() -> None:
    frozen_modules = 0
    while True:
        frozen_modules = collect(frozen_modules)
        time.sleep(EVERY_SECONDS)
