import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from skrd4ad.inference.predictions import limits_of
from skrd4ad.model_folder.folder import read_info
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.annotate import history_of
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.services.labelling.queue import filter_of, items_of, order_of_queue
from skrd4ad.services.labelling.review import send_to_review
from skrd4ad.services.roles import give_role
from skrd4ad.services.watching.watches import reset_watcher, watches_of
from skrd4ad.storage.label_queue import QueueFilter, QueueItem
from skrd4ad.storage.labelled_images import PredictionRow
from skrd4ad.ui.label.decide import PANEL
from skrd4ad.ui.label.improve.state import OPEN
from skrd4ad.ui.label.list import LIST

Send = Callable[..., None]


@pytest.fixture
def send(own_model: Path, tmp_path: Path) -> Send:
    """``send("a", 0.9, refusal=None)`` puts an image into the queue with its score."""

    def put(name: str, score: float, *, refusal: str | None = None) -> None:
        path = tmp_path / f"{name}.png"
        noise = np.random.default_rng(list(name.encode())).integers(0, 255, (20, 30, 3), np.uint8)
        Image.fromarray(noise).save(path)
        said = PredictionRow(score, "NG", 1.0, 1, refusal)
        send_to_review(read_info(own_model), [(path.name, path, said)])

    return put


@pytest.fixture
def wanted(own_model: Path) -> QueueFilter:
    info = read_info(own_model)
    return filter_of(info, limits_of(info))


def queue(wanted: QueueFilter) -> list[QueueItem]:
    return items_of(wanted, order_of_queue(wanted))


def named(wanted: QueueFilter, name: str) -> QueueItem:
    return next(item for item in queue(wanted) if item.name == f"{name}.png")


def as_anna(at: AppTest) -> AppTest:
    at.text_input(key="label-reviewer-input").set_value("Anna")
    at.button(key="label-reviewer-go").click().run()
    return fine(at)


def fine(at: AppTest) -> AppTest:
    assert not at.exception
    return at


def press(at: AppTest, act: str, image: str, *, key: str = PANEL, **value: Any) -> AppTest:
    """What the component in the browser reports."""
    at.session_state["presses-of-the-test"] = n = (
        at.session_state["presses-of-the-test"] + 1 if "presses-of-the-test" in at.session_state else 1
    )
    one = {"n": n, "session": at.session_state["_presses-token"], "act": act, "image": image, **value}
    at.session_state[key] = {"presses": [one]}
    return fine(at.run())


def current(at: AppTest) -> QueueItem:
    item = at.session_state["_label-desk"].item
    assert isinstance(item, QueueItem)
    return item


def texts(at: AppTest) -> str:
    return "\n".join(each.value for group in (at.caption, at.info, at.error, at.warning, at.markdown) for each in group)


def test_without_a_model_it_leads_to_the_train_page(visit) -> None:
    at = visit("label")
    fine(at).button("train-a-model").click().run()
    assert [title.value for title in at.title] == ["Train"]


def test_the_name_is_asked_once_and_without_images_it_leads_to_the_inspect_page(visit, own_model: Path) -> None:
    at = visit("label")
    at.button(key="label-reviewer-go").click().run()
    assert "name has 0 characters" in fine(at).error[0].value
    as_anna(at)
    assert "There are no images of machined disc" in texts(at)
    at.button(key="label-go-inspect").click().run()
    assert [title.value for title in at.title] == ["Inspect"]
    at.switch_page("routes/label.py").run()
    assert "There are no images" in texts(fine(at))


