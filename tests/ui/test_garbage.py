import gc
import platform
import sys
import threading
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from skrd4ad.ui import garbage
from skrd4ad.ui.garbage import NEW_MODULES, OPTION, collect, give_memory_back, start_collecting
from tests.limits import LONG

CONFIG = Path(__file__).parents[2] / ".streamlit" / "config.toml"


def test_the_apps_configuration_turns_the_collection_after_every_run_off() -> None:
    assert "postScriptGC = false" in CONFIG.read_text(encoding="utf-8")


def test_what_imports_left_is_frozen_once_and_again_after_many_more(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        gc.unfreeze()
        frozen = collect(0)
        assert frozen == len(sys.modules)
        count = gc.get_freeze_count()
        assert count > 1000
        assert collect(frozen) == frozen
        assert gc.get_freeze_count() <= count
        for number in range(NEW_MODULES):
            monkeypatch.setitem(sys.modules, f"new_{number}", ModuleType(f"new_{number}"))
        kept = [[] for _ in range(2000)]
        assert collect(frozen) == frozen + NEW_MODULES
        assert gc.get_freeze_count() >= count + len(kept)
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("is_on", [False, True])
def test_one_timer_starts_and_the_slow_setting_is_told(
    is_on: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collected = threading.Event()
    monkeypatch.setattr(garbage, "_collect_for_ever", collected.set)
    monkeypatch.setattr(st, "get_option", lambda name: {OPTION: is_on}[name])
    start_collecting.cache_clear()
    with caplog.at_level("WARNING", logger="skrd4ad"):
        start_collecting()
        assert collected.wait(LONG)
        collected.clear()
        start_collecting()
    assert not collected.is_set()
    assert (OPTION in caplog.text) == is_on
    start_collecting.cache_clear()


@pytest.mark.parametrize("is_on", [False, True])
def test_the_sidebar_tells_of_the_slow_setting(is_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def script() -> None:
        from skrd4ad.ui.sidebar import sidebar

        sidebar()

    monkeypatch.setattr("skrd4ad.ui.sidebar.collects_after_every_run", lambda: is_on)
    at = AppTest.from_function(script, default_timeout=LONG).run()
    assert not at.exception
    assert [OPTION in warning.value for warning in at.warning] == [True] * is_on


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps free memory")
def test_memory_that_is_free_below_what_is_in_use_goes_back_to_the_system() -> None:
    blocks = [b"x" * (5000 + number % 2) for number in range(30_000)]
    kept = blocks[-1]
    del blocks
    held = psutil.Process().memory_full_info().uss
    give_memory_back()
    assert held - psutil.Process().memory_full_info().uss > 100_000_000, len(kept)
