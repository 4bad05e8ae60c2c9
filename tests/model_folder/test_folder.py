import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.digests import file_digest
from skrd4ad.documents import read_values
from skrd4ad.errors import CheckpointError, DocumentError
from skrd4ad.files import LOCK, new_file, new_folder, write_json
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.model_folder.folder import find_models, folder_name, run_folder, save_metrics
from skrd4ad.model_folder.info import CALIBRATION, CARD, CONFIG, METRICS, WEIGHTS, ModelInfo, read_info
from skrd4ad.model_folder.network import load_model, save_model
from skrd4ad.model_folder.unfinished import state_file
from skrd4ad.models.skrd import SKRD4AD, build_student
from skrd4ad.models.teachers import Teacher, build_teacher
from skrd4ad.models.tensor_files import write_tensors
from skrd4ad.models.weights import weights_digest

MODEL = ModelConfig(image_size=64)


def student_state(model: ModelConfig = MODEL) -> dict[str, Tensor]:
    """A student whose batch norms are not the identity, so that losing any part of it shows."""
    student = build_student(model, seed=3)
    generator = torch.Generator().manual_seed(4)
    state = student.state_dict()
    for name, tensor in state.items():
        if name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.1, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
    return state


@pytest.fixture
def info(lite0: Teacher) -> ModelInfo:
    return ModelInfo(
        dataset="parts",
        class_name="disc",
        model=MODEL,
        train=TrainConfig(epochs=2),
        teacher_digest=weights_digest(lite0),
        data={"source": "tests", "n_train": 9, "n_holdout": 3, "digest": "abc", "licence": "MIT", "note": "drawn"},
        history=({"epoch": 1, "loss": 2.0, "holdout_score": None},),
        selected_epoch=1,
        training_seconds=1.5,
        calibration=calibrate([0.1, 0.2, 0.3], data="tests", who="training"),
        calibration_versions=1,
        metrics={"image_auroc": 0.875, "n_good": 4, "n_defect": 8, "protocol": "Raw scores."},
    )


@pytest.fixture
def saved(info: ModelInfo, tmp_path: Path) -> ModelInfo:
    return save_model(tmp_path / "models" / "parts" / "disc" / "run", info=info, student=student_state())


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


# round trip


@pytest.mark.parametrize("res", [1, 2, 3])
def test_maps_after_loading_equal_those_before_saving_bit_for_bit(
    info: ModelInfo, lite0: Teacher, images: NDArray[np.uint8], tmp_path: Path, res: int
) -> None:
    model = ModelConfig(image_size=64, res=res)
    student = build_student(model)
    student.load_state_dict(student_state(model))
    given = replace(info, model=model)
    before = Predictor(SKRD4AD(lite0, student), given).batch(images)
    save_model(tmp_path / "run", info=given, student=student.state_dict())
    after = Predictor.load(tmp_path / "run").batch(images)
    assert (before.maps == after.maps).all()
    assert (before.levels == after.levels).all()
    assert (before.scores == after.scores).all()


def test_bottleneck_and_decoder_are_both_in_the_folder(saved: ModelInfo) -> None:
    model, _ = load_model(saved.folder)
    stored, expected = model.student.state_dict(), student_state()
    assert {name.partition(".")[0] for name in stored} == {"bn", "decoder"}
    assert all(torch.equal(stored[name], expected[name]) for name in expected)


def test_what_is_known_of_a_model_survives_the_folder(saved: ModelInfo) -> None:
    assert read_info(saved.folder) == saved
    assert saved.digest == file_digest(saved.folder / WEIGHTS)
    assert saved.folder.is_absolute()


def test_an_imported_model_without_settings_or_thresholds_survives_too(info: ModelInfo, tmp_path: Path) -> None:
    bare = replace(info, train=None, calibration=None, calibration_versions=0, metrics=None, data={}, history=())
    saved = save_model(tmp_path / "run", info=bare, student=student_state())
    assert read_info(tmp_path / "run") == saved
    assert not (tmp_path / "run" / CALIBRATION).exists()
    assert "imported" in (tmp_path / "run" / CARD).read_text()


