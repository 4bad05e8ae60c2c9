"""Imports in the background: looked at, agreed to, stored; whatever happens in between."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.documents import to_plain
from skrd4ad.errors import ConfigError, DocumentError
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.jobs.queue import JobHandle, queue, reset_queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.exchange import import_job
from skrd4ad.services.labelling.exchange.import_job import (
    IMPORT,
    KEPT,
    Agreed,
    ImportRequest,
    latest_import,
    preview_of,
    submit_import,
    submit_preview,
)
from skrd4ad.services.labelling.exchange.plan import ExportOptions, plan_export
from skrd4ad.services.labelling.exchange.transfer import export_zip_bytes
from skrd4ad.storage.label_queue import QueueFilter
from skrd4ad.task import Task
from tests.label_world import (
    CLASS,
    DATASET,
    fill_workspace,
    holding,
    items,
    other_workspace,
    page_of_queue,
    picture,
    put,
)
from tests.limits import LONG


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture
def info(tiny_model: tuple[Path, Path]) -> ModelInfo:
    """A model of the class that people label."""
    return replace(read_info(tiny_model[0]), dataset=DATASET, class_name=CLASS)


def ended(job_id: str) -> JobView:
    return queue().wait(job_id, LONG)


def agreed(job: JobView, *, skip_bad: bool = False) -> tuple[ImportRequest, Agreed]:
    assert job.result is not None, job.error
    look = preview_of(job.result)
    mine = Agreed(reviewer=" B.  Meier ", conflicts="keep", skip_bad=skip_bad, fingerprint=look.fingerprint)
    return IMPORT.request_of(job.request), mine


def exported() -> bytes:
    wanted = QueueFilter(dataset=DATASET, class_name=CLASS, model_digest="")
    return export_zip_bytes(plan_export(wanted, ExportOptions(format="csv", unsure=True)))[0]


def test_a_look_stores_nothing_and_an_import_what_was_looked_at(
    world: Path, info: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with other_workspace(world / "there", monkeypatch):
        fill_workspace()
        content = exported()
        theirs = {one.digest: holding(one) for one in items() if one.label != "none"}
    job = ended(submit_preview(info, content, name="labels.zip"))
    look = preview_of(job.result or {})
    assert (look.format, look.usable, look.kinds, look.problems) == ("csv", len(theirs), {"new": len(theirs)}, ())
    assert items() == []
    assert job.progress["share"] == 1.0 and job.title == f"{CLASS} · check of labels"

    job = ended(submit_import(*agreed(job)))
    assert job.state == "done", job.error
    assert job.request["agreed"]["reviewer"] == "B. Meier"
    assert {one.digest: holding(one) for one in items()} == theirs
    assert f"{len(theirs)} new." in (job.result or {})["lines"]
    assert latest_import(info) == job
    assert not [*(world / "home" / "imports").iterdir()]


def test_a_restarted_program_still_knows_what_was_found(info: ModelInfo) -> None:
    image = put("a.png", picture(1))
    found = ended(submit_preview(info, f"sha256,label\n{image.digest},good\n".encode(), name="t.csv"))
    reset_queue()
    assert latest_import(info) == found
    assert ended(submit_import(*agreed(found))).state == "done"
    assert [one.label for one in items()] == ["good"]


def test_it_does_not_wait_for_a_training(info: ModelInfo) -> None:
    def train(handle: JobHandle) -> dict[str, object]:
        while True:
            handle.check()
            time.sleep(0.01)

    training = queue().submit(kind="train", title="Training", request={}, work=train)
    image = put("a.png", picture(1))
    job = ended(submit_preview(info, f"sha256,label\n{image.digest},good\n".encode(), name="t.csv"))
    assert job.state == "done"
    assert queue().get(training).state == "running"
    queue().cancel(training)


def test_a_folder_that_was_changed_since_is_not_imported(world: Path, info: ModelInfo) -> None:
    folder = world / "data" / "parts"
    (folder / "test" / "good").mkdir(parents=True)
    (folder / "test" / "good" / "a.png").write_bytes(picture(1))
    found = ended(submit_preview(info, folder))
    (folder / "test" / "good" / "b.png").write_bytes(picture(2))
    job = ended(submit_import(*agreed(found)))
    assert job.state == "failed"
    assert "was changed since it was looked at, so nothing was stored. Check it again." in (job.error or "")
    assert items() == []
    assert ended(submit_import(*agreed(ended(submit_preview(info, folder))))).state == "done"
    assert len(items()) == 2
    assert folder.is_dir(), "only what was uploaded is taken away"


def test_wrong_entries_are_told_and_left_out_only_on_request(info: ModelInfo) -> None:
    image = put("a.png", picture(1))
    content = f"sha256,label\n{image.digest},good\n{'0' * 64},good\n".encode()
    found = ended(submit_preview(info, content, name="t.csv"))
    look = preview_of(found.result or {})
    assert look.n_problems == 1 and "no image with its sha256" in look.problems[0][1]
    refused = ended(submit_import(*agreed(found)))
    assert refused.state == "failed" and "1 entry is wrong" in (refused.error or "")
    assert ended(submit_import(*agreed(found, skip_bad=True))).state == "done"
    assert [one.label for one in items()] == ["good"]


def test_a_class_has_one_import_at_a_time_and_a_cancelled_one_can_be_tried_again(
    info: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = put("a.png", picture(1))
    original = import_job.plan_import

    def endless(*args: object, task: Task, **more: object) -> object:
        while True:
            task.report(1, 2)
            time.sleep(0.01)

    monkeypatch.setattr(import_job, "plan_import", endless)
    content = f"sha256,label\n{image.digest},good\n".encode()
    job = submit_preview(info, content, name="t.csv")
    with pytest.raises(ConfigError, match="is not done yet"):
        submit_preview(info, content, name="t.csv")
    with pytest.raises(ConfigError, match="cannot be repeated"):
        IMPORT.repeat(job)
    queue().cancel(job)
    assert ended(job).state == "cancelled"
    monkeypatch.setattr(import_job, "plan_import", original)
    again = ended(IMPORT.repeat(job))
    assert again.state == "done" and preview_of(again.result or {}).usable == 1
    other = replace(info, class_name="other")
    assert latest_import(other) is None


def test_an_upload_is_kept_for_a_day(world: Path, info: ModelInfo) -> None:
    image = put("a.png", picture(1))
    content = f"sha256,label\n{image.digest},good\n".encode()
    found = ended(submit_preview(info, content, name="t.csv"))
    (kept,) = (world / "home" / "imports").iterdir()
    assert kept.read_bytes() == content
    yesterday = time.time() - KEPT.total_seconds() - 1
    os.utime(kept, (yesterday, yesterday))
    ended(submit_preview(info, content + b"\n", name="u.csv"))
    assert not kept.exists()
    job = ended(submit_import(*agreed(found)))
    assert job.state == "failed" and "t.csv is not kept any more" in (job.error or "")


def test_a_request_and_a_result_of_another_version_are_refused_in_words() -> None:
    with pytest.raises(DocumentError, match="is damaged"):
        IMPORT.request_of({"source": "x"})
    with pytest.raises(DocumentError, match=r"result of the import is damaged.*Check the file again"):
        preview_of({"problems": []})
    request = ImportRequest(dataset="d", class_name="c", source="/x", name=None, empty_is_good=False)
    mine = Agreed(reviewer="A", conflicts="theirs", skip_bad=True, fingerprint="f")
    assert IMPORT.request_of(to_plain(replace(request, agreed=mine))).agreed == mine
    assert not request.is_there and request.named == "/x"


def test_nobody_imports_without_a_name(info: ModelInfo) -> None:
    request = ImportRequest(dataset=DATASET, class_name=CLASS, source="/x", name=None, empty_is_good=False)
    with pytest.raises(ConfigError, match="reviewer's name"):
        submit_import(request, Agreed(reviewer=" ", conflicts="keep", skip_bad=False, fingerprint=""))
    assert latest_import(info) is None
    assert page_of_queue(QueueFilter(dataset=DATASET, class_name=CLASS, model_digest=""))[0] == []
