"""The Python interface says what the command line says."""

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import skrd4ad
from skrd4ad.cli import main
from skrd4ad.config import TrainConfig
from skrd4ad.data.images.read import read_image
from skrd4ad.errors import CheckpointError, ConfigError, DataError, ImageError
from skrd4ad.inference.predict import Predictor
from skrd4ad.services.evaluation.evaluate import find_evaluation
from skrd4ad.types import DatasetClass
from tests.model_fixtures import SMALL


@pytest.fixture
def model(tiny_model: tuple[Path, Path], loaded_once: None) -> skrd4ad.Model:
    return skrd4ad.load(tiny_model[0])


@pytest.fixture
def folder(tiny_data: Path) -> Path:
    return tiny_data / "machined_disc" / "test" / "scratch"


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import sys, skrd4ad; print([m for m in sys.modules if m[:8] == 'skrd4ad.' or m == 'numpy'], dir(skrd4ad))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")
    assert all(f"'{name}'" in done.stdout for name in skrd4ad.__all__)
    assert skrd4ad.Predictor is Predictor
    with pytest.raises(AttributeError, match="'skrd4ad' has no attribute 'fly'"):
        _ = skrd4ad.fly  # type: ignore[attr-defined]


def test_one_image_gives_one_result_whatever_holds_it(model: skrd4ad.Model, folder: Path) -> None:
    path = folder / "000.png"
    pixels = read_image(path)
    found = model.predict(path)
    assert found.verdict in ("OK", "REVIEW", "NG") and found.map.shape == (64, 64) and found.limit > 0
    assert found.score == pytest.approx(float(found.map.max()))
    for same in (str(path), pixels, Image.open(path), torch.from_numpy(pixels).permute(2, 0, 1)):
        other = model.predict(same)
        assert isinstance(other, skrd4ad.Result)
        assert (other.score, other.verdict, other.regions) == (found.score, found.verdict, found.regions)
    assert model.predict(path, threshold=0).verdict == "NG" and model.predict(path, threshold=99).verdict == "OK"


def test_many_images_are_read_as_their_results_are_asked_for(model: skrd4ad.Model, folder: Path) -> None:
    paths = sorted(folder.iterdir())
    asked = 0

    def camera() -> Iterator[Path]:
        nonlocal asked
        for path in itertools.cycle(paths):
            asked += 1
            yield path

    results = model.predict(camera())
    assert [Path(each.name) for each in itertools.islice(results, 5)] == [*paths, *paths, *paths][:5]
    assert asked < 40
    by_folder = [each.score for each in model.predict(folder)]
    assert by_folder == pytest.approx([model.predict(path).score for path in paths], rel=1e-5)


def test_an_unreadable_image_is_an_error_alone_and_a_result_among_others(
    model: skrd4ad.Model, folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(ImageError, match="not an image"):
        model.predict(broken)
    first, second = model.predict([broken, folder / "000.png"])
    assert "not an image" in first.error and first.score is None and first._repr_png_() is None
    assert second.error is None and second.score > 0
    assert repr(first).startswith(f"Result({broken}: unreadable, ")
    for wrong in ({"threshold": float("nan")}, {"tiling": "perhaps"}):
        with pytest.raises(ConfigError):
            model.predict(folder / "000.png", **wrong)


def test_a_result_is_that_of_the_command_line(
    model: skrd4ad.Model, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "000.png"
    found = model.predict(path, threshold=0)
    look = ["predict", "--model", str(model.folder), str(path), "--out", str(tmp_path / "cli"), "--json"]
    capsys.readouterr()
    assert main([*look, "--threshold", "0", "--runtime", "torch"]) == 0
    [record] = json.loads(capsys.readouterr().out)["images"]
    files = record.pop("files")
    assert json.loads(json.dumps(found.to_dict())) == record
    assert "area_mm2" in found.to_dict(mm_per_pixel=0.1)["regions"][0]
    saved = found.save(tmp_path / "api")
    assert {kind: file.name for kind, file in saved.items()} == {kind: Path(file).name for kind, file in files.items()}
    for kind, file in saved.items():
        assert file.read_bytes() == Path(files[kind]).read_bytes()
    assert found.save(tmp_path / "api", name="own")["map"].name == "own_map.npy"
    assert np.array_equal(read_image(found._repr_png_()), found.overlay)
    assert found.mask.shape == found.overlay.shape[:2]
    assert repr(found).endswith("000.png: NG, score " + f"{found.score:.4g}, limit 0, 1 region)")


def test_show_takes_the_notebook_where_there_is_one(
    model: skrd4ad.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = model.predict(folder / "000.png")
    shown: list[object] = []
    monkeypatch.setattr(Image.Image, "show", lambda self, title: shown.append((self.size, title)))
    monkeypatch.setitem(sys.modules, "IPython", None)
    found.show()
    notebook = SimpleNamespace(get_ipython=lambda: "kernel", display=SimpleNamespace(display=shown.append))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    found.show()
    assert shown == [((64, 64), found.name), found]


@pytest.mark.slow
def test_three_lines_train_measure_and_export(
    tiny_data: Path, disc: DatasetClass, tmp_path: Path, quick_onnx: None
) -> None:
    config = TrainConfig(batch_size=4, holdout=0.25)
    model = skrd4ad.train(tiny_data, model=SMALL, config=config, epochs=1)
    assert model.info.train.epochs == 1
    assert model.folder.is_relative_to(tmp_path / "models") and str(model.folder) in repr(model)
    summary = model.evaluate()
    assert 0 <= summary.metrics.image_auroc <= 1
    assert model.info.metrics["image_auroc"] == summary.metrics.image_auroc
    stored = find_evaluation(model.info, disc)
    assert stored is not None and stored.summary == summary == model.evaluate(tiny_data, "machined_disc")
    exported = model.export("onnx", out=tmp_path / "export")
    assert (exported.folder / "model.onnx").is_file() and exported.passed == exported.certificate.passed
    with pytest.raises(DataError, match=r"The class is 'bottle'; .* has: machined_disc"):
        model.evaluate(tiny_data, "bottle")


def test_what_cannot_be_done_is_said(tiny_data: Path, tmp_path: Path, model: skrd4ad.Model) -> None:
    several = tmp_path / "several"
    for name in ("machined_disc", "other"):
        shutil.copytree(tiny_data / "machined_disc", several / name)
    with pytest.raises(CheckpointError, match="is no model folder"):
        skrd4ad.load(tmp_path)
    with pytest.raises(ConfigError, match="preset is 'slow'; allowed: fast"):
        skrd4ad.train(tiny_data, preset="slow")
    with pytest.raises(DataError, match="several classes; name one of: machined_disc, other"):
        skrd4ad.train(several)
    with pytest.raises(ConfigError, match="allowed: onnx in fp32"):
        model.export("coreml")