def test_decisions_are_stored_and_go_on_in_an_order_that_stays(visit, send: Send, wanted: QueueFilter) -> None:
    for name, score in (("far", 9.0), ("near", 1.6), ("middle", 3.0)):
        send(name, score)
    at = as_anna(visit("label"))
    near, middle, far = queue(wanted)
    assert current(at).name == "near.png" and "0 of 3 decided, 3 left" in texts(at)
    press(at, "good", near.digest)
    assert current(at).digest == middle.digest and "1 of 3 decided, 2 left" in texts(at)
    assert "near.png: good." in texts(at).replace("\\", "")
    press(at, "good", near.digest)  # pressed twice: that image is no longer in hand
    assert current(at).digest == middle.digest and named(wanted, "middle").latest.number == 0
    press(at, "type", middle.digest, value="dent")
    press(at, "previous", far.digest)
    assert (current(at).name, current(at).defect_type) == ("middle.png", "dent")
    press(at, "unsure", middle.digest)
    assert current(at).digest == far.digest
    press(at, "back", middle.digest)  # meant for the image that was shown
    assert (current(at).label, current(at).digest) == ("defect", middle.digest)
    press(at, "open", near.digest, key=LIST)
    assert current(at).digest == near.digest
    assert [each.reviewer for each in history_of(near.digest)] == ["Anna"]
    at.run()
    assert len(history_of(near.digest)) == 1, "a rerun repeats no press"


def test_a_defect_stays_in_hand_when_it_is_to_be_drawn(visit, send: Send, wanted: QueueFilter) -> None:
    send("a", 2.0)
    send("b", 3.0)
    at = as_anna(visit("label"))
    at.toggle(key="label-stay").set_value(True).run()
    a = named(wanted, "a").digest
    press(at, "defect", a)
    assert current(at).digest == a and current(at).label == "defect"
    press(at, "defect", a)  # again: it is confirmed
    assert current(at).name == "b.png" and len(history_of(a)) == 1


def test_a_new_type_and_a_comment_are_stored(visit, send: Send, wanted: QueueFilter) -> None:
    send("a", 2.0)
    at = as_anna(visit("label"))
    next(each for each in at.text_area if each.label == "Comment").set_value("at the rim").run()
    assert (named(wanted, "a").latest.comment, named(wanted, "a").label) == ("at the rim", "none")
    next(each for each in at.text_input if each.label == "New type of defect").set_value("a/b").run()
    assert "cannot be used" in fine(at).error[0].value
    next(each for each in at.text_input if each.label == "New type of defect").set_value("dent").run()
    assert not fine(at).error
    item = named(wanted, "a")
    assert (item.label, item.defect_type, item.latest.comment) == ("defect", "dent", "at the rim")
    assert at.session_state["_label-desk"].types == ["dent"]


def test_who_decides_meanwhile_is_shown_and_nothing_is_overwritten(visit, send: Send, wanted: QueueFilter) -> None:
    send("a", 2.0)
    at = as_anna(visit("label"))
    annotate.decide(named(wanted, "a"), "defect", reviewer="B*b", defect_type="dent")
    at.run()
    told = fine(at).warning[0].proto.body
    assert "**B\\*b** changed this image" in told and "defect \\(dent\\)" in told
    press(at, "good", current(at).digest)
    assert "Not stored yet: your decision, good" in texts(at)
    assert named(wanted, "a").label == "defect"
    at.button(key="label-store-mine").click().run()
    assert [(each.label, each.reviewer) for each in history_of(current(at).digest)] == [
        ("defect", "B*b"),
        ("good", "Anna"),
    ]
    assert not fine(at).warning
    annotate.undo(named(wanted, "a"), reviewer="B*b")
    at.run()
    at.button(key="label-see-theirs").click().run()
    assert not fine(at).warning and current(at).label == "defect"


