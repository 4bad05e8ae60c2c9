import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from skrd4ad.services.jobs.process import is_alive, this_process

NOW = datetime(2025, 1, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)


def test_this_process_lives_however_old_its_heartbeat() -> None:
    assert this_process().startswith(f"{socket.gethostname()}:{os.getpid()}:")
    assert is_alive(this_process(), heartbeat_at=LONG_AGO, now=NOW)


def test_a_later_process_with_the_same_pid_is_another_one() -> None:
    host, pid, started = this_process().rsplit(":", 2)
    earlier = f"{host}:{pid}:{float(started) - 5:.2f}"
    assert not is_alive(earlier, heartbeat_at=NOW, now=NOW)


def test_a_small_correction_of_the_clock_does_not_matter() -> None:
    host, pid, started = this_process().rsplit(":", 2)
    assert is_alive(f"{host}:{pid}:{float(started) + 1:.2f}", heartbeat_at=LONG_AGO, now=NOW)


def test_a_pid_that_nobody_has_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not is_alive(f"{socket.gethostname()}:{process.pid}:{NOW.timestamp():.2f}", heartbeat_at=NOW, now=NOW)


def test_another_host_is_judged_by_its_heartbeat() -> None:
    owner = "elsewhere:1:2.00"
    assert is_alive(owner, heartbeat_at=NOW - timedelta(seconds=59), now=NOW)
    assert not is_alive(owner, heartbeat_at=NOW - timedelta(seconds=61), now=NOW)
