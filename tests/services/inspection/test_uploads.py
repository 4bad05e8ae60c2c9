"""Images that were dropped, kept by their content."""

from pathlib import Path

import pytest

from skrd4ad.errors import DataError, ImageError
from skrd4ad.services.inspection import uploads
from skrd4ad.services.inspection.uploads import delete_batch, keep_batch, read_batch, recent_batches


@pytest.fixture(autouse=True)
def moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second goes by with every batch."""
    ticks = iter(range(60))
    monkeypatch.setattr(uploads, "this_moment", lambda: f"2026-01-01T00:00:{next(ticks):02d}+00:00")


def kept_files(home: Path) -> int:
    return len(list((home / "inspected" / "images").iterdir()))


def test_a_batch_is_read_back_newest_first_and_the_same_content_is_kept_once(home: Path) -> None:
    first = keep_batch([("a.png", b"one"), ("line 2/b.PNG", b"two"), ("c.png", ImageError("c.png leads outside."))])
    second = keep_batch([("again.png", b"one")])
    assert recent_batches() == [second, first] == [read_batch(second.key), read_batch(first.key)]
    assert [str(image.source) for image in first.images][2] == "c.png leads outside."
    assert [image.path.read_bytes() for image in first.images[:2]] == [b"one", b"two"]
    assert kept_files(home) == 2
    again = keep_batch([("again.png", b"one")])
    assert again.key == second.key and len(recent_batches()) == 2


def test_deleting_leaves_what_another_batch_holds(home: Path) -> None:
    first = keep_batch([("a.png", b"one"), ("b.png", b"two")])
    second = keep_batch([("a.png", b"one")])
    delete_batch(first.key)
    assert recent_batches() == [second] and kept_files(home) == 1
    delete_batch(second.key)
    delete_batch(second.key)
    assert recent_batches() == [] and kept_files(home) == 0


def test_the_oldest_goes_when_there_are_too_many(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_BATCHES", 2)
    for number in range(3):
        keep_batch([("a.png", b"%d" % number)])
    assert [batch.images[0].path.read_bytes() for batch in recent_batches()] == [b"2", b"1"]
    assert kept_files(home) == 2


@pytest.mark.parametrize("key", ["../secret", "x" * 16, "0" * 16, ""])
def test_a_key_of_nothing_is_none(home: Path, key: str) -> None:
    assert read_batch(key) is None


def test_a_damaged_batch_is_left_out_and_none_is_kept_of_nothing(home: Path) -> None:
    batch = keep_batch([("a.png", b"one")])
    file = home / "inspected" / f"{batch.key}.json"
    for damaged in ("{", file.read_text().replace(batch.images[0].digest, "../../secret")):
        file.write_text(damaged)
        assert recent_batches() == []
    with pytest.raises(DataError, match="at least one"):
        keep_batch([])
