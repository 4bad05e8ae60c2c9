"""No number, no verdict: NaN in weights, maps and scores is an error wherever it enters, and never OK."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

from skrd4ad.cli import main
from skrd4ad.config import ModelConfig
from skrd4ad.digests import file_digest
from skrd4ad.errors import CheckpointError, DataError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import limits_of, predict_images
from skrd4ad.model_folder.bundle import import_bundle, write_bundle
from skrd4ad.model_folder.info import CONFIG, WEIGHTS, ModelInfo, read_info
from skrd4ad.model_folder.network import load_model, read_student, save_model
from skrd4ad.model_folder.rd4ad import read_rd4ad
from skrd4ad.models.skrd import build_student
from skrd4ad.models.tensor_files import write_tensors
from skrd4ad.training.warm_start import read_parent_model
from skrd4ad.types import verdict_of
from tests.test_use_export import run as run_example

DEMO = Path(__file__).parents[1] / "checkpoints" / "synthetic" / "machined_disc" / "demo"
NOT_FINITE = "values that are not finite"


def poison(folder: Path, *, name: str | None = None, value: float = math.nan) -> str:
    """Put one value into a weight of a model folder, with a digest that fits; returns the weight's name."""
    weights = load_file(folder / WEIGHTS)
    name = name or next(name for name, tensor in weights.items() if tensor.ndim == 4)
    weights[name].view(-1)[-1] = value
    save_file(weights, folder / WEIGHTS)
    config = json.loads((folder / CONFIG).read_text())
    old = read_info(folder).digest
    (folder / CONFIG).write_text(json.dumps(config).replace(old, file_digest(folder / WEIGHTS)))
    return name


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_model_with_a_weight_that_is_no_number_is_not_loaded(info: ModelInfo, value: float) -> None:
    name = poison(info.folder, value=value)
    with pytest.raises(CheckpointError, match=f"{NOT_FINITE}.* first in {re.escape(name)}"):
        load_model(info.folder)


@pytest.mark.parametrize("tensor", ["centre", "scale", "patches", "usual", "floor"])
def test_nor_one_whose_memory_bank_is(tensor: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEMO, tmp_path / "demo"))
    name = next(name for name in load_file(folder / WEIGHTS) if name.endswith(tensor))
    assert read_student(read_info(folder))[1] is not None
    poison(folder, name=name)
    with pytest.raises(CheckpointError, match=re.escape(name)):
        read_student(read_info(folder))


def test_a_weight_of_whole_numbers_is_named(info: ModelInfo) -> None:
    weights = load_file(info.folder / WEIGHTS)
    name = next(name for name, tensor in weights.items() if tensor.ndim == 4)
    old = read_info(info.folder).digest
    save_file({**weights, name: weights[name].to(torch.int32)}, info.folder / WEIGHTS)
    config = (info.folder / CONFIG).read_text().replace(old, file_digest(info.folder / WEIGHTS))
    (info.folder / CONFIG).write_text(config)
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} is of torch\.int32, not floating point"):
        load_model(info.folder)


def test_it_is_neither_gone_on_from_nor_saved(info: ModelInfo, tmp_path: Path) -> None:
    poison(info.folder)
    found = read_info(info.folder)
    with pytest.raises(CheckpointError, match=NOT_FINITE):
        read_parent_model(
            info.folder, build_student(found.model), model=found.model, teacher_digest=found.teacher_digest
        )
    student = {name: t for name, t in load_file(info.folder / WEIGHTS).items() if not name.startswith("normality")}
    with pytest.raises(CheckpointError, match=NOT_FINITE):
        save_model(tmp_path / "new", info=found, student=student)
    assert not (tmp_path / "new").exists()


def test_neither_a_checkpoint_nor_a_bundle_brings_one_in(info: ModelInfo, tmp_path: Path) -> None:
    config = ModelConfig(net="res18", image_size=64)
    student = build_student(config, seed=1).state_dict()
    next(iter(student.values())).view(-1)[0] = math.nan
    parts = {
        part: {name.removeprefix(f"{part}."): tensor for name, tensor in student.items() if name.startswith(part)}
        for part in ("bn", "decoder")
    }
    torch.save(parts, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match=NOT_FINITE):
        read_rd4ad(tmp_path / "nan.pth", config)

    poison(info.folder)
    write_bundle(info.folder, tmp_path / "nan.skrd4ad")
    models = tmp_path / "into"
    with pytest.raises(CheckpointError, match=NOT_FINITE):
        import_bundle(tmp_path / "nan.skrd4ad", out=models)
    assert not [*models.rglob(WEIGHTS)]


def test_a_map_that_is_no_number_is_the_error_of_its_image_alone(
    loaded: Predictor, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = loaded.batch

    def broken(images: NDArray[np.uint8]) -> object:
        found = batch(images)
        maps = found.maps.copy()
        maps[1, 3, 4] = math.nan
        return replace(found, maps=maps, scores=maps.max(axis=(1, 2)))

    monkeypatch.setattr(loaded, "batch", broken)
    paths = [tiny_data / "machined_disc" / "test" / "good" / f"00{n}.png" for n in range(3)]
    found = [*predict_images(loaded, [(p.name, p) for p in paths], limits=limits_of(loaded.info))]
    assert [each.verdict is None for each in found] == [False, True, False]
    assert "not finite" in str(found[1].error) and found[1].score is None


@pytest.mark.parametrize(
    ("score", "reject"), [(math.nan, 1.0), (math.inf, 1.0), (-math.inf, 1.0), (0.5, math.nan), (np.float32("nan"), 1.0)]
)
def test_no_comparison_with_a_limit_answers_without_two_numbers(score: float, reject: float) -> None:
    with pytest.raises(DataError, match="no verdict without two numbers"):
        verdict_of(score, review=None, reject=reject)
    with pytest.raises(DataError):
        verdict_of(0.5, review=math.nan, reject=1.0)


def test_predict_ends_with_an_error(
    info: ModelInfo, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poison(info.folder)
    image = tiny_data / "machined_disc" / "test" / "good" / "000.png"
    code = main(["predict", str(image), "--model", str(info.folder), "--out", str(tmp_path / "out"), "--json"])
    printed = capsys.readouterr()
    assert code == 1 and NOT_FINITE in json.loads(printed.out)["error"] and '"OK"' not in printed.out


def test_the_exported_example_gives_no_verdict_for_a_map_that_is_no_number(
    tiny_export: Path, tiny_data: Path, tmp_path: Path
) -> None:
    model = onnx.load(next(tiny_export.glob("*.onnx")))
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight).copy()
        if array.ndim == 4 and array.dtype == np.float32:
            array[:] = np.nan
            weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, tmp_path / "nan.onnx")
    shutil.copy(tiny_export / "read_pixels.py", tmp_path)
    shutil.copy(tiny_data / "machined_disc" / "test" / "good" / "000.png", tmp_path / "a.png")
    ((_, verdict),) = run_example(tmp_path / "nan.onnx", [tmp_path / "a.png"]).values()
    assert verdict.startswith("cannot judge")


def test_writing_tensors_that_are_no_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="in 1 of 2 tensors, first in b"):
        write_tensors(tmp_path / "x.safetensors", {"a": torch.ones(2), "b": torch.tensor([1.0, math.nan])})
    assert not (tmp_path / "x.safetensors").exists()
