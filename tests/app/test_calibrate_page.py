import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from skrd4ad.model_folder.folder import read_history, read_info
from skrd4ad.services.study.challenge import add_challenge_parts
from tests.shown_page import as_shown, fine, words


def key_of(at: AppTest, kind: str, start: str):
    """The one widget of a kind whose key starts so."""
    found = [widget for widget in getattr(at, kind) if (widget.key or "").startswith(start)]
    assert len(found) == 1, [widget.key for widget in getattr(at, kind)]
    return found[0]


def signed(at: AppTest, *, who: str = "Ada") -> AppTest:
    at.text_input("calibrate-who").input(who).run()
    return at


def save_button(at: AppTest):
    return at.button("calibrate-save")


def label(at: AppTest, kind: str) -> AppTest:
    key_of(at, "button_group", "calibrate-labelled-").set_value(kind).run()
    return at


def way(at: AppTest, name: str) -> AppTest:
    at.button_group("calibrate-way").set_value(name).run()
    return at


def test_without_a_model_the_page_leads_to_training(visit) -> None:
    at = fine(visit("calibrate"))
    at.button("train-a-model").click().run()
    assert [title.value for title in at.title] == ["Train"]


def test_held_out_normals_certify_what_their_number_allows(visit, own_model: Path) -> None:
    at = fine(visit("calibrate"))
    n = read_info(own_model).calibration.n
    assert f"{n} normals cannot certify less than {100 / (n + 1):.1f}" in words(at)
    assert "No defects known" in words(at)
    assert "version 1" in at.sidebar.caption[0].value
    assert list(at.dataframe[0].value["Version"]) == ["1, in use"]


def test_a_version_is_signed_before_it_is_saved(visit, own_model: Path) -> None:
    at = fine(visit("calibrate"))
    assert save_button(at).disabled
    signed(at)
    key_of(at, "text_area", "calibrate-note-").input("new lamp").run()
    save_button(at).click().run()
    fine(at)
    saved = read_info(own_model).calibration
    assert (saved.version, saved.who, saved.note, saved.method) == (2, "Ada", "new lamp", "split-conformal")
    assert "Version 2 is saved" in at.success[0].value
    assert "version 2" in at.sidebar.caption[0].value
    assert list(at.dataframe[0].value["Version"]) == ["2, in use", "1"]
    assert at.text_input("calibrate-who").value == "Ada", "the name is asked once"


def test_an_earlier_version_can_be_used_again(visit, own_model: Path) -> None:
    at = signed(fine(visit("calibrate")))
    save_button(at).click().run()
    at.button("calibrate-use").click().run()
    fine(at)
    history = read_history(own_model)
    assert (history.current_version, [each.version for each in history.versions]) == (1, [1, 2])
    assert "version 1" in at.sidebar.caption[0].value


def test_limits_moved_on_the_board_are_saved_as_set_by_hand(visit, own_model: Path) -> None:
    at = signed(fine(visit("calibrate")))
    reject = read_info(own_model).calibration.image_threshold
    at.session_state["calibrate-board"] = {"choice": {"review": reject, "reject": reject + 0.5, "turn": 1}}
    at.run()
    save_button(fine(at)).click().run()
    saved = read_info(own_model).calibration
    assert (saved.method, saved.review_threshold, saved.image_threshold) == ("manual", reject, reject + 0.5)
    assert saved.certified_false_reject_rate is None


@pytest.mark.parametrize("name", ["f1", "balanced"])
def test_limits_from_test_images_carry_a_badge(visit, own_model: Path, name: str) -> None:
    at = way(label(fine(visit("calibrate")), "tests"), name)
    fine(at)
    assert words(at).count("uses test images: figures on them will be optimistic") == 2
    save_button(signed(at)).click().run()
    fine(at)
    assert read_info(own_model).calibration.test_fitted
    assert at.dataframe[0].value["Test images"][0] == "used: optimistic"


def test_least_cost_asks_for_the_costs(visit, own_model: Path) -> None:
    at = way(label(fine(visit("calibrate")), "tests"), "cost")
    assert "Say what an escape and a false reject cost" in words(fine(at))
    at.number_input("calibrate-cost-escape").set_value(100.0).run()
    at.number_input("calibrate-cost-false-reject").set_value(5.0).run()
    save_button(signed(fine(at))).click().run()
    assert read_info(own_model).calibration.method == "least-cost"


def test_a_way_that_needs_labels_says_so(visit, own_model: Path) -> None:
    at = way(fine(visit("calibrate")), "f1")
    assert "needs labelled good parts and defects" in words(fine(at))
    assert not [button for button in at.button if button.key == "calibrate-save"]
    assert len(at.dataframe) == 1, "the history stays"


