"""Names the process that owns a job, tells whether it still lives, and lets its pages go first."""

import os
import socket
import sys
import threading
from contextlib import suppress
from datetime import datetime, timedelta

import psutil

from skrd4ad.errors import ConfigError

SILENCE = timedelta(seconds=60)
"""A process on another host that said nothing for so long is taken for dead."""
NICENESS = 10
"""Of the threads that jobs run in: a tenth of a core that somebody else wants as well, all of one that nobody wants."""
VARIABLE = "SKRD4AD_NICENESS"
"""Environment variable with another niceness: 0, as everything else, to 19, the last of all."""
START_TOLERANCE = 2.0
"""Seconds by which two readings of one process's start may differ: the clock of the machine may be corrected."""


def this_process() -> str:
    """This process as ``host:pid:start time`` (seconds since 1970), which tells apart equal pids."""
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def same_host(owner: str) -> bool:
    """Whether a process runs on this host."""
    return owner.rsplit(":", 2)[0] == socket.gethostname()


def is_alive(owner: str, *, heartbeat_at: datetime, now: datetime) -> bool:
    """Whether the process ``owner`` lives: asked of the system on this host, judged by its heartbeat on another."""
    host, pid, started = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return now - heartbeat_at <= SILENCE
    try:
        process = psutil.Process(int(pid))
        # a killed process whose parent has not taken notice yet is a zombie: it has a pid but does nothing
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not ended and abs(process.create_time() - float(started)) <= START_TOLERANCE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return now - heartbeat_at <= SILENCE


def terminate(owner: str) -> None:
    """Ask a process of this host, which lives, to end."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(owner.rsplit(":", 2)[1])).terminate()


def end_with_parent() -> None:
    """End this process with the one that holds the other end of its standard input; what it does is lost."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def niceness() -> int:
    """What the environment asks for, or :data:`NICENESS`.

    Raises:
        ConfigError: it asks for something that is not a whole number of 0 to 19.
    """
    given = os.environ.get(VARIABLE) or str(NICENESS)
    if not given.isdecimal() or int(given) > 19:
        raise ConfigError(f"{VARIABLE} is {given!r}. Give a whole number from 0 (jobs count as much as pages) to 19.")
    return int(given)


def lower_process_priority() -> None:
    """Lower the OS priority of this process, so that all other programs go first."""
    if sys.platform == "win32":
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        os.nice(NICENESS)


def lower_thread_priority(to: int) -> None:
    """Let pages go before this thread, and before those it starts.

    Args:
        to: Niceness that the thread gets; it keeps a higher one that it has.
    """
    # Linux has a niceness for each thread; elsewhere it is the process's, which the pages are in
    if sys.platform == "linux":
        thread = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, thread) < to:
            os.setpriority(os.PRIO_PROCESS, thread, to)
