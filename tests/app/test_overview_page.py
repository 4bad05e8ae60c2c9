from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from skrd4ad.services.jobs.queue import queue


def test_an_empty_workspace_leads_to_the_train_page(visit) -> None:
    at = visit("overview")
    assert not at.exception and not at.error
    assert "No model yet" in at.markdown[0].value
    assert "Nothing runs" in at.info[0].value
    assert not at.dataframe
    at.button[0].click().run()
    assert [title.value for title in at.title] == ["Train"]
    assert not at.exception


def test_models_are_listed_with_their_figures_and_lead_to_their_images(visit, own_model: Path) -> None:
    at = visit("overview")
    assert not at.exception and not at.error and not at.warning
    table = at.dataframe[0].value
    assert list(table["Class"]) == ["machined_disc"]
    assert list(table["Image AUROC"]) == ["–"]  # it was never evaluated
    assert list(table["Epoch chosen"]) == ["without test images"]
    assert "See a defect now" in at.markdown[0].value
    at.button[0].click().run()
    assert [title.value for title in at.title] == ["Inspect"]
    assert not at.exception and not at.error


def test_the_sidebar_shows_the_model_and_its_limit(visit, own_model: Path) -> None:
    at = visit("overview")
    assert at.sidebar.selectbox[0].options == ["machined_disc"]
    assert "efficientnet_lite0, 2 skips" in at.sidebar.caption[0].value
    assert "NG above" in at.sidebar.caption[0].value


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", "{", "cannot be read"),
        ("config.json", "[1]", "expected a JSON object"),
        ("config.json", '{"format": 99}', "another format"),
        ("calibration.json", "{}", "calibration"),
    ],
)
def test_a_damaged_model_is_shown_with_its_reason_and_the_others_stay_usable(
    visit, own_model: Path, file: str, content: str, reason: str
) -> None:
    damaged = own_model.with_name("damaged")
    damaged.mkdir()
    for path in own_model.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / file).write_text(content, encoding="utf-8")
    at = visit("overview")
    assert not at.exception and not at.error
    assert len(at.warning) == 1
    assert reason in at.warning[0].value
    assert len(at.dataframe[0].value) == 1


def test_a_model_without_a_limit_is_not_praised_for_one(visit, own_model: Path) -> None:
    (own_model / "calibration.json").unlink()
    at = visit("overview")
    assert not at.exception
    assert "Inspect images of your own" in at.markdown[0].value
    assert "No limit yet" in at.sidebar.caption[0].value


def test_two_models_of_a_class_can_be_told_apart_and_chosen(visit, own_model: Path) -> None:
    other = own_model.with_name("other")
    other.mkdir()
    for path in own_model.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    at: AppTest = visit("overview")
    first, second = at.sidebar.selectbox[0].options
    assert first != second
    before = at.sidebar.selectbox[0].value
    at.sidebar.selectbox[0].select(second).run()
    assert not at.exception
    assert at.sidebar.selectbox[0].value != before
    after = at.sidebar.selectbox[0].value
    at.switch_page("pages/inspect.py").run()
    assert at.sidebar.selectbox[0].value == after


def test_a_database_that_cannot_be_opened_is_a_message_on_every_page(
    visit, app_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKRD4AD_DATABASE_URL", f"sqlite:///{app_world}/missing/folder/db.sqlite")
    for name in ("overview", "train", "inspect"):
        at = visit(name)
        assert not at.exception
        assert at.sidebar.error


def test_a_failed_job_is_seen_on_the_overview(visit) -> None:
    def fail(_: object) -> dict:
        raise ValueError("disk full")

    queue().wait(queue().submit(kind="train", title="a part", request={"train": {"epochs": 2}}, work=fail), 20)
    at = visit("overview")
    assert not at.exception
    assert "disk full" in at.error[0].value
