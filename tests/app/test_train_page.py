import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from streamlit.testing.v1 import AppTest

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.documents import to_plain
from skrd4ad.errors import TrainingError
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.models.list import list_models
from skrd4ad.services.training import TrainingRequest
from skrd4ad.storage import jobs as job_rows
from skrd4ad.storage.database import open_database
from skrd4ad.task import Task
from tests.limits import LONG


def choose_folder(at: AppTest, folder: Path | str) -> AppTest:
    at.segmented_control(key="train-source").set_value("folder").run()
    at.text_input(key="train-folder").set_value(str(folder)).run()
    return at


def choose_tiny_settings(at: AppTest, *, epochs: int = 2) -> AppTest:
    at.text_input(key="size-fast").set_value("64")
    at.number_input(key="epochs-fast").set_value(epochs)
    at.number_input(key="batch-fast").set_value(4)
    at.number_input(key="holdout-fast").set_value(25.0)
    return at.run()


def start_button(at: AppTest):
    return at.button("train-start")


def has_start_button(at: AppTest) -> bool:
    return any(button.key == "train-start" for button in at.button)


def button(at: AppTest, label: str):
    return next(each for each in at.button if each.label == label)


def labels(at: AppTest) -> list[str]:
    return [each.label for each in at.button]


def errors(at: AppTest) -> str:
    return "\n".join(error.value for error in at.error)


def wait_for_all() -> None:
    for job in queue().active():
        queue().wait(job.id, LONG)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tiny_request(folder: Path) -> TrainingRequest:
    return TrainingRequest(
        source=str(folder),
        class_name="machined_disc",
        model=ModelConfig(image_size=64),
        train=TrainConfig(epochs=2, batch_size=4, holdout=0.25),
    )


