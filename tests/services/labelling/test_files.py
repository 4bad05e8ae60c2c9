import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skrd4ad.errors import CheckpointError, DataError, ImageError
from skrd4ad.services.inspection.inspect import png_bytes
from skrd4ad.services.labelling.files import (
    MASKS,
    checked_path,
    labelled_image,
    load_mask_file,
    mask_png,
    save_mask_file,
    stored_path,
)
from skrd4ad.storage.label_queue import QueueItem

PICTURE = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
CONTENT = png_bytes(PICTURE)


@pytest.fixture(autouse=True)
def home(home: Path) -> Path:
    home.mkdir()
    return home.resolve()


def item(file: str) -> QueueItem:
    return QueueItem(
        digest=hashlib.sha256(CONTENT).hexdigest(),
        name="part.png",
        file=file,
        width=5,
        height=4,
        origin="import",
        split=None,
        known_type=None,
        added_at=datetime(2026, 1, 1, tzinfo=UTC),
        score=None,
        refusal=None,
    )


def test_a_file_is_below_the_workspace_unless_it_stays_elsewhere(home: Path, tmp_path: Path) -> None:
    assert stored_path("uploads/a.png") == home / "uploads" / "a.png"
    assert stored_path(str(tmp_path / "a.png")) == tmp_path / "a.png"


def test_a_picture_is_read_from_the_workspace_and_from_its_data_set(home: Path, tmp_path: Path) -> None:
    (home / "part.png").write_bytes(CONTENT)
    (tmp_path / "other.png").write_bytes(CONTENT)
    np.testing.assert_array_equal(labelled_image(item("part.png")), PICTURE)
    np.testing.assert_array_equal(labelled_image(item(str(tmp_path / "other.png"))), PICTURE)
    found = item("part.png")
    assert checked_path(found.file, digest=found.digest, name=found.name) == home / "part.png"


def test_a_picture_that_is_gone_is_named_with_where_it_was(home: Path) -> None:
    with pytest.raises(ImageError, match=r"part\.png is not at .*gone\.png any more.*labels are kept"):
        labelled_image(item("gone.png"))


def test_a_picture_that_was_changed_is_not_shown_under_its_old_labels(home: Path) -> None:
    (home / "part.png").write_bytes(png_bytes(PICTURE[::-1].copy()))
    with pytest.raises(ImageError, match="was changed since it was put into the queue"):
        labelled_image(item("part.png"))


def test_a_mask_is_kept_once_by_its_content_and_never_overwritten(home: Path) -> None:
    mask = np.eye(4, 5, dtype=bool)
    file = save_mask_file(mask)
    assert file == f"{MASKS}/{hashlib.sha256(mask_png(mask)).hexdigest()}.png"
    before = (home / file).stat().st_mtime_ns
    assert save_mask_file(mask.copy()) == file
    assert (home / file).stat().st_mtime_ns == before
    assert save_mask_file(~mask) != file
    assert len(list((home / MASKS).iterdir())) == 2
    np.testing.assert_array_equal(load_mask_file(file), mask)
    with Image.open(home / file) as png:
        assert (png.format, png.mode, png.size) == ("PNG", "L", (5, 4))
        assert set(png.tobytes()) == {0, 255}


def test_a_mask_of_another_size_than_its_image_is_refused(home: Path) -> None:
    file = save_mask_file(np.eye(4, 5, dtype=bool))
    assert load_mask_file(file, shape=(4, 5)).shape == (4, 5)
    with pytest.raises(DataError, match=r"5 x 4 pixels, its image 4 x 5"):
        load_mask_file(file, shape=(5, 4))


def test_a_mask_that_is_gone_or_damaged_is_an_image_error(home: Path) -> None:
    with pytest.raises(ImageError):
        load_mask_file(f"{MASKS}/gone.png")
    (home / "broken.png").write_bytes(mask_png(np.ones((4, 5), bool))[:50])
    with pytest.raises(ImageError):
        load_mask_file("broken.png")


def test_a_place_that_cannot_be_written_is_reported(home: Path) -> None:
    (home / MASKS).write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_mask_file(np.ones((2, 2), bool))
