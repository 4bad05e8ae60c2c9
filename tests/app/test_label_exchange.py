"""Labels in and out, as a user meets them."""

import json
import threading
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from skrd4ad.model_folder.folder import read_info
from skrd4ad.services.datasets import made_datasets
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.exchange import import_job
from skrd4ad.services.labelling.exchange.plan import ExportOptions, plan_export
from skrd4ad.services.labelling.exchange.store import run_import
from skrd4ad.services.labelling.exchange.transfer import export_zip_bytes, plan_import
from skrd4ad.services.labelling.queue import filter_of
from skrd4ad.storage.label_queue import QueueFilter, QueueItem
from skrd4ad.task import Task
from skrd4ad.ui.label import export_labels
from tests.label_world import page_of_queue
from tests.limits import LONG


def view() -> AppTest:
    """The exchange for the only model there is."""

    def page() -> None:
        from skrd4ad.services.models.list import list_models
        from skrd4ad.ui.label.page import show_exchange

        show_exchange(list_models()[0][0])

    return AppTest.from_function(page, default_timeout=LONG).run()


def wanted(model: Path) -> QueueFilter:
    return filter_of(read_info(model), None)


def image(model: Path, label: str) -> QueueItem:
    return next(one for one in page_of_queue(wanted(model), limit=100)[0] if one.label == label)


@pytest.fixture
def labelled(own_model: Path, tiny_data: Path) -> Path:
    """A model whose class has the labels of its data set; two of them unsure."""
    info = read_info(own_model)
    plan = plan_import(tiny_data, dataset=info.dataset, class_name=info.class_name)
    run_import(plan, reviewer="A. Weber")
    for _ in range(2):
        annotate.decide(image(own_model, "good"), "unsure", reviewer="A. Weber")
    return own_model


def written(at: AppTest) -> str:
    return "\n".join(each.value for each in (*at.caption, *at.markdown, *at.success, *at.info, *at.warning, *at.error))


def said(at: AppTest) -> str:
    """What a user reads: without the marks that keep text from being Markdown."""
    return written(at).replace("\\", "")