def test_the_filter_narrows_the_queue_and_says_when_nothing_is_left(visit, send: Send, wanted: QueueFilter) -> None:
    for name, score in (("a", 0.01), ("b", 5.0), ("c", 6.0)):
        send(name, score)
    annotate.decide(named(wanted, "c"), "defect", reviewer="Bob", defect_type="dent")
    at = as_anna(visit("label"))
    pills = {each.label: each for each in at.pills}
    pills["Verdict"].set_value(["NG"]).run()
    assert "1 of 2 decided, 1 left" in texts(fine(at))
    at.multiselect(key="label-filter-types").set_value(["dent"]).run()
    assert [item.name for item in at.session_state["_label-desk"].queue.window()] == ["c.png"]
    next(each for each in at.pills if each.label == "Decision").set_value(["unsure"]).run()
    assert "No image is let through" in texts(fine(at))
    at.button(key="label-show-decided").click().run()
    assert [item.name for item in at.session_state["_label-desk"].queue.window()] == ["c.png"]
    at.button(key="label-filter-clear").click().run()
    assert len(at.session_state["_label-desk"].queue.digests) == 3
    at.selectbox(key="label-order").set_value("highest").run()
    assert [item.name for item in at.session_state["_label-desk"].queue.window()] == ["c.png", "b.png", "a.png"]


def test_new_images_come_in_when_they_are_asked_for(visit, send: Send) -> None:
    send("a", 2.0)
    at = as_anna(visit("label"))
    send("b", 1.5)
    at.run()
    assert "0 of 2 decided; **1 new**" in texts(at)
    assert len(at.session_state["_label-desk"].queue.digests) == 1
    at.button(key="label-refresh").click().run()
    assert len(fine(at).session_state["_label-desk"].queue.digests) == 2
    assert current(at).name == "a.png"


def test_when_all_are_decided_it_says_so(visit, send: Send, wanted: QueueFilter) -> None:
    send("a", 2.0)
    at = as_anna(visit("label"))
    press(at, "unsure", current(at).digest)
    assert "All images of this queue are decided." in [each.value for each in at.success]
    assert current(at).name == "a.png"
    at.button(key="label-look-unsure").click().run()
    assert [item.name for item in fine(at).session_state["_label-desk"].queue.window()] == ["a.png"]
    at.button(key="label-improve").click().run()
    assert fine(at).segmented_control(key="label-section").value == "improve"


def test_images_that_are_gone_or_cannot_be_judged_do_not_stop_the_others(
    visit, send: Send, wanted: QueueFilter
) -> None:
    send("gone", 1.6)
    send("odd", 2.0, refusal="cannot judge: too dark")
    stored_path(named(wanted, "gone").file).unlink()
    at = as_anna(visit("label"))
    assert current(at).name == "gone.png" and "is not at" in at.error[0].value
    press(at, "next", current(at).digest)
    assert current(at).name == "odd.png" and "cannot judge: too dark" in texts(at) and not at.error


def test_a_model_without_a_limit_orders_by_score(visit, send: Send, own_model: Path) -> None:
    send("a", 2.0)
    send("b", 3.0)
    (own_model / "calibration.json").unlink()
    at = as_anna(visit("label"))
    assert not at.error and "no verdicts to filter by" in texts(at)


def test_an_image_that_another_section_asks_for_is_opened(visit, send: Send, wanted: QueueFilter) -> None:
    send("a", 2.0)
    send("b", 3.0)
    at = as_anna(visit("label"))
    at.segmented_control(key="label-section").set_value("improve").run()
    assert not fine(at).error
    at.session_state[OPEN] = named(wanted, "b").digest
    at.run()
    assert current(fine(at)).name == "b.png" and at.segmented_control(key="label-section").value == "decide"
    at.session_state[OPEN] = "f" * 64
    at.run()
    assert "is not among those of machined_disc" in fine(at).error[0].value


def test_with_a_login_the_name_is_that_of_the_login(visit, send: Send, wanted: QueueFilter) -> None:
    send("a", 2.0)
    give_role("d@example.org", "inspector")
    at = visit("label")
    at.user = {"is_logged_in": True, "name": "Dora", "email": "d@example.org"}
    at.run()
    assert not any(each.label == "Your name" for each in fine(at).text_input)
    assert "Logged in as Dora" in texts(at)
    press(at, "good", current(at).digest)
    assert named(wanted, "a").latest.reviewer == "Dora"


