"""Who sends a request, and what they may do: by an API key; on this machine without one."""

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.requests import Request

from skrd4ad.serve.problems import Refusal
from skrd4ad.serve.settings import ServeSettings
from skrd4ad.services.access import SYSTEM, Actor
from skrd4ad.services.api_keys import actor_of_key

_HOW = "Send one as 'Authorization: Bearer KEY'; `skrd4ad serve-key NAME` makes one."


def caller(request: Request, settings: ServeSettings) -> Actor:
    """Who acts in a request.

    Raises:
        Refusal: there is no key where one is needed, the key is unknown, or a page of another site asks on behalf of a
            browser of this machine.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    key = given.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    if key:
        actor = actor_of_key(key)
        if actor is not None:
            return actor
        raise _unknown("The key is not known, or was removed.")
    if settings.needs_key or not settings.is_local:
        raise _unknown("There is no key in the request.")
    # any page that is open in a browser of this machine could otherwise send images to the queue
    origin = request.headers.get("origin")
    if not _is_local(urlsplit(f"//{request.headers.get('host', '')}").hostname) or (
        origin is not None and origin != f"{request.url.scheme}://{request.headers['host']}"
    ):
        raise Refusal(403, f"Without a key only this machine is answered, and no page of another site. {_HOW}")
    return SYSTEM


def _unknown(problem: str) -> Refusal:
    return Refusal(401, f"{problem} {_HOW}", headers={"WWW-Authenticate": "Bearer"})


def _is_local(host: str | None) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host or "").is_loopback
    return host == "localhost"