def numbers(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def test_without_labels_it_says_what_to_do(own_model: Path) -> None:
    at = view()
    assert not at.exception
    assert "No image of machined disc is labelled good or defective yet" in said(at)
    assert not at.metric


def test_what_an_export_holds_is_said_before_it_is_made(labelled: Path) -> None:
    at = view()
    plan = plan_export(wanted(labelled), ExportOptions(format="mvtec"))
    assert numbers(at) == {
        "Images": str(len(plan.images)),
        "Good": str(plan.count("good")),
        "Defects": str(plan.count("defect")),
        "Masks": str(plan.masks),
    }
    assert "Left out: 2 unsure." in said(at)
    at.toggle(key="exchange-unsure").set_value(True).run()
    assert numbers(at)["Images"] == str(len(plan.images) + 2)


@pytest.mark.parametrize("kind", ["mvtec", "coco", "csv"])
def test_a_zip_is_made_and_is_dropped_when_labels_change(labelled: Path, kind: str) -> None:
    at = view()
    at.segmented_control(key="exchange-format").set_value(kind).run()
    at.button(key="exchange-make").click().run()
    assert not at.exception
    _, content, exported = at.session_state["_exchange-zip"]
    assert content == export_zip_bytes(plan_export(wanted(labelled), ExportOptions(format=kind)))[0]
    assert f"{exported.images} images and {exported.masks} masks written" in said(at)
    assert at.get("download_button")
    annotate.decide(image(labelled, "good"), "unsure", reviewer="B")
    assert not at.run().get("download_button"), "the file is not of these labels any more"


def test_what_is_too_much_for_a_download_is_written_on_the_server(
    labelled: Path, app_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_labels, "LARGEST_DOWNLOAD", 1000)
    at = view()
    at.button(key="exchange-write").click().run()
    (folder,) = (app_world / "home" / "exports").iterdir()
    assert str(folder) in said(at)
    assert (folder / "labels.csv").is_file()


def test_labels_become_a_data_set_that_train_offers(labelled: Path, visit) -> None:
    at = view()
    at.text_input(key="exchange-name-0").set_value("floor-1").run()
    at.button(key="exchange-dataset").click().run()
    assert "floor-1 can be chosen on the Train page now" in said(at)
    assert [path.name for path in made_datasets()] == ["floor-1"]
    train = visit("train")
    train.segmented_control(key="train-source").set_value("made").run()
    assert not train.exception
    assert train.selectbox(key="train-made").value == "floor-1"
    assert [error.value for error in train.error] == []
    options = next(box for box in train.multiselect if box.label == "Classes").options
    learned = plan_export(wanted(labelled), ExportOptions(format="mvtec")).count("good", "train")
    assert options == [f"machined_disc ({learned} good images)"]


def test_a_name_that_is_taken_is_refused_in_words(labelled: Path) -> None:
    at = view()
    for _ in range(2):
        made = len(made_datasets())
        at.text_input(key=f"exchange-name-{made}").set_value("floor-1").run()
        at.button(key="exchange-dataset").click().run()
    assert not at.exception
    assert "There is a data set floor-1 already" in at.error[0].value


def upload(at: AppTest, name: str, content: bytes) -> AppTest:
    at.file_uploader(key="exchange-upload").set_value([(name, content, "")]).run()
    return finished(at.button(key="exchange-check").click().run())


def finished(at: AppTest) -> AppTest:
    """The page once the job that was just submitted has ended."""
    assert not at.exception
    job = queue().wait(queue().list(limit=1)[0].id, LONG)
    assert not job.active
    return at.run()


def test_an_upload_is_looked_at_and_stored_only_when_asked(labelled: Path) -> None:
    target = image(labelled, "good")
    content = f"sha256,label,comment\n{target.digest},defect,seen\n".encode()
    at = view()
    at.session_state["label-reviewer"] = "B. Meier"
    upload(at, "back.csv", content)
    assert not at.exception
    assert "1 different: yours stay" in said(at)
    assert "nothing to import" in said(at)
    assert image(labelled, "good") == target
    at.segmented_control(key="exchange-conflicts").set_value("theirs").run()
    assert "1 different: theirs are taken" in said(at)
    finished(at.button(key="exchange-import").click().run())
    assert "1 decision added" in said(at)
    history = annotate.history_of(target.digest)
    assert [(one.label, one.reviewer) for one in history] == [("good", "A. Weber"), ("defect", "B. Meier")]


def test_wrong_entries_are_shown_and_the_rest_is_imported_only_on_request(labelled: Path) -> None:
    target = image(labelled, "unsure")
    annotate.undo(target, reviewer="A. Weber")
    target = image(labelled, "unsure")
    at = view()
    at.session_state["label-reviewer"] = "B. Meier"
    entry = {"id": 1, "file_name": "*x*.png", "width": 64, "height": 64}
    document = {"images": [entry, {**entry, "id": 2, "file_name": target.name, "skrd4ad": {"sha256": target.digest}}]}
    document |= {
        "annotations": [{"id": 1, "image_id": 2, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}],
        "categories": [{"id": 1, "name": "dent"}],
    }
    at.toggle(key="exchange-empty").set_value(True).run()
    upload(at, "coco.json", json.dumps(document).encode())
    assert "Entries that cannot be used: 1" in said(at)
    assert "*x*.png is not there" in written(at), "names are text, not Markdown"
    at.segmented_control(key="exchange-conflicts").set_value("theirs").run()
    assert at.button(key="exchange-import").disabled
    at.toggle(key="exchange-skip").set_value(True).run()
    finished(at.button(key="exchange-import").click().run())
    assert not at.exception
    assert annotate.item_of(wanted(labelled), target.digest).defect_type == "dent"


def test_what_was_found_and_done_is_there_for_whoever_comes_back(labelled: Path, app_world: Path) -> None:
    target = image(labelled, "unsure")
    annotate.decide(target, "none", reviewer="A")
    upload(view(), "t.csv", f"sha256,label\n{target.digest},good\n".encode())
    at = view()
    at.session_state["label-reviewer"] = "B. Meier"
    at.run()
    assert "t.csv, checked, just now" in said(at)
    assert "CSV, 1 usable image" in said(at)
    at.button(key="exchange-import").click().run()
    again = finished(view())
    assert "t.csv was imported by B. Meier" in said(again)
    assert annotate.item_of(wanted(labelled), target.digest).label == "good"
    assert not [*(app_world / "home" / "imports").iterdir()], "an upload is not kept longer than it is needed"
    again.button(key="exchange-close").click().run()
    assert "was imported" not in said(again)


def test_a_check_that_is_closed_takes_its_upload_away(labelled: Path, app_world: Path) -> None:
    at = upload(view(), "t.csv", f"sha256,label\n{image(labelled, 'good').digest},good\n".encode())
    assert len([*(app_world / "home" / "imports").iterdir()]) == 1
    at.button(key="exchange-close").click().run()
    assert not [*(app_world / "home" / "imports").iterdir()]
    assert "t.csv" not in said(view())


def test_while_it_runs_its_progress_is_shown_and_it_can_be_cancelled(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = threading.Event()

    def look(*_: object, task: Task, **__: object) -> None:
        task.report(3, 40)
        running.set()
        while True:
            task.report(4, 40)
            time.sleep(0.01)

    monkeypatch.setattr(import_job, "plan_import", look)
    at = view()
    at.file_uploader(key="exchange-upload").set_value([("t.csv", b"sha256,label\n", "")]).run()
    at.button(key="exchange-check").click().run()
    assert running.wait(LONG)
    at = view()
    assert not at.exception
    assert "t.csv" in said(at)
    assert not [button for button in at.button if button.key == "exchange-check"]
    next(button for button in at.button if button.label == "Cancel").click().run()
    finished(at)
    assert "The check of t.csv: cancelled" in said(at)
    assert at.button(key="exchange-again")


def test_a_damaged_upload_and_a_folder_elsewhere_are_refused_in_words(labelled: Path, app_world: Path) -> None:
    at = upload(view(), "x.zip", b"no zip")
    assert not at.exception
    assert "The check of x.zip: failed" in said(at)
    assert "no ZIP file" in said(at)
    at.segmented_control(key="exchange-from").set_value("server").run()
    at.text_input(key="exchange-folder").set_value(str(app_world)).run()
    assert not at.exception
    assert "outside the folders this app may read" in said(at)


def test_who_imports_is_asked_once(labelled: Path) -> None:
    target = image(labelled, "unsure")
    annotate.decide(target, "none", reviewer="A")
    at = upload(view(), "t.csv", f"sha256,label\n{target.digest},good\n".encode())
    assert "Who decides" in said(at)
    assert not [button for button in at.button if button.key == "exchange-import"]
