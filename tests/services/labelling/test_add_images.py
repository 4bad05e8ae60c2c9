import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import event

from skrd4ad.data.images.read import read_mask
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.digests import content_digest, file_digest
from skrd4ad.errors import ConfigError, ImageError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.services.inspection.inspect import png_bytes
from skrd4ad.services.labelling import add_images
from skrd4ad.services.labelling.add_images import Added, add_class, add_files
from skrd4ad.services.labelling.annotate import decide, history_of, item_of
from skrd4ad.services.labelling.files import labelled_image, load_mask_file, stored_path
from skrd4ad.services.labelling.queue import filter_of
from skrd4ad.services.labelling.review import send_to_review
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.storage.labelled_images import PredictionRow
from skrd4ad.storage.predictions import save_look
from skrd4ad.task import Status, Task
from skrd4ad.types import GOOD, DatasetClass
from tests.label_world import page_of_queue


@pytest.fixture(autouse=True)
def closed(any_database: str) -> Iterator[None]:
    yield
    workspace_database().close()


@pytest.fixture
def data(own_disc: DatasetClass) -> DatasetClass:
    return own_disc


def queue_of(info: ModelInfo) -> list[QueueItem]:
    return page_of_queue(filter_of(info, None), order="newest", limit=1000)[0]


def picture(value: int, *, width: int = 5) -> bytes:
    return png_bytes(np.full((4, width, 3), value, np.uint8))


def numbers(found: Added) -> tuple[int, int, int, int, int]:
    return found.added, found.known, found.repeated, found.labels, len(found.problems)


def test_test_images_stay_where_they_are_and_tell_what_the_data_set_says(info: ModelInfo, data: DatasetClass) -> None:
    steps: list[tuple[int, int]] = []
    found = add_class(info, data, task=Task(show=lambda at: steps.append((at.done, at.total))))
    n = len(data.test)
    assert numbers(found) == (n, 0, 0, 0, 0)
    assert steps == [(done, n) for done in range(1, n + 1)]
    assert found.digests == tuple(file_digest(sample.path) for sample in data.test)
    items = {item.digest: item for item in queue_of(info)}
    for sample in data.test:
        item = items[file_digest(sample.path)]
        assert stored_path(item.file) == sample.path
        assert (item.name, item.origin, item.split) == (sample.path.name, "dataset", "test")
        assert (item.known_type, item.label, item.latest.number) == (sample.defect_type, "none", 0)
        assert (item.width, item.height) == (64, 64)
        assert labelled_image(item).shape == (64, 64, 3)
    assert not (workspace() / "uploads").exists()


@pytest.mark.parametrize("splits", [("train",), ("train", "test")])
def test_the_splits_are_chosen(info: ModelInfo, data: DatasetClass, splits: tuple[Any, ...]) -> None:
    add_class(info, data, splits=splits)
    assert {item.split for item in queue_of(info)} == set(splits)
    assert len(queue_of(info)) == sum(sample.split in splits for sample in data.samples)
    with pytest.raises(ConfigError, match="choose the test images"):
        add_class(info, data, splits=())


def test_labels_and_masks_of_the_data_set_are_taken_when_asked_for(info: ModelInfo, data: DatasetClass) -> None:
    found = add_class(info, data, splits=("train", "test"), take_labels=True)
    assert found.labels == found.added == len(data.samples)
    for sample in data.samples:
        item = item_of(filter_of(info, None), file_digest(sample.path))
        (revision,) = history_of(item.digest)
        assert (revision.number, revision.reviewer) == (1, "data set")
        if sample.defect_type == GOOD:
            assert (item.label, item.defect_type, item.mask_file) == ("good", None, None)
        else:
            assert (item.label, item.defect_type) == ("defect", sample.defect_type)
            assert item.mask_file is not None and sample.mask_path is not None
            np.testing.assert_array_equal(load_mask_file(item.mask_file), read_mask(sample.mask_path))


def test_a_decision_of_a_person_is_never_replaced_by_the_data_set(info: ModelInfo, data: DatasetClass) -> None:
    add_class(info, data)
    wanted = filter_of(info, None)
    decided, taken_back = (item_of(wanted, file_digest(sample.path)) for sample in data.test[:2])
    decide(decided, "unsure", reviewer="Ada")
    decide(taken_back, "none", reviewer="Ada")
    found = add_class(info, data, take_labels=True)
    assert numbers(found) == (0, len(data.test), 0, len(data.test) - 2, 0)
    assert item_of(wanted, decided.digest).label == "unsure"
    assert item_of(wanted, taken_back.digest).label == "none"
    assert add_class(info, data, take_labels=True).labels == 0


def test_the_same_content_is_counted_once_and_a_contradiction_is_told(info: ModelInfo, data: DatasetClass) -> None:
    good = next(sample for sample in data.test if sample.label == 0)
    bad = next(sample for sample in data.test if sample.label == 1)
    copy, doubtful = good.path.with_name("copy.png"), bad.path.with_name("doubtful.png")
    shutil.copy(good.path, copy)
    shutil.copy(good.path, doubtful)
    samples = (*data.samples, replace(good, path=copy), replace(bad, path=doubtful))
    found = add_class(info, replace(data, samples=samples))
    assert numbers(found) == (len(data.test), 0, 2, 0, 1)
    assert f"{doubtful}: the same content as {good.path}, but another label" in found.problems[0]
    assert "added to the queue, 2 had the same content as another one." in found.text


