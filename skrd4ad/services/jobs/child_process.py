"""Work in a process of its own: it may block in native code for minutes, and is stopped and killed from outside."""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, TypeVar

import psutil

from skrd4ad.errors import TrainingError
from skrd4ad.services.access import acting, acting_as
from skrd4ad.services.jobs.process import end_with_parent
from skrd4ad.task import POLL_SECONDS, Task, in_thread

T = TypeVar("T")

GRACE_SECONDS = 1.0
"""For the child to tidy up when it is to end; then it is killed."""


def in_child(work: Callable[..., T], *arguments: Any, task: Task) -> T:
    """Result of ``work(*arguments, task=…)`` in another process.

    While the task is paused the process stands still. When the task ends the work, the process is ended wherever it is
    and may leave temporary files behind: the caller removes them.

    Args:
        work: function of a module; it and its arguments and result are pickled.
        task: told and asked in this process.

    Raises:
        TrainingError: the process died, as when the memory is full.
    """
    # not multiprocessing: it would run the page again, which is __main__ while Streamlit draws it
    process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    messages: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(process.stdout, messages), daemon=True).start()
    try:
        with suppress(BrokenPipeError):
            pickle.dump((acting(), work, arguments), process.stdin)
            process.stdin.flush()
        while True:
            _ask(task, process)
            try:
                kind, value = messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if kind == "status":
                task.show(value)
            elif kind == "result":
                return value
            elif kind == "error":
                raise value
            else:
                raise TrainingError(
                    f"The process that did this ended with code {process.wait()}; -9 means that it was killed, which "
                    "the system does when the memory is full. Close other programs, and try again."
                )
    finally:
        _end(process)


def _ask(task: Task, process: subprocess.Popen[bytes]) -> None:
    """Check the task; a check that waits is a pause, in which the child stands still."""
    answer = in_thread(task.check)
    try:
        answer.result(POLL_SECONDS)
    except TimeoutError:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(process.pid).suspend()
        try:
            answer.result()
        finally:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(process.pid).resume()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            pipe.close()  # type: ignore[union-attr]


def _receive(pipe: IO[bytes], messages: "queue.SimpleQueue[tuple[str, Any]]") -> None:
    with suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
        while True:
            messages.put(pickle.load(pipe))  # noqa: S301 - from our own child
    messages.put(("gone", None))


def _serve() -> None:
    """Do what the parent sends, in the child."""
    parent = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what toolkits print must not come between the answers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def send(kind: str, value: Any) -> None:
        answers.write(pickle.dumps((kind, value)))
        answers.flush()

    who, work, arguments = pickle.load(parent)  # noqa: S301 - from our own parent
    end_with_parent()
    try:
        with acting_as(who):
            result = work(*arguments, task=Task(show=lambda status: send("status", status)))
        send("result", result)
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        error.add_note(traceback.format_exc())
        send("error", error)


if __name__ == "__main__":
    _serve()
