"""The processes of a service: one that watches, and the workers, which all accept from one socket."""

import gc
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from skrd4ad.errors import ConfigError
from skrd4ad.serve.settings import ServeSettings


def serve(settings: ServeSettings, *, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; what is under way then is answered first. ``started`` is told the URL.

    A worker that is killed or hangs is replaced.

    Raises:
        ConfigError: the address cannot be used.
    """
    with _listening(settings) as listener, tempfile.TemporaryDirectory(prefix="skrd4ad-metrics-") as metrics:
        # read when the workers import prometheus_client
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        host, port = listener.getsockname()[:2]
        started(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        config = uvicorn.Config(
            partial(_application, settings),
            factory=True,
            workers=settings.workers,
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            # the address of a caller is used for nothing, so nobody need be trusted to name it
            proxy_headers=False,
            timeout_graceful_shutdown=int(settings.timeout_seconds) + 5,
        )
        Multiprocess(config, [listener]).run()


def _application(settings: ServeSettings) -> Any:
    from skrd4ad.serve.app import application

    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = application(settings)
    # what was imported stays: looking through it took 40 ms each time, in which no request got on
    gc.collect()
    gc.freeze()
    return app


def _end_with_parent() -> None:
    """End this worker when the process that watches is gone: its socket would stay taken."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _listening(settings: ServeSettings) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"The service cannot answer at {settings.host}, port {settings.port}: {error.strerror or error}. Choose "
            "another --address or --port."
        ) from error
