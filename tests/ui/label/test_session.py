from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.errors import CheckpointError, ConfigError, ConflictError
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.annotate import QueueItem, history_of, item_of
from skrd4ad.services.labelling.files import load_mask_file
from skrd4ad.storage.database import workspace_database
from skrd4ad.ui.label.session import Desk
from tests.label_world import ALL, HEIGHT, WIDTH, picture, put

ANNA, BOB = "Anna", "Bob"


def box(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:9, x0:x1] = True
    return mask


FIRST, SECOND = box(1, 5), box(1, 15)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Six images that nobody has decided on."""
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    monkeypatch.delenv("SKRD4AD_DATABASE_URL", raising=False)
    for i in range(6):
        put(f"part {i}.png", picture(i))
    yield Desk(ALL, "closest")
    workspace_database().close()


def now(desk: Desk) -> QueueItem:
    """The image in hand as it is in the database."""
    return item_of(ALL, desk.item.digest)


def labels_of(desk: Desk) -> list[str]:
    return [item_of(ALL, digest).label for digest in desk.queue.digests]


def by_bob(item: QueueItem, label: annotate.Label = "good") -> None:
    annotate.decide(item_of(ALL, item.digest), label, reviewer=BOB)


# ---- going through the queue ----


def test_the_first_open_image_is_in_hand_and_the_order_stays_while_deciding(desk: Desk) -> None:
    order = list(desk.queue.digests)
    assert len(order) == 6 and desk.current == order[0]
    for label in ("good", "defect", "unsure"):
        assert desk.decide(label, reviewer=ANNA)
        desk.go_on()
    assert desk.current == order[3] and desk.queue.digests == order
    assert labels_of(desk) == ["good", "defect", "unsure", "none", "none", "none"]
    desk.look_up(replace(ALL, labels=("none",)), "closest")
    assert desk.queue.digests == order[3:] and desk.current == order[3]


def test_going_on_passes_over_what_is_decided_and_comes_back_to_what_was_left_out(desk: Desk) -> None:
    order = desk.queue.digests
    by_bob(item_of(ALL, order[1]))
    desk.go_on()
    assert desk.current == order[2]
    for digest in order[3:]:
        by_bob(item_of(ALL, digest))
    desk.decide("good", reviewer=ANNA)
    desk.go_on()
    assert desk.current == order[0]
    desk.decide("good", reviewer=ANNA)
    desk.go_on()
    assert desk.current == order[0] and "All images" in desk.note


def test_next_and_previous_end_at_the_ends(desk: Desk) -> None:
    desk.step(-1)
    assert desk.current == desk.queue.digests[0] and "first" in desk.note
    for _ in range(6):
        desk.step(1)
    assert desk.current == desk.queue.digests[-1] and "last" in desk.note


def test_an_image_that_the_filter_does_not_let_through_can_be_opened(desk: Desk) -> None:
    other = desk.queue.digests[4]
    by_bob(item_of(ALL, other))
    desk.look_up(replace(ALL, labels=("none",)), "closest")
    assert other not in desk.queue
    desk.open(other)
    assert desk.item.label == "good"
    desk.step(1)
    assert desk.item.label == "none"


# ---- deciding ----


def test_what_holds_already_is_not_stored_again(desk: Desk) -> None:
    assert desk.decide("defect", reviewer=ANNA, defect_type="dent") and desk.decide(
        "defect", reviewer=BOB, defect_type="dent"
    )
    assert [each.reviewer for each in history_of(desk.item.digest)] == [ANNA]
    assert desk.decide("defect", reviewer=BOB, defect_type="dent", comment=" deep ")
    assert (now(desk).comment, now(desk).revision) == ("deep", 2)


def test_a_new_type_comes_after_those_that_are_known(desk: Desk) -> None:
    desk.decide("defect", reviewer=ANNA, defect_type="scratch")
    desk.go_on()
    desk.decide("defect", reviewer=ANNA, defect_type="dent")
    assert desk.types == ["scratch", "dent"]
    with pytest.raises(ConfigError, match="cannot be used"):
        desk.decide("defect", reviewer=ANNA, defect_type="a/b")
    assert Desk(ALL, "closest").types == ["scratch", "dent"]


# ---- drawing ----


def test_a_report_that_comes_twice_is_one_stroke(desk: Desk) -> None:
    digest = desk.item.digest
    for mask in (FIRST, FIRST, SECOND, SECOND, FIRST, FIRST):
        desk.draw(digest, mask, reviewer=ANNA)
    assert [each.undoes for each in history_of(digest)] == [None, None, 2]
    assert desk.item == now(desk)


def test_a_drawing_is_stored_and_the_one_before_takes_the_stroke_back(desk: Desk) -> None:
    digest = desk.item.digest
    desk.draw(digest, FIRST, reviewer=ANNA)
    desk.draw(digest, SECOND, reviewer=ANNA)
    assert desk.item == now(desk) and desk.item.label == "defect"
    np.testing.assert_array_equal(load_mask_file(desk.item.mask_file or ""), SECOND)
    desk.draw(digest, FIRST, reviewer=ANNA)
    desk.draw(digest, np.zeros_like(FIRST), reviewer=ANNA)
    assert [each.undoes for each in history_of(digest)] == [None, None, 2, 1]
    assert (now(desk).label, now(desk).mask_file) == ("none", None)
    desk.draw(digest, FIRST, reviewer=ANNA)  # drawn again
    assert now(desk).label == "defect" and history_of(digest)[-1].undoes is None


def test_a_decision_between_two_strokes_stays_when_the_first_is_rubbed_out(desk: Desk) -> None:
    digest = desk.item.digest
    desk.draw(digest, FIRST, reviewer=ANNA)
    desk.decide("defect", reviewer=ANNA, defect_type="dent")
    desk.draw(digest, np.zeros_like(FIRST), reviewer=ANNA)
    assert (now(desk).label, now(desk).defect_type, now(desk).mask_file) == ("defect", "dent", None)


def test_rubbing_out_what_somebody_else_drew_takes_nothing_back(desk: Desk) -> None:
    digest = desk.item.digest
    annotate.draw(desk.item, FIRST, reviewer=BOB)
    desk.open(digest)
    desk.draw(digest, np.zeros_like(FIRST), reviewer=ANNA)
    assert history_of(digest)[-1].undoes is None and now(desk).label == "defect"


def test_a_stroke_on_the_image_before_is_stored_there(desk: Desk) -> None:
    before = desk.item.digest
    desk.step(1)
    drawing = desk.drawing_id()
    desk.draw(before, FIRST, reviewer=ANNA)
    assert item_of(ALL, before).label == "defect" and now(desk).label == "none"
    assert desk.drawing_id() == drawing


def test_the_browser_takes_another_mask_only_when_it_has_not_drawn_it(desk: Desk) -> None:
    digest = desk.item.digest
    empty = desk.drawing_id()
    desk.draw(digest, FIRST, reviewer=ANNA)
    assert desk.drawing_id() == empty and empty.startswith(f"{digest}:")
    desk.decide("unsure", reviewer=ANNA)
    assert desk.drawing_id() == empty
    desk.take_back(reviewer=ANNA)
    desk.take_back(reviewer=ANNA)
    taken = desk.drawing_id()
    assert taken != empty and desk.drawing() is None
    desk.step(1)
    assert desk.drawing_id() not in (taken, empty)


# ---- taking back ----


def test_the_last_step_is_taken_back_on_this_image_first_and_then_on_the_one_before(desk: Desk) -> None:
    first = desk.item.digest
    desk.decide("good", reviewer=ANNA)
    desk.go_on()
    second = desk.item.digest
    desk.draw(second, FIRST, reviewer=ANNA)
    desk.decide("defect", reviewer=ANNA, defect_type="dent")
    desk.take_back(reviewer=ANNA)
    assert (now(desk).defect_type, now(desk).label) == (None, "defect") and "defect (dent) by Anna" in desk.note
    desk.take_back(reviewer=ANNA)
    assert now(desk).label == "none" and desk.current == second
    desk.take_back(reviewer=ANNA)
    assert desk.current == first and now(desk).label == "none"
    desk.take_back(reviewer=ANNA)
    assert desk.current == first and "nothing to take back" in desk.note
    assert len(history_of(first)) == 2


def test_what_somebody_else_changed_since_is_not_taken_back(desk: Desk) -> None:
    first = desk.item.digest
    desk.decide("good", reviewer=ANNA)
    desk.go_on()
    by_bob(item_of(ALL, first), "defect")
    desk.take_back(reviewer=ANNA)
    assert desk.current == first and now(desk).label == "defect" and "changed since" in desk.note


# ---- two reviewers ----


def test_a_change_by_somebody_else_is_noticed_once_and_shown_when_it_is_asked_for(desk: Desk) -> None:
    assert desk.changed() is None
    by_bob(desk.item)
    assert desk.notices(now(desk)) and not desk.notices(now(desk))
    changed = desk.changed()
    assert changed is not None and changed.reviewer == BOB and desk.item.label == "none"
    desk.take_theirs()
    assert desk.item.label == "good" and desk.changed() is None


def test_a_drawing_that_comes_too_late_is_kept_and_stored_after_the_other_one(desk: Desk) -> None:
    digest, before = desk.item.digest, desk.drawing_id()
    annotate.draw(desk.item, FIRST, reviewer=BOB)
    desk.draw(digest, SECOND, reviewer=ANNA)
    assert isinstance(desk.unstored[digest].error, ConflictError)
    longer = SECOND | box(15, 20)
    desk.draw(digest, longer, reviewer=ANNA)
    desk.decide("defect", reviewer=ANNA, defect_type="dent")
    assert now(desk).reviewer == BOB and desk.drawing_id() == before
    desk.step(1)
    desk.step(-1)
    drawing = desk.drawing()
    assert drawing is not None
    np.testing.assert_array_equal(drawing, longer)
    desk.store_mine(reviewer=ANNA)
    np.testing.assert_array_equal(load_mask_file(now(desk).mask_file or ""), longer)
    assert (now(desk).defect_type, now(desk).reviewer) == ("dent", ANNA) and not desk.unstored
    np.testing.assert_array_equal(load_mask_file(history_of(digest)[0].mask_file or ""), FIRST)


def test_the_other_drawing_is_taken_and_the_own_one_dropped(desk: Desk) -> None:
    digest, before = desk.item.digest, desk.drawing_id()
    by_bob(desk.item, "defect")  # without a drawing, so that the file of the mask is the same as before
    desk.draw(digest, SECOND, reviewer=ANNA)
    desk.take_theirs()
    assert desk.drawing_id() != before and desk.drawing() is None
    assert not desk.unstored and now(desk).revision == 1


def test_a_decision_that_comes_too_late_is_kept_too(desk: Desk) -> None:
    by_bob(desk.item, "defect")
    assert not desk.decide("good", reviewer=ANNA)
    assert now(desk).label == "defect"
    by_bob(desk.item, "unsure")  # again, before the first reviewer has chosen
    desk.store_mine(reviewer=ANNA)
    assert [each.label for each in history_of(desk.item.digest)] == ["defect", "unsure", "good"]


def test_what_the_disk_refuses_is_kept_until_it_can_be_stored(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(mask: np.ndarray) -> str:
        raise CheckpointError("The disk is full.")

    digest = desk.item.digest
    with monkeypatch.context() as patch:
        patch.setattr("skrd4ad.services.labelling.annotate.save_mask_file", full)
        desk.draw(digest, FIRST, reviewer=ANNA)
        desk.store_mine(reviewer=ANNA)
        assert not desk.decide("good", reviewer=ANNA)
    assert now(desk).revision == 0 and desk.changed() is None
    desk.store_mine(reviewer=ANNA)
    assert [each.label for each in history_of(digest)] == ["defect", "good"] and not desk.unstored


def test_an_attempt_that_fails_leaves_its_reason(desk: Desk) -> None:
    desk.attempt(lambda: desk.decide("defect", reviewer=ANNA, defect_type="a/b"))
    assert "cannot be used" in str(desk.trouble)
    desk.attempt(lambda: desk.decide("good", reviewer=ANNA))
    assert desk.trouble is None
