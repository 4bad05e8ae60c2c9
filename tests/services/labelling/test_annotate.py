import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError, ConflictError, ImageError, SkrdError, StorageError
from skrd4ad.inference.predictions import Limits
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.regions import ScoringMask
from skrd4ad.services.inspection.inspect import png_bytes
from skrd4ad.services.labelling.annotate import (
    LONGEST_COMMENT,
    decide,
    defect_type_name,
    draw,
    history_of,
    item_of,
    reviewer_name,
    still_holding,
    undo,
)
from skrd4ad.services.labelling.files import load_mask_file
from skrd4ad.services.labelling.queue import filter_of
from skrd4ad.services.labelling.review import keep_upload
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import QueueFilter, QueueItem, save_class_image
from skrd4ad.storage.predictions import save_image, save_look
from tests.label_world import page_of_queue

HEIGHT, WIDTH = 6, 8
WANTED = QueueFilter(dataset="parts", class_name="disc", model_digest="m" * 64)
CONTENT = png_bytes(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def item(any_database: str) -> Iterator[QueueItem]:
    """An image of 8 x 6 pixels that nobody has decided on."""
    kept = keep_upload(CONTENT, name="part.png")
    with workspace_database().write() as session:
        save_image(session, digest=DIGEST, name="part.png", file=kept.relative_to(workspace()))
        save_look(session, DIGEST, size=(WIDTH, HEIGHT))
        save_class_image(session, digest=DIGEST, dataset="parts", class_name="disc", origin="import")
    yield now()
    workspace_database().close()


def now() -> QueueItem:
    return item_of(WANTED, DIGEST)


def mask(*rows: int) -> NDArray[np.bool_]:
    drawn = np.zeros((HEIGHT, WIDTH), bool)
    drawn[list(rows)] = True
    return drawn


def said(item: QueueItem) -> tuple[str, str | None, bool, str]:
    return item.label, item.defect_type, item.mask_file is not None, item.latest.comment


def test_a_decision_is_stored_with_who_and_when_and_what_came_before(item: QueueItem) -> None:
    first = decide(item, "defect", reviewer="  Ada   Lovelace ", defect_type=" dent ", comment=" left edge\n")
    assert (first.number, first.label, first.defect_type) == (1, "defect", "dent")
    assert (first.reviewer, first.comment, first.undoes) == ("Ada Lovelace", "left edge", None)
    second = decide(now(), "good", reviewer="Bo")
    assert second.comment == "left edge"  # kept until it is replaced
    assert decide(now(), "unsure", reviewer="Bo", comment="").comment == ""
    assert [(each.number, each.label, each.defect_type) for each in history_of(DIGEST)] == [
        (1, "defect", "dent"),
        (2, "good", None),
        (3, "unsure", None),
    ]
    assert now().latest.number == 3


def test_who_saw_an_older_state_is_refused_in_everything(item: QueueItem) -> None:
    decide(item, "good", reviewer="Bo")
    for attempt in (
        lambda: decide(item, "defect", reviewer="Ada"),
        lambda: draw(item, mask(1), reviewer="Ada"),
        lambda: undo(item, reviewer="Ada"),
    ):
        with pytest.raises(ConflictError, match="Bo changed this image"):
            attempt()
    assert said(now()) == ("good", None, False, "")


def test_two_at_the_same_time_leave_one_decision_and_one_conflict(item: QueueItem) -> None:
    start = threading.Barrier(2)
    outcomes: list[str] = []

    def work(name: str) -> None:
        start.wait()
        try:
            outcomes.append(decide(item, "good", reviewer=name).reviewer)
        except SkrdError as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("Ada", "Bo")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (loser,) = [each for each in outcomes if each == "ConflictError"]
    (winner,) = [each for each in outcomes if each != loser]
    assert [each.reviewer for each in history_of(DIGEST)] == [winner]


def test_a_drawing_makes_a_defect_and_an_empty_one_takes_the_mask_away(item: QueueItem) -> None:
    drawn = draw(item, mask(1, 2), reviewer="Ada", defect_type="scratch")
    assert (drawn.label, drawn.defect_type) == ("defect", "scratch")
    assert drawn.mask_file is not None
    np.testing.assert_array_equal(load_mask_file(drawn.mask_file, shape=(HEIGHT, WIDTH)), mask(1, 2))
    more = draw(now(), mask(1, 2, 3), reviewer="Ada")
    assert (more.label, more.defect_type) == ("defect", "scratch")  # its type is kept
    assert more.mask_file != drawn.mask_file
    without = draw(now(), mask(), reviewer="Ada")
    assert (without.label, without.defect_type, without.mask_file) == ("defect", "scratch", None)
    np.testing.assert_array_equal(load_mask_file(drawn.mask_file), mask(1, 2))  # earlier revisions keep theirs


def test_an_unsure_image_stays_unsure_when_it_is_drawn_on_and_has_no_type(item: QueueItem) -> None:
    decide(item, "unsure", reviewer="Ada")
    drawn = draw(now(), mask(0), reviewer="Ada", defect_type="dent")
    assert (drawn.label, drawn.defect_type) == ("unsure", None)
    assert drawn.mask_file is not None


def test_an_empty_drawing_decides_nothing(item: QueueItem) -> None:
    assert said(item) == ("none", None, False, "")
    drawn = draw(item, mask(), reviewer="Ada")
    assert (drawn.label, drawn.mask_file) == ("none", None)


@pytest.mark.parametrize(("label", "keeps"), [("good", False), ("none", False), ("unsure", True), ("defect", True)])
def test_a_mask_stays_with_a_defect_and_with_what_is_unsure(item: QueueItem, label: str, keeps: bool) -> None:
    drawn = draw(item, mask(1), reviewer="Ada")
    decided = decide(now(), label, reviewer="Ada")  # type: ignore[arg-type]
    assert decided.mask_file == (drawn.mask_file if keeps else None)


def test_a_mask_of_another_size_is_refused_also_when_the_size_was_never_stored(item: QueueItem) -> None:
    for seen in (item, replace(item, width=None, height=None)):
        with pytest.raises(ConfigError, match=r"mask has 6 x 8 pixels; allowed: the image's, 8 x 6"):
            draw(seen, mask(1).T, reviewer="Ada")
        assert draw(replace(seen, latest=now().latest), mask(1), reviewer="Ada").mask_file is not None
    (workspace() / item.file).unlink()
    with pytest.raises(ImageError):
        draw(replace(now(), width=None, height=None), mask(1), reviewer="Ada")
    assert draw(now(), mask(2), reviewer="Ada").label == "defect"  # the size is known


def test_undo_goes_back_step_by_step_and_is_kept_in_the_history(item: QueueItem) -> None:
    decide(item, "good", reviewer="Ada", comment="fine")
    drawn = draw(now(), mask(1), reviewer="Bo", defect_type="dent")
    decide(now(), "unsure", reviewer="Ada", comment="hm")
    back = undo(now(), reviewer="Cy")
    assert back is not None
    assert (back.number, back.undoes, back.reviewer) == (4, 3, "Cy")
    assert (back.label, back.defect_type, back.mask_file, back.comment) == ("defect", "dent", drawn.mask_file, "fine")
    assert [each.number for each in still_holding(history_of(DIGEST))] == [1, 2]
    assert undo(now(), reviewer="Cy") is not None
    assert said(now()) == ("good", None, False, "fine")
    last = undo(now(), reviewer="Cy")
    assert last is not None and (last.label, last.comment, last.undoes) == ("none", "", 1)
    assert undo(now(), reviewer="Cy") is None  # nothing is left, and nothing is added
    assert [(each.number, each.undoes) for each in history_of(DIGEST)] == [
        (1, None),
        (2, None),
        (3, None),
        (4, 3),
        (5, 2),
        (6, 1),
    ]


def test_after_an_undo_work_goes_on_and_can_be_undone(item: QueueItem) -> None:
    decide(item, "good", reviewer="Ada")
    decide(now(), "defect", reviewer="Ada", defect_type="dent")
    undo(now(), reviewer="Ada")
    decide(now(), "unsure", reviewer="Ada")
    undo(now(), reviewer="Ada")
    assert said(now())[0] == "good"
    assert [each.number for each in still_holding(history_of(DIGEST))] == [1]


@pytest.mark.parametrize("label", ["good", "unsure", "none"])
def test_only_a_defect_has_a_type(item: QueueItem, label: str) -> None:
    with pytest.raises(ConfigError, match="only a defect has a type"):
        decide(item, label, reviewer="Ada", defect_type="dent")  # type: ignore[arg-type]
    assert history_of(DIGEST) == []


def test_what_cannot_be_stored_is_refused_before_anything_is(item: QueueItem) -> None:
    with pytest.raises(ConfigError, match="allowed: 1 to 80 printable"):
        decide(item, "good", reviewer=" ")
    with pytest.raises(ConfigError, match=f"up to {LONGEST_COMMENT}"):
        decide(item, "good", reviewer="Ada", comment="x" * (LONGEST_COMMENT + 1))
    for comment in ("a\0b", "a\ud800b"):
        with pytest.raises(ConfigError, match="cannot be shown"):
            decide(item, "good", reviewer="Ada", comment=comment)
    assert decide(item, "good", reviewer="Ada", comment="two\nlines, می‌شود").comment == "two\nlines, می‌شود"


def test_a_page_of_the_queue_has_its_counts(item: QueueItem) -> None:
    decide(item, "good", reviewer="Ada")
    items, counts = page_of_queue(WANTED)
    assert [each.digest for each in items] == [DIGEST]
    assert (counts.total, counts.labels, counts.unscored) == (1, {"good": 1}, 1)
    assert page_of_queue(replace(WANTED, labels=("none",)))[0] == []


def test_an_image_of_another_class_is_named(item: QueueItem) -> None:
    with pytest.raises(StorageError, match="not among those of fabric"):
        item_of(replace(WANTED, class_name="fabric"), DIGEST)


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\x07b", "a\u202eb"])
def test_a_reviewer_needs_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(ConfigError, match="reviewer's name"):
        reviewer_name(name)
    assert reviewer_name(" Zoë  O'Neil\t3 ") == "Zoë O'Neil 3"


@pytest.mark.parametrize(
    "name", ["good", " GOOD ", "a/b", "a\\b", "..", ".hidden", "a:b", "x" * 81, "what?", "a\x07b", "ends."]
)
def test_a_defect_type_must_be_a_name_for_a_folder(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        defect_type_name(name)


def test_a_defect_type_is_trimmed_and_may_be_missing() -> None:
    assert defect_type_name("  bent \t pin ") == "bent pin"
    assert defect_type_name("Überschuss 3") == "Überschuss 3"
    assert defect_type_name(None) is None
    assert defect_type_name("  ") is None


def test_a_filter_has_the_limits_of_the_model_and_the_scores_that_hold(tiny_model: tuple[Path, Path]) -> None:
    info: ModelInfo = read_info(tiny_model[0])
    limits = Limits(reject=0.6, review=0.4, pixel=0.4, heat_top=1, mask=ScoringMask(), calibration=1)
    wanted = filter_of(info, limits)
    assert (wanted.dataset, wanted.class_name, wanted.model_digest) == (info.dataset, info.class_name, info.digest)
    assert (wanted.reject, wanted.review, wanted.calibrations) == (0.6, 0.4, (None, 1))
    assert (filter_of(info, None).reject, filter_of(info, None).review) == (None, None)
