"""What is refused, as one JSON document: ``{"schema": 1, "error": "what was given, what is allowed, what to do"}``."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from skrd4ad.errors import AccessError, CheckpointError, ConfigError, DataError, SkrdError
from skrd4ad.format import SCHEMA

_STATUS: tuple[tuple[type[SkrdError], int], ...] = (
    (AccessError, 403),
    (ConfigError, 400),
    (DataError, 422),
    (CheckpointError, 503),
    (SkrdError, 503),
)
"""The first that an error is an instance of."""


class Refusal(Exception):
    """A request that is not answered as it was meant; the message is for who sent it."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


def too_busy(status: int, message: str) -> Refusal:
    """One that may be sent again in a second."""
    return Refusal(status, message, headers={"Retry-After": "1"})


def answer_error(request: Request, error: Exception) -> Response:
    """The document for what an endpoint raised."""
    if isinstance(error, Refusal):
        return _document(error.status, str(error), error.headers)
    if isinstance(error, SkrdError):
        return _document(next(status for kind, status in _STATUS if isinstance(error, kind)), str(error))
    if isinstance(error, HTTPException):
        what = f"{request.method} {request.url.path}"
        reason = {404: "there is no such path", 405: "the path takes another method"}.get(error.status_code)
        return _document(
            error.status_code, f"{what}: {reason or error.detail}. docs/serve.md lists them all.", error.headers
        )
    return _document(500, f"An error in the program: {type(error).__name__}. Its traceback is in the service's log.")


def _document(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"schema": SCHEMA, "error": message}, status, headers)


HANDLERS = dict.fromkeys((Refusal, SkrdError, HTTPException, Exception), answer_error)
"""For Starlette."""
