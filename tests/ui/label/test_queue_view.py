from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.annotate import item_of
from skrd4ad.storage.database import workspace_database
from skrd4ad.ui.label.queue_view import WINDOW, QueueView
from tests.label_world import ALL, picture, put

N = WINDOW + 25


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """More images than a window has rows; the last two of the order are open, all others good."""
    home = tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKRD4AD_HOME", str(home))
        patch.delenv("SKRD4AD_DATABASE_URL", raising=False)
        for i in range(N):
            put(f"{i}.png", picture(i, width=3, height=2))
        for digest in QueueView(ALL, "closest").digests[:-2]:
            annotate.decide(item_of(ALL, digest), "good", reviewer="Anna")
        yield home
        workspace_database().close()


@pytest.fixture
def snapshot(many: Path, monkeypatch: pytest.MonkeyPatch) -> QueueView:
    monkeypatch.setenv("SKRD4AD_HOME", str(many))
    return QueueView(ALL, "closest")


def test_only_a_window_is_read_and_it_follows_the_image_in_hand(snapshot: QueueView) -> None:
    assert [item.digest for item in snapshot.window()] == snapshot.digests[:WINDOW]
    assert snapshot.after == 25
    snapshot.keep_in_sight(snapshot.digests[WINDOW // 2])
    assert snapshot.first == 0
    for place in (WINDOW - 1, N - 1, N // 2, 0):
        snapshot.keep_in_sight(snapshot.digests[place])
        assert snapshot.digests[place] in {item.digest for item in snapshot.window()}
        assert len(snapshot.window()) == WINDOW
    snapshot.scroll_to(10 * N)
    assert snapshot.after == 0 and snapshot.first == N - WINDOW


def test_the_next_open_image_is_found_beyond_the_window_and_before_the_one_in_hand(snapshot: QueueView) -> None:
    *_, first, last = snapshot.digests
    assert snapshot.next_open(None) == first
    assert snapshot.next_open(first) == last
    assert snapshot.next_open(last) == first


def test_neighbours_and_those_that_follow(snapshot: QueueView) -> None:
    first, second, third, *_ = snapshot.digests
    assert snapshot.neighbour(first, -1) is None and snapshot.neighbour(first, 1) == second
    assert [item.digest for item in snapshot.following(first, 2)] == [second, third]
    assert snapshot.following(snapshot.digests[-1], 2) == []


def test_new_images_are_counted_and_progress_has_no_regard_to_decisions(snapshot: QueueView) -> None:
    open_ones = QueueView(replace(ALL, labels=("none",)), "closest")
    counts = open_ones.counts()
    assert (counts.total, counts.labels["none"], counts.labels["good"]) == (N, 2, N - 2)
    assert len(open_ones.digests) == 2 and open_ones.news_since(counts) == ""
    put("new.png", picture(999, width=3, height=2))
    assert open_ones.news_since(open_ones.counts()) == "1 new" == snapshot.news_since(snapshot.counts())
    assert snapshot.news_since(replace(counts, total=N + 2, unscored=N - 5)) == "2 new, 5 newly scored"


def test_an_image_outside_of_the_order_is_taken_in_once(snapshot: QueueView) -> None:
    decided = QueueView(replace(ALL, labels=("good",)), "closest")
    other = snapshot.digests[-1]
    assert decided.index_of(other) == -1
    decided.include(other)
    decided.include(other)
    assert decided.digests.count(other) == 1 and decided.index_of(other) == 0
    assert decided.neighbour(other, 1) == snapshot.digests[0]
