import threading

from skrd4ad.services.history import acting_as, acting_user
from skrd4ad.ui.acting import as_reviewer


def test_work_done_later_in_another_thread_keeps_the_name(monkeypatch) -> None:
    monkeypatch.setattr("skrd4ad.ui.acting.acting_reviewer", lambda: "Zoë")
    work = as_reviewer(acting_user)
    names: list[str] = []
    thread = threading.Thread(target=lambda: names.append(work()))
    thread.start()
    thread.join()
    assert names == ["Zoë"]


def test_the_name_holds_inside_of_the_block_alone(monkeypatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "operator")
    with acting_as("Ada"):
        with acting_as(None):
            assert acting_user() == "operator"
        assert acting_user() == "Ada"
    assert acting_user() == "operator"


def test_a_user_without_a_name_is_unknown(monkeypatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert acting_user() == "unknown"
