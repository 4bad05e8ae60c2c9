import json
import shutil
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from skrd4ad.config import ModelConfig
from skrd4ad.export.check import check_export, images_of
from skrd4ad.export.manifest import EXPORTS, read_export
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import WEIGHTS, read_info, save_metrics
from skrd4ad.model_folder.info import GUARDS_OFF
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.models.skrd import build_student
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.models.export_job import EXPORT
from skrd4ad.services.models.library import archive_model, bundle_of, note_model, rename_model
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.watched_folders import begin_watch
from tests.limits import LONG
from tests.shown_page import as_shown, fine, words


@pytest.fixture
def other_model(own_model: Path) -> Path:
    """A second model of another class, made later."""
    folder = Path(shutil.copytree(own_model, own_model.parents[1] / "washer" / "later"))
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    changed = {**values, "class_name": "washer", "created_at": "2999-01-02T03:04:05+00:00", "test_selected": True}
    (folder / "config.json").write_text(json.dumps(changed), encoding="utf-8")
    return folder


@pytest.fixture
def certified(own_model: Path, tiny_export: Path) -> Path:
    """An export of the model with its certificate."""
    folder = Path(shutil.copytree(tiny_export, own_model / EXPORTS / "onnx-fp32-any"))
    predictor = Predictor.load(own_model)
    check_export(read_export(folder), predictor, images_of(class_of_model(predictor.info), most=6))
    return folder


def listed(at: AppTest) -> list[str]:
    return [label.strip("*").replace("\\", "") for label in at.radio("models-list").options]


def test_without_a_model_the_page_leads_to_training_and_takes_one_in(visit) -> None:
    at = fine(visit("models"))
    assert "There is no model yet" in at.info[0].value
    assert len(at.file_uploader) == 1
    at.button("models-train").click().run()
    assert [title.value for title in at.title] == ["Train"]


def test_the_card_tells_all_that_is_known(visit, own_model: Path) -> None:
    note_model(own_model, "lamp *replaced* in May")
    at, info = fine(visit("models")), read_info(own_model)
    text = words(at)
    assert info.train is not None and info.calibration is not None
    for part in (
        info.digest,
        info.teacher_digest,
        str(info.data["digest"]),
        f">{info.train.seed}<",
        info.calibration.data,
        str(info.data["licence"]),
        info.environment["torch"],
        "lamp *replaced* in May",
    ):
        assert part in text, part
    assert len(at.get("plotly_chart")) == 1


def test_figures_stand_with_the_intervals_that_were_measured(visit, own_model: Path) -> None:
    info = read_info(own_model)
    stored = evaluate_class(own_model, class_of_model(info), source=str(info.data["source"]))
    text = words(fine(visit("models")))
    for name, interval in stored.summary.intervals.intervals.items():
        assert f"<td>{getattr(stored.summary.metrics, name):.3f}</td>" in text
        assert interval is not None
        assert f"<td>{interval.low:.3f}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{interval.high:.3f}</td>" in text
    # a folder from elsewhere may hold anything
    save_metrics(own_model, {**(read_info(own_model).metrics or {}), "intervals": {"image_auroc": "wide"}})
    fine(visit("models"))


def test_search_order_and_archive_decide_what_is_listed(visit, own_model: Path, other_model: Path) -> None:
    at = fine(visit("models"))
    assert listed(at) == ["machined_disc", "washer"]
    at.selectbox("models-sort").set_value("Newest").run()
    assert listed(at) == ["washer", "machined_disc"]
    at.text_input("models-search").input("washer").run()
    assert listed(at) == ["washer"]
    assert any("test-selected" in as_shown(caption) for caption in at.radio("models-list").proto.captions)
    at.text_input("models-search").input("nut").run()
    assert "No model has all of these words: nut" in words(fine(at))
    at.text_input("models-search").input("").run()
    at.radio("models-list").set_value(str(other_model)).run()
    at.button("models-archive").click().run()
    assert read_metadata(other_model).archived
    assert listed(fine(at)) == ["machined_disc"]
    at.toggle("models-archived").set_value(True).run()
    at.radio("models-list").set_value(str(other_model)).run()
    assert at.button("models-use").disabled
    at.button("models-archive").click().run()
    assert not read_metadata(other_model).archived


def test_a_model_becomes_that_of_the_side_bar(visit, own_model: Path, other_model: Path) -> None:
    at = fine(visit("models"))
    assert at.button("models-use").disabled, "it is in use already"
    at.radio("models-list").set_value(str(other_model)).run()
    at.button("models-use").click().run()
    assert at.sidebar.selectbox[0].value == str(other_model)
    assert at.button("models-use").label == "In use"
    at.button("models-to-calibrate").click().run()
    assert [title.value for title in at.title] == ["Calibrate"]


