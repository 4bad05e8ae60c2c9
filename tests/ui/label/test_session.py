from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.errors import CheckpointError, ConfigError, ConflictError
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.annotate import history_of, item_of
from skrd4ad.services.labelling.files import load_mask_file
from skrd4ad.storage.annotations import Label
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.ui.label.session import LabelSession
from tests.label_world import ALL, HEIGHT, WIDTH, picture, put

ANNA, BOB = "Anna", "Bob"


def box(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:9, x0:x1] = True
    return mask


FIRST, SECOND = box(1, 5), box(1, 15)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabelSession]:
    """Six images that nobody has decided on."""
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    for i in range(6):
        put(f"part {i}.png", picture(i))
    yield LabelSession(ALL, "closest")
    workspace_database().close()


def now(session: LabelSession) -> QueueItem:
    """The image in hand as it is in the database."""
    return item_of(ALL, session.item.digest)


def labels_of(session: LabelSession) -> list[str]:
    return [item_of(ALL, digest).label for digest in session.queue.digests]


def by_bob(item: QueueItem, label: Label = "good") -> None:
    annotate.decide(item_of(ALL, item.digest), label, reviewer=BOB)


# ---- going through the queue ----


def test_the_first_open_image_is_in_hand_and_the_order_stays_while_deciding(session: LabelSession) -> None:
    order = list(session.queue.digests)
    assert len(order) == 6 and session.current == order[0]
    for label in ("good", "defect", "unsure"):
        assert session.decide(label, reviewer=ANNA)
        session.go_on()
    assert session.current == order[3] and session.queue.digests == order
    assert labels_of(session) == ["good", "defect", "unsure", "none", "none", "none"]
    session.look_up(replace(ALL, labels=("none",)), "closest")
    assert session.queue.digests == order[3:] and session.current == order[3]


def test_going_on_passes_over_what_is_decided_and_comes_back_to_what_was_left_out(session: LabelSession) -> None:
    order = session.queue.digests
    by_bob(item_of(ALL, order[1]))
    session.go_on()
    assert session.current == order[2]
    for digest in order[3:]:
        by_bob(item_of(ALL, digest))
    session.decide("good", reviewer=ANNA)
    session.go_on()
    assert session.current == order[0]
    session.decide("good", reviewer=ANNA)
    session.go_on()
    assert session.current == order[0] and "All images" in session.note


def test_next_and_previous_end_at_the_ends(session: LabelSession) -> None:
    session.step(-1)
    assert session.current == session.queue.digests[0] and "first" in session.note
    for _ in range(6):
        session.step(1)
    assert session.current == session.queue.digests[-1] and "last" in session.note


def test_an_image_that_the_filter_does_not_let_through_can_be_opened(session: LabelSession) -> None:
    other = session.queue.digests[4]
    by_bob(item_of(ALL, other))
    session.look_up(replace(ALL, labels=("none",)), "closest")
    assert other not in session.queue
    session.open(other)
    assert session.item.label == "good"
    session.step(1)
    assert session.item.label == "none"


# ---- deciding ----


def test_what_holds_already_is_not_stored_again(session: LabelSession) -> None:
    assert session.decide("defect", reviewer=ANNA, defect_type="dent") and session.decide(
        "defect", reviewer=BOB, defect_type="dent"
    )
    assert [each.reviewer for each in history_of(session.item.digest)] == [ANNA]
    assert session.decide("defect", reviewer=BOB, defect_type="dent", comment=" deep ")
    assert (now(session).latest.comment, now(session).latest.number) == ("deep", 2)


def test_a_new_type_comes_after_those_that_are_known(session: LabelSession) -> None:
    session.decide("defect", reviewer=ANNA, defect_type="scratch")
    session.go_on()
    session.decide("defect", reviewer=ANNA, defect_type="dent")
    assert session.types == ["scratch", "dent"]
    with pytest.raises(ConfigError, match="cannot be used"):
        session.decide("defect", reviewer=ANNA, defect_type="a/b")
    assert LabelSession(ALL, "closest").types == ["scratch", "dent"]


