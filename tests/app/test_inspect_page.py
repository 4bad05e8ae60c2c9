import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from tests.shown_page import component


def choose_source(at: AppTest, kind: str) -> AppTest:
    return at.segmented_control(key="inspect-source").set_value(kind).run()


def csv_label(at: AppTest) -> str:
    return next(each.label for each in at.download_button if each.label.startswith("CSV"))


def texts(at: AppTest) -> str:
    return "\n".join(each.value for group in (at.caption, at.info, at.error, at.warning) for each in group)


def png(side: int = 64, colour: tuple[int, int, int] = (90, 90, 90)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_without_a_model_it_leads_to_the_train_page(visit) -> None:
    at = visit("inspect")
    assert not at.exception and not at.error
    at.button("train-a-model").click().run()
    assert [title.value for title in at.title] == ["Train"]


def test_with_only_a_damaged_model_it_says_why(visit, own_model: Path) -> None:
    (own_model / "config.json").write_text("{", encoding="utf-8")
    at = visit("inspect")
    assert not at.exception
    assert "config.json" in at.warning[0].value


def test_samples_are_scored_and_the_worst_is_shown_first(visit, own_model: Path) -> None:
    at = visit("inspect")
    assert not at.exception and not at.error
    assert csv_label(at) == "CSV of 12 images"
    viewer, parts = component(at, "map_viewer"), component(at, "gallery")
    scores = [float(each["score"]) for each in parts["items"]]
    assert scores == sorted(scores, reverse=True)
    assert (viewer["title"], viewer["truth"]) == (parts["items"][0]["name"], parts["items"][0]["truth"])
    assert viewer["score"] == pytest.approx(scores[0], rel=0.01)
    assert {"Overlay", "Mask"} <= {each.label for each in at.download_button}


def test_samples_of_one_type_are_shown_alone(visit, own_model: Path) -> None:
    at = visit("inspect")
    pills = next(group for group in at.pills if group.label == "Which")
    assert pills.options[:2] == ["12 mixed", "good parts"]
    pills.set_value("good").run()
    assert not at.exception and not at.error
    assert csv_label(at) == "CSV of 4 images"
    assert component(at, "map_viewer")["truth"] == "good"


def test_uploads_are_inspected_and_an_unreadable_one_does_not_stop_the_others(
    visit, own_model: Path, tiny_data: Path
) -> None:
    real = next((tiny_data / "machined_disc" / "test" / "good").iterdir()).read_bytes()
    at = choose_source(visit("inspect"), "upload")
    assert "Nothing chosen yet" in texts(at)
    at.file_uploader[0].set_value(
        [("a.png", real, "image/png"), ("torn.png", real[:50], "image/png"), ("plain.png", png(), "image/png")]
    ).run()
    assert not at.exception and not at.error
    assert csv_label(at) == "CSV of 3 images"
    assert component(at, "map_viewer")["title"] in ("a.png", "plain.png")


def test_an_unreadable_upload_alone_tells_what_is_wrong(visit, own_model: Path) -> None:
    at = choose_source(visit("inspect"), "upload")
    at.file_uploader[0].set_value([("torn.png", b"\x89PNG no more", "image/png")]).run()
    assert not at.exception
    assert "torn.png" in at.error[0].value
    assert csv_label(at) == "CSV of 1 image"


def test_copies_under_two_names_are_both_shown(visit, own_model: Path) -> None:
    at = choose_source(visit("inspect"), "upload")
    at.file_uploader[0].set_value([("one.png", png(), "image/png"), ("two.png", png(), "image/png")]).run()
    assert csv_label(at) == "CSV of 2 images"


def test_a_folder_of_the_server_is_inspected(visit, own_model: Path, app_world: Path) -> None:
    folder = app_world / "data" / "shift"
    folder.mkdir()
    (folder / "1.png").write_bytes(png())
    (folder / "2.png").write_bytes(png(80))
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    at = choose_source(visit("inspect"), "server")
    at.text_input(key="inspect-folder").set_value(str(folder)).run()
    assert not at.exception and not at.error
    assert csv_label(at) == "CSV of 3 images"
    (folder / "1.png").write_bytes(png(72))
    at.run()
    assert not at.exception and not at.error


def test_a_folder_of_the_server_without_images_is_explained(visit, own_model: Path) -> None:
    at = choose_source(visit("inspect"), "server")
    assert not at.exception and not at.error
    assert "There are no images directly in" in texts(at)


@pytest.mark.parametrize("how", ["absolute", "link", "image link"])
def test_nothing_outside_the_data_roots_is_read(visit, own_model: Path, app_world: Path, how: str) -> None:
    outside = app_world / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(png())
    inside = app_world / "data" / "inside"
    if how == "link":
        inside.symlink_to(outside)
    else:
        inside.mkdir()
        (inside / "look.png").symlink_to(outside / "secret.png")
    at = choose_source(visit("inspect"), "server")
    at.text_input(key="inspect-folder").set_value(str(outside if how == "absolute" else inside)).run()
    assert not at.exception
    assert not at.download_button
    assert ("There are no images" if how == "image link" else "outside the folders this app may read") in texts(at)


def test_a_model_without_a_limit_is_used_with_one_set_by_hand(visit, own_model: Path) -> None:
    (own_model / "calibration.json").unlink()
    at = visit("inspect")
    assert not at.exception and not at.error
    assert "This model has no limit" in texts(at)
    for limit in (0.0, 1e-3, 100.0):
        next(each for each in at.number_input if each.label == "Limit").set_value(limit).run()
        assert not at.exception and not at.error
        assert component(at, "map_viewer")["limit"] == limit


def test_samples_whose_data_is_gone_are_a_message_and_uploads_still_work(
    visit, own_model: Path, monkeypatch: pytest.MonkeyPatch, app_world: Path
) -> None:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(app_world / "data"))
    at = visit("inspect")
    assert not at.exception
    assert "outside the folders this app may read" in texts(at)
    choose_source(at, "upload")
    assert not at.exception and not at.error


