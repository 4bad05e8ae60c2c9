"""How a service is run, and what it takes from one request."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skrd4ad.data.images.read_pixels import MAX_PIXELS


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Settings of a service; they go to each worker process."""

    root: Path
    """Folder of the model folders."""
    model: Path | None = None
    """The only model that is served, a model folder; None for all below ``root``."""
    host: str = "127.0.0.1"
    port: int = 8600
    """0 for a free one."""
    workers: int = 1
    needs_key: bool = False
    """Callers on this machine need a key as well, as those behind a proxy on it look like them."""
    max_bytes: int = 32 * 2**20
    """Of a body, once it is decompressed."""
    max_pixels: int = MAX_PIXELS
    """Of an image, from its header."""
    timeout_seconds: float = 30.0
    """From the head of a request to its answer."""
    most_requests: int = 64
    """Inspections that are under way or wait in one worker; more are refused."""
    documents: Mapping[str, Any] = field(default_factory=dict)
    """``$defs`` of the JSON schema of the commands' documents; without them no path describes the others."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