# ---- drawing ----


def test_a_report_that_comes_twice_is_one_stroke(session: LabelSession) -> None:
    digest = session.item.digest
    for mask in (FIRST, FIRST, SECOND, SECOND, FIRST, FIRST):
        session.draw(digest, mask, reviewer=ANNA)
    assert [each.undoes for each in history_of(digest)] == [None, None, 2]
    assert session.item == now(session)


def test_a_drawing_is_stored_and_the_one_before_takes_the_stroke_back(session: LabelSession) -> None:
    digest = session.item.digest
    session.draw(digest, FIRST, reviewer=ANNA)
    session.draw(digest, SECOND, reviewer=ANNA)
    assert session.item == now(session) and session.item.label == "defect"
    np.testing.assert_array_equal(load_mask_file(session.item.mask_file or ""), SECOND)
    session.draw(digest, FIRST, reviewer=ANNA)
    session.draw(digest, np.zeros_like(FIRST), reviewer=ANNA)
    assert [each.undoes for each in history_of(digest)] == [None, None, 2, 1]
    assert (now(session).label, now(session).mask_file) == ("none", None)
    session.draw(digest, FIRST, reviewer=ANNA)  # drawn again
    assert now(session).label == "defect" and history_of(digest)[-1].undoes is None


def test_a_decision_between_two_strokes_stays_when_the_first_is_rubbed_out(session: LabelSession) -> None:
    digest = session.item.digest
    session.draw(digest, FIRST, reviewer=ANNA)
    session.decide("defect", reviewer=ANNA, defect_type="dent")
    session.draw(digest, np.zeros_like(FIRST), reviewer=ANNA)
    assert (now(session).label, now(session).defect_type, now(session).mask_file) == ("defect", "dent", None)


def test_rubbing_out_what_somebody_else_drew_takes_nothing_back(session: LabelSession) -> None:
    digest = session.item.digest
    annotate.draw(session.item, FIRST, reviewer=BOB)
    session.open(digest)
    session.draw(digest, np.zeros_like(FIRST), reviewer=ANNA)
    assert history_of(digest)[-1].undoes is None and now(session).label == "defect"


def test_a_stroke_on_the_image_before_is_stored_there(session: LabelSession) -> None:
    before = session.item.digest
    session.step(1)
    drawing = session.drawing_id()
    session.draw(before, FIRST, reviewer=ANNA)
    assert item_of(ALL, before).label == "defect" and now(session).label == "none"
    assert session.drawing_id() == drawing


def test_the_browser_takes_another_mask_only_when_it_has_not_drawn_it(session: LabelSession) -> None:
    digest = session.item.digest
    empty = session.drawing_id()
    session.draw(digest, FIRST, reviewer=ANNA)
    assert session.drawing_id() == empty and empty.startswith(f"{digest}:")
    session.decide("unsure", reviewer=ANNA)
    assert session.drawing_id() == empty
    session.take_back(reviewer=ANNA)
    session.take_back(reviewer=ANNA)
    taken = session.drawing_id()
    assert taken != empty and session.drawing() is None
    session.step(1)
    assert session.drawing_id() not in (taken, empty)


# ---- taking back ----


def test_the_last_step_is_taken_back_on_this_image_first_and_then_on_the_one_before(session: LabelSession) -> None:
    first = session.item.digest
    session.decide("good", reviewer=ANNA)
    session.go_on()
    second = session.item.digest
    session.draw(second, FIRST, reviewer=ANNA)
    session.decide("defect", reviewer=ANNA, defect_type="dent")
    session.take_back(reviewer=ANNA)
    assert (now(session).defect_type, now(session).label) == (
        None,
        "defect",
    ) and "defect (dent) by Anna" in session.note
    session.take_back(reviewer=ANNA)
    assert now(session).label == "none" and session.current == second
    session.take_back(reviewer=ANNA)
    assert session.current == first and now(session).label == "none"
    session.take_back(reviewer=ANNA)
    assert session.current == first and "nothing to take back" in session.note
    assert len(history_of(first)) == 2