def test_a_name_is_shown_as_it_was_typed(visit, own_model: Path) -> None:
    rename_model(own_model, "Line *3* [x](y) :red[z]")
    at = fine(visit("models"))
    assert listed(at) == ["Line *3* [x](y) :red[z]"]
    assert at.radio("models-list").options[0].startswith("**Line \\*3\\*")
    assert at.sidebar.selectbox[0].options == ["Line *3* [x](y) :red[z]"]


def test_a_model_without_a_reference_says_in_red_that_its_guards_are_off(visit, own_model: Path) -> None:
    assert not [error for error in visit("models").error if GUARDS_OFF in error.value]
    (own_model / "reference.json").unlink()
    at = visit("models")
    assert [error.value for error in at.error] == [GUARDS_OFF]
    assert any(f":red[:material/gpp_maybe: {GUARDS_OFF}]" == each.value for each in at.sidebar.caption)


def test_deleting_asks_and_names_what_goes(visit, own_model: Path, certified: Path) -> None:
    at = fine(visit("models"))
    at.button("models-delete").click().run()
    text = words(fine(at)).replace("\\", "")
    assert str(own_model) in text and certified.name in text
    assert "came with the program" not in text
    assert own_model.is_dir()


def test_a_model_of_a_watched_folder_is_not_deleted(visit, own_model: Path) -> None:
    with workspace_database().write() as session:
        begin_watch(session, folder=Path("/srv/line_1"), model_folder=own_model)
    at = visit("models")
    at.button("models-delete").click().run()
    assert not at.exception
    assert "It judges what comes into /srv/line_1. Stop watching" in at.error[0].value.replace("\\", "")
    assert at.button("models-delete-yes").disabled


def test_a_damaged_folder_can_be_deleted(visit, own_model: Path, other_model: Path) -> None:
    (other_model / "config.json").write_text("{", encoding="utf-8")
    at = visit("models")
    assert "A model folder cannot be used" in at.warning[0].value
    assert listed(fine(at)) == ["machined_disc"]
    at.button(f"models-delete-{other_model}").click().run()
    assert str(other_model) in words(fine(at)).replace("\\", "")


def test_changed_weights_are_named_and_not_handed_on(visit, own_model: Path) -> None:
    with (own_model / WEIGHTS).open("ab") as file:
        file.write(b"x")
    at = visit("models")
    assert not at.exception
    assert str(own_model / WEIGHTS) in at.error[0].value.replace("\\", "")
    assert at.download_button("models-bundle").disabled


@pytest.mark.slow
def test_an_export_is_asked_for_followed_and_judged(visit, own_model: Path) -> None:
    at = fine(visit("models"))
    assert "It will be checked against the model on" in words(at)
    at.button_group("models-export-format").set_value("openvino").run()
    at.button_group("models-export-batch").set_value("fixed").run()
    at.number_input("models-export-count").set_value(2).run()
    at.number_input("models-export-flips-fp32").set_value(50.0).run()
    at.button("models-export").click().run()
    (job,) = queue().list()
    request = EXPORT.request_of(job.request)
    assert (request.settings.name, request.max_flips) == ("openvino-fp32-batch2", 0.5)
    assert queue().wait(job.id, LONG).state == "done"
    at.run()
    text = words(fine(at)).replace("\\", "")
    assert "openvino-fp32-batch2" in text
    assert [each for each in text.splitlines() if "badge" in each and "passed" in each]
    assert any("use_export_openvino" in code.value or "openvino.compile_model" in code.value for code in at.code)


def test_an_export_that_failed_says_why_and_a_changed_one_is_refused_by_name(
    visit, own_model: Path, certified: Path
) -> None:
    file = certified / "certificate.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(
        json.dumps({**values, "passed": False, "verdict_flips": 1, "problems": ["1 of 6 verdicts differ"]}),
        encoding="utf-8",
    )
    at = visit("models")
    assert [each.value.replace("\\", "") for each in at.error] == ["Failed: 1 of 6 verdicts differ."]
    assert any("failed" in each.value and "badge" in each.value for each in at.markdown)
    assert any("1 verdict differs" in each.label for each in at.expander)
    with (certified / "model.onnx").open("ab") as opened:
        opened.write(b"x")
    at.run()
    assert "model.onnx was changed or damaged" in at.error[0].value.replace("\\", "")
    assert f"models-zip-{certified.name}" not in [each.key for each in at.download_button]
    at.button(f"models-export-delete-{certified.name}").click().run()
    assert not at.exception


