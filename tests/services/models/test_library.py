import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from skrd4ad.config import ModelConfig
from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.model_folder.folder import CARD, read_info
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.models.skrd import build_student
from skrd4ad.services.history import HistoryFilter, details_of, history_page
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.models.library import (
    LibraryModel,
    archive_model,
    bundle_of,
    card_of,
    delete_model,
    import_uploaded_bundle,
    import_uploaded_checkpoint,
    jobs_using,
    list_library,
    note_model,
    rename_model,
    watched_for,
    what_goes,
)
from skrd4ad.services.models.list import list_models
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.tables import utc_now
from skrd4ad.storage.watched_folders import all_watches, begin_watch, stop_watch
from tests.limits import LONG

Model = Callable[[str], Path]


@pytest.fixture
def model(tmp_path: Path, tiny_model: tuple[Path, Path]) -> Model:
    """``model("a")``: a copy of the tiny model among the models."""
    return lambda name: Path(shutil.copytree(tiny_model[0], tmp_path / "models" / "parts" / "machined_disc" / name))


def recorded() -> list[tuple[str, str, dict[str, Any]]]:
    """What happened to which model folder, with details, oldest first."""
    entries = history_page(HistoryFilter()).entries[::-1]
    return [(entry.what, Path(entry.model_folder).name, details_of(entry)) for entry in entries]


def names(search: str = "", *, archived: bool = False) -> list[str]:
    return sorted(found.info.folder.name for found in list_library(search=search, archived=archived)[0])


def test_a_search_looks_through_names_notes_and_what_a_model_is(model: Model) -> None:
    first, second = model("first"), model("second")
    rename_model(first, "Station 4")
    note_model(second, "after the new LAMP")
    assert names() == ["first", "second"]
    assert names("station") == ["first"]
    assert names("lamp  NEW") == ["second"]
    assert names("lamp station") == []
    assert names("machined efficientnet") == ["first", "second"]
    assert names(read_info(first).digest[:12]) == ["first", "second"]
    titles = {found.info.folder.name: found.title for found in list_library()[0]}
    assert titles == {"first": "Station 4", "second": read_info(second).title}


def test_an_archived_model_is_kept_but_not_offered(model: Model) -> None:
    first, _ = model("first"), model("second")
    archive_model(first)
    assert names() == ["second"]
    assert names(archived=True) == ["first", "second"]
    assert [info.folder.name for info in list_models()[0]] == ["second"]
    assert len(list_models(archived=True)[0]) == 2
    archive_model(first, archived=False)
    assert names() == ["first", "second"]
    assert recorded() == [("archived", "first", {}), ("unarchived", "first", {})]


def test_damaged_models_are_listed_and_can_be_deleted(model: Model) -> None:
    first, second = model("first"), model("second")
    (first / "config.json").write_text("{", encoding="utf-8")
    (second / "about.json").write_text("{", encoding="utf-8")
    found, broken = list_library()
    assert (found, [each.folder for each in broken]) == ([], [first, second])
    delete_model(first)
    assert not first.exists()
    assert recorded() == [("deleted", "first", {"title": "first"})]


def test_deleting_says_what_goes_and_takes_all_of_it(model: Model) -> None:
    first, _ = model("first"), model("second")
    rename_model(first, "Station 4")
    export = first / "exports" / "onnx-fp32-any"
    export.mkdir(parents=True)
    (export / "manifest.json").write_bytes(bytes(1000))
    going = what_goes(first)
    files = [path for path in first.rglob("*") if path.is_file()]
    assert (going.title, going.exports, going.folder) == ("Station 4", ("onnx-fp32-any",), first)
    assert (going.files, going.size) == (len(files), sum(path.stat().st_size for path in files))
    delete_model(first)
    assert [path.name for path in first.parent.iterdir()] == ["second"]
    assert recorded()[-1] == ("deleted", "first", {"title": "Station 4"})
    with pytest.raises(CheckpointError, match="may have been deleted"):
        delete_model(first)


def test_a_model_that_a_job_needs_is_not_deleted(model: Model) -> None:
    first, second = model("first"), model("second")
    going = threading.Event()
    request = {"settings": {"models": [str(first)]}}
    job = queue().submit(kind="evaluate", title="Evaluation", request=request, work=lambda _: {"x": going.wait(LONG)})
    assert [each.id for each in jobs_using(first)] == [job]
    assert jobs_using(second) == []
    with pytest.raises(CheckpointError, match=r"needed by a job that runs or waits \(Evaluation\)"):
        delete_model(first)
    assert first.is_dir()
    going.set()
    queue().wait(job, LONG)
    delete_model(first)
    assert not first.exists()


def test_a_model_that_its_training_still_evaluates_is_not_deleted(model: Model) -> None:
    first, second = model("first"), model("second")
    created = read_info(first).created_at
    config = (first / "config.json").read_text(encoding="utf-8")
    later = (utc_now() + timedelta(minutes=1)).isoformat(timespec="seconds")
    (first / "config.json").write_text(config.replace(created, later), encoding="utf-8")
    going, running = threading.Event(), threading.Event()

    def work(_: object) -> dict[str, bool]:
        running.set()
        return {"x": going.wait(LONG)}

    request = {"source": "parts", "class_name": "machined_disc"}
    job = queue().submit(kind="train", title="Training", request=request, work=work)
    assert running.wait(LONG)
    assert jobs_using(second) == []
    with pytest.raises(CheckpointError, match="Training"):
        delete_model(first)
    going.set()
    queue().wait(job, LONG)
    assert jobs_using(first) == []