def test_what_somebody_else_changed_since_is_not_taken_back(session: LabelSession) -> None:
    first = session.item.digest
    session.decide("good", reviewer=ANNA)
    session.go_on()
    by_bob(item_of(ALL, first), "defect")
    session.take_back(reviewer=ANNA)
    assert session.current == first and now(session).label == "defect" and "changed since" in session.note


# ---- two reviewers ----


def test_a_change_by_somebody_else_is_noticed_once_and_shown_when_it_is_asked_for(session: LabelSession) -> None:
    assert session.changed() is None
    by_bob(session.item)
    assert session.notices(now(session)) and not session.notices(now(session))
    changed = session.changed()
    assert changed is not None and changed.latest.reviewer == BOB and session.item.label == "none"
    session.take_theirs()
    assert session.item.label == "good" and session.changed() is None


def test_a_drawing_that_comes_too_late_is_kept_and_stored_after_the_other_one(session: LabelSession) -> None:
    digest, before = session.item.digest, session.drawing_id()
    annotate.draw(session.item, FIRST, reviewer=BOB)
    session.draw(digest, SECOND, reviewer=ANNA)
    assert isinstance(session.pending[digest].error, ConflictError)
    longer = SECOND | box(15, 20)
    session.draw(digest, longer, reviewer=ANNA)
    session.decide("defect", reviewer=ANNA, defect_type="dent")
    assert now(session).latest.reviewer == BOB and session.drawing_id() == before
    session.step(1)
    session.step(-1)
    drawing = session.drawing()
    assert drawing is not None
    np.testing.assert_array_equal(drawing, longer)
    session.store_mine(reviewer=ANNA)
    np.testing.assert_array_equal(load_mask_file(now(session).mask_file or ""), longer)
    assert (now(session).defect_type, now(session).latest.reviewer) == ("dent", ANNA) and not session.pending
    np.testing.assert_array_equal(load_mask_file(history_of(digest)[0].mask_file or ""), FIRST)


def test_the_other_drawing_is_taken_and_the_own_one_dropped(session: LabelSession) -> None:
    digest, before = session.item.digest, session.drawing_id()
    by_bob(session.item, "defect")  # without a drawing, so that the file of the mask is the same as before
    session.draw(digest, SECOND, reviewer=ANNA)
    session.take_theirs()
    assert session.drawing_id() != before and session.drawing() is None
    assert not session.pending and now(session).latest.number == 1


def test_a_decision_that_comes_too_late_is_kept_too(session: LabelSession) -> None:
    by_bob(session.item, "defect")
    assert not session.decide("good", reviewer=ANNA)
    assert now(session).label == "defect"
    by_bob(session.item, "unsure")  # again, before the first reviewer has chosen
    session.store_mine(reviewer=ANNA)
    assert [each.label for each in history_of(session.item.digest)] == ["defect", "unsure", "good"]


def test_what_the_disk_refuses_is_kept_until_it_can_be_stored(
    session: LabelSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(mask: np.ndarray) -> str:
        raise CheckpointError("The disk is full.")

    digest = session.item.digest
    with monkeypatch.context() as patch:
        patch.setattr("skrd4ad.services.labelling.annotate.save_mask_file", full)
        session.draw(digest, FIRST, reviewer=ANNA)
        session.store_mine(reviewer=ANNA)
        assert not session.decide("good", reviewer=ANNA)
    assert now(session).latest.number == 0 and session.changed() is None
    session.store_mine(reviewer=ANNA)
    assert [each.label for each in history_of(digest)] == ["defect", "good"] and not session.pending


def test_an_attempt_that_fails_leaves_its_reason(session: LabelSession) -> None:
    session.attempt(lambda: session.decide("defect", reviewer=ANNA, defect_type="a/b"))
    assert "cannot be used" in str(session.trouble)
    session.attempt(lambda: session.decide("good", reviewer=ANNA))
    assert session.trouble is None
