import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest

from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import CheckpointError, ConfigError, DocumentError, ImageError
from skrd4ad.export import write as engine_export
from skrd4ad.export.certificate import CERTIFICATE
from skrd4ad.export.check import check_export, images_of
from skrd4ad.export.manifest import EXPORTS, ExportSettings
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.model_folder.folder import read_info, save_calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.models.export_job import EXPORT, ExportRequest, make_export, result_of
from skrd4ad.services.models.exports import delete_export, list_exports, pack_export
from skrd4ad.types import DatasetClass
from tests.limits import LONG


@pytest.fixture(autouse=True)
def world(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tiny_data))
    return tmp_path


@pytest.fixture
def model(world: Path, tiny_model: tuple[Path, Path]) -> ModelInfo:
    folder = world / "models" / "parts" / "machined_disc" / "tiny"
    return read_info(Path(shutil.copytree(tiny_model[0], folder)))


@pytest.fixture
def data(tiny_data: Path) -> DatasetClass:
    return open_dataset(tiny_data)[0]


@pytest.fixture
def with_exports(model: ModelInfo, tiny_export: Path, data: DatasetClass) -> ModelInfo:
    """A model with one checked export and one that was not checked."""
    predictor = Predictor.load(model.folder)
    for name in ("checked", "unchecked"):
        shutil.copytree(tiny_export, model.folder / EXPORTS / name)
    entry = next(entry for entry in list_exports(model) if entry.name == "checked")
    assert entry.manifest is not None
    export = engine_export.Export(folder=entry.folder, manifest=entry.manifest)
    check_export(export, predictor, images_of(data, most=2), threads=1)
    return model


@pytest.mark.slow
def test_a_job_exports_and_checks(model: ModelInfo, data: DatasetClass) -> None:
    request = ExportRequest(model=str(model.folder), settings=ExportSettings(format="openvino"))
    job_id = EXPORT.submit(request)
    job = queue().wait(job_id, LONG)
    assert (job.state, job.kind, job.error) == ("done", "export", None)
    assert EXPORT.request_of(job.request) == request
    assert job.title == "Export of machined_disc · tiny · openvino-fp32-any"
    n = len(data.test)
    assert (job.progress["share"], job.progress["words"]) == (1.0, f"comparing image {n} of {n}")
    (entry,) = list_exports(model)
    assert job.result is not None
    assert (job.result["passed"], job.result["folder"]) == (True, str(entry.folder))
    assert job.result["certificate"]["images"] == n
    assert (entry.state, entry.outdated, entry.problem) == ("passed", "", "")
    assert entry.size == sum(
        (entry.folder / name).stat().st_size for name in ("model.xml", "model.bin", "read_pixels.py")
    )