def test_a_loaded_model_is_frozen_and_in_evaluation_mode(saved: ModelInfo) -> None:
    model, _ = load_model(saved.folder)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_all_files_of_a_model_may_be_read_by_whom_a_new_file_may(saved: ModelInfo, tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    usual = (tmp_path / "new").stat().st_mode
    assert {path.stat().st_mode for path in saved.folder.iterdir()} == {usual}


def test_new_metrics_replace_the_old_ones_and_reach_the_card(saved: ModelInfo) -> None:
    metrics = {"image_auroc": 0.625, "n_good": 1, "n_defect": 2, "protocol": "Raw scores."}
    updated = save_metrics(saved.folder, metrics)
    assert updated == replace(saved, metrics=metrics) == read_info(saved.folder)
    card = (saved.folder / CARD).read_text()
    assert "0.625" in card
    assert "0.875" not in card
    assert {path.name for path in saved.folder.iterdir()} == {WEIGHTS, CONFIG, CALIBRATION, METRICS, CARD, LOCK}


# what is refused


@pytest.mark.parametrize("place", [0, 5000, -1])
def test_a_changed_byte_in_the_weights_is_refused(saved: ModelInfo, place: int) -> None:
    content = bytearray((saved.folder / WEIGHTS).read_bytes())
    content[place] ^= 1
    (saved.folder / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors was changed or damaged"):
        load_model(saved.folder)


def test_weights_of_another_network_with_a_right_digest_are_refused(saved: ModelInfo) -> None:
    (saved.folder / WEIGHTS).unlink()
    write_tensors(saved.folder / WEIGHTS, {"bn.conv1.weight": torch.zeros(1)})
    values = read_values(saved.folder / CONFIG)
    write_json(saved.folder / CONFIG, {**values, "digest": file_digest(saved.folder / WEIGHTS)})
    with pytest.raises(CheckpointError, match=r"does not fit its config\.json"):
        load_model(saved.folder)


def test_other_weights_of_the_teacher_are_refused_with_the_remedy(
    info: ModelInfo, res18_weights: Path, tmp_path: Path
) -> None:
    model = ModelConfig(net="res18", image_size=64)
    given = replace(info, model=model, teacher_digest="0123456789abcdef")
    save_model(tmp_path / "run", info=given, student={"bn.conv1.weight": torch.zeros(1)})
    actual = weights_digest(build_teacher("res18", weights=res18_weights))
    with pytest.raises(CheckpointError, match=f"0123456789abcdef.*{actual}.*--weights FILE"):
        load_model(tmp_path / "run", weights=res18_weights)


@pytest.mark.parametrize("missing", [WEIGHTS, CONFIG])
def test_a_folder_without_one_of_its_files_is_no_model_folder(saved: ModelInfo, missing: str) -> None:
    (saved.folder / missing).unlink()
    for read in (read_info, load_model):
        with pytest.raises(CheckpointError, match="is no model folder"):
            read(saved.folder)


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_what_is_no_model_folder_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.touch()
    elif kind == "empty":
        place.mkdir()
    with pytest.raises(CheckpointError, match=r"is no model folder.*skrd4ad models"):
        load_model(place)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000],
    ids=["empty", "cut short", "a list", "no text", "null", "nested"],
)
@pytest.mark.parametrize("file", [CONFIG, CALIBRATION, METRICS])
def test_damaged_json_is_named(saved: ModelInfo, file: str, content: bytes) -> None:
    (saved.folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(file)):
        read_info(saved.folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": None},
        {"model": None},
        {"model": {"net": "vgg"}},
        {"model": {"net": 5}},
        {"model": {"image_size": "64"}},
        {"model": {"colour": 1}},
        {"train": {"epochs": 0}},
        {"train": {"learning_rate": "fast"}},
        {"train": 7},
        {"history": 7},
        {"from_the_future": 1},
    ],
)
def test_settings_that_cannot_be_understood_are_refused(saved: ModelInfo, change: dict[str, Any]) -> None:
    write_json(saved.folder / CONFIG, {**read_values(saved.folder / CONFIG), **change})
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_info(saved.folder)


@pytest.mark.parametrize("missing", ["format", "model", "train", "dataset", "class_name", "teacher_digest"])
def test_missing_settings_are_refused(saved: ModelInfo, missing: str) -> None:
    values = read_values(saved.folder / CONFIG)
    del values[missing]
    write_json(saved.folder / CONFIG, values)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_info(saved.folder)


# writing


def test_a_second_save_never_overwrites_the_first(saved: ModelInfo, info: ModelInfo) -> None:
    before = {path.name: path.read_bytes() for path in saved.folder.iterdir()}
    with pytest.raises(CheckpointError, match="exists already"):
        save_model(saved.folder, info=replace(info, class_name="other"), student=student_state())
    assert {path.name: path.read_bytes() for path in saved.folder.iterdir()} == before
    assert list(saved.folder.parent.iterdir()) == [saved.folder]


