"""The app, and at ``/v1``, ``/v2`` and ``/metrics`` of the same address the service: ``skrd4ad app --serve``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.routing import Route

from skrd4ad.paths import listed_models
from skrd4ad.serve.app import application
from skrd4ad.serve.settings import ServeSettings
from skrd4ad.ui.acting import login_state
from skrd4ad.ui.login.binding import access


def settings() -> ServeSettings:
    """Of the service in the app. A login guards pages alone, so where there is one every request needs a key, and where
    the app answers to the network as well."""
    open_here = access() == "local" and login_state() == "none"
    return ServeSettings(root=listed_models(), needs_key=not open_here)


service = application(settings())


@asynccontextmanager
async def life(_app: st.App) -> AsyncIterator[dict[str, Any]]:
    """The service starts and ends with the app."""
    async with service.router.lifespan_context(service):
        yield {}


# with all that is below them: Streamlit answers unknown paths by the page, which no program expects
PATHS = ("/v1/{rest:path}", "/v2", "/v2/{rest:path}", "/metrics")
app = st.App(Path(__file__).parents[1] / "app.py", routes=[Route(path, service) for path in PATHS], lifespan=life)
