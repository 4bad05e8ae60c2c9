import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.data.dataset import load_images
from skrd4ad.errors import ConfigError, DependencyError
from skrd4ad.export import optional_dependencies
from skrd4ad.export.manifest import read_export
from skrd4ad.export.runtimes import ExportedModel, MaskedModel, RuntimeChoice, RuntimeName, is_converted, load_runtime
from skrd4ad.inference.evaluate import score_samples
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import ScoringMask
from skrd4ad.types import DatasetClass
from tests.limits import LONG

pytestmark = pytest.mark.usefixtures("converted_once")

FIELDS = ("levels", "maps", "scores", "embeddings")


@pytest.fixture(scope="module")
def images(disc: DatasetClass) -> NDArray[np.uint8]:
    return load_images(disc.test[:5], 64)


@pytest.mark.slow
def test_every_runtime_gives_all_that_torch_gives_and_converts_once(
    trained: ModelInfo, disc: DatasetClass, images: NDArray[np.uint8], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_runtime(trained.folder, RuntimeChoice("torch")).batch(images)
    for name in ("openvino", "onnxruntime"):
        choice = RuntimeChoice(name)  # type: ignore[arg-type]
        assert not is_converted(trained, choice)
        runtime = load_runtime(trained.folder, choice, threads=1)
        assert is_converted(trained, choice)
        found = runtime.batch(images)
        for field in FIELDS:
            np.testing.assert_allclose(
                getattr(found, field), getattr(expected, field), rtol=1e-4, atol=1e-4, err_msg=field
            )
            assert getattr(found, field).dtype == np.float32
        scored = score_samples(runtime, disc.test[:5])
        np.testing.assert_array_equal(scored.maps, found.maps)
        np.testing.assert_array_equal(scored.scores, found.scores)
    kept = list((home / "cache" / "runtimes").glob("*/model.*"))
    assert sorted(path.suffix for path in kept) == [".bin", ".onnx", ".xml"]

    safe = {path.parent: Path(shutil.copytree(path.parent, home / path.suffix)) for path in kept}
    made: list[Path] = []

    def convert(*_: object, out: Path, **__: object) -> None:
        made.append(out)
        shutil.copytree(safe[out], out)

    monkeypatch.setattr("skrd4ad.export.write.convert_scoring", convert)
    load_runtime(trained.folder, RuntimeChoice("onnxruntime"), threads=1)
    load_runtime(trained.folder, RuntimeChoice("openvino"), threads=1)
    assert made == []
    # what was damaged since is made again
    (weights,) = (path for path in kept if path.suffix == ".bin")
    weights.write_bytes(b"damaged")
    again = load_runtime(trained.folder, RuntimeChoice("openvino"), threads=1)
    np.testing.assert_allclose(again.batch(images).maps, expected.maps, atol=1e-4)
    assert made == [weights.parent]


def test_a_runtime_is_the_same_alone_in_a_batch_and_from_several_threads(
    tiny_export: Path, tiny_openvino: Path, images: NDArray[np.uint8]
) -> None:
    for folder in (tiny_export, tiny_openvino):
        runtime = ExportedModel(read_export(folder), threads=1)
        alone = [runtime.batch(images[place : place + 1]).maps for place in range(len(images))]
        np.testing.assert_allclose(np.concatenate(alone), runtime.batch(images).maps, rtol=1e-4, atol=1e-5)
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda place: runtime.batch(images[place : place + 1]).maps, [0, 1, 2, 3, 4] * 4))  # noqa: B023
        for place, maps in enumerate(together):
            np.testing.assert_array_equal(maps, alone[place % 5])


def test_a_raw_runtime_under_a_surface_mutes_and_scores(trained: ModelInfo, images: NDArray[np.uint8]) -> None:
    ignored = np.zeros((64, 64), bool)
    ignored[:, 32:] = True
    predictor = Predictor.load(trained.folder)
    raw, found = predictor.batch(images), MaskedModel(predictor, ScoringMask(ignored=ignored)).batch(images)
    assert (found.maps[:, :, 32:] == 0).all()
    np.testing.assert_array_equal(found.scores, raw.maps[:, :, :32].max(axis=(1, 2)))


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_below_one_is_refused(tiny_export: Path, threads: int) -> None:
    with pytest.raises(ConfigError, match="allowed: 1 or more"):
        ExportedModel(read_export(tiny_export), threads=threads)


@pytest.mark.parametrize(("runtime", "precision"), [("tensorrt", "fp32"), ("torch", "int8"), ("onnxruntime", "int8")])
def test_an_unknown_runtime_or_precision_is_refused_with_those_there_are(runtime: str, precision: str) -> None:
    allowed = "allowed: torch in fp32, bf16, fp16; openvino in fp32, "
    with pytest.raises(ConfigError, match=f"'{runtime}' in '{precision}'; {allowed}"):
        RuntimeChoice(runtime, precision)  # type: ignore[arg-type]


@pytest.mark.slow
def test_bf16_shares_the_files_of_fp32_and_int8_needs_good_images(
    trained: ModelInfo, disc: DatasetClass, images: NDArray[np.uint8], home: Path
) -> None:
    expected = load_runtime(trained.folder, RuntimeChoice("torch")).batch(images)
    for precision in ("fp32", "bf16"):
        load_runtime(trained.folder, RuntimeChoice("openvino", precision), threads=1)
    assert len(list((home / "cache" / "runtimes").glob("*/model.xml"))) == 1
    with pytest.raises(ConfigError, match="int8 takes the ranges of values from good training images"):
        load_runtime(trained.folder, RuntimeChoice("openvino", "int8"))
    quantised = load_runtime(trained.folder, RuntimeChoice("openvino", "int8"), normals=disc.train, threads=1)
    found = quantised.batch(images)
    assert quantised.runtime == "openvino int8"
    # it is quantised, and it still is this model
    assert not np.allclose(found.scores, expected.scores, rtol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0.3)
    # once made, it needs no images any more
    again = load_runtime(trained.folder, RuntimeChoice("openvino", "int8"), threads=1)
    np.testing.assert_array_equal(again.batch(images).scores, found.scores)


@pytest.mark.parametrize("name", ["openvino", "nncf", "onnxruntime", "onnx"])
def test_a_package_that_is_not_there_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DependencyError, match=rf"pip install {name}"):
        getattr(optional_dependencies, name)()


@pytest.mark.slow
def test_the_toolkits_report_nothing_over_the_internet() -> None:
    script = """
import socket, sys
def refuse(*_):
    raise SystemExit("a connection was tried")
socket.socket.connect = socket.getaddrinfo = refuse
from skrd4ad.export import optional_dependencies as kits
for load in (kits.openvino, kits.nncf, kits.onnxruntime):
    load()
assert sys.modules["openvino_telemetry"] is None
print(type(sys.modules["openvino.tools.ovc"].telemetry).__module__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stdout.strip()) == (0, "openvino.tools.ovc.telemetry_stub"), done.stderr


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
@pytest.mark.slow
def test_streams_give_the_same_from_several_threads(
    trained: ModelInfo, images: NDArray[np.uint8], name: RuntimeName
) -> None:
    expected = load_runtime(trained.folder, RuntimeChoice(name), threads=1).batch(images)
    runtime = load_runtime(trained.folder, RuntimeChoice(name), streams=2)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda _: runtime.batch(images), range(6)):
            np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-5, atol=1e-5)