def test_a_model_without_held_out_images_is_calibrated_from_uploaded_ones(
    visit, own_model: Path, tiny_data: Path, app_world: Path
) -> None:
    (own_model / "calibration.json").unlink()
    at = fine(visit("calibrate"))
    assert "Nothing chosen yet" in words(at)
    files = sorted((tiny_data / "machined_disc" / "test" / "good").iterdir())
    at.file_uploader("calibrate-upload").set_value([(f.name, f.read_bytes(), "image/png") for f in files]).run()
    save_button(signed(fine(at))).click().run()
    saved = read_info(own_model).calibration
    assert (saved.version, saved.n) == (1, len(files))
    assert len(list((app_world / "home" / "uploads").iterdir())) == len(files)
    assert saved.test_fitted, "these are test images, wherever they come from"


def test_an_uploaded_file_that_is_no_image_is_named_and_nothing_is_lost(visit, own_model: Path) -> None:
    at = signed(fine(visit("calibrate")))
    key_of(at, "button_group", "calibrate-normals-").set_value("upload").run()
    at.file_uploader("calibrate-upload").set_value([("part.png", b"no image", "image/png")]).run()
    assert not at.exception
    assert len(at.error) == 1
    assert len(at.dataframe) == 1, "the history stays"
    key_of(at, "button_group", "calibrate-normals-").set_value("held-out").run()
    assert fine(at).text_input("calibrate-who").value == "Ada"


def test_labelled_images_of_ones_own_are_no_test_images(visit, own_model: Path, app_world: Path) -> None:
    folder = app_world / "data" / "mine"
    rng = np.random.default_rng(1)
    for kind, many in (("good", 3), ("scratch", 2)):
        (folder / kind).mkdir(parents=True)
        for i in range(many):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / kind / f"{i}.png")
    at = label(fine(visit("calibrate")), "folder")
    at.text_input("calibrate-labelled-folder").input(str(folder)).run()
    assert "3 good and 2 defective images" in words(fine(at))
    save_button(signed(way(at, "balanced"))).click().run()
    saved = read_info(own_model).calibration
    assert (saved.method, saved.n, saved.test_fitted) == ("balanced-accuracy", 5, False)


def test_a_folder_outside_the_roots_is_an_error_in_words(visit, own_model: Path) -> None:
    at = label(fine(visit("calibrate")), "folder")
    at.text_input("calibrate-labelled-folder").input("/etc").run()
    assert not at.exception
    assert "outside the folders" in at.error[0].value
    assert len(at.dataframe) == 1


def test_the_smallest_region_is_applied_and_saved(visit, own_model: Path) -> None:
    at = signed(fine(visit("calibrate")))
    before = read_info(own_model).calibration.image_threshold
    key_of(at, "number_input", "calibrate-area-").set_value(9).run()
    assert "Not applied yet" in words(at)
    at.button("calibrate-apply").click().run()
    assert "regions from 9 pixels of the map on count" in words(fine(at))
    save_button(at).click().run()
    saved = read_info(own_model).calibration
    assert saved.min_area == 9
    assert saved.image_threshold < before, "small peaks no longer count"


def test_the_page_works_when_the_training_images_are_gone(visit, own_model: Path, monkeypatch) -> None:
    config = json.loads((own_model / "config.json").read_text())
    config["data"]["source"] = "/nowhere"
    (own_model / "config.json").write_text(json.dumps(config))
    at = fine(visit("calibrate"))
    assert "not at hand" in words(at)
    assert "no image to draw on" in words(at)
    save_button(signed(at)).click().run()
    assert read_info(own_model).calibration.version == 2


def test_a_model_that_is_damaged_meanwhile_is_named_in_words(visit, own_model: Path) -> None:
    at = signed(fine(visit("calibrate")))
    (own_model / "calibration.json").write_text("{}")
    save_button(at).click().run()
    assert not at.exception
    assert "cannot be used" in at.warning[0].value


def test_limits_that_fail_a_challenge_part_are_saved_for_a_reason_only(visit, own_model: Path, tiny_data: Path) -> None:
    good = next((tiny_data / "machined_disc" / "test" / "good").iterdir())
    info = read_info(own_model)
    at = signed(fine(visit("calibrate")))
    assert not [each for each in at.text_input if (each.key or "").startswith("calibrate-override-")]
    add_challenge_parts(info, [("master.png", good.read_bytes())], "NG")  # which no usual limit gives
    save_button(at).click().run()
    assert "master.png must be NG and is OK" in as_shown(at.error[0].value)
    assert read_info(own_model).calibration == info.calibration
    key_of(at, "text_input", "calibrate-override-").input("a new master is ordered").run()
    fine(save_button(at).click().run())
    assert read_info(own_model).calibration.version == info.calibration.version + 1
