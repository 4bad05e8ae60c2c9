"""The app as people with a login, and everybody without one, see it."""

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from skrd4ad.services.history import HistoryFilter, history_page
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.roles import give_role, read_roles, roles_file
from skrd4ad.types import Role


def as_login(at: AppTest, email: str = "ada@example.org") -> AppTest:
    at.user = {"is_logged_in": True, "name": "Ada", "email": email}
    return at.run()


def pressable(at: AppTest, *keys: str) -> dict[str, bool]:
    return {key: not at.button(key=key).disabled for key in keys}


@pytest.mark.parametrize(
    ("role", "able"),
    [
        ("viewer", {"models-rename": False, "models-export": False, "models-delete": False}),
        ("inspector", {"models-rename": False, "models-export": False, "models-delete": False}),
        ("engineer", {"models-rename": True, "models-export": True, "models-delete": False}),
        ("admin", {"models-rename": True, "models-export": True, "models-delete": True}),
    ],
)
def test_buttons_follow_the_role_and_say_why(visit, own_model: Path, role: Role, able: dict[str, bool]) -> None:
    give_role("ada@example.org", role)
    at = as_login(visit("models"))
    assert not at.exception and not at.error
    assert pressable(at, *able) == able
    for key, can in able.items():
        assert can or f"this is done as {role}" in at.button(key=key).help
    assert any(f"Logged in as Ada, {role}" in each.value for each in at.sidebar.caption)


def test_a_button_that_was_pressed_all_the_same_changes_nothing(visit, own_model: Path, monkeypatch) -> None:
    give_role("ada@example.org", "admin")
    at = as_login(visit("models"))
    at.button(key="models-archive").click()
    give_role("ada@example.org", "viewer")  # while the page is open
    at.run()
    assert not history_page(HistoryFilter(what=("archived",))).entries
    monkeypatch.setattr("skrd4ad.ui.models.actions.why_not", lambda _function: "")
    at.run()
    at.button(key="models-archive").click().run()
    assert "To archive a model, the role engineer is needed; this is done as viewer" in at.error[0].value
    assert not history_page(HistoryFilter(what=("archived",))).entries


def test_a_viewer_sees_every_page_and_is_told_what_it_is_for(visit, own_model: Path) -> None:
    for page in ("overview", "train", "inspect", "calibrate", "label", "evaluate", "models"):
        at = as_login(visit(page))
        assert not at.exception and not at.error, page
        assert page != "inspect" or "To inspect images, the role inspector is needed" in at.info[0].value


def test_before_the_login_no_page_is_shown(visit, own_model: Path) -> None:
    at = visit("models")
    at.user = {"is_logged_in": False}
    at.run()
    assert not at.title and not at.sidebar.selectbox and [each.key for each in at.button] == ["login"]


def test_an_admin_gives_roles_and_the_history_has_the_name(visit) -> None:
    give_role("ada@example.org", "admin")
    at = as_login(visit("overview"))
    at.text_input(key="roles-login").input("bo@example.org")
    at.selectbox(key="roles-role").select("engineer")
    at.button(key="roles-give").click().run()
    assert not at.error and read_roles().of("bo@example.org") == "engineer"
    assert history_page(HistoryFilter(what=("role given",))).entries[0].who == "Ada"
    assert as_login(visit("overview"), "bo@example.org").button(key="roles-give").disabled


def test_a_damaged_file_is_said_and_everybody_looks_only(visit, own_model: Path) -> None:
    give_role("ada@example.org", "admin")
    roles_file().write_text("[roles")
    at = as_login(visit("models"))
    assert "roles.toml is damaged" in at.button(key="models-delete").help.replace("\\", "")
    assert any("roles.toml is damaged" in each.value.replace("\\", "") for each in at.sidebar.warning)


def test_on_the_network_without_a_login_the_app_is_read_only(visit, own_data, own_model: Path, monkeypatch) -> None:
    on_the_network(monkeypatch)
    at = visit("train")
    assert at.button(key="train-start").disabled
    assert "Read-only" in at.button(key="train-start").help.replace("\\", "")
    assert any("Read-only" in each.value for each in at.sidebar.warning)
    monkeypatch.setenv("SKRD4AD_OPEN", "1")
    at.run()
    assert not at.button(key="train-start").disabled
    assert any("everybody who reaches this address" in each.value for each in at.sidebar.warning)
    assert queue().list() == []


def test_on_this_machine_everything_is_allowed(visit, own_model: Path) -> None:
    at = visit("models")
    assert not at.button(key="models-delete").disabled and not at.sidebar.warning


def on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    known = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else known(name))
