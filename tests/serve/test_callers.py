"""Who may ask for what: keys with roles, and this machine without one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skrd4ad.errors import ConfigError
from skrd4ad.serve.settings import ServeSettings
from skrd4ad.services.api_keys import actor_of_key, keys_file, make_key, read_keys, remove_key
from skrd4ad.services.history import HistoryFilter, details_of, history_page

Client = Callable[..., Any]


@pytest.mark.parametrize("settings", [{"needs_key": True}, {"host": "0.0.0.0"}], ids=str)
def test_a_key_says_who_asks_and_what_they_may_do(settings: dict[str, Any], client: Client, defect: Path) -> None:
    service, image = client(**settings), defect.read_bytes()

    def status(path: str, key: str = "", **options: Any) -> int:
        found = service.request(
            "POST" if options else "GET", path, headers={"authorization": f"Bearer {key}"}, **options
        )
        return int(found.status_code)

    assert status("/v1/models") == status("/v1/models", "guessed") == status("/metrics") == 401
    assert status("/openapi.json") == 200
    viewer, inspector = make_key("board", "viewer"), make_key("line-3", "inspector")
    sent = {"files": {"image": ("part.png", image)}}
    assert [status("/v1/models", key) for key in (viewer, inspector)] == [200, 200]
    assert [status("/v1/inspect", key, **sent) for key in (viewer, inspector)] == [403, 200]
    assert [status("/v1/review", key, **sent) for key in (viewer, inspector)] == [403, 200]
    assert service.get("/v1/models", headers={"x-api-key": viewer}).status_code == 200
    remove_key("line-3")
    assert status("/v1/inspect", inspector, **sent) == 401


def test_without_a_key_only_this_machine_is_answered_and_no_page_of_another_site(client: Client) -> None:
    service, own = client(), {"origin": "http://127.0.0.1"}
    assert service.get("/v1/models").status_code == service.get("/v1/models", headers=own).status_code == 200
    for headers in ({"origin": "http://example.org"}, {"host": "example.org"}, {"origin": "null"}):
        answer = service.get("/v1/models", headers=headers)
        assert answer.status_code == 403 and "no page of another site" in answer.json()["error"]
    assert service.get("/v1/models", headers={"authorization": "Bearer guessed"}).status_code == 401


def test_only_the_hash_of_a_key_is_kept_and_the_history_tells_of_it() -> None:
    key = make_key("line-3", "inspector")
    assert key not in keys_file().read_text() and keys_file().stat().st_mode & 0o77 == 0
    actor = actor_of_key(key)
    assert actor is not None and (actor.name, actor.role) == ("line-3", "inspector")
    for name, role in (("line-3", "viewer"), ("", "viewer"), ("a\nb", "viewer"), ("a", "boss")):
        with pytest.raises(ConfigError):
            make_key(name, role)  # type: ignore[arg-type]
    remove_key("line-3")
    with pytest.raises(ConfigError, match="there are keys of: nobody"):
        remove_key("line-3")
    assert read_keys() == () and actor_of_key(key) is None
    told = [(each.what, details_of(each)) for each in history_page(HistoryFilter()).entries]
    assert told == [("key removed", {"name": "line-3"}), ("key made", {"name": "line-3", "role": "inspector"})]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("line.test", False),
    ],
)
def test_which_addresses_are_this_machine(host: str, local: bool) -> None:
    assert ServeSettings(root=Path(), host=host).is_local == local
