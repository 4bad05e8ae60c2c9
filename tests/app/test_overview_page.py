import json
import shutil
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from skrd4ad.model_folder.pictures import PicturedPart, write_pictures
from skrd4ad.services.access import acting_as
from skrd4ad.services.history import HistoryFilter, history_page, record
from skrd4ad.services.jobs.queue import JobHandle, queue
from skrd4ad.storage.database import workspace_database
from skrd4ad.ui.job_progress import MOVING_SECONDS, STANDING_SECONDS
from tests.limits import LONG
from tests.shown_page import component


def test_an_empty_workspace_leads_to_the_train_page(visit) -> None:
    at = visit("overview")
    assert not at.exception and not at.error
    assert "No model yet" in at.markdown[0].value
    assert "Nothing runs" in at.info[0].value
    assert not at.dataframe
    at.button[0].click().run()
    assert [title.value for title in at.title] == ["Train"]
    assert not at.exception


def test_models_are_cards_with_what_their_limit_promises_and_lead_to_their_images(visit, own_model: Path) -> None:
    at = visit("overview")
    assert not at.exception and not at.error and not at.warning
    (card,) = component(at, "showcase")["models"]
    assert card["title"] == "machined disc"
    assert "certified by" in card["lines"][1] and "of good parts rejected" in card["lines"][2]
    details = dict(card["details"])
    assert (details["Image AUROC"], details["Epoch chosen"]) == ("–", "without test images")  # it was never evaluated
    press(at, "model", card["model"])
    assert [title.value for title in at.title] == ["Inspect"]
    assert not at.exception and not at.error


def press(at: AppTest, act: str, model: str, value: str | None = None) -> None:
    session = component(at, "showcase")["session"]
    pressed = {"n": 1, "session": session, "act": act, "image": model, "value": value}
    at.session_state["overview-cards"] = {"presses": [pressed]}
    at.run()


def test_pictured_parts_stand_first_and_lead_to_themselves(visit, own_model: Path, tiny_data: Path) -> None:
    image = sorted((tiny_data / "machined_disc" / "test" / "scratch").iterdir())[-1]
    part = PicturedPart(
        name=image.name,
        photograph="1.jpg",
        embedded=False,
        heat="1.png",
        score=1e6,
        truth="scratch",
        calibration=1,
    )
    write_pictures(own_model, [part], {"1.jpg": image.read_bytes(), "1.png": b"heat"})
    at = visit("overview")
    (shown,) = component(at, "showcase")["parts"]
    assert (shown["verdict"], shown["name"], shown["about"]) == ("NG", image.name, "machined disc, a defect: scratch")
    press(at, "part", shown["model"], shown["key"])
    assert not at.exception and not at.error
    assert component(at, "map_viewer")["title"] == image.name


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
        ("config.json", '{"format": 99}', "has the format 99"),
        ("calibration.json", "{}", "calibration"),
    ],
)
def test_a_damaged_model_is_shown_with_its_reason_and_the_others_stay_usable(
    visit, own_model: Path, file: str, content: str, reason: str
) -> None:
    damaged = Path(shutil.copytree(own_model, own_model.with_name("damaged")))
    (damaged / file).write_text(content, encoding="utf-8")
    at = visit("overview")
    assert not at.exception and not at.error
    assert len(at.warning) == 1
    assert reason in at.warning[0].value
    assert len(component(at, "showcase")["models"]) == 1


def test_a_model_without_a_limit_is_not_praised_for_one(visit, own_model: Path) -> None:
    (own_model / "calibration.json").unlink()
    at = visit("overview")
    assert not at.exception
    assert "No limit yet" in component(at, "showcase")["models"][0]["lines"][1]
    assert "No limit yet" in at.sidebar.caption[0].value


def test_two_models_of_a_class_can_be_told_apart_and_chosen(visit, own_model: Path) -> None:
    shutil.copytree(own_model, own_model.with_name("other"))
    at: AppTest = visit("overview")
    first, second = at.sidebar.selectbox[0].options
    assert first != second
    before = at.sidebar.selectbox[0].value
    at.sidebar.selectbox[0].select(second).run()
    assert not at.exception
    assert at.sidebar.selectbox[0].value != before
    after = at.sidebar.selectbox[0].value
    at.switch_page("routes/inspect.py").run()
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


@pytest.mark.parametrize(("page", "seconds"), [("overview", MOVING_SECONDS), ("models", STANDING_SECONDS)])
def test_a_page_asks_for_news_of_jobs_once_itself_or_in_the_sidebar(visit, page: str, seconds: float) -> None:
    began, let_go = threading.Event(), threading.Event()

    def work(job: JobHandle) -> dict:
        job.task.report(1, 2, "half way")
        job.flush()
        began.set()
        assert let_go.wait(LONG)
        return {}

    assert clocks(visit(page)) == []
    queue().submit(kind="compare", title="a part", request={}, work=work)
    assert began.wait(LONG)
    at = visit(page)
    assert not at.exception
    assert clocks(at) == [seconds]
    in_sidebar = [bar.proto.text for bar in at.sidebar.get("progress")]
    assert in_sidebar == (["a part\\: half way"] if page == "models" else [])
    let_go.set()


def clocks(at: AppTest) -> list[float]:
    """Seconds between two runs of each part that runs again by itself."""
    found = [element.proto for element in at.get("bidi_component")]
    return [json.loads(each.json)["seconds"] for each in found if "ticker" in each.component_name]


def test_an_empty_history_says_what_will_stand_there(visit) -> None:
    at = visit("overview")
    assert "Nothing is recorded yet" in at.info[-1].value
    assert "History" in [header.value for header in at.subheader]


def test_the_history_is_paged_filtered_and_verified(visit) -> None:
    with acting_as("Ada"):
        for number in range(20):
            record("renamed", dataset="parts", class_name="disc", details={"name": f"Line {number}"})
    record("deleted", who="Bo", dataset="parts", class_name="washer", folder="/m/parts/washer/one")
    at = visit("overview")
    assert not at.exception and not at.error
    table = at.dataframe[-1].value
    assert list(table["No."]) == list(range(21, 6, -1))
    assert list(table.iloc[0])[2:7] == ["Bo", "deleted", "parts", "washer", "one"]
    assert table["Details"][1] == "name Line 19"
    assert "Chain verified, 21 entries" in at.main.caption[-1].value
    at.multiselect(key="history-who").select("Bo").run()
    assert list(at.dataframe[-1].value["No."]) == [21]
    at.text_input(key="history-about").input("disc").run()
    assert "No entry fits this filter." in [each.value for each in at.caption]
    at.multiselect(key="history-who").unselect("Bo").run()
    assert len(at.dataframe[-1].value) == 15


def test_an_altered_history_is_an_error_with_its_row(visit) -> None:
    for name in ("one", "two"):
        record("archived", who="Ada", folder=name)
    with workspace_database().write() as session:
        session.execute(text("UPDATE history SET who = 'Eve' WHERE id = 2"))
    at = visit("overview")
    assert not at.exception
    assert "Row 2 was altered" in at.error[0].value


def test_what_is_done_on_a_page_is_recorded_with_the_reviewers_name(visit, own_model: Path) -> None:
    at = visit("models")
    at.session_state["label-reviewer"] = "Zoë"
    at.button(key="models-archive").click().run()
    (entry,) = history_page(HistoryFilter()).entries
    assert (entry.what, entry.who, entry.model_folder) == ("archived", "Zoë", str(own_model))
