"""The service as an ASGI application: its paths, who may call them, and what is counted."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import wraps

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skrd4ad.serve import open_inference, verdicts
from skrd4ad.serve.callers import caller
from skrd4ad.serve.inspections import Inspections
from skrd4ad.serve.openapi import described, page
from skrd4ad.serve.problems import HANDLERS, Refusal, too_busy
from skrd4ad.serve.settings import ServeSettings
from skrd4ad.services.access import acting_as, require
from skrd4ad.types import Role

log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


def application(settings: ServeSettings) -> Starlette:
    """The application of one worker."""
    inspections = Inspections(settings)
    paths = routes(described=bool(settings.documents))

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        # as many as there are requests: some wait for a model to be opened, and the others go on
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(settings.most_requests + 8))
        # before anything is accepted, so that the first request does not wait for the model
        await asyncio.to_thread(_open_first, inspections)
        yield
        await asyncio.to_thread(inspections.close)

    app = Starlette(
        routes=paths,
        exception_handlers=HANDLERS,
        lifespan=life,
        middleware=[Middleware(_Counted, inspections=inspections, paths=paths)],
    )
    app.state.inspections = inspections
    return app


def routes(*, described: bool) -> list[BaseRoute]:
    """All paths, each with the role that it needs. ``/docs`` and ``/openapi.json`` describe the others."""
    inspector, viewer = "inspect images", "see models"
    return [
        Route("/v1/inspect", _guarded(verdicts.inspect, "inspector", inspector), methods=["POST"]),
        Route("/v1/review", _guarded(verdicts.review, "inspector", "send images to review"), methods=["POST"]),
        Route("/v1/models", _guarded(verdicts.models, "viewer", viewer)),
        Route("/v1/models/{name:path}/calibrations", _guarded(verdicts.calibrations, "viewer", viewer)),
        Route("/v2", open_inference.server),
        Route("/v2/health/live", open_inference.live),
        Route("/v2/health/ready", open_inference.ready),
        Route("/v2/models/{name:path}/infer", _guarded(open_inference.infer, "inspector", inspector), methods=["POST"]),
        Route("/v2/models/{name:path}/ready", _guarded(open_inference.model_ready, "viewer", viewer)),
        Route("/v2/models/{name:path}", _guarded(open_inference.model, "viewer", viewer)),
        Route("/metrics", _guarded(_metrics, "viewer", "read figures")),
        *([Route("/openapi.json", _openapi), Route("/docs", _docs), Route("/", _docs)] if described else []),
    ]


def _guarded(endpoint: Endpoint, role: Role, deed: str) -> Endpoint:
    """An endpoint for those with a role, which answers within the time limit."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        settings: ServeSettings = request.app.state.inspections.settings
        with acting_as(await asyncio.to_thread(caller, request, settings)):
            require(role, deed)
            try:
                async with asyncio.timeout(settings.timeout_seconds):
                    return await endpoint(request)
            except TimeoutError:
                raise too_busy(
                    503, f"There was no answer within {settings.timeout_seconds:g} seconds. Try again later."
                ) from None

    return answer


async def _metrics(request: Request) -> Response:
    text = await asyncio.to_thread(request.app.state.inspections.metrics.text)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def _openapi(request: Request) -> Response:
    return JSONResponse(described(request.app.state.inspections.settings.documents))


async def _docs(request: Request) -> Response:
    return HTMLResponse(page(request.app.state.inspections.settings.documents))


class _Counted:
    """Middleware: how long each request took, and how it was answered."""

    def __init__(self, app: ASGIApp, inspections: Inspections, paths: list[BaseRoute]) -> None:
        self._app, self._metrics = app, inspections.metrics
        self._paths: dict[object, str] = {route.endpoint: route.path for route in paths if isinstance(route, Route)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            path = self._paths.get(scope.get("endpoint"), "other")  # only paths that there are: each is kept for ever
            self._metrics.seconds.labels(path).observe(time.perf_counter() - begun)
            self._metrics.answers.labels(path, str(status)).inc()


def _open_first(inspections: Inspections) -> None:
    """Open the model that is served where none is named; a worker that cannot still serves the others."""
    try:
        inspections.models.current(None)
    except Refusal:  # there are several classes: each model is opened when it is asked for
        pass
    except Exception as error:  # noqa: BLE001 - said again to whoever asks for it
        log.warning("No model is opened before the first request: %s", error)
