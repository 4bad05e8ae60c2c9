"""Every document that this program stores: golden files of an earlier build, and what damage does to them."""

import copy
import json
import math
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skrd4ad.cluster.score import RUN
from skrd4ad.cluster.score import Run as ScoreRun
from skrd4ad.documents import decode, read, read_values, to_plain
from skrd4ad.errors import DocumentError, SkrdError
from skrd4ad.export.benchmark import Measured
from skrd4ad.export.certificate import Certificate
from skrd4ad.export.manifest import MANIFEST, read_export
from skrd4ad.inference.reference import Reference, read_reference
from skrd4ad.model_folder import pictures
from skrd4ad.model_folder.bundle import MANIFEST as BUNDLE_MANIFEST
from skrd4ad.model_folder.bundle import SEAL, checked_manifest, open_bundle, seal_of
from skrd4ad.model_folder.card import model_card
from skrd4ad.model_folder.info import REFERENCE, ModelInfo, config_values, read_history, read_info
from skrd4ad.model_folder.metadata import ABOUT, ModelMetadata, read_metadata
from skrd4ad.model_folder.resume_state import TrainState, read_record
from skrd4ad.models.tensor_files import write_tensors
from skrd4ad.paths import workspace
from skrd4ad.services.evaluation import compare
from skrd4ad.services.evaluation.evaluate import EvaluationRequest
from skrd4ad.services.evaluation.store import evaluations_folder, load_evaluation
from skrd4ad.services.improve.retrain_data import ConfirmedNormals, read_confirmed
from skrd4ad.services.inspection.uploads import UploadedBatch
from skrd4ad.services.jobs.view import view_of
from skrd4ad.services.labelling.exchange.import_job import ImportPreview, ImportRequest, preview_of
from skrd4ad.services.models.export_job import ExportRequest
from skrd4ad.services.study.measure import StudyRecord, analyse
from skrd4ad.services.study.report import study_html
from skrd4ad.services.study.store import load_study
from skrd4ad.services.training import TrainingRequest
from skrd4ad.storage.tables import Job
from skrd4ad.ui.text import progress_of

GOLDEN = Path(__file__).parent / "golden"
KEY = "abcdef01"
SEED = 20261120
MUTANTS = 120
"""Of each document."""


@dataclass(frozen=True)
class Stored:
    """One kind of document, and how it is read from its file in a folder."""

    golden: str
    file: str
    read: Callable[[Path], Any]
    plain: Callable[[Any], Any] = to_plain
    """What is written of the value that was read."""


def with_format(number: int) -> Callable[[Any], Any]:
    return lambda value: {"format": number, **to_plain(value)}


def config_of(folder: Path) -> ModelInfo:
    (folder / "model.safetensors").touch()
    info = read_info(folder)
    model_card(info)
    return info


def metrics_of(folder: Path) -> Any:
    (folder / "config.json").write_bytes((GOLDEN / "config.json").read_bytes())
    return config_of(folder).metrics


def bundle_of(folder: Path) -> Any:
    text, file = (folder / BUNDLE_MANIFEST).read_bytes(), folder / "bundle.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(BUNDLE_MANIFEST, text)
        archive.writestr(SEAL, seal_of(text))
        archive.writestr("model.safetensors", bytes(100))
        archive.writestr("config.json", bytes(20))
    with open_bundle(file, "the bundle") as archive:
        return checked_manifest(archive, "the bundle")


def record_of(folder: Path) -> TrainState:
    state = folder / "state.safetensors"
    write_tensors(state, {"x": torch.zeros(1)}, metadata={"record": (folder / "record.json").read_text()})
    return read_record(state)


def evaluation_of(folder: Path) -> Any:
    """None where it is damaged: then it is measured again."""
    kept = evaluations_folder() / KEY
    kept.mkdir(exist_ok=True)
    for name in ("evaluation.json", "images.json"):
        source = folder / name
        (kept / name).write_bytes((source if source.is_file() else GOLDEN / name).read_bytes())
    np.save(kept / "maps.npy", np.zeros((4, 4, 4), np.float32))
    np.save(kept / "masks.npy", np.zeros((4, 2), np.uint8))
    return load_evaluation(KEY)


def confirmed_of(folder: Path) -> ConfirmedNormals:
    return read_confirmed(str(folder / "confirmed.json"))


def request_of(kind: type) -> Callable[[Path], Any]:
    return lambda folder: decode(read_values(folder / "request.json"), kind, what="The request")


def certificate_of(folder: Path) -> Certificate:
    return Certificate.from_plain(read_values(folder / "certificate.json"), "The certificate")


def runtimes_of(folder: Path) -> Measured:
    return Measured.from_plain(read_values(folder / "runtimes.json"), "The measurement")