def test_an_image_that_came_another_way_keeps_it_and_learns_its_split(info: ModelInfo, data: DatasetClass) -> None:
    sample = data.test[0]
    send_to_review(info, [("seen.png", sample.path, PredictionRow(0.5, "NG", 0.4, 1))])
    found = add_class(info, data)
    assert (found.added, found.known) == (len(data.test) - 1, 1)
    item = item_of(filter_of(info, None), file_digest(sample.path))
    assert (item.origin, item.split, item.known_type) == ("inspect", "test", sample.defect_type)
    assert (item.name, item.score, item.width) == ("seen.png", 0.5, 64)
    assert item.file.startswith("uploads/")  # kept in the workspace, whatever becomes of the data set


def test_a_data_set_that_moved_is_found_again_by_content(info: ModelInfo, data: DatasetClass, tmp_path: Path) -> None:
    add_class(info, data)
    gone = file_digest(data.test[0].path)
    with workspace_database().write() as session:
        save_look(session, gone, size=None, note="not there any more")
    shutil.move(tmp_path / "parts", tmp_path / "moved")
    (moved,) = find_classes(tmp_path / "moved")
    assert numbers(add_class(info, moved)) == (0, len(data.test), 0, 0, 0)
    item = item_of(filter_of(info, None), gone)
    assert Path(item.file).is_relative_to(tmp_path / "moved")
    assert item.note is None  # it is tried again
    assert labelled_image(item).shape == (64, 64, 3)


def test_what_cannot_be_read_is_told_and_the_others_are_taken(info: ModelInfo, data: DatasetClass) -> None:
    broken, odd, without, named = [sample for sample in data.test if sample.label == 1][:4]
    broken.path.write_bytes(b"no image")
    assert odd.mask_path is not None and without.mask_path is not None
    Image.new("L", (9, 9), 255).save(odd.mask_path)
    Image.new("L", (64, 64), 0).save(without.mask_path)
    oddly_named = replace(named, defect_type="a/b")
    samples = tuple(oddly_named if sample is named else sample for sample in data.test)
    found = add_class(info, replace(data, samples=samples), take_labels=True)
    assert numbers(found) == (len(data.test) - 1, 0, 0, len(data.test) - 1, 3)
    for sample, problem in zip((broken, odd, named), found.problems, strict=True):
        assert str(sample.path) in problem
    assert "9 x 9 pixels, the image 64 x 64" in found.problems[1]
    assert "'a/b' cannot be used" in found.problems[2]
    wanted = filter_of(info, None)
    for sample in (odd, without, named):
        item = item_of(wanted, file_digest(sample.path))
        assert (item.label, item.mask_file) == ("defect", None)
    assert item_of(wanted, file_digest(named.path)).defect_type is None
    assert item_of(wanted, file_digest(named.path)).known_type == "a/b"


def test_uploads_are_kept_and_files_stay(info: ModelInfo, tmp_path: Path) -> None:
    (tmp_path / "there.png").write_bytes(picture(2))
    inside = workspace() / "drawn" / "inside.png"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(picture(3))
    steps: list[tuple[int, int]] = []
    found = add_files(
        info,
        [
            ("folder/up.png", picture(1, width=7)),
            ("there.png", tmp_path / "there.png"),
            ("inside.png", inside),
            ("same.png", picture(2)),
            ("a\nb.png", picture(4)),
            ("text.png", b"this is a text"),
            ("cut.png", picture(5)[:50]),
            ("zipped.png", ImageError("zipped.png is encrypted.")),
        ],
        task=Task(show=lambda at: steps.append((at.done, at.total))),
    )
    assert numbers(found) == (4, 0, 1, 0, 3)
    assert steps[-1] == (8, 8)
    assert [problem.split(":")[0].split(" ")[0] for problem in found.problems] == ["text.png", "cut.png", "zipped.png"]
    items = {item.name: item for item in queue_of(info)}
    assert set(items) == {"folder/up.png", "there.png", "inside.png", "a\N{REPLACEMENT CHARACTER}b.png"}
    assert {item.origin for item in items.values()} == {"import"}
    assert items["folder/up.png"].file == f"uploads/{content_digest(picture(1, width=7))}.png"
    assert (items["folder/up.png"].width, items["folder/up.png"].height) == (7, 4)
    assert items["there.png"].file == str(tmp_path / "there.png")
    assert items["inside.png"].file == "drawn/inside.png"  # moves along with the workspace
    for item in items.values():
        assert labelled_image(item).shape[0] == 4


def test_a_name_that_is_no_text_is_told(info: ModelInfo, tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/Pr\xfcfling.png"))
    found = add_files(info, [(path.name, path)])
    assert numbers(found) == (0, 0, 0, 0, 1)
    assert "Rename the file" in found.problems[0]
    found.problems[0].encode()


def test_nothing_given_is_nothing_added(info: ModelInfo, data: DatasetClass) -> None:
    assert numbers(add_files(info, [])) == (0, 0, 0, 0, 0)
    assert add_class(info, replace(data, samples=())).text == "0 images added to the queue."


def count_transactions(work: Callable[[], object]) -> int:
    commits: list[object] = []

    def note(connection: object) -> None:
        commits.append(connection)

    engine = workspace_database().engine
    event.listen(engine, "commit", note)
    work()
    event.remove(engine, "commit", note)
    return len(commits)


def test_many_images_take_few_transactions_and_those_before_an_error_stay(
    info: ModelInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add_images, "AT_ONCE", 10)
    files = []
    for value in range(25):
        path = tmp_path / f"{value}.png"
        Image.new("RGB", (4, 4), (value, 0, 0)).save(path)
        files.append((path.name, path))
    assert count_transactions(lambda: add_files(info, files[:10])) == 1

    def stop(at: Status) -> None:
        if at.done == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_files(info, files, task=Task(show=stop))
    assert len(queue_of(info)) == 20
    assert count_transactions(lambda: add_files(info, files)) == 3
    assert len(queue_of(info)) == 25