def test_before_the_login_nobody_decides_and_a_login_that_is_not_set_up_is_a_message(visit, send: Send) -> None:
    send("a", 2.0)
    at = visit("label")
    at.user = {"is_logged_in": False}
    at.run()
    assert "Log in to see" in fine(at).info[0].value and not at.title and "_label-desk" not in at.session_state
    at.button(key="login").click().run()
    assert "The login cannot be used" in fine(at).error[0].value


def test_a_damaged_mask_is_a_message_and_the_image_is_still_shown(visit, send: Send, wanted: QueueFilter) -> None:
    send("a", 2.0)
    item = replace(named(wanted, "a"), width=30, height=20)
    revision = annotate.draw(item, np.ones((20, 30), bool), reviewer="Bob")
    stored_path(revision.mask_file or "").write_bytes(b"no mask")
    at = as_anna(visit("label"))
    assert at.error and current(fine(at)).label == "defect"


def test_the_images_of_the_data_set_and_uploads_come_into_the_queue(
    visit, own_model: Path, wanted: QueueFilter, tiny_data: Path
) -> None:
    at = as_anna(visit("label"))
    at.button(key="label-add-test").click().run()
    assert "12 images added to the queue." in [each.value for each in fine(at).success]
    assert len(queue(wanted)) == 12 and "0 of 12 decided" in texts(at)
    at.toggle(key="label-add-labels").set_value(True).run()
    at.pills(key="label-add-splits").set_value(["train"]).run()
    at.button(key="label-add-data").click().run()
    assert "12 labels of the data set taken over" in fine(at).success[0].value
    assert "12 of 24 decided, 12 left" in texts(at)
    upload = (tiny_data / "machined_disc" / "test" / "good").iterdir()
    buffer = io.BytesIO()
    Image.open(next(upload)).rotate(90).save(buffer, "PNG")
    at.file_uploader[0].set_value([("turned.png", buffer.getvalue(), "image/png"), ("torn.png", b"no", "image/png")])
    at.run()
    at.button(key="label-add-uploads").click().run()
    assert "1 image added" in fine(at).success[0].value and "torn.png" in at.warning[0].value
    assert any(item.name == "turned.png" for item in at.session_state["_label-desk"].queue.window())
    at.run()
    assert not fine(at).success


def test_a_data_set_that_is_not_at_hand_is_a_message(visit, own_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = as_anna(visit("label"))
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(own_model.parent))
    at.button(key="label-add-test").click().run()
    assert "outside the folders this app may read" in fine(at).error[0].value


@pytest.fixture
def no_watcher() -> Iterator[None]:
    yield
    reset_watcher()


def test_a_folder_is_watched_stopped_and_taken_off_the_list(
    visit, own_model: Path, app_world: Path, no_watcher: None
) -> None:
    folder = app_world / "data" / "line 1"
    folder.mkdir()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(folder / "a.png")
    at = as_anna(visit("label"))
    opened(at).text_input(key="label-watch-folder").set_value(str(folder))
    assert opened(at).toggle(key="label-watch-existing").label == "Take the 1 image there now too"
    at.button(key="label-watch-start").click()
    assert not opened(at).error
    [watch] = watches_of(read_info(own_model))
    assert watch.active and watch.folder == folder
    assert f"**{folder}**" in texts(opened(at))
    at.button(key=f"label-watch-stop-{watch.id}").click()
    opened(at)
    assert "stopped; 0 images came" in texts(opened(at))
    at.button(key=f"label-watch-forget-{watch.id}").click()
    assert not opened(at).error and not watches_of(read_info(own_model))
    opened(at).text_input(key="label-watch-folder").set_value(str(app_world / "elsewhere"))
    assert opened(at).error


def opened(at: AppTest) -> AppTest:
    """The page with the list of watched folders open, as the browser tells with every run."""
    at.session_state["label-watch"] = True
    return fine(at.run())