def job_of(folder: Path) -> dict[str, Any]:
    """As pages see a job; the columns are those of its row."""
    values = read_values(folder / "job.json")
    columns = {name: values.get(name) for name in ("request", "progress", "result")}
    view = view_of(Job(id="1", kind="train", title="a part", state="done", wish="run", **columns), {})
    if view.problem:
        raise DocumentError(view.problem)
    progress_of(replace(view, state="running"))
    return {"request": view.request, "progress": view.progress, "result": view.result}


def study_of(folder: Path) -> StudyRecord:
    """As its page reads and analyses it."""
    kept = workspace() / "studies" / "20260101-000000-0123abcd.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes((folder / "study.json").read_bytes())
    record = load_study(kept.stem)
    study = analyse(record)
    study_html(study)
    json.dumps(study.document())
    return record


DOCUMENTS = [
    Stored("job.json", "job.json", job_of, lambda found: to_plain(found, infinite="null")),
    Stored("config.json", "config.json", config_of, config_values),
    Stored("calibration.json", "calibration.json", read_history, lambda history: history.to_plain()),
    Stored("metrics.json", "metrics.json", metrics_of),
    Stored("about.json", ABOUT, read_metadata, with_format(1)),
    Stored("reference.json", REFERENCE, read_reference, with_format(1)),
    Stored("certificate.json", "certificate.json", certificate_of, lambda found: found.to_plain()),
    Stored("export_manifest.json", MANIFEST, read_export, lambda export: export.manifest.to_plain()),
    Stored("bundle_manifest.json", BUNDLE_MANIFEST, bundle_of, lambda manifest: manifest.to_plain()),
    Stored("runtimes.json", "runtimes.json", runtimes_of, lambda found: found.to_plain()),
    Stored("training_record.json", "record.json", record_of),
    Stored("evaluation.json", "evaluation.json", evaluation_of, lambda stored: with_format(2)(stored.summary)),
    Stored(
        "images.json",
        "images.json",
        evaluation_of,
        lambda stored: to_plain({"images": stored.images, "curves": tuple(stored.curves.values())}),
    ),
    Stored(
        "comparison.json",
        "comparison.json",
        lambda folder: read(folder / "comparison.json", compare._StoredComparison, format=1),
        with_format(1),
    ),
    Stored("score_run.json", RUN, lambda folder: read(folder / RUN, ScoreRun, format=1), with_format(1)),
    Stored(
        "parts.json",
        "parts.json",
        lambda folder: read(folder / "parts.json", pictures._Pictures, format=1),
        with_format(1),
    ),
    Stored(
        "batch.json",
        "batch.json",
        lambda folder: read(folder / "batch.json", UploadedBatch, format=1),
        with_format(1),
    ),
    Stored("confirmed.json", "confirmed.json", confirmed_of),
    Stored("request_training.json", "request.json", request_of(TrainingRequest)),
    Stored("request_evaluation.json", "request.json", request_of(EvaluationRequest)),
    Stored("request_export.json", "request.json", request_of(ExportRequest)),
    Stored("request_labels.json", "request.json", request_of(ImportRequest)),
    Stored("study.json", "study.json", study_of, with_format(1)),
    Stored("labels_checked.json", "checked.json", lambda folder: preview_of(read_values(folder / "checked.json"))),
]
each_document = pytest.mark.parametrize("stored", DOCUMENTS, ids=lambda stored: stored.golden)


