import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from starlette.applications import Starlette

from skrd4ad.cli.schema.publish import schema_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.serve.app import application
from skrd4ad.serve.settings import ServeSettings
from tests.limits import LONG

T = TypeVar("T")


class Client:
    """Sends requests to an application in an event loop of their own; may be called from several threads."""

    def __init__(self, app: Starlette, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self._loop = app, loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LONG)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.request(method, path, timeout=LONG, **options)

        return self.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture
def client(info: ModelInfo, loaded_once: None, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """``client(max_bytes=10, …)``: a client of a service with these settings, on a copy of the tiny model."""
    documents = schema_of(["calibrate", "models", "predict"])["$defs"]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    started: list[Any] = []

    def start(**settings: Any) -> Client:
        app = application(ServeSettings(root=tmp_path / "models", documents=documents, **settings))
        life = app.router.lifespan_context(app)
        asyncio.run_coroutine_threadsafe(life.__aenter__(), loop).result(LONG)
        started.append(life)
        return Client(app, loop)

    yield start
    for life in started:
        asyncio.run_coroutine_threadsafe(life.__aexit__(None, None, None), loop).result(LONG)
    asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(LONG)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LONG)
    loop.close()


@pytest.fixture
def defect(tiny_data: Path) -> Path:
    return tiny_data / "machined_disc" / "test" / "scratch" / "000.png"
