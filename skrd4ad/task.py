"""A piece of work as the one who waits for it sees it: how far it is, and whether it may go on.

Everything that takes over a second has a parameter ``task``. It reports to it and asks it between steps; the command
line shows a bar of it, a page a bar or a job.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1
"""How often a task is asked while a call runs that asks nobody."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far some work is."""

    done: int
    total: int
    """0 where nobody knows."""
    text: str
    """What is done now; empty where the counts say it."""
    share: float
    """Of the whole work, 0 to 1; ``done / total`` is that of the present part."""
    eta_seconds: float | None = None
    """Until the whole work is done, where it can be told."""
    record: Any = None
    """What this kind of work has to say besides, as a dataclass, such as ``TrainProgress``."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Progress and cancellation of some work, or of a part of it."""

    show: Callable[[Status], None] = lambda _status: None
    check: Callable[[], None] = lambda: None
    """Called between steps, where stopping is harmless; waits while the work is paused, and raises to end it."""
    point: Callable[[int, Mapping[str, Any]], None] = lambda _step, _values: None
    """Takes a point of a curve: its step, such as the epoch, and its values."""
    text: str = ""
    start: float = 0.0
    end: float = 1.0
    """Share of the whole at which this part begins and ends."""

    def report(
        self, done: int, total: int, text: str = "", *, eta_seconds: float | None = None, record: Any = None
    ) -> None:
        """Check, then show how far the work is; ``total`` is 0 where nobody knows."""
        self.check()
        within = min(done / total, 1.0) if total else 0.0
        self.show(
            Status(
                done=done,
                total=total,
                text=text or self.text.format(done=done, total=total),
                share=round(self.start + (self.end - self.start) * within, 4),
                eta_seconds=eta_seconds,
                record=record,
            )
        )

    def part(self, start: float, end: float, text: str = "") -> "Task":
        """The task of a part that begins and ends at these shares of this one.

        ``text`` stands where a report says nothing itself; it may name ``{done}`` and ``{total}``.
        """
        length = self.end - self.start
        return replace(self, start=self.start + start * length, end=self.start + end * length, text=text)

    def beside(self, work: Callable[[], T]) -> T:
        """Result of a call that asks nobody, such as a sort of all pixels, while this thread goes on checking.

        When the check raises, the call's thread is left behind and its result is dropped, so ``work`` may change
        nothing that others see.
        """
        found = in_thread(work)
        while True:
            try:
                return found.result(POLL_SECONDS)
            except TimeoutError:
                if found.done():  # the work itself raised it
                    raise
                self.check()


def in_thread(work: Callable[[], T]) -> "Future[T]":
    """Result to come of a call in a thread that the end of the program does not wait for, under who acts here."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            found.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return found


QUIET = Task()
"""Tells nobody and never stops."""