def test_a_folder_that_appears_while_writing_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with pytest.raises(CheckpointError, match="cannot be written"), new_folder(target) as temporary:
        (temporary / "mine").touch()
        target.mkdir()
        (target / "theirs").touch()
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O error")])
def test_a_failing_write_leaves_no_half_folder(
    info: ModelInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("skrd4ad.models.tensor_files.save_file", fail)
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_model(tmp_path / "models" / "run", info=info, student={})
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("write", [new_folder, new_file])
def test_a_file_in_place_of_the_parent_folder_is_a_checkpoint_error(write: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(CheckpointError, match="cannot be written"), write(tmp_path / "occupied" / "target"):
        pytest.fail("the block must not be entered")


@pytest.mark.parametrize("write", [new_folder, new_file])
def test_what_was_written_is_on_the_disk_before_it_gets_its_name(
    write: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, named = tmp_path / "target", []
    monkeypatch.setattr("os.fsync", lambda _: named.append(target.exists()))
    with write(target) as temporary:
        (temporary / "file" if write is new_folder else temporary).touch()
    assert named == [False, True]  # the content, then the folder that holds the name


def test_an_error_of_the_block_keeps_the_old_file_and_removes_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), new_file(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_number_that_json_does_not_know_is_never_written(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"a": "ä"})
    with pytest.raises(DocumentError, match="The value at a is nan"):
        write_json(tmp_path / "file.json", {"a": float("nan")})
    assert read_values(tmp_path / "file.json") == {"a": "ä"}
    assert len(os.listdir(tmp_path)) == 1  # noqa: PTH208 - hidden files count too


# finding and naming


def test_models_are_found_by_name_past_everything_else(saved: ModelInfo, info: ModelInfo, tmp_path: Path) -> None:
    root = tmp_path / "models"
    second = save_model(root / "parts" / "bolt" / "run", info=info, student={})
    with new_folder(root / "parts" / "disc" / "half") as temporary:
        (temporary / CONFIG).touch()
        (temporary / WEIGHTS).touch()
        state_file(root / "parts" / "disc" / "later").touch()
        (root / "parts" / "disc" / "empty").mkdir()
        only_config = root / "parts" / "disc" / "cut"
        only_config.mkdir()
        (only_config / CONFIG).touch()
        assert list(find_models(root)) == [second.folder, saved.folder]
    assert list(find_models(root / "nowhere")) == []


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("bottle", "bottle"),
        ("metal nut", "metal_nut"),
        ("a/b", "a_b"),
        ("../../etc", "_.._etc"),
        ("..", "unnamed"),
        ("", "unnamed"),
        (".hidden", "hidden"),
        ("C:\\parts", "C_parts"),
        ("Größe-1.2", "Größe-1.2"),
        ("a\x00b\nc", "a_b_c"),
        ("\udcff", "_"),
    ],
)
def test_any_name_makes_one_plain_folder(name: str, folder: str) -> None:
    assert folder_name(name) == folder
    assert Path(folder_name(name)).name == folder_name(name)


def test_the_folder_of_a_run_is_below_data_set_and_class_and_free(tmp_path: Path) -> None:
    taken = []
    for occupy in (lambda run: run.mkdir(parents=True), lambda run: state_file(run).touch()) * 2:
        run = run_folder(tmp_path, dataset="My Data", class_name="a/b", model=ModelConfig(res=2))
        assert run.parent == tmp_path / "My_Data" / "a_b"
        assert re.fullmatch(r"\d{8}-\d{6}-efficientnet_lite0-res2(-\d+)?", run.name)
        occupy(run)
        taken.append(run)
    assert len(set(taken)) == 4


# the card


def test_the_card_says_what_a_reader_must_know(saved: ModelInfo) -> None:
    card = (saved.folder / CARD).read_text()
    for told in ("# disc (parts)", "2 skip connections", "64x64", "drawn", "MIT", saved.digest, "0.875", "25.00%"):
        assert told in card
    assert "Test-selected" not in card


def test_a_card_keeps_its_tables_whatever_the_names(info: ModelInfo, tmp_path: Path) -> None:
    odd = replace(info, class_name="a\n# b", data={**info.data, "note": "one | two\n\nthree"})
    saved = save_model(tmp_path / "run", info=odd, student={})
    card = (saved.folder / CARD).read_text()
    assert "# a # b (parts)" in card
    assert "| Note | one &#124; two three |" in card
