import threading
from pathlib import Path

import pytest
import streamlit as st

from skrd4ad.services.access import Actor, acting, acting_as, acting_user, bound
from skrd4ad.services.roles import roles_file
from skrd4ad.task import in_thread
from skrd4ad.ui.acting import browser_actor, identity_of, login_state
from skrd4ad.ui.login.binding import access, is_loopback


def test_work_done_later_in_another_thread_keeps_name_and_role() -> None:
    with acting_as(Actor("Zoë", "inspector")):
        work = bound(acting)
    actors: list[Actor] = []
    thread = threading.Thread(target=lambda: actors.append(work()))
    thread.start()
    thread.join()
    assert actors == [Actor("Zoë", "inspector")]


def test_a_thread_beside_a_task_acts_as_the_one_that_waits_for_it() -> None:
    with acting_as(Actor("Zoë", "viewer")):
        assert in_thread(acting).result(10) == Actor("Zoë", "viewer")


def test_the_name_holds_inside_of_the_block_alone(monkeypatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "operator")
    with acting_as("Ada"):
        with acting_as(None):
            assert acting_user() == "operator"
        assert acting_user() == "Ada"
    assert acting_user() == "operator"


def test_a_name_alone_keeps_the_role() -> None:
    with acting_as(Actor("Ada", "viewer")), acting_as("Bo"):
        assert acting() == Actor("Bo", "viewer")


def test_a_user_without_a_name_is_unknown(monkeypatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert acting_user() == "unknown"


@pytest.mark.parametrize(
    ("user", "login"),
    [
        ({"email": "ada@example.org", "name": "Ada"}, "ada@example.org"),
        ({"email": "ada@example.org", "email_verified": True}, "ada@example.org"),
        ({"email": "ada@example.org", "email_verified": False, "name": "boss"}, ""),
        ({"name": "Ada"}, "Ada"),
        ({"sub": "17"}, "17"),
    ],
)
def test_roles_are_given_to_what_the_login_proves(user: dict, login: str) -> None:
    assert identity_of(user) == login


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        (None, False),
        ("", False),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.20", False),
        ("localhost.example.org", False),
        ("unix:///run/app.sock", False),
    ],
)
def test_an_address_is_this_machine_or_the_network(address: str | None, local: bool) -> None:
    assert is_loopback(address) is local


@pytest.mark.parametrize(
    ("address", "wish", "allowed", "role"),
    [
        ("localhost", None, "local", "admin"),
        ("localhost", "1", "local", "admin"),
        ("localhost", "0", "read-only", "viewer"),
        (None, None, "read-only", "viewer"),
        ("0.0.0.0", None, "read-only", "viewer"),
        ("0.0.0.0", "yes", "read-only", "viewer"),
        ("0.0.0.0", "1", "open", "admin"),
    ],
)
def test_without_a_login_the_network_looks_only(
    address: str | None, wish: str | None, allowed: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listens_on(address, monkeypatch)
    if wish is not None:
        monkeypatch.setenv("SKRD4AD_OPEN", wish)
    assert access() == allowed
    # as what a widget calls back, or a thread that nobody was named for
    assert acting() == browser_actor()
    assert acting().role == role


def test_secrets_that_cannot_be_read_let_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = tmp_path / "secrets.toml"
    listens_on("localhost", monkeypatch, secrets=secrets)
    monkeypatch.setattr(st, "secrets", type(st.secrets)())
    assert (login_state(), browser_actor().role) == ("none", "admin")
    secrets.write_text("[auth\n")
    assert (login_state(), browser_actor().role) == ("damaged", "viewer")
    secrets.write_text('[auth]\ncookie_secret = "x"\n')
    assert (login_state(), browser_actor().role) == ("there", "viewer")
    assert not roles_file().exists()


def listens_on(address: str | None, monkeypatch: pytest.MonkeyPatch, *, secrets: Path | None = None) -> None:
    """The app as if its server had been started with an address."""
    known = st.get_option
    options = {"server.address": address, "secrets.files": [] if secrets is None else [str(secrets)]}
    for place in (st, st.config):
        monkeypatch.setattr(place, "get_option", lambda name: options[name] if name in options else known(name))
