import os
import threading
import time
from collections.abc import Iterator

import pytest

from skrd4ad.errors import ConfigError
from skrd4ad.parallel import cores, grouped, ordered_map
from tests.limits import LONG


def test_results_come_in_the_order_of_the_items_whoever_is_done_first() -> None:
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(ordered_map(work, range(40), workers=4, ahead=8)) == [number * number for number in range(40)]
    assert list(ordered_map(work, [], workers=4, ahead=8)) == []


def test_no_more_than_that_many_items_are_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = ordered_map(lambda number: number, items(), workers=2, ahead=5)
    for number in range(60):
        assert next(results) == number
        assert len(taken) <= number + 5


def test_nothing_more_is_begun_while_too_much_waits_to_be_taken() -> None:
    begun: list[int] = []

    def work(number: int) -> bytes:
        begun.append(number)
        return bytes(10)

    results = ordered_map(work, range(50), workers=2, ahead=20, size=len, most=30)
    for number in range(50):
        assert len(next(results)) == 10
        # three wait at most, and each thread may have begun one more while there was still room
        assert len(begun) <= number + 1 + 3 + 2
        if number % 10 == 0:
            time.sleep(0.01)
    assert next(results, None) is None
    assert sorted(begun) == list(range(50))


def test_one_result_that_is_too_large_for_the_room_still_comes() -> None:
    assert [len(r) for r in ordered_map(bytes, [5, 100, 5, 100], workers=3, ahead=4, size=len, most=10)] == [
        5,
        100,
        5,
        100,
    ]


def test_it_can_be_left_while_threads_wait_for_room() -> None:
    results = ordered_map(bytes, [20] * 50, workers=2, ahead=20, size=len, most=10)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert next(results, None) is None


def test_what_the_work_raises_comes_at_its_turn_and_stops_the_rest() -> None:
    seen: list[int] = []

    def work(number: int) -> int:
        seen.append(number)
        if number == 3:
            raise ValueError("the third")
        return number

    results = ordered_map(work, range(1000), workers=2, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    assert max(seen) <= 3 + 4


def test_two_stages_work_at_the_same_time() -> None:
    # the first stage's second item waits until the second stage has begun with the first item
    begun = threading.Event()

    def first(number: int) -> int:
        assert number != 1 or begun.wait(LONG)
        return number

    def second(number: int) -> int:
        begun.set()
        return number

    assert list(ordered_map(second, ordered_map(first, range(6), workers=1, ahead=1), workers=1, ahead=2)) == list(
        range(6)
    )


def test_groups_end_at_their_number_or_when_they_are_full() -> None:
    assert list(grouped([1, 1, 1, 1, 1], most=2, size=int, room=100)) == [[1, 1], [1, 1], [1]]
    assert list(grouped([3, 9, 1, 1], most=10, size=int, room=10)) == [[3, 9], [1, 1]]
    assert list(grouped([], most=2, size=int, room=10)) == []


def test_the_environment_says_how_many_processors_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_THREADS", "3")
    assert cores() == 3
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("SKRD4AD_THREADS", wrong)
        with pytest.raises(ConfigError, match=r"SKRD4AD_THREADS .* a whole number from 1"):
            cores()
    monkeypatch.delenv("SKRD4AD_THREADS")
    assert cores() == os.cpu_count()