@pytest.fixture
def endless_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that goes on until it is cancelled."""

    def go_on(*_: object, task: Task, **__: object) -> None:
        while True:
            task.check()

    monkeypatch.setattr("skrd4ad.training.train.train", go_on)


def test_an_embedded_data_set_is_ready_to_train_on(visit) -> None:
    at = visit("train")
    assert not at.exception and not at.error
    assert at.multiselect[0].value == ["solar_cell_mono"]
    assert {option.split(" (")[0] for option in at.multiselect[0].options} == {"solar_cell_mono", "solar_cell_poly"}
    assert "Nothing was trained yet" in at.info[-1].value
    assert not start_button(at).disabled


def test_without_a_class_there_is_nothing_to_start(visit, own_data: Path) -> None:
    at = choose_folder(visit("train"), own_data)
    at.multiselect[0].set_value([]).run()
    assert not at.exception
    assert "Choose at least one class" in at.info[0].value
    assert not has_start_button(at)


def test_an_own_folder_is_found_step_by_step(visit, own_data: Path, app_world: Path) -> None:
    at = choose_folder(visit("train"), app_world / "data")
    steps = [box for box in at.main.selectbox if box.label.startswith("Folders in")]
    assert steps[0].options == ["(use this folder)", "parts"]
    steps[0].select("parts").run()
    assert not at.exception and not at.error
    assert at.multiselect[0].value == ["machined_disc"]
    steps = [box.label for box in at.main.selectbox if box.label.startswith("Folders in")]
    assert steps == ["Folders in data", "Folders in parts"]


@pytest.mark.parametrize("how", ["absolute", "dots", "link"])
def test_a_folder_outside_the_data_roots_is_refused_and_nothing_of_it_is_listed(
    visit, app_world: Path, tiny_data: Path, how: str
) -> None:
    outside = Path(shutil.copytree(tiny_data, app_world / "outside"))
    link = app_world / "data" / "link"
    link.symlink_to(outside)
    given = {"absolute": outside, "dots": app_world / "data" / ".." / "outside", "link": link}[how]
    at = choose_folder(visit("train"), given)
    assert not at.exception
    assert "outside the folders this app may read" in errors(at)
    assert not at.multiselect
    assert not [box for box in at.main.selectbox if box.label.startswith("Folders in")]
    assert not has_start_button(at)


def test_a_link_to_a_folder_outside_is_not_offered(visit, app_world: Path, own_data: Path, tiny_data: Path) -> None:
    (app_world / "data" / "link").symlink_to(tiny_data)
    at = choose_folder(visit("train"), app_world / "data")
    steps = [box for box in at.main.selectbox if box.label.startswith("Folders in")]
    assert steps[0].options == ["(use this folder)", "parts"]


def test_an_image_that_is_a_link_to_elsewhere_is_refused(
    visit, app_world: Path, own_data: Path, tiny_data: Path
) -> None:
    found = next(iter((own_data / "machined_disc" / "train" / "good").iterdir()))
    found.unlink()
    found.symlink_to(next((tiny_data / "machined_disc" / "train" / "good").iterdir()))
    at = choose_folder(visit("train"), own_data)
    assert not at.exception
    assert f"{found} leads outside" in errors(at)


@pytest.mark.parametrize(("folder", "reason"), [("empty", "is empty"), ("texts", "layout"), ("missing", "missing")])
def test_a_folder_that_is_no_data_set_is_explained(visit, app_world: Path, folder: str, reason: str) -> None:
    (app_world / "data" / "empty").mkdir()
    (app_world / "data" / "texts").mkdir()
    (app_world / "data" / "texts" / "notes.txt").write_text("no image", encoding="utf-8")
    at = choose_folder(visit("train"), app_world / "data" / folder)
    assert not at.exception
    assert reason in errors(at)
    assert not has_start_button(at)
    # the way back is open
    at.segmented_control(key="train-source").set_value("elpv").run()
    assert not at.exception and not at.error


def test_no_folder_at_all_asks_for_one(visit) -> None:
    at = choose_folder(visit("train"), "  ")
    assert not at.exception and not at.error
    assert "Type the path of a folder" in at.info[0].value


def test_data_that_would_train_a_wrong_model_cannot_be_started_with(visit, own_data: Path) -> None:
    for image in (own_data / "machined_disc" / "train" / "good").iterdir():
        image.write_bytes(b"no image")
    at = choose_folder(visit("train"), own_data)
    assert not at.exception
    assert at.error
    assert start_button(at).disabled


@pytest.mark.parametrize(
    ("kind", "key", "value", "reason"),
    [
        ("text_input", "size-fast", "100", "image size is 100"),
        ("text_input", "size-fast", "64 by 96", "such as 256, or height x width, such as 64x1280"),
        ("number_input", "holdout-fast", 0.0, "hold images out or choose selection 'last'"),
    ],
)
def test_wrong_settings_are_a_message_and_keep_what_was_entered(
    visit, own_data: Path, kind: str, key: str, value: float | str, reason: str
) -> None:
    def widget(at: AppTest):
        return getattr(at, kind)(key=key)

    at = choose_tiny_settings(choose_folder(visit("train"), own_data), epochs=7)
    good = widget(at).value
    widget(at).set_value(value).run()
    assert not at.exception
    assert reason in errors(at)
    assert not has_start_button(at)
    widget(at).set_value(good).run()
    assert not at.error
    assert at.number_input(key="epochs-fast").value == 7
    assert not start_button(at).disabled


def test_the_published_preset_has_its_own_settings(visit, own_data: Path) -> None:
    at = choose_folder(visit("train"), own_data)
    at.segmented_control(key="train-preset").set_value("paper").run()
    assert not at.exception and not at.error
    assert at.number_input(key="epochs-paper").value == 200
    assert at.selectbox(key="net-paper").value == "wide_res50"


@pytest.mark.slow
def test_a_training_runs_to_its_end_and_its_model_can_be_inspected_with(visit, own_data: Path) -> None:
    at = choose_tiny_settings(choose_folder(visit("train"), own_data))
    start_button(at).click().run()
    assert not at.exception
    (job,) = queue().list()
    assert job.title.startswith("machined_disc")
    assert queue().wait(job.id, LONG).state == "done"
    at.run()
    assert not at.exception and not at.error
    assert any("machined_disc" in text.value and "done" in text.value for text in at.markdown)
    assert any("image AUROC" in text.value for text in at.caption)
    assert list_models()[0][0].model.image_size == 64
    button(at, "Inspect with it").click().run()
    assert [title.value for title in at.title] == ["Inspect"]
    assert not at.exception and not at.error


def test_several_classes_queue_up_and_each_can_be_cancelled(visit, own_data: Path, endless_training: None) -> None:
    shutil.copytree(own_data / "machined_disc", own_data / "second_disc")
    at = choose_folder(visit("train"), own_data)
    at.multiselect[0].set_value(["machined_disc", "second_disc"]).run()
    assert start_button(at).label == "Start 2 trainings"
    start_button(at).click().run()
    assert not at.exception
    first, second = queue().active()
    at.button(key=f"cancel-{second.id}").click().run()
    assert queue().wait(second.id, LONG).state == "cancelled"
    at.button(key=f"cancel-{first.id}").click().run()
    assert queue().wait(first.id, LONG).state == "cancelled"
    at.run()
    assert not at.exception and not at.error
    assert sum("cancelled" in text.value for text in at.markdown) == 2
    assert queue().active() == []


def test_a_paused_training_says_so_and_goes_on(visit, own_data: Path, endless_training: None) -> None:
    at = choose_folder(visit("train"), own_data)
    start_button(at).click().run()
    (job,) = queue().active()
    until(lambda: queue().get(job.id).state == "running")
    at.run()
    at.button(key=f"pause-{job.id}").click().run()
    until(lambda: queue().get(job.id).paused)
    at.run()
    assert not at.exception
    at.button(key=f"resume-{job.id}").click().run()
    assert not at.exception and not at.error
    queue().cancel(job.id)
    assert queue().wait(job.id, LONG).state == "cancelled"


@pytest.mark.slow
def test_a_failed_training_shows_its_reason_and_can_be_tried_again(
    visit, own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TrainingError("The loss became nan in epoch 3.")

    with monkeypatch.context() as patched:
        patched.setattr("skrd4ad.training.train.train", fail)
        at = choose_tiny_settings(choose_folder(visit("train"), own_data))
        start_button(at).click().run()
        wait_for_all()
        at.run()
    assert not at.exception
    assert "The loss became nan in epoch 3." in errors(at)
    button(at, "Go on from its last epoch").click().run()
    wait_for_all()
    at.run()
    assert not at.exception
    assert [job.state for job in queue().list()] == ["done", "failed"]
    # the failure was dealt with, so it does not ask for it again
    assert "Go on from its last epoch" not in labels(at)


@pytest.mark.slow
def test_an_interrupted_training_offers_to_go_on_and_does(visit, own_data: Path) -> None:
    database = open_database()
    with database.write() as session:
        job_rows.add_job(
            session,
            job_id="lost",
            kind="train",
            title="machined_disc · lost",
            request=to_plain(tiny_request(own_data)),
            owner=f"{socket.gethostname()}:{os.getpid()}:1.00",  # a process of that number which is gone
        )
    database.close()
    at = visit("train")
    assert not at.exception
    assert any("interrupted" in text.value for text in at.markdown)
    button(at, "Go on from its last epoch").click().run()
    wait_for_all()
    at.run()
    assert not at.exception and not at.error
    assert [job.state for job in queue().list()] == ["done", "interrupted"]
    assert "Go on from its last epoch" not in labels(at)


def test_a_request_that_is_damaged_is_a_message(visit) -> None:
    database = open_database()
    with database.write() as session:
        job_rows.add_job(
            session,
            job_id="lost",
            kind="train",
            title="odd",
            request={"source": "elpv"},
            owner=f"{socket.gethostname()}:{os.getpid()}:1.00",
        )
    database.close()
    at = visit("train")
    button(at, "Go on from its last epoch").click().run()
    assert not at.exception
    assert "is damaged: class_name is missing" in errors(at)


def test_a_model_that_is_gone_is_not_offered(visit, own_data: Path, app_world: Path) -> None:
    at = choose_tiny_settings(choose_folder(visit("train"), own_data), epochs=1)
    start_button(at).click().run()
    wait_for_all()
    shutil.rmtree(app_world / "models")
    at.run()
    assert not at.exception
    assert "Inspect with it" not in labels(at)
    assert any("not there any more" in text.value for text in at.caption)


def test_levels_of_a_camera_go_into_the_request_and_the_report(visit, own_data: Path) -> None:
    train = own_data / "machined_disc" / "train" / "good"
    for path in train.iterdir():
        deep = np.random.default_rng(1).integers(100, 140, (64, 64)).astype(np.uint16)
        deep[0, 0] = int(path.stem) + 100  # no two are copies
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), deep)
    at = choose_tiny_settings(choose_folder(visit("train"), own_data))
    assert "shown from 96 (black) to 143 (white), as the good training images are" in shown(at)
    at.selectbox(key="levels").set_value("12").run()
    assert "only 4 of 256 grey levels are used of the images above 8 bit, shown from 0 (black) to 4095" in shown(at)
    at.selectbox(key="levels").set_value("given").run()
    at.number_input(key="levels-black").set_value(5000.0).run()
    assert "black below white" in errors(at)
    at.number_input(key="levels-black").set_value(90.0).run()
    at.number_input(key="levels-white").set_value(150.0).run()
    start_button(at).click().run()
    (job,) = queue().list()
    assert job.request["levels"] == {"black": 90.0, "white": 150.0}
    wait_for_all()


def shown(at: AppTest) -> str:
    return "\n".join(each.value for each in (*at.markdown, *at.warning, *at.caption))
