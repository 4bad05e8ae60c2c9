"""Whom the server answers: without a login, everything is allowed on this machine only."""

import ipaddress
import logging
import os
from functools import cache
from typing import Literal

import streamlit as st

from skrd4ad.services.access import Actor

VARIABLE = "SKRD4AD_OPEN"
"""Environment variable: 1 opens the app to everybody who reaches it, 0 makes it read-only on this machine as well."""
Access = Literal["local", "open", "read-only"]
NOTICES: dict[Access, str] = {
    "open": f"{VARIABLE} is 1 and there is no login: everybody who reaches this address may change and delete "
    "everything, and read the folders that the app may read.",
    "read-only": "Read-only: the app answers to the network and has no login. Whoever runs it sets up a login "
    f"([auth] in .streamlit/secrets.toml), or opens it to all with {VARIABLE}=1.",
}

log = logging.getLogger(__name__)


def access() -> Access:
    """What is allowed without a login: everything on this machine, nothing that changes anything on the network."""
    wish = os.environ.get(VARIABLE, "")
    local = is_loopback(st.get_option("server.address"))
    if wish == "1":
        return "local" if local else "open"
    return "local" if local and not wish else "read-only"


def is_loopback(address: str | None) -> bool:
    """Whether a server with this address answers its own machine only; without an address it answers all."""
    if not address:
        return False
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address.casefold() == "localhost"


def without_login(name: str | None) -> Actor:
    """Who acts in an app without a login, under the name that the browser keeps."""
    now = access()
    return Actor(name, "viewer" if now == "read-only" else "admin", because=NOTICES.get(now, ""))


@cache
def warn_of_binding() -> None:
    """Log what everybody on the network may do; once a process."""
    if notice := NOTICES.get(access()):
        log.warning(notice)
