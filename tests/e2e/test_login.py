"""The app with a login by OpenID Connect, against a small provider of this test, in a real browser."""

import base64
import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from playwright.sync_api import Page, expect

from skrd4ad.services.history import HistoryFilter, history_page
from tests.e2e.conftest import ROOT, NewTab, Serve

pytestmark = pytest.mark.browser
CLIENT = "studio"


@dataclass
class Provider:
    """An OpenID provider at which everybody is whom ``claims`` says, without being asked."""

    claims: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    nonces: dict[str, str] = field(default_factory=dict)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def answer(self, path: str, asked: dict[str, str]) -> dict[str, Any] | str:
        """A JSON document, or the address to go to."""
        if path == "/authorize":
            code = f"code{len(self.nonces)}"
            self.nonces[code] = asked.get("nonce", "")
            return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
        if path == "/token":
            return {
                "access_token": "access",
                "token_type": "Bearer",
                "expires_in": 600,
                "id_token": self.token(self.nonces[asked["code"]]),
            }
        if path == "/keys":
            numbers = self.key.public_key().public_numbers()
            parts = {name: _part(number.to_bytes(-(-number.bit_length() // 8))) for name, number in _numbers(numbers)}
            return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", **parts}]}
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def token(self, nonce: str) -> str:
        now = int(time.time())
        about = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 600, "nonce": nonce, **self.claims}
        head = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        text = ".".join(_part(json.dumps(each).encode()) for each in (head, about))
        return f"{text}.{_part(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _numbers(numbers: rsa.RSAPublicNumbers) -> list[tuple[str, int]]:
    return [("n", numbers.n), ("e", numbers.e)]


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    found = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self.reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def reply(self, query: str) -> None:
            asked = {name: values[0] for name, values in parse_qs(query).items()}
            answer = found.answer(urlsplit(self.path).path, asked)
            self.send_response(302 if isinstance(answer, str) else 200)
            if isinstance(answer, str):
                self.send_header("Location", answer)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b"" if isinstance(answer, str) else json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("login")


@pytest.fixture(scope="module")
def app(world: Path, provider: Provider, serve: Serve, tiny_model: tuple[Path, Path]) -> Iterator[str]:
    for name in ("first", "second"):
        shutil.copytree(tiny_model[0], world / "models" / "parts" / "machined_disc" / name)
    (world / ".streamlit").mkdir()
    shutil.copy(ROOT / ".streamlit" / "config.toml", world / ".streamlit")
    values = {
        "redirect_uri": "http://127.0.0.1:{port}/oauth2callback",
        "cookie_secret": "a secret of this test, long enough",
        "client_id": CLIENT,
        "client_secret": "known to both",
        "server_metadata_url": f"{provider.url}/.well-known/openid-configuration",
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (world / ".streamlit" / "secrets.toml").write_text("\n".join(["[auth]", *lines, ""]))
    (world / "home").mkdir()
    (world / "home" / "roles.toml").write_text('[roles]\n"ada@example.org" = "engineer"\n"zoe@example.org" = "admin"\n')
    env = {"SKRD4AD_HOME": str(world / "home"), "SKRD4AD_CHECKPOINTS": str(world / "models")}
    env["SKRD4AD_DATA_ROOTS"] = str(tiny_model[1])
    with serve(ROOT / "app.py", env=env, cwd=world) as url:
        yield url


def log_in(new_tab: NewTab, url: str, provider: Provider, **claims: Any) -> Page:
    """Somebody else, logged in on the Models page."""
    provider.claims = {"sub": claims["email"], **claims}
    page = new_tab()
    page.context.clear_cookies()
    page.goto(f"{url}/models")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Logged in as ")).to_be_visible()
    page.goto(f"{url}/models")
    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_visible()
    return page


def test_people_see_and_do_what_their_role_allows(
    new_tab: NewTab, app: str, provider: Provider, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = new_tab()
    stranger.goto(f"{app}/models")
    expect(stranger.get_by_role("button", name="Log in")).to_be_visible()
    expect(stranger.get_by_role("heading", name="Models")).to_have_count(0)

    viewer = log_in(new_tab, app, provider, name="Vi", email="vi@example.org")
    expect(viewer.get_by_text("Logged in as Vi, viewer")).to_be_visible()
    expect(viewer.get_by_role("button", name="Rename")).to_be_disabled()

    # whoever calls themselves as an admin does is not one
    false = log_in(new_tab, app, provider, name="zoe@example.org", email="eve@example.org")
    expect(false.get_by_role("button", name="Delete", exact=True)).to_be_disabled()

    engineer = log_in(new_tab, app, provider, name="Ada", email="ada@example.org")
    expect(engineer.get_by_role("button", name="Delete", exact=True)).to_be_disabled()
    engineer.get_by_role("button", name="Archive", exact=True).click()
    expect(engineer.get_by_text("is archived")).to_be_visible()

    admin = log_in(new_tab, app, provider, name="Zoë", email="zoe@example.org")
    admin.get_by_role("button", name="Delete", exact=True).click()
    admin.get_by_role("button", name="Delete for good").click()
    expect(admin.get_by_text("was deleted")).to_be_visible()

    monkeypatch.setenv("SKRD4AD_HOME", str(world / "home"))
    done = [(entry.what, entry.who) for entry in history_page(HistoryFilter()).entries]
    assert done == [("deleted", "Zoë"), ("archived", "Ada")]