@pytest.mark.usefixtures("quick_onnx")
def test_a_cancelled_job_leaves_no_export(model: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    ids: Queue[str] = Queue()
    original = engine_export.write_json

    def cancel_meanwhile(target: Path, values: dict[str, object]) -> None:
        original(target, values)
        queue().cancel(ids.get(timeout=LONG))

    monkeypatch.setattr(engine_export, "write_json", cancel_meanwhile)
    request = ExportRequest(model=str(model.folder), settings=ExportSettings())
    job_id = EXPORT.submit(request)
    assert EXPORT.submit(request) == job_id
    with pytest.raises(ConfigError, match="cannot be repeated"):
        EXPORT.repeat(job_id)
    ids.put(job_id)
    assert queue().wait(job_id, LONG).state == "cancelled"
    assert list_exports(model) == []
    monkeypatch.setattr(engine_export, "write_json", original)
    again = EXPORT.repeat(job_id)
    assert queue().wait(again, LONG).state == "done"
    assert [entry.state for entry in list_exports(model)] == ["passed"]


@pytest.mark.usefixtures("quick_onnx")
def test_without_images_the_export_is_there_and_says_that_nobody_checked_it(
    model: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(model.folder))
    job = queue().wait(EXPORT.submit(ExportRequest(model=str(model.folder), settings=ExportSettings())), LONG)
    assert job.result is not None
    assert (job.state, job.result["passed"], job.result["certificate"]) == ("done", None, None)
    assert "not at hand" in job.result["words"]
    assert [entry.state for entry in list_exports(model)] == ["not checked"]


@pytest.mark.usefixtures("quick_onnx")
def test_given_images_are_compared_without_labels(model: ModelInfo, data: DatasetClass) -> None:
    predictor = Predictor.load(model.folder)
    images = [sample.path for sample in data.test[:2]]
    export, certificate = make_export(predictor, ExportSettings(), data=data, images=images, threads=1)
    assert certificate is not None
    assert (certificate.data, certificate.auroc_torch) == ("2 images given", None)
    assert result_of(export, certificate, model.folder)["words"] == certificate.text


@pytest.mark.usefixtures("quick_onnx")
def test_an_image_that_cannot_be_read_takes_the_export_away_again(
    model: ModelInfo, data: DatasetClass, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(data.test[0].path.read_bytes()[:-200])
    predictor = Predictor.load(model.folder)
    with pytest.raises(ImageError, match=r"broken\.png"):
        make_export(predictor, ExportSettings(), data=None, images=[broken], threads=1)
    assert (model.folder / EXPORTS).is_dir()
    assert list_exports(model) == []


def test_what_is_no_image_at_all_is_refused_before_anything_is_converted(model: ModelInfo, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        make_export(Predictor.load(model.folder), ExportSettings(), data=None, images=[broken])
    assert not (model.folder / EXPORTS).exists()


def test_states_of_exports(with_exports: ModelInfo) -> None:
    damaged = with_exports.folder / EXPORTS / "damaged"
    damaged.mkdir()
    entries = {entry.name: entry for entry in list_exports(with_exports)}
    assert {name: entry.state for name, entry in entries.items()} == {
        "checked": "passed",
        "damaged": "damaged",
        "unchecked": "not checked",
    }
    assert "is no export" in entries["damaged"].problem
    certificate = entries["checked"].folder / CERTIFICATE
    values = {**json.loads(certificate.read_text(encoding="utf-8")), "passed": False, "problems": ["another verdict"]}
    certificate.write_text(json.dumps(values), encoding="utf-8")
    assert list_exports(with_exports)[0].state == "failed"


def test_an_export_is_out_of_date_when_its_model_has_changed(with_exports: ModelInfo) -> None:
    save_calibration(with_exports.folder, calibrate([0.7], data="d", who="w"))
    (entry, _) = list_exports(read_info(with_exports.folder))
    assert entry.outdated == "it was made with calibration version 1; the model now has calibration version 2"
    assert "other weights" in list_exports(replace(with_exports, digest="0" * 64))[0].outdated
    assert "now has no calibration" in list_exports(replace(with_exports, calibration=None))[0].outdated


def test_an_export_is_packed_with_its_certificate(with_exports: ModelInfo) -> None:
    name, content = pack_export(with_exports, "checked")
    assert name == "machined_disc-tiny-checked.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = ["certificate.json", "manifest.json", "model.onnx", "read_pixels.py"]
        assert archive.namelist() == [f"checked/{name}" for name in names]
    (with_exports.folder / EXPORTS / "checked" / "model.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"model\.onnx was changed"):
        pack_export(with_exports, "checked")


def test_only_an_export_that_is_there_is_deleted(with_exports: ModelInfo) -> None:
    delete_export(with_exports, "checked")
    assert [entry.name for entry in list_exports(with_exports)] == ["unchecked"]
    for name in ("checked", "..", "../..", ""):
        with pytest.raises(CheckpointError, match=r"There is no export .* there are: unchecked"):
            delete_export(with_exports, name)
    assert with_exports.folder.is_dir()


@pytest.mark.parametrize(
    "values",
    [{}, {"model": "m"}, {"model": "m", "settings": {"format": "onnx", "precision": "int8"}}, {"settings": {}, "x": 1}],
)
def test_a_damaged_request_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(DocumentError):
        EXPORT.request_of(values)


def test_a_model_that_is_not_there_is_not_queued(world: Path) -> None:
    with pytest.raises(CheckpointError, match="is no model folder"):
        EXPORT.submit(ExportRequest(model=str(world), settings=ExportSettings()))
    assert queue().list() == []