def test_int8_needs_the_training_images(visit, own_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(own_model))
    at = fine(visit("models"))
    assert "It will not be checked against the model" in words(at)
    at.button_group("models-export-format").set_value("openvino").run()
    at.button_group("models-export-precision-openvino").set_value("int8").run()
    assert at.button("models-export").disabled
    assert "int8 needs the good training images" in words(fine(at))


@pytest.mark.usefixtures("quick_onnx")
def test_an_export_that_could_not_be_made_says_why_and_is_tried_again(
    visit, own_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = fine(visit("models"))
    weights = (own_model / WEIGHTS).read_bytes()
    (own_model / WEIGHTS).write_bytes(weights + b"x")
    at.button("models-export").click().run()
    (job,) = queue().list()
    assert queue().wait(job.id, LONG).state == "failed"
    (own_model / WEIGHTS).write_bytes(weights)
    at.run()
    assert "was not made: failed" in words(fine(at))
    at.button(f"models-again-{job.id}").click().run()
    assert len(queue().list()) == 2
    for each in queue().list():
        queue().wait(each.id, LONG)


def test_a_bundle_comes_in_once_and_a_changed_byte_is_refused_by_name(visit, own_model: Path) -> None:
    name, content = bundle_of(own_model)
    place = content.index((own_model / WEIGHTS).read_bytes()[:200]) + 150
    torn = bytearray(content)
    torn[place] ^= 1
    shutil.rmtree(own_model)
    at = fine(visit("models"))
    at.file_uploader[0].set_value([("torn.zip", bytes(torn), "application/zip")]).run()
    at.button("models-import-bundle").click().run()
    assert WEIGHTS in at.error[0].value and not at.exception
    at.file_uploader[0].set_value([(name, content, "application/zip")]).run()
    assert "machined" in words(fine(at))
    at.button("models-import-bundle").click().run()
    assert "is imported; every part is as its bundle says" in fine(at).success[0].value
    assert any("imported" in caption for caption in at.radio("models-list").proto.captions)
    assert own_model.is_dir()
    at.file_uploader[0].set_value([(name, content, "application/zip")]).run()
    at.button("models-import-bundle").click().run()
    assert "was here already" in fine(at).success[0].value
    assert len(listed(at)) == 1


def test_a_file_that_is_no_bundle_is_refused(visit, own_model: Path) -> None:
    at = fine(visit("models"))
    at.file_uploader[0].set_value([("notes.zip", b"no archive", "application/zip")]).run()
    assert "notes.zip" in at.error[0].value and not at.exception
    assert listed(at) == ["machined_disc"]


def test_a_checkpoint_of_the_original_code_comes_in(visit, own_model: Path, tmp_path: Path) -> None:
    state = build_student(ModelConfig(res=2, image_size=64), seed=5).state_dict()
    parts = {
        part: {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}
        for part in ("bn", "decoder")
    }
    torch.save(parts, tmp_path / "bottle.pth")
    at = fine(visit("models"))
    at.file_uploader[0].set_value([("bottle.pth", b"no checkpoint", "application/octet-stream")]).run()
    at.selectbox("models-import-net").set_value("efficientnet_lite0").run()
    at.selectbox("models-import-res").set_value(2).run()
    at.text_input("models-import-size").set_value("64").run()
    at.text_input("models-import-dataset").input("mvtec").run()
    at.button("models-import-checkpoint").click().run()
    assert "bottle.pth" in at.error[0].value and not at.exception
    assert "/" not in at.error[0].value, "a folder of the server"
    at.file_uploader[0].set_value(
        [("bottle.pth", (tmp_path / "bottle.pth").read_bytes(), "application/octet-stream")]
    ).run()
    at.button("models-import-checkpoint").click().run()
    assert not at.exception and [error.value for error in at.error] == [GUARDS_OFF]
    assert "It has no limits yet" in at.success[0].value
    text = words(at)
    assert "imported from bottle.pth" in text
    assert "How it was trained is not known" in text
    assert "Nothing was measured yet" in text
    (folder,) = (own_model.parents[2] / "mvtec" / "bottle").iterdir()
    assert read_info(folder).model == ModelConfig(res=2, image_size=64)


def test_an_archived_model_is_not_offered_elsewhere(visit, own_model: Path) -> None:
    archive_model(own_model)
    at = fine(visit("models"))
    assert "Archived models were not looked through" in words(at)
    assert len(at.sidebar.selectbox) == 0
