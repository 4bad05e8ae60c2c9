import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from skrd4ad.errors import StorageError
from skrd4ad.storage import jobs
from skrd4ad.storage.database import Database, open_database


def fill(database: Database, *names: str, owner: str = "h:1:2.00") -> None:
    for name in names:
        with database.write() as session:
            jobs.add_job(session, job_id=name, kind="train", title=name, request={"n": name}, owner=owner)


def test_latest_jobs_are_newest_first_filtered_and_limited(database: Database) -> None:
    fill(database, "a", "b", "c")
    with database.write() as session:
        assert jobs.start_job(session, "b")
    with database.read() as session:
        assert [job.id for job in jobs.latest_jobs(session)] == ["c", "b", "a"]
        assert [job.id for job in jobs.latest_jobs(session, limit=2)] == ["c", "b"]
        assert [job.id for job in jobs.latest_jobs(session, states=["running"])] == ["b"]
        assert jobs.latest_jobs(session, states=[]) == []
        assert [job.id for job in jobs.active_jobs(session)] == ["a", "b", "c"]


def test_every_owner_has_a_queue_of_its_own(database: Database) -> None:
    fill(database, "a", "b", "c")
    fill(database, "x", "y", owner="h:9:9.00")
    with database.write() as session:
        jobs.start_job(session, "a")
    with database.read() as session:
        assert jobs.queue_positions(session) == {"b": 1, "c": 2, "x": 1, "y": 2}


def test_kinds_with_a_queue_of_their_own_are_counted_apart(database: Database) -> None:
    fill(database, "a", "b")
    with database.write() as session:
        for name in ("l", "m"):
            jobs.add_job(session, job_id=name, kind="labels", title=name, request={}, owner="h:1:2.00")
    with database.read() as session:
        own = {job.id: job.owner for job in jobs.active_jobs(session)}
        assert len(set(own.values())) == 1
        assert jobs.queue_positions(session) == {"a": 1, "b": 2, "l": 3, "m": 4}
        assert jobs.queue_positions(session, beside={"labels"}) == {"a": 1, "b": 2, "l": 1, "m": 2}


def test_a_job_starts_only_once_and_never_after_it_was_cancelled(database: Database) -> None:
    fill(database, "a", "b")
    with database.write() as session:
        assert jobs.start_job(session, "a") is True
        assert jobs.start_job(session, "a") is False
        assert jobs.cancel_waiting(session, "a") is False
        assert jobs.cancel_waiting(session, "b") is True
        assert jobs.start_job(session, "b") is False


def test_a_wish_reaches_running_jobs_only_and_cancel_is_final(database: Database) -> None:
    fill(database, "a")
    with database.write() as session:
        assert jobs.wish_of_running(session, "a", "pause") is False
        jobs.start_job(session, "a")
        assert jobs.wish_of_running(session, "a", "pause") is True
        assert jobs.beat(session, ["a"]) == {"a": "pause"}
        assert jobs.wish_of_running(session, "a", "cancel") is True
        assert jobs.wish_of_running(session, "a", "run") is False
        assert jobs.beat(session, ["a"]) == {"a": "cancel"}


def test_a_beat_touches_only_active_jobs_that_are_named(database: Database) -> None:
    fill(database, "a", "b", "c")
    with database.write() as session:
        jobs.end_job(session, "c", "done", result={"x": 1})
        before = {job.id: job.heartbeat_at for job in jobs.latest_jobs(session)}
    with database.write() as session:
        assert jobs.beat(session, ["a", "c"]) == {"a": "run"}
    with database.read() as session:
        after = {job.id: job.heartbeat_at for job in jobs.latest_jobs(session)}
    assert after["a"] - before["a"] > timedelta(0)
    assert (after["b"], after["c"]) == (before["b"], before["c"])


def test_progress_is_replaced_and_points_are_appended(database: Database) -> None:
    fill(database, "a", "b")
    with database.write() as session:
        jobs.save_progress(session, "a", snapshot={"epoch": 1}, points=[(1, {"loss": 0.5})])
        jobs.save_progress(
            session, "a", snapshot=None, points=[(3, {"loss": 0.1}), (2, {"loss": 0.2, "held_out": 1.0})]
        )
        jobs.save_progress(session, "b", snapshot={"epoch": 9})
    with database.read() as session:
        assert jobs.find_job(session, "a").progress == {"epoch": 1}
        assert jobs.job_points(session, "a") == [
            {"step": 1, "loss": 0.5},
            {"step": 3, "loss": 0.1},
            {"step": 2, "loss": 0.2, "held_out": 1.0},
        ]
        assert jobs.job_points(session, "b") == []


def test_an_unknown_job_is_named(database: Database) -> None:
    with database.read() as session, pytest.raises(StorageError, match="no job 'nobody'"):
        jobs.find_job(session, "nobody")


def at_once(*works: Callable[[Database], bool]) -> list[bool]:
    """What each of several pieces of work says that begin together, in threads with a database of their own."""
    start = threading.Barrier(len(works))
    answers: list[bool] = []

    def run(work: Callable[[Database], bool]) -> None:
        mine = open_database()
        start.wait()
        answers.append(work(mine))
        mine.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(works)
    return answers


def start(database: Database) -> bool:
    with database.write() as session:
        return jobs.start_job(session, "a")


def cancel(database: Database) -> bool:
    with database.write() as session:
        return jobs.cancel_waiting(session, "a")


def test_of_many_that_start_a_job_one_does(database: Database) -> None:
    fill(database, "a")
    assert sorted(at_once(*[start] * 6)) == [False] * 5 + [True]


def test_a_job_is_either_started_or_cancelled(database: Database) -> None:
    fill(database, "a")
    assert sorted(at_once(start, cancel, start, cancel)) == [False] * 3 + [True]
    with database.read() as session:
        job = jobs.find_job(session, "a")
        assert (job.state, job.started_at is None) in {("running", False), ("cancelled", True)}


def test_points_of_several_writers_all_arrive_in_the_order_of_each(database: Database) -> None:
    fill(database, "a")

    def write(first: int) -> Callable[[Database], bool]:
        def work(mine: Database) -> bool:
            for step in range(first, first + 10):
                with mine.write() as session:
                    jobs.save_progress(session, "a", snapshot={"step": step}, points=[(step, {"loss": 0.5})])
            return True

        return work

    assert all(at_once(*[write(first) for first in (0, 100, 200)]))
    with database.read() as session:
        steps = [point["step"] for point in jobs.job_points(session, "a")]
    assert len(steps) == 30
    for first in (0, 100, 200):
        assert [step for step in steps if first <= step < first + 10] == list(range(first, first + 10))
