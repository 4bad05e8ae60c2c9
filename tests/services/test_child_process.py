import sys
import time
from pathlib import Path

import psutil
import pytest

from skrd4ad.errors import ConfigError, TrainingCancelled, TrainingError
from skrd4ad.services.jobs.child_process import in_child
from skrd4ad.task import QUIET, Status, Task
from tests.limits import LONG

WORK = """
import os, signal, time
from skrd4ad.errors import ConfigError

def add(a, b, task):
    print("noise on standard output")
    task.part(0.5, 1, "adding {done}").report(1, 2)
    return a + b

def fail(task):
    raise ConfigError("The number is 7; allowed: 8.")

def die(task):
    os._exit(3)

def hang(task):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    task.report(os.getpid(), 0)
    while True:
        time.sleep(0.01)
"""


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of work that the child can import as well."""
    (tmp_path / "child_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path.cwd()}")
    monkeypatch.delitem(sys.modules, "child_work", raising=False)


def test_result_and_progress_come_back() -> None:
    import child_work

    seen: list[Status] = []
    assert in_child(child_work.add, 2, 3, task=Task(show=seen.append)) == 5
    assert [(at.text, at.share) for at in seen] == [("adding 1", 0.75)]


def test_an_error_is_raised_here_with_the_trace_of_the_child() -> None:
    import child_work

    with pytest.raises(ConfigError, match="The number is 7") as caught:
        in_child(child_work.fail, task=QUIET)
    assert "child_work.py" in caught.value.__notes__[0]


def test_a_process_that_dies_is_an_error_in_words() -> None:
    import child_work

    with pytest.raises(TrainingError, match="ended with code 3"):
        in_child(child_work.die, task=QUIET)


def test_a_process_that_hangs_stands_still_in_a_check_and_is_killed_when_it_raises() -> None:
    import child_work

    running: list[psutil.Process] = []

    def check() -> None:
        deadline = time.monotonic() + LONG
        while running and time.monotonic() < deadline:  # the system takes a moment to stop it
            if running[0].status() == psutil.STATUS_STOPPED:
                raise TrainingCancelled("enough")

    with pytest.raises(TrainingCancelled):
        in_child(child_work.hang, task=Task(show=lambda at: running.append(psutil.Process(at.done)), check=check))
    assert not running[0].is_running()
