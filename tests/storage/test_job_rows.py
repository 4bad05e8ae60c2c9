import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from skrd4ad.errors import StorageError
from skrd4ad.storage import jobs
from skrd4ad.storage.database import Database, open_database


def fill(database: Database, *names: str, owner: str = "h:1:2.00", lane: jobs.Lane = "long") -> None:
    for name in names:
        with database.write() as session:
            jobs.add_job(session, job_id=name, kind="train", title=name, request={"n": name}, owner=owner, lane=lane)


def test_latest_jobs_are_newest_first_filtered_and_limited(database: Database) -> None:
    fill(database, "a", "b", "c")
    with database.write() as session:
        assert jobs.start_job(session, "b", owner="h:1:2.00")
    with database.read() as session:
        assert [job.id for job in jobs.latest_jobs(session)] == ["c", "b", "a"]
        assert [job.id for job in jobs.latest_jobs(session, limit=2)] == ["c", "b"]
        assert [job.id for job in jobs.latest_jobs(session, states=["running"])] == ["b"]
        assert jobs.latest_jobs(session, states=[]) == []
        assert [job.id for job in jobs.active_jobs(session)] == ["a", "b", "c"]


def test_every_lane_has_a_queue_of_its_own_whoever_put_jobs_into_it(database: Database) -> None:
    fill(database, "a", "b", owner="")
    fill(database, "c", owner="h:9:9.00")
    fill(database, "x", "y", owner="", lane="short")
    with database.write() as session:
        jobs.start_job(session, "a", owner="h:1:2.00")
    with database.read() as session:
        assert jobs.queue_positions(session) == {"b": 1, "c": 2, "x": 1, "y": 2}


def test_the_turn_is_that_of_the_running_job_and_then_of_the_oldest_waiting_one(database: Database) -> None:
    fill(database, "a", "b", "c")
    fill(database, "x", lane="short")
    with database.write() as session:
        assert jobs.start_job(session, "b", owner="h:1:2.00")
    turns = []
    with database.write() as session:
        for name in ("b", "a", "c"):
            turns.append(jobs.next_job(session, "long"))
            jobs.end_job(session, name, "done")
        assert [job.id for job in turns if job is not None] == ["b", "a", "c"]
        assert jobs.next_job(session, "long") is None
        assert (short := jobs.next_job(session, "short")) is not None
        assert short.id == "x"


def test_a_job_starts_only_once_and_never_after_it_was_cancelled(database: Database) -> None:
    fill(database, "a", "b")
    with database.write() as session:
        assert jobs.start_job(session, "a", owner="h:1:2.00") is True
        assert jobs.start_job(session, "a", owner="h:1:2.00") is False
        assert jobs.cancel_waiting(session, "a") is False
        assert jobs.cancel_waiting(session, "b") is True
        assert jobs.start_job(session, "b", owner="h:1:2.00") is False


def test_a_wish_reaches_running_jobs_only_and_cancel_is_final(database: Database) -> None:
    fill(database, "a")
    with database.write() as session:
        assert jobs.wish_of_running(session, "a", "pause") is False
        jobs.start_job(session, "a", owner="h:1:2.00")
        assert jobs.wish_of_running(session, "a", "pause") is True
        assert jobs.wish_of(session, "a") == "pause"
        assert jobs.wish_of_running(session, "a", "cancel") is True
        assert jobs.wish_of_running(session, "a", "run") is False
        assert jobs.wish_of(session, "a") == "cancel"


def test_a_beat_touches_only_active_jobs_that_are_named(database: Database) -> None:
    fill(database, "a", "b", "c")
    with database.write() as session:
        jobs.end_job(session, "c", "done", result={"x": 1})
        before = {job.id: job.heartbeat_at for job in jobs.latest_jobs(session)}
    with database.write() as session:
        for name in ("a", "c"):
            jobs.beat(session, name)
        assert [jobs.wish_of(session, name) for name in ("a", "c")] == ["run", None]
    with database.read() as session:
        after = {job.id: job.heartbeat_at for job in jobs.latest_jobs(session)}
    assert after["a"] - before["a"] > timedelta(0)
    assert (after["b"], after["c"]) == (before["b"], before["c"])


def test_a_worker_of_a_lane_speaks_for_itself_only(database: Database) -> None:
    with database.write() as session:
        jobs.set_worker(session, "long", owner="h:1:1.00", supervisor="h:2:2.00")
        jobs.set_worker(session, "short", owner="h:3:3.00", supervisor="")
        before = {row.lane: row.heartbeat_at for row in jobs.workers(session)}
        jobs.set_worker(session, "long", owner="h:9:9.00", supervisor="h:2:2.00")  # the first one died
    with database.write() as session:
        for owner in ("h:1:1.00", "h:3:3.00"):
            jobs.beat_worker(session, "short", owner=owner)
            jobs.drop_worker(session, "long", owner=owner)
            jobs.set_supervisor(session, "long", owner=owner, supervisor="")
    with database.read() as session:
        long, short = jobs.workers(session)
        assert (long.lane, long.owner, long.supervisor) == ("long", "h:9:9.00", "h:2:2.00")
        assert short.heartbeat_at > before["short"]
    with database.write() as session:
        jobs.set_supervisor(session, "long", owner="h:9:9.00", supervisor="")
        assert [row.supervisor for row in jobs.workers(session)] == ["", ""]
        jobs.drop_worker(session, "long", owner="h:9:9.00")
        assert [row.lane for row in jobs.workers(session)] == ["short"]


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
        return jobs.start_job(session, "a", owner="h:1:2.00")


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
