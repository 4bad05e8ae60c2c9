"""Work on a stream of items in a few threads, a bounded number of items ahead, with the results in their order.

Stages are chained by giving the iterator of one to the next. Whoever takes the results drives all of them: while it
waits for one, the threads of every stage work on what lies ahead. Decoding, networks and compression leave the
interpreter free, so threads keep all cores busy.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from skrd4ad.errors import ConfigError

THREADS_VARIABLE = "SKRD4AD_THREADS"

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Processors that this process is to use: ``SKRD4AD_THREADS``, or all there are.

    Raises:
        ConfigError: the variable is no whole number from 1.
    """
    given = os.environ.get(THREADS_VARIABLE)
    if not given:
        return os.cpu_count() or 1
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"{THREADS_VARIABLE} is {given!r}; allowed: a whole number from 1.")
    return int(given)


def ordered_map(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int,
    ahead: int,
    size: Callable[[R], int] = lambda _: 0,
    most: int = 0,
) -> Iterator[R]:
    """Results of ``work`` on each item, in the order of the items; what it raises is raised when the item's turn comes.

    Items are taken one by one in the caller's thread. At most ``ahead`` of them are worked on, or done and not yet
    taken; while those that wait have ``most`` or more together by ``size``, nothing more is begun.
    """
    room = _Room(most)

    def begin(index: int, item: T) -> R:
        room.wait(index)
        result = work(item)
        room.take(size(result))
        return result

    waiting: deque[Future[R]] = deque()
    indexed = enumerate(items)
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(waiting) < ahead and (following := next(indexed, None)) is not None:
                waiting.append(pool.submit(begin, *following))
            if not waiting:
                return
            result = waiting.popleft().result()
            room.give(size(result))
            yield result
            # it may be large, and the next one can take long
            del result
    finally:
        room.open()
        pool.shutdown(cancel_futures=True)


def grouped(items: Iterable[T], *, most: int, size: Callable[[T], int], room: int) -> Iterator[list[T]]:
    """Consecutive items in lists of up to ``most``; a list ends early when its items reach ``room`` together."""
    group: list[T] = []
    held = 0
    for item in items:
        group.append(item)
        held += size(item)
        if len(group) >= most or held >= room:
            yield group
            group, held = [], 0
    if group:
        yield group


class _Room:
    """For results that wait to be taken; the one whose turn is next never waits for others to go."""

    def __init__(self, most: int) -> None:
        self._most, self._held, self._turn = most, 0, 0
        self._changed = threading.Condition()

    def wait(self, index: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._most or self._held < self._most or index == self._turn)

    def take(self, size: int) -> None:
        with self._changed:
            self._held += size

    def give(self, size: int) -> None:
        with self._changed:
            self._held -= size
            self._turn += 1
            self._changed.notify_all()

    def open(self) -> None:
        with self._changed:
            self._most = 0
            self._changed.notify_all()