def test_weights_that_were_changed_are_a_message(visit, own_model: Path) -> None:
    weights = own_model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x00\x01")
    at = visit("inspect")
    assert not at.exception
    assert "was changed or damaged" in texts(at)


def test_an_imported_model_starts_with_uploads(visit, own_model: Path) -> None:
    config = json.loads((own_model / "config.json").read_text(encoding="utf-8"))
    config["data"], config["train"] = {}, None
    (own_model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    at = visit("inspect")
    assert not at.exception and not at.error
    assert at.segmented_control(key="inspect-source").value == "upload"
    choose_source(at, "samples")
    assert not at.exception
    assert "Upload images instead" in texts(at)


def test_a_sample_whose_mask_cannot_be_read_is_shown_without_it(
    visit, own_model: Path, app_world: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(shutil.copytree(tiny_data, app_world / "data" / "parts"))
    config = json.loads((own_model / "config.json").read_text(encoding="utf-8"))
    config["data"]["source"] = str(data)
    (own_model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for mask in (data / "machined_disc" / "ground_truth").rglob("*.png"):
        mask.write_bytes(b"no mask")
    at = visit("inspect")
    pills = next(group for group in at.pills if group.label == "Which")
    pills.set_value("scratch").run()
    assert not at.exception and not at.error
    assert "The mask of this sample cannot be shown" in texts(at)


def test_another_model_is_taken_from_the_sidebar(visit, own_model: Path) -> None:
    other = Path(shutil.copytree(own_model, own_model.with_name("other")))
    (other / "calibration.json").unlink()
    at = visit("inspect")
    before = "This model has no limit" in texts(at)
    box = at.sidebar.selectbox[0]
    box.select(next(option for option in box.options if option != box.format_func(box.value))).run()
    assert not at.exception and not at.error
    assert ("This model has no limit" in texts(at)) != before


def test_uploads_are_there_again_after_a_reload_and_gone_once_they_are_deleted(visit, own_model: Path) -> None:
    at = choose_source(visit("inspect"), "upload")
    at.file_uploader[0].set_value([("one.png", png(), "image/png"), ("two.png", png(80), "image/png")]).run()
    batch = at.query_params["batch"]
    at = choose_source(visit("inspect"), "upload")
    assert csv_label(at) == "CSV of 2 images"
    assert at.query_params["batch"] == batch
    at.file_uploader[0].set_value([("three.png", png(72), "image/png")]).run()
    assert csv_label(at) == "CSV of 1 image"
    recent = at.selectbox[0]
    assert recent.options == ["three.png, just now", "2 images, just now"]
    recent.select_index(1).run()
    assert csv_label(at) == "CSV of 2 images"
    at.button(key="inspect-delete").click().run()
    assert csv_label(at) == "CSV of 1 image"
    at.button(key="inspect-delete").click().run()
    assert "Nothing chosen yet" in texts(at)


def test_the_address_names_what_is_shown_and_an_address_shows_what_it_names(visit, own_model: Path) -> None:
    at = visit("inspect")
    parts = component(at, "gallery")["items"]
    assert at.query_params["model"] == "parts/machined_disc/tiny"
    last = parts[-1]
    again = visit("inspect")
    again.query_params["image"] = f"{last['truth']}/{last['name']}"
    again.query_params["limit"] = "0.25"
    again.run()
    viewer = component(again, "map_viewer")
    assert not again.exception and not again.error
    assert (viewer["title"], viewer["begin"]["threshold"]) == (last["name"], 0.25)
    again.query_params["image"] = "nothing/of-this.png"
    again.query_params["model"] = "no/such/model"
    again.run()
    assert not again.exception and not again.error