@pytest.fixture(autouse=True)
def own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path / "workspace"))


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in a document."""
    children = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in children:
        yield (*path, key)
        yield from places(value, (*path, key))


WRONG = (
    None, True, False, 0, -1, 1, 3.5, -2.5, 10**30, 1e308, math.nan, math.inf, -math.inf, "", "text", "../x", "a\0b",
    "\udc80", [], {}, [[]], [None], [math.nan], {"odd": 1}, {"odd": {"odder": [math.inf]}}, ["text"], [1, 2],
    "missing", "nested", "unknown",
)  # fmt: skip


def mutant(values: Any, chance: random.Random) -> Any:
    """The document with one or two values changed, taken away, nested or added."""
    values = copy.deepcopy(values)
    for _ in range(chance.choice((1, 1, 1, 2))):
        path = chance.choice(list(places(values)))
        parent = values
        for key in path[:-1]:
            parent = parent[key]
        wrong = chance.choice(WRONG)
        if wrong == "missing":
            del parent[path[-1]]
        elif wrong == "nested":
            for _ in range(chance.choice((1, 5, 400))):
                parent[path[-1]] = [parent[path[-1]]]
            break
        elif wrong == "unknown" and isinstance(parent, dict):
            parent[chance.choice(("unknown", "\udc80", ""))] = 1
        else:
            parent[path[-1]] = copy.deepcopy(wrong)
        if not values:
            break
    return values


LATER: dict[str, dict[str, Any]] = {
    "evaluation.json": {"by_mask_class": {}, "authors": {}},
    "request_training.json": {"insisted": ""},
}
"""What earlier builds did not write, and what it means that it is not there."""


@each_document
def test_what_an_earlier_build_wrote_is_read_and_written_alike(stored: Stored, tmp_path: Path) -> None:
    values = golden(stored.golden)
    (tmp_path / stored.file).write_bytes((GOLDEN / stored.golden).read_bytes())
    again = json.loads(json.dumps(stored.plain(stored.read(tmp_path)), allow_nan=False))
    if stored.golden == "training_record.json":
        assert values.pop("best_score") == math.inf, "an earlier build's word for none yet"
        assert again.pop("best_score") is None
    if stored.golden == "evaluation.json":
        assert again.pop("size_bytes") > values.pop("size_bytes") == 0
    if stored.golden == "images.json":
        assert [image.pop("refused") for image in again["images"]] == [None] * 4, "an earlier build did not ask"
    if stored.golden == "request_training.json":
        assert again["train"].pop("align") == "off", "an earlier build saw whole images"
    assert again == LATER.get(stored.golden, {}) | values


@each_document
def test_a_damaged_document_is_read_to_valid_values_or_refused_by_name(stored: Stored, tmp_path: Path) -> None:
    values, chance = golden(stored.golden), random.Random(f"{SEED} {stored.golden}")
    refused = 0
    for number in range(MUTANTS):
        changed = mutant(values, chance)
        (tmp_path / stored.file).write_text(json.dumps(changed), encoding="ascii")
        try:
            found = stored.read(tmp_path)
        except SkrdError as error:
            refused += 1
            assert len(str(error).encode()) > 20, f"mutant {number}: the message says too little"
        except Exception as error:  # noqa: BLE001  # the point of the test
            pytest.fail(f"mutant {number} of {stored.golden}: {type(error).__name__}: {error}\n{changed!r:.3000}")
        else:
            if found is None:
                refused += 1
            else:
                json.dumps(stored.plain(found), allow_nan=False)
    assert refused > MUTANTS / 4, "the mutants do no damage"


@pytest.mark.parametrize(
    ("name", "file", "read", "missing"),
    [
        ("about.json", ABOUT, read_metadata, ("imported", "adopted")),
        ("reference.json", REFERENCE, read_reference, ("placement",)),
        ("request_training.json", "request.json", request_of(TrainingRequest), ("start_from", "confirmed", "levels")),
        ("request_labels.json", "request.json", request_of(ImportRequest), ("agreed", "pixel_centres")),
    ],
)
def test_a_document_of_before_a_field_was_there_gets_its_default(
    name: str, file: str, read: Callable[[Path], Any], missing: tuple[str, ...], tmp_path: Path
) -> None:
    values = golden(name)
    for each in missing:
        del values[each]
    (tmp_path / file).write_text(json.dumps(values))
    found = read(tmp_path)
    defaults = {each: type(found).__dataclass_fields__[each].default for each in missing}
    assert {each: getattr(found, each) for each in missing} == defaults


def test_a_model_of_before_the_newer_settings_is_as_published(tmp_path: Path) -> None:
    values = golden("config.json")
    for name in ("width", "fusion", "retrieval"):
        del values["model"][name]
    for name in ("most_steps", "schedule", "precision"):
        del values["train"][name]
    for name in ("history", "selected_epoch", "test_selected", "training_seconds", "origin"):
        del values[name]
    (tmp_path / "config.json").write_text(json.dumps(values))
    info = config_of(tmp_path)
    assert (info.model.width, info.model.fusion, info.model.retrieval) == (1, "sum", False)
    assert info.train is not None
    assert (info.train.most_steps, info.train.schedule, info.train.precision) == (None, "constant", "auto")
    assert (info.history, info.selected_epoch, info.test_selected, info.origin) == ((), None, False, "trained here")


def test_the_demo_models_of_the_repository_are_read() -> None:
    for folder in sorted((Path(__file__).parents[1] / "checkpoints").glob("*/*/demo")):
        info = read_info(folder)
        assert info.metrics is not None
        assert config_values(info) == json.loads((folder / "config.json").read_text())
        assert isinstance(read_reference(folder), Reference)
        assert isinstance(read_metadata(folder), ModelMetadata)
        history = read_history(folder)
        assert history is not None
        assert history.to_plain() == json.loads((folder / "calibration.json").read_text())


def test_what_a_check_of_labels_found_keeps_its_types() -> None:
    found = preview_of(golden("labels_checked.json"))
    assert isinstance(found, ImportPreview)
    assert found.problems == (("row 3", "no label"),)
