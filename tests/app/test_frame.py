"""What surrounds the pages fails for itself: every error is a message in its place, and the page goes on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from skrd4ad.data.sources import open_dataset
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.evaluation.evaluate import EVALUATION, evaluate_class
from skrd4ad.services.evaluation.result import EvaluationSummary
from skrd4ad.services.jobs.process import this_process
from skrd4ad.services.jobs.queue import queue
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.jobs import add_job, end_job
from skrd4ad.types import DatasetClass
from skrd4ad.ui.evaluate.targets import Standing, standings_of
from skrd4ad.ui.frame import PAGES, PROGRAM_ERROR
from tests.shown_page import fine, words

Log = pytest.LogCaptureFixture
each_page = pytest.mark.parametrize("page", PAGES)


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@each_page
def test_a_sidebar_that_fails_leaves_the_page_as_it_is(
    page: str, visit, own_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    monkeypatch.setattr("skrd4ad.ui.sidebar.list_models", raising(TypeError("no [number](x)\nat all")))
    at = visit(page)
    assert not at.exception
    assert [title.value for title in at.title] == [PAGES[page]]
    (shown,) = at.error
    assert shown.value.startswith(f"{PROGRAM_ERROR}: TypeError: no [number](x) at all. ")
    assert shown.value == at.sidebar.error[0].value
    assert any(each.exc_info and "no [number]" in str(each.exc_info[1]) for each in caplog.records)
    caplog.clear()


@each_page
def test_a_page_that_cannot_be_run_is_a_message_under_its_sidebar(
    page: str, visit, own_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    monkeypatch.setattr("skrd4ad.ui.frame.page", raising(ImportError("libodd.so is missing")))
    at = visit(page)
    assert not at.exception
    assert [each.value.split(". ")[0] for each in at.error] == [f"{PROGRAM_ERROR}: ImportError: libodd.so is missing"]
    assert at.sidebar.selectbox
    caplog.clear()


@each_page
def test_a_damaged_workspace_database_is_told_with_what_to_do(
    page: str, visit, own_model: Path, app_world: Path
) -> None:
    (app_world / "home" / "skrd4ad.db").write_bytes(b"no database" * 1000)
    at = visit(page)
    assert not at.exception
    assert [title.value for title in at.title] == [PAGES[page]]
    assert at.error
    assert all("skrd4ad.db" in each.value for each in at.error), [each.value for each in at.error]


@pytest.mark.parametrize(("name", "value"), [("SKRD4AD_NICENESS", "odd"), ("SKRD4AD_CACHE_MB", "odd")])
@each_page
def test_a_setting_that_cannot_be_read_is_no_traceback(
    page: str, name: str, value: str, visit, own_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    at = visit(page)
    assert not at.exception
    assert [title.value for title in at.title] == [PAGES[page]]


def test_a_file_that_may_not_be_read_is_named(visit, own_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skrd4ad.ui.sidebar.list_models", raising(PermissionError(13, "Permission denied", "a_b.json")))
    at = visit("train")
    assert not at.exception
    assert at.error[0].value.startswith("a_b.json cannot be used: Permission denied. See that")


def test_an_error_of_a_callback_stands_above_the_page_that_still_runs() -> None:
    def script() -> None:
        import streamlit as st

        from skrd4ad.errors import StorageError
        from skrd4ad.ui.frame import calling

        def fail(text: str) -> None:
            raise StorageError(text)

        st.button("Do it", on_click=calling(fail), args=("The disk is full.",))
        st.write("below")

    at = AppTest.from_function(script).run()
    at.button[0].click().run()
    assert not at.exception
    assert [each.value for each in at.error] == ["The disk is full."]
    assert at.markdown[0].value == "below"


def one_class(root: Path) -> DatasetClass:
    return open_dataset(str(root), layout="mvtec")[0]


def damage(folder: Path, file: str, **changed: object) -> Path:
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(values | changed))
    return folder


@each_page
def test_one_broken_item_of_each_kind_fails_no_page(
    page: str, visit, own_model: Path, tiny_data: Path, app_world: Path
) -> None:
    stored = evaluate_class(own_model, one_class(tiny_data), source=str(tiny_data))
    damage(stored.folder, "evaluation.json", note=None)
    for name, file, changed in (
        ("broken_config", "config.json", {"created_at": None}),
        ("broken_calibration", "calibration.json", {"versions": [None]}),
    ):
        damage(Path(shutil.copytree(own_model, own_model.with_name(name))), file, **changed)
    with workspace_database().write() as session:
        add_job(session, job_id="broken", kind="train", title="a part", request={}, owner="nobody")
        session.flush()
        end_job(session, "broken", "done", result={})
        session.execute(text("UPDATE jobs SET result = :text"), {"text": '{"folder": 3, "metr'})
    at = fine(visit(page))
    told = words(at)
    if page in ("overview", "evaluate", "models"):
        assert "created_at is null" in told
        assert "calibration.json is damaged" in told
    if page in ("overview", "train"):
        assert "The result of the job is damaged" in told
        at.button("remove-broken").click().run()
        assert "The result of the job is damaged" not in words(fine(at))
    if page == "evaluate":
        assert "An evaluation cannot be used" in told
        at.button(f"evaluate-remove-damaged-{stored.summary.key}").click().run()
        assert not stored.folder.exists()
        assert "An evaluation cannot be used" not in words(fine(at))
    if page == "models":
        folder = own_model.with_name("broken_config")
        at.button(f"models-delete-{folder}").click().run()
        assert str(folder) in words(fine(at))


def test_a_page_that_was_drawn_of_a_job_which_ended_meanwhile_is_drawn_again(
    visit, own_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace_database().write() as session:
        add_job(session, job_id="waits", kind=EVALUATION.name, title="a part", request={}, owner=this_process())
    runs = []

    def ending_the_job(
        models: list[ModelInfo], chosen: ModelInfo, summaries: list[EvaluationSummary]
    ) -> list[Standing]:
        runs.append([job.id for job in queue().active()])
        standings = standings_of(models, chosen, summaries)
        with workspace_database().write() as session:
            end_job(session, "waits", "cancelled")
        return standings

    monkeypatch.setattr("skrd4ad.ui.evaluate.page.standings_of", ending_the_job)
    fine(visit("evaluate"))
    assert runs == [["waits"], []]
