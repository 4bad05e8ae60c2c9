import json
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skrd4ad.config import ModelConfig
from skrd4ad.data.dataset import load_images, spread
from skrd4ad.errors import CheckpointError, ConfigError, TrainingCancelled
from skrd4ad.export import optional_dependencies
from skrd4ad.export import write as exporting
from skrd4ad.export.convert import write_openvino
from skrd4ad.export.manifest import EXPORTS, ExportSettings, Format, Precision, read_export, require_intact
from skrd4ad.export.runtimes import ExportedModel, MaskedModel, Verdicts
from skrd4ad.export.write import export_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.model_folder.folder import find_models, read_info, save_calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.backbones import empty_network
from skrd4ad.task import Task
from skrd4ad.types import DatasetClass
from tests.model_fixtures import build_model, random_weights

OPENVINO = ExportSettings(format="openvino")


def untrained(net: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """Predictor of an untrained student, and of a teacher with random weights, as its own would have to be fetched."""
    config = ModelConfig(net=net, image_size=64)
    monkeypatch.setattr(
        "skrd4ad.models.teachers.load_weights", lambda net, **_: random_weights(empty_network(net).state_dict())
    )
    info = ModelInfo(
        dataset="parts", class_name="disc", model=config, train=None, teacher_digest="random", folder=folder
    )
    return Predictor(build_model(config, seed=1), info)


@pytest.fixture
def predictor(trained: ModelInfo) -> Predictor:
    return Predictor.load(trained.folder)


@pytest.fixture(scope="module")
def images(disc: DatasetClass) -> NDArray[np.uint8]:
    return load_images(disc.test[::3], 64)


@pytest.mark.parametrize(("net", "format"), [("res18", "onnx"), ("res50", "openvino")])  # its two kinds of blocks
@pytest.mark.slow
def test_an_export_of_a_resnet_says_what_torch_says(
    net: str, format: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = untrained(net, tmp_path, monkeypatch)
    pixels = np.random.default_rng(3).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    expected = predictor.batch(pixels)
    export = export_model(predictor, ExportSettings(format=format, batch=3), out=tmp_path / "out")
    require_same(ExportedModel(export, threads=1).batch(pixels), expected)


def test_an_export_of_a_trained_model_says_what_torch_says(
    predictor: Predictor, images: NDArray[np.uint8], tiny_export: Path, tiny_openvino: Path
) -> None:
    three = images[:3]  # one of these takes any number of images, the other two at a time
    expected = predictor.batch(three)
    for folder in (tiny_export, tiny_openvino):
        require_same(ExportedModel(read_export(folder), threads=1).batch(three), expected)


def require_same(found: Verdicts, expected: Verdicts) -> None:
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert np.ptp(expected.scores) > 1e-3  # images that differ: a constant output would not do


@pytest.mark.slow
def test_ignored_regions_and_the_smallest_region_are_those_of_the_calibration(
    trained: ModelInfo, images: NDArray[np.uint8]
) -> None:
    mask = np.zeros((40, 50), bool)
    mask[5:30, 10:35] = True
    save_calibration(trained.folder, replace(calibrate([0.5], data="d", who="w"), min_area=30), ignore_mask=mask)
    predictor = Predictor.load(trained.folder)
    surface = scoring_mask_of(predictor.info)
    export = export_model(predictor, OPENVINO)
    assert export.manifest.limits is not None
    assert (export.manifest.limits.min_area, export.manifest.limits.calibration) == (30, 2)
    found, expected = (
        runtime.batch(images) for runtime in (ExportedModel(export, threads=1), MaskedModel(predictor, surface))
    )
    muted = (expected.maps == 0).all(axis=0)
    assert muted.sum() == export.manifest.limits.ignored_pixels > 64 * 64 / 8
    assert (found.maps[:, muted] == 0).all()
    require_same(found, expected)
    assert (found.scores < found.maps.max(axis=(1, 2))).all()


def test_onnx_holds_its_limits_and_names_its_tensors(tiny_export: Path) -> None:
    manifest = json.loads((tiny_export / "manifest.json").read_text(encoding="utf-8"))
    model = onnx.load(tiny_export / "model.onnx")
    facts = json.loads({entry.key: entry.value for entry in model.metadata_props}["skrd4ad"])
    assert facts == {key: value for key, value in manifest.items() if key != "files"}
    assert facts["limits"]["image_threshold"] > 0
    assert (facts["limits"]["calibration"], facts["image_size"], facts["batch"]) == (1, 64, None)

    def shapes(values: Any) -> dict[str, list[int | str]]:
        return {
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
        }

    assert shapes(model.graph.input) == {"images": ["N", 64, 64, 3]}
    assert shapes(model.graph.output) == {"score": ["N"], "map": ["N", 64, 64]}
    onnx.checker.check_model(model, full_check=True)


def test_openvino_holds_its_limits_and_its_fixed_batch(tiny_openvino: Path) -> None:
    export = read_export(tiny_openvino)
    model = openvino.Core().read_model(export.main_file)
    assert json.loads(model.get_rt_info(["skrd4ad"]).astype(str)) == json.loads(export.manifest.facts())
    assert list(model.input("images").shape) == [2, 64, 64, 3]
    assert list(model.output("map").shape) == [2, 64, 64]
    assert export.manifest.to_plain()["compile"] == {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.mark.slow
def test_int8_learns_its_ranges_from_the_normals_alone(
    predictor: Predictor, disc: DatasetClass, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[Path] = set()
    original = exporting.read_image

    def spy(path: Path, *, levels: None) -> NDArray[np.uint8]:
        read.add(path)
        return original(path)

    monkeypatch.setattr(exporting, "read_image", spy)
    monkeypatch.setattr(exporting, "MOST_NORMALS", 4)
    steps: list[str] = []
    export = export_model(
        predictor,
        ExportSettings(format="openvino", precision="int8"),
        normals=disc.train,
        task=Task(show=lambda at: steps.append(at.text)),
    )
    assert read == {disc.train[place].path for place in (0, 4, 7, 11)}
    assert export.manifest.quantisation is not None
    assert export.manifest.quantisation["images"] == 4
    assert list(dict.fromkeys(steps)) == [
        "reading the network's operations",
        "converting",
        *(f"quantising with good image {n} of 4" for n in range(1, 5)),
    ]
    kinds = [op.get_type_name() for op in openvino.Core().read_model(export.main_file).get_ops()]
    assert kinds.count("FakeQuantize") > 40
    found, expected = ExportedModel(export, threads=1).batch(images), predictor.batch(images)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0.1)


def test_int8_without_normals_is_refused(predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match="good training images, and there are none"):
        export_model(predictor, ExportSettings(format="openvino", precision="int8"))
    assert not (predictor.info.folder / EXPORTS).exists()


@pytest.mark.parametrize("precision", ["int8", "bf16", "fp64"])
def test_what_a_format_cannot_hold_is_refused_with_what_it_can(precision: Precision) -> None:
    with pytest.raises(ConfigError, match="allowed: onnx in fp32, fp16; openvino in fp32, fp16, bf16, int8"):
        ExportSettings(format="onnx", precision=precision)


@pytest.mark.parametrize("batch", [0, -1, 257])
def test_a_batch_out_of_range_is_refused(batch: int) -> None:
    with pytest.raises(ConfigError, match="allowed: 1 to 256"):
        ExportSettings(batch=batch)


def test_exports_lie_in_the_model_folder_and_change_nothing_else(
    predictor: Predictor, tiny_export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(_program: object, target: Path, **_: object) -> None:
        shutil.copy(tiny_export / "model.onnx", target)

    monkeypatch.setattr(exporting, "write_onnx", copied)
    monkeypatch.setattr(exporting, "trace", lambda *_, **__: None)
    folder = predictor.info.folder
    before = read_info(folder)
    first, second = (export_model(predictor, ExportSettings(batch=1)) for _ in range(2))
    assert [first.folder.name, second.folder.name] == ["onnx-fp32-batch1", "onnx-fp32-batch1-2"]
    assert first.folder.parent == folder / EXPORTS
    assert read_info(folder) == before
    assert list(find_models(folder.parents[2])) == [folder]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_stopped_export_leaves_nothing(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(exporting, "trace", lambda *_, **__: None)
    monkeypatch.setattr(exporting, "write_onnx", lambda _program, target, **_: target.write_bytes(b"x"))
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) > at:
            raise TrainingCancelled("stop")

    with pytest.raises(TrainingCancelled):
        export_model(predictor, ExportSettings(), out=tmp_path / "exports" / "out", task=Task(check=check))
    assert not list(tmp_path.glob("exports/*"))
    assert not list(tmp_path.glob("exports/.*"))


def test_what_a_toolkit_cannot_convert_is_an_error_in_words(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(exporting, "trace", refuse)
    with pytest.raises(CheckpointError, match="cannot be converted to onnx: no such operation"):
        export_model(predictor, ExportSettings(), out=tmp_path / "exports" / "out")
    assert not list((tmp_path / "exports").iterdir())


def test_an_export_works_where_it_is_moved_to(tiny_export: Path, tmp_path: Path, images: NDArray[np.uint8]) -> None:
    moved = Path(shutil.copytree(tiny_export, tmp_path / "elsewhere" / "line 3"))
    here, there = (ExportedModel(read_export(folder), threads=1).batch(images) for folder in (tiny_export, moved))
    np.testing.assert_array_equal(here.maps, there.maps)


def test_a_changed_byte_is_refused_by_name(tiny_export: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_export, tmp_path / "copy"))
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.onnx was changed or damaged"):
        ExportedModel(read_export(folder))


def changed(key: str, value: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda values: {**values, key: value}


@pytest.mark.parametrize(
    "change",
    [
        changed("manifest_format", 2),
        changed("precision", "int4"),
        changed("limits", {"image_threshold": 1}),
        changed("files", {"model.onnx": {}}),
        changed("image_size", None),
        lambda values: {key: value for key, value in values.items() if key != "model"},
    ],
)
def test_a_damaged_manifest_is_refused(
    tiny_export: Path, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    values = json.loads((tiny_export / "manifest.json").read_text(encoding="utf-8"))
    (tmp_path / "manifest.json").write_text(json.dumps(change(values)), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"manifest\.json (is damaged|has the format 2).*Export the model again"):
        read_export(tmp_path)


def test_a_manifest_without_its_model_is_refused(tiny_export: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_export / "manifest.json", tmp_path)
    export = read_export(tmp_path)
    with pytest.raises(CheckpointError, match=r"model\.onnx cannot be read"):
        require_intact(export)
    with pytest.raises(CheckpointError, match="names no model file"):
        require_intact(replace(export, manifest=replace(export.manifest, files={})))


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no export"):
        read_export(tmp_path)


@pytest.mark.parametrize(
    ("count", "most", "places"), [(0, 3, []), (1, 3, [0]), (3, 3, [0, 1, 2]), (9, 3, [0, 4, 8]), (7, 1, [0])]
)
def test_places_are_spread_from_the_first_to_the_last(count: int, most: int, places: list[int]) -> None:
    assert spread(count, most) == places


def test_scoring_stays_in_float32_where_the_network_is_computed_in_bf16(tiny_openvino: Path) -> None:
    if not optional_dependencies.computes_bf16():
        pytest.skip("this processor does not compute in bf16")
    file = tiny_openvino / "model.xml"
    compiled = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    found: dict[str, set[str]] = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = {name: node.rt_info[name].astype(str) for name in ("layerType", "runtimePrecision")}
        found.setdefault(facts["layerType"], set()).add(facts["runtimePrecision"])
    assert found["Reduce"] == {"f32"}
    assert "bf16" in found["Convolution"]


def test_a_conversion_that_fails_leaves_the_loggers_as_they_were(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, [*root.filters], [*root.handlers])
    nothing: Any = object()
    with pytest.raises(Exception, match=r"convert|support|type"):
        write_openvino(nothing, tmp_path / "model.xml", size=64, batch=1, outputs=(), metadata="{}")
    assert (root.level, root.filters, root.handlers) == before


class Brightness(nn.Module):
    """A graph that is converted in no time."""

    def forward(self, images: NDArray[np.uint8]) -> Tensor:
        return images.float().mean(dim=(1, 2, 3))


def test_conversions_at_once_are_all_made_and_leave_the_loggers_as_they_were(tmp_path: Path) -> None:
    before = logging.getLogger().level
    program = torch.export.export(Brightness(), (torch.zeros((2, 8, 8, 3), dtype=torch.uint8),))

    def convert(number: int) -> Path:
        target = tmp_path / f"{number}.xml"
        write_openvino(program, target, size=8, batch=2, outputs=["score"], metadata="{}")
        return target

    with ThreadPoolExecutor(2) as pool:
        assert all(target.is_file() for target in pool.map(convert, range(8)))
    assert logging.getLogger().level == before