def test_a_model_that_a_watched_folder_needs_is_not_deleted(model: Model, tmp_path: Path) -> None:
    first, second = model("first"), model("second")
    with workspace_database().write() as session:
        here = begin_watch(session, folder=tmp_path / "line 1", model_folder=first).id
        there = begin_watch(session, folder=tmp_path / "line 2", model_folder=second).id
    assert watched_for(first) == [str(tmp_path / "line 1")]
    with pytest.raises(CheckpointError, match=r"judges what comes into .*line 1\. Stop watching on the Label page"):
        delete_model(first)
    assert first.is_dir()
    with workspace_database().write() as session:
        stop_watch(session, here)
    assert watched_for(first) == []
    delete_model(first)
    assert not first.exists()
    with workspace_database().read() as session:
        assert [watch.id for watch in all_watches(session)] == [there], "nothing names a model that is gone"


@pytest.mark.parametrize(
    "change", [lambda folder: rename_model(folder, "x"), delete_model, what_goes, bundle_of, archive_model]
)
def test_folders_that_are_no_models_of_the_library_are_left_alone(
    model: Model, tiny_model: tuple[Path, Path], tmp_path: Path, change: Callable[[Path], object]
) -> None:
    first = model("first")
    link = first.with_name("link")
    link.symlink_to(tiny_model[0])
    elsewhere = [tiny_model[0], tmp_path / "models", first.parent, first / "..", first / ".." / "first", link]
    for folder in elsewhere:
        with pytest.raises(CheckpointError, match="is no model in"):
            change(folder)
    assert first.is_dir()
    assert read_metadata(tiny_model[0]).name == ""


def test_names_are_checked(model: Model) -> None:
    with pytest.raises(ConfigError, match="up to 80"):
        rename_model(model("first"), "x" * 81)


def test_the_card_is_that_of_the_folder_with_what_people_say_of_the_model(model: Model) -> None:
    folder = model("first")
    assert card_in(folder) == (folder / CARD).read_text(encoding="utf-8")
    rename_model(folder, "Line 3")
    note_model(folder, "new lamp\n| since May")
    assert recorded() == [
        ("renamed", "first", {"before": "", "name": "Line 3"}),
        ("noted", "first", {"note": "new lamp\n| since May"}),
    ]
    card = card_in(folder)
    assert "Name: Line 3" in card and "Note: new lamp | since May" in card
    assert card.startswith("# machined_disc (parts)")


def card_in(folder: Path) -> str:
    return card_of(LibraryModel(info=read_info(folder), about=read_metadata(folder)))


def test_a_bundle_goes_to_another_library(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model("first")
    name, content = bundle_of(first)
    assert name == "parts-machined_disc-first.skrd4ad.zip"
    assert import_uploaded_bundle(name, content).existed
    assert recorded() == [("exported", "first", {"format": "bundle", "file": name})]
    monkeypatch.setenv("SKRD4AD_CHECKPOINTS", str(tmp_path / "other"))
    found = import_uploaded_bundle("my upload.zip", content)
    assert (found.existed, found.info.folder) == (False, tmp_path / "other" / "parts" / "machined_disc" / "first")
    assert recorded()[1:] == [("imported", "first", {"file": "my upload.zip"})]
    assert list_library(search="my upload")[0][0].about.imported.startswith("my upload.zip, ")
    with pytest.raises(CheckpointError, match=r"my upload\.zip"):
        import_uploaded_bundle("my upload.zip", content[: len(content) // 2])
    assert list((tmp_path / "home").glob("tmp*")) == []


def test_a_checkpoint_of_the_original_code_is_imported(tmp_path: Path) -> None:
    config = ModelConfig(res=2, image_size=64)
    state = build_student(config, seed=5).state_dict()
    file = tmp_path / "file.pth"
    parts = {
        part: {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}
        for part in ("bn", "decoder")
    }
    torch.save(parts, file)
    info = import_uploaded_checkpoint("../sub/bottle.pth", file.read_bytes(), model=config, dataset=" mvtec ")
    assert (info.dataset, info.class_name, info.origin, info.model) == (
        "mvtec",
        "bottle",
        "imported from bottle.pth",
        config,
    )
    assert info.folder.parent == tmp_path / "models" / "mvtec" / "bottle"
    assert recorded() == [("imported", info.folder.name, {"file": "../sub/bottle.pth"})]
    with pytest.raises(CheckpointError, match=r"broken\.pth"):
        import_uploaded_checkpoint("broken.pth", b"no checkpoint", model=config, dataset="mvtec")
    with pytest.raises(CheckpointError, match=r"allowed: \.pth, \.pt, \.safetensors"):
        import_uploaded_checkpoint("model.zip", b"", model=config, dataset="mvtec")
    assert list((tmp_path / "home").glob("tmp*")) == []
